//! What the owner of a journal decides.

use std::{path::PathBuf, sync::Arc, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    Block,
    // DropOldest comes with the promise-under-fault issue.
}

/// Where an output that was never seen before starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    New,
    #[default]
    Oldest,
}

/// `[a-z0-9-]{1,32}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputId(Arc<str>);

impl OutputId {
    pub fn new(id: &str) -> Option<Self> {
        let legal = (1..=32).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        legal.then(|| Self(id.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub dir: PathBuf,
    /// Allocated bytes, everything in the directory included.
    pub bytes_max: u64,
    /// How long a submission that nobody waits for may lie unsynced.
    pub sync_wait: Duration,
    /// Bytes that may wait before the writer.
    pub queue_bytes_max: usize,
    pub when_full: WhenFull,
}
