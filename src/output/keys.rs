//! Which (series, timestamp) pairs a batch holds, by their hashes.
//!
//! Two uses: a reading that has its line already is merged into it (whoever asks compares the real
//! bytes then), and a batch that meets one in flight waits for it (a chance collision costs a wait,
//! never an order). The seed is random per process: no device can aim at a collision.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::LazyLock,
};

/// The hash of a (series, timestamp) pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    pub fn new(series: &[u8], timestamp: i64) -> Self {
        let [seed, odd, last] = *SEED;
        // Folded before anything is mixed in: a byte of the name must not cancel one of the time.
        let mut hash = fold(seed ^ timestamp.cast_unsigned(), last);
        let mut chunks = series.chunks_exact(8);
        for chunk in &mut chunks {
            hash = fold(hash ^ le_u64(chunk), odd);
        }
        // The length tells apart what zeros would pad to the same.
        hash = fold(hash ^ le_u64(chunks.remainder()), last);
        Self(fold(hash ^ series.len() as u64, odd))
    }
}

static SEED: LazyLock<[u64; 3]> = LazyLock::new(|| {
    let random = RandomState::new();
    [random.hash_one(1), random.hash_one(2) | 1, random.hash_one(3) | 1]
});

/// The two halves of a 128-bit product, folded: each bit of the input reaches every bit.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

fn le_u64(bytes: &[u8]) -> u64 {
    let mut padded = [0; 8];
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(padded)
}

/// A batch's keys, and the line of each.
#[derive(Debug, Default)]
pub struct Keys {
    lines: HashMap<Key, u32, BuildHasherDefault<AsItIs>>,
    /// Earliest and latest timestamp: live batches hardly ever overlap, and then nothing is looked up.
    span: Option<(i64, i64)>,
}

impl Keys {
    pub fn with_capacity(lines: usize) -> Self {
        Self {
            lines: HashMap::with_capacity_and_hasher(lines, BuildHasherDefault::new()),
            span: None,
        }
    }

    pub fn line_of(&self, key: Key) -> Option<u32> {
        self.lines.get(&key).copied()
    }

    pub fn insert(&mut self, key: Key, timestamp: i64, line: u32) {
        self.lines.insert(key, line);
        let (first, last) = self.span.unwrap_or((timestamp, timestamp));
        self.span = Some((first.min(timestamp), last.max(timestamp)));
    }

    pub fn meets(&self, other: &Self) -> bool {
        let (Some(a), Some(b)) = (self.span, other.span) else { return false };
        if a.1 < b.0 || b.1 < a.0 {
            return false;
        }
        let (few, many) =
            if self.lines.len() < other.lines.len() { (self, other) } else { (other, self) };
        few.lines.keys().any(|key| many.lines.contains_key(key))
    }
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= le_u64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn neighbours_do_not_collide() {
        let mut seen = HashSet::new();
        for device in 0..200 {
            for timestamp in 0..200 {
                let series = format!("climate,device=d{device}");
                assert!(seen.insert(Key::new(series.as_bytes(), timestamp)));
            }
        }
        assert_ne!(Key::new(b"a", 0), Key::new(b"a\0", 0));
        assert_ne!(Key::new(b"", 0), Key::new(b"\0\0\0\0\0\0\0\0", 0));
    }

    #[test]
    fn two_sets_meet_in_a_common_key_only() {
        let set = |keys: &[(&str, i64)]| {
            let mut set = Keys::default();
            for (line, (series, timestamp)) in (0..).zip(keys) {
                set.insert(Key::new(series.as_bytes(), *timestamp), *timestamp, line);
            }
            set
        };
        let a = set(&[("s", 1), ("s", 5), ("t", 3)]);
        assert!(a.meets(&set(&[("u", 3), ("s", 5)])));
        assert!(!a.meets(&set(&[("u", 3), ("s", 4)])));
        assert!(!a.meets(&set(&[("s", 6)])));
        assert!(!a.meets(&set(&[])));
        assert_eq!(a.line_of(Key::new(b"t", 3)), Some(2));
    }
}
