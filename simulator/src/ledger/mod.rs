//! What was generated, sent and acknowledged: the truth that a database is held against.
//!
//! A reading is written down as sent *before* its first byte leaves, and as acknowledged after its
//! acknowledgement came in. When the ledger has a file, both go to it at once (the page cache: it
//! survives `kill -9` of the simulator, not a power cut of its machine). So after any end:
//! what is in the database is in `sent`, and what is in `acknowledged` must be in the database.

mod file;

use std::{
    io,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use file::LoadError;

use crate::{ranges::Ranges, signals::Device};

/// Cheap to clone; all clones are the same ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    accounts: Vec<(Device, Mutex<Marks>)>,
    file: Option<Mutex<file::Writer>>,
}

/// What became of one device's readings, by sequence number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub sent: Ranges,
    pub acknowledged: Ranges,
    /// Refused for good by the gateway: a `nack` without retry, a 4xx, a v5 reason code.
    pub refused: Ranges,
}

/// Sums over all devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub sent: u64,
    pub acknowledged: u64,
    pub refused: u64,
}

impl Ledger {
    /// A ledger for `devices`; with `path`, kept in a new file as well (an error if it is there).
    pub fn create(devices: Vec<Device>, path: Option<&Path>) -> io::Result<Self> {
        let file = match path {
            Some(path) => Some(Mutex::new(file::Writer::create(path, &devices)?)),
            None => None,
        };
        let accounts = devices.into_iter().map(|d| (d, Mutex::default())).collect();
        Ok(Self { inner: Arc::new(Inner { accounts, file }) })
    }

    /// Reads a ledger's file, also while a simulator is writing it; a torn last record is left out.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let accounts = file::load(path)?;
        let accounts = accounts.into_iter().map(|(d, m)| (d, Mutex::new(m))).collect();
        Ok(Self { inner: Arc::new(Inner { accounts, file: None }) })
    }

    pub fn devices(&self) -> impl ExactSizeIterator<Item = &Device> {
        self.inner.accounts.iter().map(|(device, _)| device)
    }

    /// The device at `index` in the order of [`Ledger::devices`].
    pub fn device(&self, index: usize) -> Option<&Device> {
        self.inner.accounts.get(index).map(|(device, _)| device)
    }

    /// What became of the readings of the device at `index` in the order of [`Ledger::devices`].
    pub fn marks(&self, index: usize) -> Marks {
        self.inner.accounts.get(index).map(|(_, marks)| lock(marks).clone()).unwrap_or_default()
    }

    pub fn was_sent(&self, index: usize, seq: u64) -> bool {
        self.inner.accounts.get(index).is_some_and(|(_, m)| lock(m).sent.contains(seq))
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (_, marks) in &self.inner.accounts {
            let marks = lock(marks);
            totals.sent += marks.sent.count();
            totals.acknowledged += marks.acknowledged.count();
            totals.refused += marks.refused.count();
        }
        totals
    }

    /// To be called before the first byte of any of them leaves; on an error none may be sent.
    pub fn sent(&self, index: usize, seqs: &[u64]) -> io::Result<()> {
        self.mark(index, seqs, file::Kind::Sent, |marks| &mut marks.sent)
    }

    pub fn acknowledged(&self, index: usize, seqs: &[u64]) -> io::Result<()> {
        self.mark(index, seqs, file::Kind::Acknowledged, |marks| &mut marks.acknowledged)
    }

    pub fn refused(&self, index: usize, seqs: &[u64]) -> io::Result<()> {
        self.mark(index, seqs, file::Kind::Refused, |marks| &mut marks.refused)
    }

    fn mark(
        &self,
        index: usize,
        seqs: &[u64],
        kind: file::Kind,
        set: impl Fn(&mut Marks) -> &mut Ranges,
    ) -> io::Result<()> {
        let Some((_, marks)) = self.inner.accounts.get(index) else {
            return Err(io::Error::other("a device that is not in the ledger"));
        };
        let mut marks = lock(marks);
        let mut new = Ranges::new();
        for &seq in seqs {
            if set(&mut marks).insert(seq) {
                new.insert(seq);
            }
        }
        self.write(kind, index, new.ranges())
    }

    fn write(&self, kind: file::Kind, index: usize, new: &[Range<u64>]) -> io::Result<()> {
        match &self.inner.file {
            Some(file) if !new.is_empty() => lock(file).append(kind, index, new),
            _ => Ok(()),
        }
    }
}

/// Nothing here panics half-way through a change, so a poisoned lock still guards whole data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
