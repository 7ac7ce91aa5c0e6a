//! Which clock the stamps of a submission came from, and what was decided of those that came from
//! one that could not be believed.
//!
//! Every submission names its clock epoch. Most say [`BELIEVED`]. An epoch of its own (a random
//! number from [`EPOCH_MIN`] up) is a time that runs by itself, without a wall clock to be
//! believed: what is stamped in it is provisional, and it belongs to one boot of one machine. Once
//! the right time is known, its correction is decided; or it is given up.
//!
//! Promises: an epoch is on the disk before the first frame that names it; what was decided of one
//! is there before any reader hears of it ([`Epochs::of`]), in two files, each whole, so that
//! neither a crash nor a bad sector changes a decision; an epoch is forgotten only when the last
//! frame that can name it is gone. Bounded: [`EPOCHS_MAX`].
//!
//! Leaves out who believes what: that is for the journal's owner.

mod record;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    sync::{Arc, Mutex},
};

use tokio::sync::watch;
use tracing::{error, warn};

use crate::disk::{self, Disk};
use crate::options::PAGE;
use crate::segment;
use crate::shared::{Shared, lock};
use record::{Parsed, Record};

/// Stamped by a clock that was believed. (As 0, and whatever an earlier release wrote.)
pub const BELIEVED: u32 = 1;
/// Stamped by a clock that was not believed, and nothing will ever correct it.
pub const UNSURE: u32 = 2;
/// Numbers below stand for themselves.
pub const EPOCH_MIN: u32 = 16;
/// On the disk at a time.
pub const EPOCHS_MAX: usize = 64;

/// A time that ran by itself during one boot of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// [`BELIEVED`]: not of any frames; it says what the right time is in that boot, and stays until
    /// its owner removes it.
    pub id: u32,
    /// Which boot of which machine.
    pub boot: [u8; 16],
    /// Provisional time is the time since boot plus this, in nanoseconds.
    pub offset_ns: i64,
    /// Time since boot when the epoch began.
    pub began_ns: i64,
    pub fate: Fate,
    /// The last frame that may name it; 0 while it goes on.
    pub(crate) upto: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The right time may still be learnt.
    Waiting,
    /// So many nanoseconds are to be added to its stamps.
    Corrected(i64),
    /// Given up: its stamps stay as they are, and nobody knows how wrong they are.
    Unsure,
}

/// What is to be done with the stamps of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    Right,
    Correct(i64),
    Unsure,
    /// Not decided yet: nothing of it may leave.
    Waiting,
}

impl Epoch {
    pub fn new(id: u32, boot: [u8; 16], offset_ns: i64, began_ns: i64) -> Self {
        Self { id, boot, offset_ns, began_ns, fate: Fate::Waiting, upto: 0 }
    }

    /// Stamps are given in it (again), so its frames do not end here.
    pub fn go_on(&mut self) {
        self.upto = 0;
    }

    /// What the right time is in its boot, as an offset to the time since boot.
    pub fn right_offset_ns(&self) -> Option<i64> {
        match self.fate {
            Fate::Corrected(by) => Some(self.offset_ns.saturating_add(by)),
            Fate::Waiting | Fate::Unsure => None,
        }
    }
}

/// The decided epochs, as readers see them. Clones see the same.
#[derive(Clone, Debug)]
pub struct Epochs {
    durable: Arc<watch::Sender<Durable>>,
}

/// What is on the disk for certain.
#[derive(Clone, Debug, Default)]
struct Durable {
    epochs: Vec<Epoch>,
    /// It could not be written again at the start: nothing in it counts as decided.
    in_doubt: bool,
}

impl Default for Epochs {
    /// Of a journal that has none.
    fn default() -> Self {
        Self { durable: Arc::new(watch::Sender::default()) }
    }
}

impl Epochs {
    pub fn of(&self, epoch: u32) -> Stamps {
        if epoch <= BELIEVED {
            return Stamps::Right;
        }
        if epoch < EPOCH_MIN {
            return Stamps::Unsure;
        }
        let durable = self.durable.borrow();
        let found = durable.epochs.iter().find(|known| known.id == epoch);
        match found.map(|epoch| epoch.fate) {
            _ if durable.in_doubt => Stamps::Waiting,
            Some(Fate::Waiting) => Stamps::Waiting,
            Some(Fate::Corrected(by)) => Stamps::Correct(by),
            // An epoch is on the disk before its first frame: this one was lost with its files.
            Some(Fate::Unsure) | None => Stamps::Unsure,
        }
    }

    /// Resolves when [`Self::of`] may say something else of it than `Waiting`. Cancel safe.
    pub async fn decided(&self, epoch: u32) {
        let mut changes = self.durable.subscribe();
        while self.of(epoch) == Stamps::Waiting {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// All that are known.
    pub fn known(&self) -> Vec<Epoch> {
        self.durable.borrow().epochs.clone()
    }

    /// What was found on the disk may be there in the page cache only: write it again.
    pub fn is_in_doubt(&self) -> bool {
        self.durable.borrow().in_doubt
    }

    pub(crate) fn publish(&self, epochs: Vec<Epoch>) {
        self.durable.send_replace(Durable { epochs, in_doubt: false });
    }
}

/// Why the epochs could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    #[error("clock epochs: {0}")]
    Io(#[from] io::Error),
    /// Boot after boot without the right time, and the outputs have not caught up.
    #[error("{EPOCHS_MAX} clock epochs are waited for, and no more can be kept")]
    Full,
    #[error("a later release wrote the clock epochs")]
    Newer,
}

/// The journal's clock epochs, and the right to change them.
#[derive(Clone)]
pub struct ClockBook(Arc<Shared>);

impl fmt::Debug for ClockBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClockBook").field(&self.0.clock.epochs).finish()
    }
}

