//! The one encoder: readings in, frame form out. Checks limits, sorts tags.

use crate::{ReadingRef, Reason, Timestamp};

/// Limits on one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub reading_bytes_max: usize,
    pub tags_max: usize,
    pub fields_max: usize,
    pub name_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reading_bytes_max: 64 * 1024, tags_max: 64, fields_max: 256, name_bytes_max: 256 }
    }
}

/// Encoded readings, one after another, in one buffer that is reused.
#[derive(Debug)]
pub struct Readings {
    limits: Limits,
}

impl Readings {
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Starts a payload: `Time::Unknown` readings pushed from here on are stamped together by
    /// `stamp`; a mark to roll back to.
    pub fn begin(&mut self) {
        unimplemented!()
    }

    /// Checks and appends one reading. On error nothing was appended. Not finite floats must have
    /// been left out by the decoder; here they are an error.
    pub fn push(&mut self, reading: &ReadingRef<'_>, arrival: Timestamp) -> Result<(), Reason> {
        unimplemented!("{reading:?} {arrival:?} {:?}", self.limits)
    }

    /// How many distinct stamps this payload wants: 0 if every reading has a time, 1 normally, one
    /// more for each repetition of a series.
    pub fn stamps_wanted(&self) -> u32 {
        unimplemented!()
    }

    /// Writes the stamps of this payload: `first`, and one nanosecond more per repetition of a series.
    pub fn stamp(&mut self, first: Timestamp) {
        unimplemented!("{first:?}")
    }

    /// Forgets what was pushed since `begin` (a decoder that panicked, a payload refused whole).
    pub fn roll_back(&mut self) {
        unimplemented!()
    }

    pub fn count(&self) -> u32 {
        unimplemented!()
    }

    /// Readings pushed since `begin`.
    pub fn count_since_begin(&self) -> u32 {
        unimplemented!()
    }

    pub fn bytes(&self) -> &[u8] {
        unimplemented!()
    }

    /// Hands over the buffer and starts an empty one.
    pub fn take(&mut self) -> (Vec<u8>, u32) {
        unimplemented!()
    }
}
