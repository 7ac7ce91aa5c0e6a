//! A set of sequence numbers kept as ranges: a device's millions of readings in a few bytes.

use std::ops::Range;

/// Sorted, disjoint, not touching half-open ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    ranges: Vec<Range<u64>>,
}

impl Ranges {
    pub fn new() -> Self {
        Self::default()
    }

    /// True if it was not in the set.
    pub fn insert(&mut self, seq: u64) -> bool {
        // In order is the rule: a device counts upwards.
        if let Some(last) = self.ranges.last_mut()
            && last.end == seq
        {
            last.end += 1;
            return true;
        }
        if self.contains(seq) {
            return false;
        }
        self.insert_range(seq..seq + 1);
        true
    }

    pub fn insert_range(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        // Every range that overlaps or touches the new one melts into it.
        let from = self.ranges.partition_point(|r| r.end < new.start);
        let to = self.ranges.partition_point(|r| r.start <= new.end);
        let mut whole = new;
        for old in self.ranges.get(from..to).unwrap_or_default() {
            whole.start = whole.start.min(old.start);
            whole.end = whole.end.max(old.end);
        }
        self.ranges.splice(from..to.max(from), [whole]);
    }

    pub fn contains(&self, seq: u64) -> bool {
        let at = self.ranges.partition_point(|r| r.end <= seq);
        self.ranges.get(at).is_some_and(|r| r.contains(&seq))
    }

    /// How many sequence numbers are in the set.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|r| r.end - r.start).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.ranges.iter().flat_map(Clone::clone)
    }

    /// What is in `self` and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Self::new();
        for range in &self.ranges {
            let mut from = range.start;
            let first = other.ranges.partition_point(|r| r.end <= range.start);
            for hole in other.ranges.iter().skip(first).take_while(|r| r.start < range.end) {
                left.insert_range(from..hole.start.max(from));
                from = hole.end.min(range.end);
            }
            left.insert_range(from..range.end);
        }
        left
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(seqs: I) -> Self {
        let mut set = Self::new();
        for seq in seqs {
            set.insert(seq);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_an_ordinary_set(
            a in proptest::collection::vec((0_u64..60, 0_u64..9), 0..20),
            b in proptest::collection::vec(0_u64..70, 0..30),
        ) {
            let mut set = Ranges::new();
            let mut model = BTreeSet::new();
            for (start, length) in a {
                set.insert_range(start..start + length);
                model.extend(start..start + length);
            }
            let other: Ranges = b.iter().copied().collect();
            let other_model: BTreeSet<u64> = b.into_iter().collect();
            for seq in 0..80 {
                prop_assert_eq!(set.contains(seq), model.contains(&seq));
            }
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), model.clone());
            let left: BTreeSet<_> = set.without(&other).iter().collect();
            prop_assert_eq!(left, &model - &other_model);
            for pair in set.ranges().windows(2) {
                prop_assert!(pair[0].end < pair[1].start, "ranges touch: {:?}", pair);
            }
        }
    }

    #[test]
    fn tells_whether_a_number_is_new() {
        let mut set = Ranges::new();
        assert!(set.insert(5));
        assert!(set.insert(6));
        assert!(!set.insert(5));
        assert!(set.insert(4));
        assert_eq!(set.iter().collect::<Vec<_>>(), [4, 5, 6]);
        assert_eq!(set.ranges().len(), 1);
    }
}