impl ClockBook {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    pub fn epochs(&self) -> Epochs {
        self.0.clock.epochs.clone()
    }

    /// Changes the epochs: on the disk first, then for readers. On an error nothing has changed for
    /// anybody. Blocks on the disk.
    pub fn update(&self, change: impl FnOnce(&mut Vec<Epoch>)) -> Result<(), ClockError> {
        let shared = &self.0;
        let oldest = shared.catalog.oldest().map(|begin| begin.first_seq);
        shared.clock.update(&*shared.disk, oldest, change)?;
        shared.allocate(lock(&shared.clock.files).take_grown());
        Ok(())
    }

    /// When the newest segment that was found at the opening was begun, by the wall clock of then.
    pub fn last_begun_ns(&self) -> Option<i64> {
        self.0.clock.last_begun_ns
    }
}

/// What the journal holds of this.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    pub(crate) epochs: Epochs,
    files: Mutex<Files>,
    journal: [u8; 16],
    last_begun_ns: Option<i64>,
}

#[derive(Debug, Default)]
struct Files {
    generation: u64,
    /// Each has been there.
    there: [bool; 2],
    /// Bytes that the directory has more since somebody asked.
    grown: u64,
    is_newer: bool,
}

impl Files {
    fn take_grown(&mut self) -> u64 {
        std::mem::take(&mut self.grown)
    }
}

impl Clock {
    /// Reads what is there. Frames up to `durable` exist; `oldest` is the first of them. Fails only if
    /// no file may be opened.
    pub(crate) fn open(
        disk: &dyn Disk,
        journal: [u8; 16],
        durable: u64,
        oldest: Option<u64>,
        last_begun_ns: Option<i64>,
    ) -> io::Result<Self> {
        let slots = [read(disk, 0)?, read(disk, 1)?];
        let clock = Self { journal, last_begun_ns, ..Self::default() };
        let mut files = Files { there: slots.each_ref().map(Option::is_some), ..Files::default() };
        let mut newest: Option<Record> = None;
        for parsed in slots.into_iter().flatten() {
            match parsed {
                Parsed::Newer => files.is_newer = true,
                Parsed::Valid(record) if segment::is_of(record.journal, journal) => {
                    if newest.as_ref().is_none_or(|known| known.generation < record.generation) {
                        newest = Some(record);
                    }
                }
                Parsed::Valid(_) | Parsed::Damaged => {}
            }
        }
        if files.is_newer {
            error!("a later release wrote the clock epochs: what waits for them waits for it");
            clock.epochs.durable.send_replace(Durable { epochs: Vec::new(), in_doubt: true });
        } else if newest.is_none() && files.there != [false; 2] {
            error!(
                "the clock epochs are damaged: stamps that waited for the right time stay unsure"
            );
        }
        let (generation, mut epochs) =
            newest.map_or((0, Vec::new()), |record| (record.generation, record.epochs));
        // Whoever wrote them has ended.
        for epoch in epochs.iter_mut().filter(|epoch| epoch.id != BELIEVED && epoch.upto == 0) {
            epoch.upto = durable.max(1);
        }
        files.generation = generation;
        *lock(&clock.files) = files;
        if !epochs.is_empty() {
            clock.epochs.durable.send_replace(Durable { epochs, in_doubt: true });
            if let Err(error) = clock.update(disk, oldest, |_| {}) {
                warn!(%error, "the clock epochs could not be written again; what they say waits");
            }
        }
        Ok(clock)
    }

    pub(crate) fn is_newer(&self) -> bool {
        lock(&self.files).is_newer
    }

    fn update(
        &self,
        disk: &dyn Disk,
        oldest: Option<u64>,
        change: impl FnOnce(&mut Vec<Epoch>),
    ) -> Result<(), ClockError> {
        let mut files = lock(&self.files);
        if files.is_newer {
            return Err(ClockError::Newer);
        }
        let mut epochs = self.epochs.known();
        change(&mut epochs);
        epochs.retain(|epoch| epoch.upto == 0 || oldest.is_some_and(|oldest| oldest <= epoch.upto));
        if epochs.len() > EPOCHS_MAX {
            return Err(ClockError::Full);
        }
        let record = Record { generation: files.generation + 1, journal: self.journal, epochs };
        let bytes = record.bytes();
        // Both, before anybody may rely on it.
        for slot in 0..2 {
            disk::create_whole(disk, &name(slot), &bytes, PAGE)?;
            if let Some(there) = files.there.get_mut(slot)
                && !std::mem::replace(there, true)
            {
                files.grown += PAGE;
            }
        }
        files.generation = record.generation;
        self.epochs.publish(record.epochs);
        Ok(())
    }
}

fn name(slot: usize) -> String {
    format!("clock.{slot}")
}

/// `None`: it is not there.
fn read(disk: &dyn Disk, slot: usize) -> io::Result<Option<Parsed>> {
    let name = name(slot);
    let file = match disk.open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if disk::is_out_of_files(&error) => return Err(error),
        Err(error) => {
            warn!(name, %error, "clock epochs cannot be opened");
            return Ok(Some(Parsed::Damaged));
        }
    };
    let mut bytes = vec![0; usize::try_from(PAGE).unwrap_or(4096)];
    match disk::read_exact_at(&*file, &mut bytes, 0) {
        Ok(()) => Ok(Some(Record::parse(&bytes))),
        Err(error) => {
            warn!(name, %error, "clock epochs cannot be read");
            Ok(Some(Parsed::Damaged))
        }
    }
}
