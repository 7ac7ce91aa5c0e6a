//! Who is remembered: every sender that is connected, and of those that have left the ones that left last.
//!
//! Bounded: those that are here by the connections that there may be, the others by `left_max`. A sender
//! that stays for days is not forgotten for what comes and goes meanwhile, and whoever left nothing to be
//! known takes no place of anyone. Nothing is done here while messages arrive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::bounded::Bounded;

#[derive(Debug)]
pub(super) struct Senders<V> {
    here: HashMap<u64, Arc<Mutex<V>>>,
    left: Bounded<Arc<Mutex<V>>>,
}

impl<V> Senders<V> {
    pub(super) fn new(left_max: usize) -> Self {
        Self { here: HashMap::new(), left: Bounded::new(left_max) }
    }

    pub(super) fn len(&self) -> usize {
        self.here.len() + self.left.len()
    }

    pub(super) fn get(&self, sender: u64) -> Option<&Arc<Mutex<V>>> {
        self.here.get(&sender).or_else(|| self.left.get(sender))
    }

    /// Those that have left, who left last first: after a start, all.
    pub(super) fn left(&self) -> impl Iterator<Item = (u64, &Arc<Mutex<V>>)> {
        self.left.iter()
    }

    /// A connection begins. Returns what was known of its sender.
    pub(super) fn come(&mut self, sender: u64, own: &Arc<Mutex<V>>) -> Option<Arc<Mutex<V>>> {
        let left = self.left.take(sender);
        self.here.insert(sender, Arc::clone(own)).or(left)
    }

    /// It ends. `known` is known from now on, unless another connection of the sender has come
    /// meanwhile. `None`: it left nothing to be known.
    pub(super) fn leave(
        &mut self,
        sender: u64,
        own: &Arc<Mutex<V>>,
        known: Option<&Arc<Mutex<V>>>,
    ) {
        if !self.here.get(&sender).is_some_and(|here| Arc::ptr_eq(here, own)) {
            return;
        }
        self.here.remove(&sender);
        if let Some(known) = known {
            self.left.put(sender, Arc::clone(known));
        }
    }

    /// What an earlier run knew, as if it had left just now.
    pub(super) fn recall(&mut self, sender: u64, known: V) {
        self.left.put(sender, Arc::new(Mutex::new(known)));
    }

    /// The same for more of what is recalled already.
    pub(super) fn recalled(&mut self, sender: u64) -> Option<&Arc<Mutex<V>>> {
        self.left.touch(sender).map(|known| &*known)
    }
}
