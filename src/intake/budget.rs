//! The byte budget between the sockets and the journal, and the counts that wait for a ride.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use journal::{Closed, Counts};
use tokio::sync::Semaphore;

/// Bytes in flight, over all connections. First come, first served, so a large submission is not
/// starved by small ones.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    bytes_max: u32,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let permits = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        Self { bytes: Arc::new(Semaphore::new(bytes_max)), bytes_max: permits }
    }

    /// Waits for room; dropping the guard gives it back. What is larger than the whole budget takes
    /// all of it. Cancel safe: nothing is held until it returns.
    pub(super) async fn take(&self, bytes: usize) -> Result<Box<dyn Any + Send>, Closed> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max);
        let permit = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.map_err(|_| Closed)?;
        Ok(Box::new(permit))
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.bytes.available_permits()
    }
}

/// Counts that go to the journal with the next submission.
#[derive(Debug, Default)]
pub(super) struct Carried {
    filtered: AtomicU64,
    dropped: AtomicU64,
}

impl Carried {
    pub(super) fn add(&self, counts: Counts) {
        self.filtered.fetch_add(counts.filtered, Ordering::Relaxed);
        self.dropped.fetch_add(counts.dropped, Ordering::Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filtered.load(Ordering::Relaxed) == 0 && self.dropped.load(Ordering::Relaxed) == 0
    }

    /// Takes what waits; it comes back unless it `arrived`.
    pub(super) fn take(&self) -> Riding<'_> {
        let take = |count: &AtomicU64| match count.load(Ordering::Relaxed) {
            0 => 0, // The usual case: no write to a line that all threads share.
            _ => count.swap(0, Ordering::Relaxed),
        };
        let counts = Counts {
            filtered: take(&self.filtered),
            dropped: take(&self.dropped),
            ..Counts::default()
        };
        Riding { counts, home: self }
    }
}

/// Counts on their way into a submission.
#[derive(Debug)]
pub(super) struct Riding<'a> {
    counts: Counts,
    home: &'a Carried,
}

impl Riding<'_> {
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The journal has them now.
    pub(super) fn arrived(mut self) {
        self.counts = Counts::default();
    }
}

impl Drop for Riding<'_> {
    fn drop(&mut self) {
        if self.counts != Counts::default() {
            self.home.add(self.counts);
        }
    }
}
