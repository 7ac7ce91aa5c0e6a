//! What connections hold outside the intake's budget: parts of packets, and readings that wait for
//! room in it.
//!
//! Promises: every connection may hold a few KiB without asking, which is what honest devices need;
//! beyond that all of them share one pool. Nobody waits for the pool: a connection stops reading or
//! ends, so nobody can hold memory hostage.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What a connection may hold without asking.
pub(super) const FREE_BYTES: usize = 4 * 1024;

/// Shared by all connections of the listener.
#[derive(Debug)]
pub(super) struct Pool {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Pool {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { used: AtomicUsize::new(0), bytes_max }
    }

    /// No more readings should be gathered ahead: the last quarter is for parts of packets, which
    /// make room by becoming whole.
    pub(super) fn is_tight(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.bytes_max / 4 * 3
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.bytes_max
    }
}

/// What one connection has charged to the pool; given back on drop.
#[derive(Debug)]
pub(super) struct Held {
    pool: Arc<Pool>,
    charged: usize,
}

impl Held {
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        Self { pool: Arc::clone(pool), charged: 0 }
    }

    /// The connection holds `bytes` now. What is held already is charged even if it is too much:
    /// `Pool::is_tight` stops the next read.
    pub(super) fn set(&mut self, bytes: usize) {
        let charge = bytes.saturating_sub(FREE_BYTES);
        if charge > self.charged {
            self.pool.used.fetch_add(charge - self.charged, Ordering::Relaxed);
        } else if charge < self.charged {
            self.pool.used.fetch_sub(self.charged - charge, Ordering::Relaxed);
        }
        self.charged = charge;
    }

    pub(super) fn is_beyond_free(&self) -> bool {
        self.charged > 0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_beyond_the_free_part_is_charged_and_given_back() {
        let pool = Arc::new(Pool::new(100_000));
        let (mut one, mut two) = (Held::new(&pool), Held::new(&pool));
        one.set(FREE_BYTES);
        assert!(!one.is_beyond_free() && !pool.is_tight());
        one.set(FREE_BYTES + 75_000);
        assert!(one.is_beyond_free() && pool.is_tight() && !pool.is_exhausted());
        two.set(FREE_BYTES + 25_000);
        assert!(pool.is_exhausted());
        one.set(10);
        assert!(!pool.is_tight());
        drop((one, two));
        assert_eq!(pool.used.load(Ordering::Relaxed), 0);
    }
}
