//! `deadband`: a field goes on only when its value has moved far enough from the one that went on
//! last, or that was too long ago.
//!
//! Numbers move by `absolute`, and by `percent` of the value that went on last; what is within one of
//! the two has not moved. Booleans and texts move when they change. A reading older than the one
//! that went on last goes on as it is, and is forgotten, unless that one is from the future: then it takes
//! its place. A field without room in the state goes on, counted.

use std::{collections::HashMap, mem::size_of, time::Duration};

use proto::{ReadingRef, ValueRef};

use super::Counts;
use super::budget::Budget;
use super::bytes::{Input, StateError, put_len, put_s, put_v, put_z};
use super::glob::Globs;
use super::hash::{Seed, Seeded};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub measurements: Globs,
    pub fields: Globs,
    pub absolute: f64,
    pub percent: f64,
    /// In event time. `None`: a value that never moves never goes on again.
    pub max_silence: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Deadband {
    settings: Vec<Settings>,
    series: HashMap<Box<[u8]>, Series, Seeded>,
    /// Tells apart what was looked at since the last purge.
    generation: bool,
    since_purge: usize,
    /// For texts.
    seed: Seed,
}

#[derive(Debug)]
struct Series {
    generation: bool,
    fields: Vec<(Box<str>, Last)>,
}

/// What went on last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Last {
    timestamp: i64,
    value: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
    Boolean(bool),
    /// Of a text.
    Hash(u64),
}

/// A time that is further ahead of an arrival came of a wrong clock. Remembered, it would let everything
/// go on until then. In nanoseconds.
pub(super) const AHEAD_MAX: i64 = 3_600_000_000_000;
const SERIES_BYTES: usize = size_of::<(Box<[u8]>, Series)>() * 2;
const FIELD_BYTES: usize = size_of::<(Box<str>, Last)>() + 16;

impl Deadband {
    pub(super) fn new(settings: Vec<Settings>) -> Self {
        Self {
            settings,
            series: HashMap::default(),
            generation: false,
            since_purge: 0,
            seed: Seed::random(),
        }
    }

    /// Takes away from `kept` the fields that have not moved.
    pub(super) fn apply(
        &mut self,
        reading: &ReadingRef<'_>,
        (timestamp, arrival): (i64, i64),
        kept: &mut [bool],
        budget: &mut Budget,
        counts: &mut Counts,
    ) {
        self.since_purge += 1;
        for (kept, (name, value)) in kept.iter_mut().zip(reading.fields) {
            if !*kept {
                continue;
            }
            let fits = |one: &&Settings| {
                one.measurements.fits(reading.measurement) && one.fields.fits(name)
            };
            let Some(settings) = self.settings.iter().find(fits) else { continue };
            let now = Last { timestamp, value: self.sent(*value) };
            let known = find(&mut self.series, self.generation, reading.series, name);
            if let Some(last) = known {
                if now.timestamp < last.timestamp {
                    if last.timestamp.saturating_sub(arrival) > AHEAD_MAX {
                        *last = now;
                    }
                    continue;
                }
                if settings.is_moved(last, &now) {
                    *last = now;
                } else {
                    *kept = false;
                }
            } else if !self.insert(reading.series, name, now, budget) {
                counts.no_room += 1;
            }
        }
    }

    fn sent(&self, value: ValueRef<'_>) -> Sent {
        match value {
            ValueRef::Float(value) => Sent::Float(value),
            ValueRef::Signed(value) => Sent::Signed(value),
            ValueRef::Unsigned(value) => Sent::Unsigned(value),
            ValueRef::Boolean(value) => Sent::Boolean(value),
            ValueRef::Text(text) => Sent::Hash(self.seed.hash(text.as_bytes(), 0)),
        }
    }

    fn insert(&mut self, series: &[u8], name: &str, now: Last, budget: &mut Budget) -> bool {
        let mut bytes = FIELD_BYTES + name.len();
        if !self.series.contains_key(series) {
            bytes += SERIES_BYTES + series.len();
        }
        if !budget.take(bytes) {
            self.purge(budget);
            if !self.series.contains_key(series) {
                bytes = FIELD_BYTES + name.len() + SERIES_BYTES + series.len();
            }
            if !budget.take(bytes) {
                return false;
            }
        }
        self.put_field(series, name, now);
        true
    }

