//! Opening a journal, and holding it open.

use crate::{Appender, Options, OutputId, Reader, Start};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("another process holds {0}")]
    Locked(std::path::PathBuf),
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: std::path::PathBuf, source: std::io::Error },
}

/// What opening found, for one log line and for `journal verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    pub segments: u64,
    pub frames_scanned: u64,
    pub torn_bytes: u64,
    /// Ranges of sequence numbers that were durable once and are damaged now.
    pub corrupt: Vec<(u64, u64)>,
    pub quarantined: Vec<String>,
}

/// The journal's owner: readers, status, the end.
#[derive(Debug)]
pub struct Journal {}

/// Opens (or creates) the journal in `options.dir` on the real disk and starts its writer thread.
pub fn open(options: &Options) -> Result<(Journal, Appender, Recovery), OpenError> {
    unimplemented!("{options:?}")
}

impl Journal {
    /// The reader of one output; one at a time for each id.
    pub fn reader(&self, id: &OutputId, start: Start) -> Result<Reader, OpenError> {
        unimplemented!("{id:?} {start:?}")
    }

    /// The reader of `rejected` frames (`intake-dead`).
    pub fn rejects(&self) -> Result<Reader, OpenError> {
        unimplemented!()
    }

    /// After the last appender and reader are gone: syncs, writes positions, seals nothing early,
    /// releases the lock. Blocks; call it off the reactor.
    pub fn close(self) {
        unimplemented!()
    }
}
