//! `dedup`: a reading that is the same as one of the last so many (series, time, every field) goes
//! no further.
//!
//! Readings are known by a 64-bit hash with a secret seed: that two different ones meet among 65,536
//! has a chance of 1 in 10^14 per reading.

use std::{
    collections::{HashSet, VecDeque},
    hash::BuildHasherDefault,
};

use proto::{ReadingRef, ValueRef};

use super::bytes::{Input, StateError, put_len};
use super::hash::{AsItIs, Seed};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many readings are remembered: some 30 bytes each.
    pub readings_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { readings_max: 65_536 }
    }
}

#[derive(Debug)]
pub(super) struct Dedup {
    settings: Settings,
    seed: Seed,
    /// Oldest first.
    order: VecDeque<u64>,
    seen: HashSet<u64, BuildHasherDefault<AsItIs>>,
}

impl Dedup {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, seed: Seed::random(), order: VecDeque::new(), seen: HashSet::default() }
    }

    /// Whether it is new; from now on it is not.
    pub(super) fn is_new(&mut self, reading: &ReadingRef<'_>, timestamp: i64) -> bool {
        let mut hash = self.seed.hash(reading.series, timestamp.cast_unsigned());
        for (name, value) in reading.fields {
            hash = self.seed.hash(name.as_bytes(), hash);
            hash = match value {
                ValueRef::Float(value) => self.seed.hash(b"f", hash ^ value.to_bits()),
                ValueRef::Signed(value) => self.seed.hash(b"i", hash ^ value.cast_unsigned()),
                ValueRef::Unsigned(value) => self.seed.hash(b"u", hash ^ value),
                ValueRef::Boolean(value) => self.seed.hash(b"b", hash ^ u64::from(*value)),
                ValueRef::Text(text) => self.seed.hash(text.as_bytes(), hash ^ 1),
            };
        }
        self.remember(hash)
    }

    fn remember(&mut self, hash: u64) -> bool {
        if !self.seen.insert(hash) {
            return false;
        }
        self.order.push_back(hash);
        if self.order.len() > self.settings.readings_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    /// seed 3 x u64 LE, hashes v, then u64 LE each, oldest first.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for part in self.seed.0 {
            out.extend_from_slice(&part.to_le_bytes());
        }
        put_len(self.order.len(), out);
        for hash in &self.order {
            out.extend_from_slice(&hash.to_le_bytes());
        }
    }

    pub(super) fn get(settings: Settings, input: &mut Input<'_>) -> Result<Self, StateError> {
        let mut dedup = Self::new(settings);
        for part in &mut dedup.seed.0 {
            *part = u64::from_le_bytes(input.word()?);
        }
        for _ in 0..input.len()? {
            dedup.remember(u64::from_le_bytes(input.word()?));
        }
        Ok(dedup)
    }
}
