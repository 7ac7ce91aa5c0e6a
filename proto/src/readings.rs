//! The one encoder: readings in, frame form out. Checks limits and names, sorts tags.
//!
//! What it decides, for every format alike:
//! - a tag given twice: the first one counts (a decoder puts the context's tags first, so that they
//!   win; a format in which a device's own tags may not repeat says so itself);
//! - a field given twice: the last one counts, as in InfluxDB and in JSON;
//! - a tag without a value is left out: to InfluxDB it is the same as no such tag;
//! - a reading without a time gets a place of eight bytes, which `stamp` fills in.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    ops::Range,
};

use crate::{
    Kind, ReadingRef, Reason, Rejects, Time, Timestamp, ValueRef,
    frame::wire,
    names,
    scratch::{Scratch, reuse},
    timestamp::text::out_of_range,
};

/// Limits on one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the reading in frame form.
    pub reading_bytes_max: usize,
    pub tags_max: usize,
    pub fields_max: usize,
    /// Of measurement, tag names and field names.
    pub name_bytes_max: usize,
    /// A whole MQTT topic is a tag value on the default route.
    pub tag_value_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reading_bytes_max: 64 * 1024,
            tags_max: 64,
            fields_max: 256,
            name_bytes_max: 256,
            tag_value_bytes_max: 1024,
        }
    }
}

/// Encoded readings, one after another, in one buffer that is reused.
#[derive(Debug)]
pub struct Readings {
    limits: Limits,
    bytes: Vec<u8>,
    count: u32,
    /// `bytes.len()` and `count` at `begin`.
    begun: (usize, u32),
    stamps: Stamps,
    tags: Vec<(&'static str, &'static str)>,
    fields: Vec<(&'static str, ValueRef<'static>)>,
    /// For the decoders.
    pub(crate) scratch: Scratch,
}

/// Where a reading stands in its payload, for what is refused of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which reading of the payload, from 0.
    pub index: u32,
    /// Its bytes in the payload; empty for the whole.
    pub span: Range<usize>,
}

impl Readings {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            bytes: Vec::new(),
            count: 0,
            begun: (0, 0),
            stamps: Stamps::default(),
            tags: Vec::new(),
            fields: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Starts a payload: `Time::Unknown` readings pushed from here on are stamped together by
    /// `stamp`; a mark to roll back to.
    pub fn begin(&mut self) {
        debug_assert!(self.stamps.places.is_empty(), "the payload before was not stamped");
        self.begun = (self.bytes.len(), self.count);
        self.stamps.clear();
    }

    /// Checks and appends one reading; ages count back from `arrival`. On error nothing was
    /// appended. Not finite floats must have been left out by the decoder; here they are an error.
    pub fn push(&mut self, reading: &ReadingRef<'_>, arrival: Timestamp) -> Result<(), Reason> {
        self.append(reading, arrival, &mut |_, reason| Err(reason))
    }

    /// As `push`, but a bad field costs only itself, and what is refused goes to `bad`. True if the
    /// reading was taken. The door for decoders.
    pub fn offer(
        &mut self,
        reading: &ReadingRef<'_>,
        arrival: Timestamp,
        place: Place,
        bad: &mut Rejects,
    ) -> bool {
        let mut left_out: Vec<(String, Reason)> = Vec::new();
        let taken = self.append(reading, arrival, &mut |name, reason| {
            left_out.push((names::short(name), reason));
            Ok(())
        });
        match taken {
            Ok(()) => {
                for (name, reason) in left_out {
                    bad.field(place.index, &name, reason);
                }
                true
            }
            Err(reason) => {
                let why = left_out.into_iter().next().map(|(_, reason)| reason);
                let reason =
                    if reason.kind == Kind::NoFields { why.unwrap_or(reason) } else { reason };
                bad.reading(place.index, place.span, reason);
                false
            }
        }
    }

    /// How many distinct stamps this payload wants: 0 if every reading has a time, 1 normally, one
    /// more for each repetition of a series.
    pub fn stamps_wanted(&self) -> u32 {
        self.stamps.wanted
    }

    /// How many readings of this payload wait for a stamp.
    pub fn unstamped(&self) -> usize {
        self.stamps.places.len()
    }