    fn put_field(&mut self, series: &[u8], name: &str, last: Last) {
        let generation = self.generation;
        let empty = || Series { generation, fields: Vec::new() };
        let series = self.series.entry(series.into()).or_insert_with(empty);
        series.fields.reserve_exact(1);
        series.fields.push((name.into(), last));
    }

    /// Forgets the series that were not looked at since the last time. Their next value goes on.
    fn purge(&mut self, budget: &mut Budget) {
        if self.since_purge < self.series.len() {
            return; // It would cost more than it brings.
        }
        let generation = self.generation;
        self.series.retain(|key, series| {
            let stays = series.generation == generation;
            if !stays {
                budget.give_back(bytes_of(key, series));
            }
            stays
        });
        self.series.shrink_to_fit();
        self.generation = !self.generation;
        self.since_purge = 0;
    }

    /// series v, for each: key s, fields v, for each: name s, timestamp z, kind v, value.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for part in self.seed.0 {
            out.extend_from_slice(&part.to_le_bytes());
        }
        put_len(self.series.len(), out);
        for (key, series) in &self.series {
            put_s(key, out);
            put_len(series.fields.len(), out);
            for (name, last) in &series.fields {
                put_s(name.as_bytes(), out);
                put_z(last.timestamp, out);
                let (kind, bits) = match last.value {
                    Sent::Float(value) => (0, value.to_bits()),
                    Sent::Signed(value) => (1, value.cast_unsigned()),
                    Sent::Unsigned(value) => (2, value),
                    Sent::Boolean(value) => (3, u64::from(value)),
                    Sent::Hash(hash) => (4, hash),
                };
                put_v(kind, out);
                out.extend_from_slice(&bits.to_le_bytes());
            }
        }
    }

    pub(super) fn get(
        settings: Vec<Settings>,
        input: &mut Input<'_>,
        budget: &mut Budget,
    ) -> Result<Self, StateError> {
        let mut deadband = Self::new(settings);
        for part in &mut deadband.seed.0 {
            *part = u64::from_le_bytes(input.word()?);
        }
        for _ in 0..input.len()? {
            let key = input.s()?;
            for _ in 0..input.len()? {
                let name = input.text()?;
                let timestamp = input.z()?;
                let (kind, bits) = (input.v()?, u64::from_le_bytes(input.word()?));
                let value = match kind {
                    0 => Sent::Float(f64::from_bits(bits)),
                    1 => Sent::Signed(bits.cast_signed()),
                    2 => Sent::Unsigned(bits),
                    3 => Sent::Boolean(bits != 0),
                    4 => Sent::Hash(bits),
                    _ => return Err(StateError::Damaged),
                };
                deadband.put_field(key, name, Last { timestamp, value });
            }
        }
        for (key, series) in &deadband.series {
            budget.take_anyway(bytes_of(key, series));
        }
        Ok(deadband)
    }
}

fn bytes_of(key: &[u8], series: &Series) -> usize {
    let names: usize = series.fields.iter().map(|(name, _)| FIELD_BYTES + name.len()).sum();
    SERIES_BYTES + key.len() + names
}

fn find<'m>(
    map: &'m mut HashMap<Box<[u8]>, Series, Seeded>,
    generation: bool,
    key: &[u8],
    name: &str,
) -> Option<&'m mut Last> {
    let series = map.get_mut(key)?;
    series.generation = generation;
    series.fields.iter_mut().find(|(field, _)| **field == *name).map(|(_, last)| last)
}

impl Settings {
    fn is_moved(&self, last: &Last, now: &Last) -> bool {
        let silence = now.timestamp.abs_diff(last.timestamp);
        let is_silent = |max: Duration| u128::from(silence) >= max.as_nanos();
        self.max_silence.is_some_and(is_silent) || !self.is_within(last.value, now.value)
    }

    #[expect(clippy::cast_precision_loss, reason = "a distance to compare with a threshold")]
    fn is_within(&self, last: Sent, now: Sent) -> bool {
        let (distance, size) = match (last, now) {
            (Sent::Float(last), Sent::Float(now)) => ((now - last).abs(), last.abs()),
            (Sent::Signed(last), Sent::Signed(now)) => {
                (now.abs_diff(last) as f64, last.unsigned_abs() as f64)
            }
            (Sent::Unsigned(last), Sent::Unsigned(now)) => (now.abs_diff(last) as f64, last as f64),
            (last, now) => return last == now,
        };
        distance <= self.absolute.max(size * self.percent / 100.0)
    }
}
