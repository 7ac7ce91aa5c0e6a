//! A map that never holds more than it may: who was touched least recently leaves.

use std::collections::{BTreeMap, HashMap};

#[derive(Debug)]
pub(super) struct Bounded<V> {
    entries: HashMap<u64, (u64, V)>,
    /// By when it was touched last.
    order: BTreeMap<u64, u64>,
    clock: u64,
    entries_max: usize,
}

impl<V> Bounded<V> {
    pub(super) fn new(entries_max: usize) -> Self {
        let (entries, order) = (HashMap::new(), BTreeMap::new());
        Self { entries, order, clock: 0, entries_max: entries_max.max(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, key: u64) -> Option<&V> {
        self.entries.get(&key).map(|(_, value)| value)
    }

    /// Most recently touched first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        let keys = self.order.values().rev();
        keys.filter_map(|key| Some((*key, &self.entries.get(key)?.1)))
    }

    /// Touches it. Returns what was there.
    pub(super) fn put(&mut self, key: u64, value: V) -> Option<V> {
        let now = self.tick(key);
        let before = self.entries.insert(key, (now, value));
        let before = before.map(|(touched, value)| {
            self.order.remove(&touched);
            value
        });
        if self.entries.len() > self.entries_max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        before
    }

    /// Touches it, if it is there.
    pub(super) fn touch(&mut self, key: u64) -> Option<&mut V> {
        let touched = self.entries.get(&key)?.0;
        self.order.remove(&touched);
        let now = self.tick(key);
        let (touched, value) = self.entries.get_mut(&key)?;
        *touched = now;
        Some(value)
    }

    pub(super) fn take(&mut self, key: u64) -> Option<V> {
        let (touched, value) = self.entries.remove(&key)?;
        self.order.remove(&touched);
        Some(value)
    }

    fn tick(&mut self, key: u64) -> u64 {
        self.clock += 1;
        self.order.insert(self.clock, key);
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_the_most_recently_touched(
            max in 1..6_usize,
            steps in prop::collection::vec((0..5_u8, 0..9_u64), 0..60),
        ) {
            let mut bounded = Bounded::new(max);
            let mut model: Vec<u64> = Vec::new(); // Least recent first.
            for (step, key) in steps {
                let was_there = model.contains(&key);
                if step == 0 {
                    prop_assert_eq!(bounded.take(key).is_some(), was_there);
                    model.retain(|other| *other != key);
                    continue;
                }
                let is_put = step < 3;
                if is_put {
                    prop_assert_eq!(bounded.put(key, key * 10).is_some(), was_there);
                } else {
                    prop_assert_eq!(bounded.touch(key).is_some(), was_there);
                }
                if is_put || was_there {
                    model.retain(|other| *other != key);
                    model.push(key);
                    if model.len() > max {
                        model.remove(0);
                    }
                }
                prop_assert_eq!(bounded.len(), model.len());
                prop_assert!(model.iter().all(|key| bounded.get(*key) == Some(&(key * 10))));
                prop_assert!(bounded.iter().map(|(key, _)| key).eq(model.iter().rev().copied()));
                prop_assert_eq!(bounded.order.len(), bounded.entries.len());
            }
        }
    }
}