    /// Writes the stamps of this payload: `first`, and one nanosecond more per repetition of a series.
    pub fn stamp(&mut self, first: Timestamp) {
        for place in &self.stamps.places {
            let stamp = first.nanos().saturating_add(i64::from(place.nth)).to_le_bytes();
            if let Some(bytes) = self.bytes.get_mut(place.at..place.at + stamp.len()) {
                bytes.copy_from_slice(&stamp);
            }
        }
        self.stamps.clear();
    }

    /// Forgets what was pushed since `begin` (a decoder that panicked, a payload refused whole).
    pub fn roll_back(&mut self) {
        self.bytes.truncate(self.begun.0);
        self.count = self.begun.1;
        self.stamps.clear();
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Readings pushed since `begin`.
    pub fn count_since_begin(&self) -> u32 {
        self.count - self.begun.1
    }

    /// What was pushed since `begin`, in frame form.
    pub fn bytes_since_begin(&self) -> &[u8] {
        self.bytes.get(self.begun.0..).unwrap_or_default()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Hands over the buffer and starts an empty one, which owns nothing until the next reading.
    pub fn take(&mut self) -> (Vec<u8>, u32) {
        debug_assert!(
            self.stamps.places.is_empty(),
            "stamp first: these readings have no time yet"
        );
        self.begun = (0, 0);
        self.stamps.clear();
        (mem::take(&mut self.bytes), mem::take(&mut self.count))
    }

    /// Forgets everything, and keeps the buffer.
    pub fn clear(&mut self) {
        self.begun = (0, 0);
        self.bytes.clear();
        self.count = 0;
        self.stamps.clear();
    }

    fn append(
        &mut self,
        reading: &ReadingRef<'_>,
        arrival: Timestamp,
        on_bad_field: &mut OnBadField<'_>,
    ) -> Result<(), Reason> {
        let mut tags = reuse(mem::take(&mut self.tags));
        let mut fields = reuse(mem::take(&mut self.fields));
        let checked = choose_tags(reading.tags, &self.limits, &mut tags)
            .and_then(|()| choose_fields(reading.fields, &self.limits, &mut fields, on_bad_field))
            .and_then(|()| self.encode(reading, &tags, &fields, arrival));
        self.tags = reuse(tags);
        self.fields = reuse(fields);
        checked
    }

    fn encode(
        &mut self,
        reading: &ReadingRef<'_>,
        tags: &[(&str, &str)],
        fields: &[(&str, ValueRef<'_>)],
        arrival: Timestamp,
    ) -> Result<(), Reason> {
        names::measurement(reading.measurement, &self.limits)?;
        let time = settle(reading.time, arrival)?;
        self.small_enough(size_at_least(reading.measurement, tags, fields))?;

        let start = self.bytes.len();
        wire::put_series(reading.measurement, tags, &mut self.bytes);
        let series = start..self.bytes.len();
        wire::put_time(time.unwrap_or(Time::Stamped(Timestamp::UNIX_EPOCH)), &mut self.bytes);
        let after_time = self.bytes.len();
        wire::put_fields(fields, &mut self.bytes);
        if let Err(reason) = self.small_enough(self.bytes.len() - start) {
            self.bytes.truncate(start);
            return Err(reason);
        }
        if time.is_none() {
            self.stamps.wait(&self.bytes, series, after_time - mem::size_of::<i64>());
        }
        self.count += 1;
        Ok(())
    }

    fn small_enough(&self, bytes: usize) -> Result<(), Reason> {
        let allowed = self.limits.reading_bytes_max;
        if bytes <= allowed {
            return Ok(());
        }
        let text = format!("the reading is more than {allowed} bytes, the most allowed");
        Err(Reason::new(Kind::Limit, text))
    }
}

/// Said of a field that cannot be taken: an error refuses the reading, `Ok` goes on without it.
type OnBadField<'f> = dyn FnMut(&str, Reason) -> Result<(), Reason> + 'f;

/// Sorted by key, unique, none without a value.
fn choose_tags<'r>(
    given: &[(&'r str, &'r str)],
    limits: &Limits,
    tags: &mut Vec<(&'r str, &'r str)>,
) -> Result<(), Reason> {
    for &(key, value) in given.iter().filter(|(_, value)| !value.is_empty()) {
        names::tag(key, value, limits)?;
        tags.push((key, value));
        if tags.len() > limits.tags_max {
            return Err(too_many("tags", limits.tags_max));
        }
    }
    if !tags.is_sorted_by(|a, b| a.0 < b.0) {
        tags.sort_by_key(|&(key, _)| key); // Stable: of two, the first stays first.
        tags.dedup_by_key(|&mut (key, _)| key);
    }
    Ok(())
}

fn choose_fields<'r>(
    given: &[(&'r str, ValueRef<'r>)],
    limits: &Limits,
    fields: &mut Vec<(&'r str, ValueRef<'r>)>,
    on_bad_field: &mut OnBadField<'_>,
) -> Result<(), Reason> {
    for &(name, value) in given {
        if let Err(reason) = names::field(name, limits).and_then(|()| storable(value, limits)) {
            on_bad_field(name, reason)?;
        } else if let Some(earlier) = fields.iter_mut().find(|(earlier, _)| *earlier == name) {
            earlier.1 = value;
        } else if fields.len() < limits.fields_max {
            fields.push((name, value));
        } else {
            return Err(too_many("fields", limits.fields_max));
        }
    }
    if fields.is_empty() {
        return Err(Reason::new(Kind::NoFields, "the reading has no field"));
    }
    Ok(())
}

fn too_many(what: &str, allowed: usize) -> Reason {
    Reason::new(Kind::Limit, format!("more than {allowed} {what}, the most allowed"))
}

fn storable(value: ValueRef<'_>, limits: &Limits) -> Result<(), Reason> {
    match value {
        ValueRef::Float(value) if !value.is_finite() => {
            Err(Reason::new(Kind::Value, "not a finite number"))
        }
        ValueRef::Text(text) if text.len() > limits.reading_bytes_max => {
            let text = format!("a text of {} bytes, more than a reading may have", text.len());
            Err(Reason::new(Kind::Limit, text))
        }
        _ => Ok(()),
    }
}

/// `None`: to be stamped.
fn settle(time: Time, arrival: Timestamp) -> Result<Option<Time>, Reason> {
    let settled = match time {
        Time::Unknown => return Ok(None),
        Time::At(at) => Time::At(at),
        Time::Stamped(at) => Time::Stamped(at),
        // By our clock: right or wrong as that was.
        Time::Age(age) => Time::Stamped(arrival.checked_sub(age).unwrap_or(Timestamp::MIN)),
    };
    match settled {
        Time::At(at) | Time::Stamped(at) if !at.is_storable() => Err(out_of_range()),
        _ => Ok(Some(settled)),
    }
}

/// Before anything is written, so that a giant never makes the buffer grow.
fn size_at_least(
    measurement: &str,
    tags: &[(&str, &str)],
    fields: &[(&str, ValueRef<'_>)],
) -> usize {
    let tags: usize = tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    let texts = fields.iter().map(|(name, value)| match value {
        ValueRef::Text(text) => name.len() + text.len(),
        _ => name.len(),
    });
    measurement.len() + tags + texts.sum::<usize>()
}

/// The places that wait for a stamp, and which repetition of its series each is.
#[derive(Debug, Default)]
struct Stamps {
    places: Vec<Waiting>,
    wanted: u32,
    /// How often a series was seen, by its hash: two series that collide only spend a nanosecond.
    seen: HashMap<u64, u32>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Waiting {
    at: usize,
    nth: u32,
    series: Range<usize>,
}

impl Stamps {
    /// A payload with one reading, the usual one, is never hashed.
    fn wait(&mut self, bytes: &[u8], series: Range<usize>, at: usize) {
        if let [only] = self.places.as_slice() {
            let first = only.series.clone();
            self.repetition(bytes.get(first));
        }
        let nth =
            if self.places.is_empty() { 0 } else { self.repetition(bytes.get(series.clone())) };
        self.wanted = self.wanted.max(nth + 1);
        self.places.push(Waiting { at, nth, series });
    }

    fn repetition(&mut self, series: Option<&[u8]>) -> u32 {
        let times = self.seen.entry(self.hasher.hash_one(series)).or_default();
        let nth = *times;
        *times += 1;
        nth
    }

    fn clear(&mut self) {
        const KEPT_MAX: usize = 1024;
        self.wanted = 0;
        self.places.clear();
        self.places.shrink_to(KEPT_MAX);
        self.seen.clear();
        self.seen.shrink_to(KEPT_MAX);
    }
}

#[cfg(test)]
mod tests;
