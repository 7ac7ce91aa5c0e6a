//! A journal that no gateway runs on: looked at, and a position taken out of it.
//!
//! Holds the lock, so no gateway starts meanwhile. Repairs nothing: what a crash left is scanned as
//! it lies, and the next open deals with it.

use std::{io, path::Path, sync::Arc};

use crate::Fates;
use crate::ForgetError;
use crate::Kind;
use crate::OpenError;
use crate::OutputId;
use crate::Seq;
use crate::Verified;
use crate::disk::{Disk, Entry, Lock, RealDisk};
use crate::forget;
use crate::position;
use crate::verify;

#[derive(Debug)]
pub struct Offline {
    disk: Arc<dyn Disk>,
    entries: Vec<Entry>,
    _lock: HeldLock,
}

struct HeldLock(#[expect(dead_code, reason = "held for its drop")] Lock);

/// One output's position as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflinePosition {
    pub id: OutputId,
    pub low: Seq,
    /// Readings of its frames after `low`.
    pub pending: u64,
    pub fates: Fates,
}

impl std::fmt::Debug for HeldLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("held")
    }
}

impl Offline {
    /// Fails if a gateway runs on the directory, or it holds no journal.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let failed = |action| move |source| OpenError::Io { action, path: dir.to_owned(), source };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
        let entries = verify::entries(&*disk).map_err(failed("read"))?;
        let lock = match disk.lock() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(OpenError::Locked(dir.to_owned()));
            }
            other => other.map_err(failed("lock"))?,
        };
        Ok(Self { disk, entries, _lock: HeldLock(lock) })
    }

    /// Reads everything.
    pub fn verify(&self) -> io::Result<Verified> {
        verify::verify_disk(&self.disk, &self.entries)
    }

    /// From what `verify` found.
    pub fn positions(&self, found: &Verified) -> Vec<OfflinePosition> {
        let look = |report: &verify::PositionReport| OfflinePosition {
            id: report.id.clone(),
            low: report.low,
            pending: match position::kind_of(&report.id) {
                Kind::Rejected => report.journaled_to(found.books.rejected),
                Kind::Data | Kind::Clock => report.journaled_to(found.books.journaled),
            },
            fates: report.fates,
        };
        found.positions.iter().map(look).collect()
    }

    /// Takes an output's position out. What only it needed is freed when a gateway next runs here.
    pub fn forget(&self, id: &OutputId) -> Result<(), ForgetError> {
        if *id == OutputId::intake_dead() {
            return Err(ForgetError::BuiltIn(id.clone()));
        }
        let is_its = |entry: &Entry| position::id_of(&entry.name).as_ref() == Some(id);
        if !self.entries.iter().any(is_its) {
            return Err(ForgetError::Unknown(id.clone()));
        }
        let newest = position::newest_generation(&*self.disk, id.as_str())?;
        Ok(forget::remove_files(&*self.disk, id.as_str(), newest)?)
    }
}
