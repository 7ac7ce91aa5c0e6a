//! Which points of windows a checkpoint waits for.
//!
//! ```text
//!   points made ..... checkpoint 1 ..... points made ..... checkpoint 2
//!   [---- epoch 1 ----] <--- kept by --- [---- epoch 2 ----]
//!     ^ held by batches                    ^ held by batches
//! ```
//! What comes of a frame's readings is confirmed by its receipt; what windows make of many frames has
//! none. So every batch holds the epochs of the points in it, an epoch keeps the next one alive, and
//! the one that ends last confirms its checkpoint. A batch that is dropped unsettled gives up its
//! epoch and all later ones: their checkpoints say that those points were made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lease::Confirm;

#[derive(Default)]
pub struct Epoch(Mutex<End>);

#[derive(Default)]
struct End {
    is_given_up: bool,
    confirm: Option<Confirm>,
    next: Option<Arc<Epoch>>,
}

impl std::fmt::Debug for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoch").finish_non_exhaustive()
    }
}

/// A batch's part of an epoch. Dropped unsettled, it gives the epoch up.
#[derive(Debug)]
pub struct Hold {
    epoch: Arc<Epoch>,
    is_settled: bool,
}

impl Epoch {
    /// Ends here; `confirm` is called once everything in it, and before it, is settled. Returns the
    /// next one.
    pub fn end(self: Arc<Self>, confirm: Confirm) -> Arc<Self> {
        let next = Arc::new(Self::default());
        let mut end = self.lock();
        (end.confirm, end.next) = (Some(confirm), Some(Arc::clone(&next)));
        drop(end);
        next
    }

    pub fn hold(self: &Arc<Self>) -> Hold {
        Hold { epoch: Arc::clone(self), is_settled: false }
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        let end = std::mem::take(&mut *self.lock());
        match (end.is_given_up, end.confirm, end.next) {
            (true, _, Some(next)) => next.lock().is_given_up = true,
            (false, Some(confirm), _) => confirm(),
            _ => {}
        }
    }
}

impl Hold {
    pub fn is_of(&self, epoch: &Arc<Epoch>) -> bool {
        Arc::ptr_eq(&self.epoch, epoch)
    }

    pub fn settle(mut self) {
        self.is_settled = true;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.is_settled {
            self.epoch.lock().is_given_up = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn counting(count: &Arc<AtomicU32>) -> Confirm {
        let count = Arc::clone(count);
        Box::new(move || _ = count.fetch_add(1, Ordering::Relaxed))
    }

    #[test]
    fn a_checkpoint_waits_for_its_own_points_and_all_before() {
        let count = Arc::default();
        let done = || Arc::<AtomicU32>::clone(&count).load(Ordering::Relaxed);
        let first = Arc::new(Epoch::default());
        let early = first.hold();
        let second = first.end(counting(&count));
        let late = second.hold();
        let third = second.end(counting(&count));
        late.settle();
        assert_eq!(done(), 0, "the first epoch's points are under way");
        early.settle();
        assert_eq!(done(), 2);
        let fourth = third.end(counting(&count));
        assert_eq!(done(), 3, "nothing was made in it");
        drop(fourth);
        assert_eq!(done(), 3, "it never ended");
    }

    #[test]
    fn what_is_given_up_gives_up_all_that_follows() {
        let count = Arc::default();
        let first = Arc::new(Epoch::default());
        let (lost, stored) = (first.hold(), first.hold());
        let second = first.end(counting(&count));
        let third = second.end(counting(&count));
        drop(lost);
        stored.settle();
        drop(third.end(counting(&count)));
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
