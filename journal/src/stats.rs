//! What the journal counts about itself since it was opened: groups, bytes, syncs.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the histogram's buckets in microseconds; one more bucket for what is slower.
pub const SYNC_BUCKETS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) groups: AtomicU64,
    pub(crate) frames: AtomicU64,
    /// Bytes written for groups, padding included.
    pub(crate) bytes_written: AtomicU64,
    pub(crate) commit_errors: AtomicU64,
    /// Durable once, and lost: named by recovery or by readers.
    pub(crate) damaged_frames: AtomicU64,
    /// Frames on which the process crashed twice.
    pub(crate) set_aside: AtomicU64,
    syncs: AtomicU64,
    sync_micros: AtomicU64,
    sync_buckets: [AtomicU64; SYNC_BUCKETS_US.len() + 1],
}

/// How long the syncs of groups took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncStats {
    pub count: u64,
    pub sum: Duration,
    /// Not cumulative; bounds in [`SYNC_BUCKETS_US`].
    pub buckets: [u64; SYNC_BUCKETS_US.len() + 1],
}

impl Stats {
    pub(crate) fn synced(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = SYNC_BUCKETS_US.partition_point(|bound| *bound < micros);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_micros.fetch_add(micros, Ordering::Relaxed);
        if let Some(count) = self.sync_buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self) {
        self.commit_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn syncs(&self) -> SyncStats {
        let mut buckets = [0; SYNC_BUCKETS_US.len() + 1];
        for (copy, count) in buckets.iter_mut().zip(&self.sync_buckets) {
            *copy = count.load(Ordering::Relaxed);
        }
        SyncStats {
            count: self.syncs.load(Ordering::Relaxed),
            sum: Duration::from_micros(self.sync_micros.load(Ordering::Relaxed)),
            buckets,
        }
    }
}
