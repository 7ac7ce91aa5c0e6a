//! What the owner of a journal decides.

use std::{path::PathBuf, sync::Arc, time::Duration};

const MIB: u64 = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Nothing more is acknowledged until the outputs have caught up.
    Block,
    /// Outputs that lag behind the oldest segment lose it, counted to the reading.
    DropOldest,
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

    /// The built-in reader of what intake refused. No configured output may take this name.
    pub fn intake_dead() -> Self {
        Self("intake-dead".into())
    }
}

impl std::fmt::Display for OutputId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub dir: PathBuf,
    /// Allocated bytes, everything in the directory included. At least four segments.
    pub bytes_max: u64,
    /// Kept free on the file system for the rest of the machine.
    pub free_bytes_min: u64,
    /// `None`: a 32nd of `bytes_max`, within 4 to 64 MiB. Smaller ones are for tests.
    pub segment_bytes: Option<u64>,
    /// How long a submission that nobody waits for may lie unsynced.
    pub sync_wait: Duration,
    /// Bytes that may wait before the writer.
    pub queue_bytes_max: usize,
    /// Just-written frames kept in memory, so that outputs at the head need no disk.
    pub tail_bytes_max: usize,
    pub when_full: WhenFull,
    /// The process that ran here before crashed by itself: an abort, not SIGKILL and not the
    /// power. Frames that a crash leaves are then stepped through one by one, and the one on which
    /// it crashes again is set aside.
    pub crashed: bool,
}

impl Options {
    /// The documented defaults: 4 GiB, 64 MiB left free, 1 s, 8 MiB, 2 MiB, block.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            bytes_max: 4096 * MIB,
            free_bytes_min: 64 * MIB,
            segment_bytes: None,
            sync_wait: Duration::from_secs(1),
            queue_bytes_max: 8 * 1024 * 1024,
            tail_bytes_max: 2 * 1024 * 1024,
            when_full: WhenFull::Block,
            crashed: false,
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        let derived = (self.bytes_max / 32).clamp(4 * MIB, 64 * MIB);
        let segment = self.segment_bytes.unwrap_or(derived).max(SEGMENT_BYTES_MIN);
        let segment_bytes = segment.next_multiple_of(PAGE);
        let usable = segment_bytes - 2 * PAGE;
        Limits {
            bytes_max: self.bytes_max.max(4 * segment_bytes),
            free_bytes_min: self.free_bytes_min,
            segment_bytes,
            tail_bytes_max: self.tail_bytes_max,
            when_full: self.when_full,
            crashed: self.crashed,
            group_bytes_max: usize::try_from(usable / 2).unwrap_or(usize::MAX).min(1 << 20),
            ..Limits::default()
        }
    }
}

impl Limits {
    #[cfg(test)]
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests' twin looks at itself")]
    pub(crate) fn is(&self, _: Mutant) -> bool {
        false
    }

    /// A submission that costs more would not fit into a segment.
    pub(crate) fn submission_cost_max(&self) -> usize {
        let usable = usize::try_from(self.segment_bytes - 2 * PAGE).unwrap_or(usize::MAX);
        (usable / 2).min(2 << 20)
    }
}

/// Headers, trailers and padding come in these.
pub(crate) const PAGE: u64 = 4096;
/// Header, trailer, and something between them.
const SEGMENT_BYTES_MIN: u64 = 4 * PAGE;

/// The journal's sizes as they are meant, not as they were typed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes_max: u64,
    pub(crate) free_bytes_min: u64,
    pub(crate) segment_bytes: u64,
    /// What one drain of the queue takes.
    pub(crate) group_bytes_max: usize,
    /// A frame is closed when the next submission would take it beyond this.
    pub(crate) frame_bytes: usize,
    /// Payloads from this size on are compressed.
    pub(crate) compress_from: usize,
    /// Just-written frames kept in memory for readers at the head.
    pub(crate) tail_bytes_max: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) crashed: bool,
    /// How long leases out of a segment that must go may take to settle.
    pub(crate) lease_wait: Duration,
    #[cfg(test)]
    pub(crate) mutant: Option<Mutant>,
}

/// Ways to build the journal wrong, on purpose: the crash tests must catch each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    AckBeforeSync,
    NoDirectorySync,
    NoPositionSyncBeforeDelete,
    SyncRetriedAfterFailure,
    NoPayloadChecksum,
    StopAtTheFirstBadFrame,
    OldSaltKept,
    LossNotCounted,
    StateKeptAcrossAGap,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 4096 * MIB,
            free_bytes_min: 0,
            segment_bytes: 16 * MIB,
            group_bytes_max: 1 << 20,
            frame_bytes: 64 * 1024,
            compress_from: 1024,
            tail_bytes_max: 2 * 1024 * 1024,
            when_full: WhenFull::Block,
            crashed: false,
            lease_wait: Duration::from_secs(5),
            #[cfg(test)]
            mutant: None,
        }
    }
}
