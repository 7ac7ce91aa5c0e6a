//! What bodies and messages under way may hold, over all connections of the port.
//!
//! Promises: a holder gets its bytes at once or is told that there are none; nobody waits for
//! memory, so nobody can hold it hostage. What is held goes back on drop. Counted in KiB.
//!
//! Left out: what lies between here and the journal has intake's budget, and the few KiB that every
//! connection owns are bounded by the number of connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Semaphore>);

/// A share of the memory; nothing at first.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Memory,
    permits: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes_max / 1024).min(Semaphore::MAX_PERMITS))))
    }

    pub(crate) fn hold_nothing(&self) -> Held {
        Held { memory: self.clone(), permits: None }
    }
}

impl Held {
    /// Holds at least `bytes` from now on. False: there is not that much, and nothing changed.
    #[must_use]
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let missing = bytes.div_ceil(1024).saturating_sub(self.kib());
        if missing == 0 {
            return true;
        }
        let Ok(missing) = u32::try_from(missing) else { return false };
        match Arc::clone(&self.memory.0).try_acquire_many_owned(missing) {
            Ok(more) => {
                match &mut self.permits {
                    Some(permits) => permits.merge(more),
                    none => *none = Some(more),
                }
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn give_back(&mut self) {
        self.permits = None;
    }

    pub(crate) fn is_anything(&self) -> bool {
        self.kib() > 0
    }

    fn kib(&self) -> usize {
        self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_holds_another_cannot_have_until_it_is_given_back() {
        let memory = Memory::new(10 * 1024);
        let (mut one, mut other) = (memory.hold_nothing(), memory.hold_nothing());
        assert!(one.grow_to(6 * 1024));
        assert!(one.grow_to(100), "it holds that already");
        assert!(!other.grow_to(5 * 1024), "only 4 KiB are left");
        assert!(other.grow_to(4 * 1024));
        assert!(!one.grow_to(6 * 1024 + 1));
        drop(other);
        assert!(one.grow_to(10 * 1024), "growing takes the difference only");
        one.give_back();
        assert!(memory.hold_nothing().grow_to(10 * 1024));
    }
}
