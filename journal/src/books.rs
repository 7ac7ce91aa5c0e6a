//! The intake's books: cumulative counts since the journal was made, kept in frames and segment
//! headers so that they survive a crash.

use crate::Counts;
use crate::Kind;
use crate::segment::{self, Header};

/// Counts since the journal's first frame. `journaled + refused + filtered + duplicate + dropped`
/// is what intake received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Readings in `data` frames.
    pub journaled: u64,
    /// Readings that entries of `rejected` frames stand for.
    pub rejected: u64,
    pub refused: u64,
    pub filtered: u64,
    pub duplicate: u64,
    pub dropped: u64,
}

impl Books {
    pub(crate) fn count(&mut self, counts: &Counts) {
        self.refused = self.refused.saturating_add(counts.refused);
        self.filtered = self.filtered.saturating_add(counts.filtered);
        self.duplicate = self.duplicate.saturating_add(counts.duplicate);
        self.dropped = self.dropped.saturating_add(counts.dropped);
    }

    /// Readings of a frame of this kind.
    pub(crate) fn count_frame(&mut self, kind: Kind, readings: u32) {
        match kind {
            Kind::Data => self.journaled = self.journaled.saturating_add(u64::from(readings)),
            Kind::Rejected => self.rejected = self.rejected.saturating_add(u64::from(readings)),
            Kind::Clock => {}
        }
    }

    pub(crate) fn plus(&self, more: &Self) -> Self {
        self.with(more, u64::saturating_add)
    }

    /// By how much they are beyond others.
    fn beyond(&self, others: &Self) -> Self {
        self.with(others, u64::saturating_sub)
    }

    fn with(&self, other: &Self, both: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            journaled: both(self.journaled, other.journaled),
            rejected: both(self.rejected, other.rejected),
            refused: both(self.refused, other.refused),
            filtered: both(self.filtered, other.filtered),
            duplicate: both(self.duplicate, other.duplicate),
            dropped: both(self.dropped, other.dropped),
        }
    }

    /// An output has passed so many: they were journaled, even if their frames are gone by now.
    pub(crate) fn at_least(&mut self, kind: Kind, readings: u64) {
        match kind {
            Kind::Data => self.journaled = self.journaled.max(readings),
            Kind::Rejected => self.rejected = self.rejected.max(readings),
            Kind::Clock => {}
        }
    }

    /// What a reader of this kind of frames has had on its way.
    pub(crate) fn of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Data => self.journaled,
            Kind::Rejected => self.rejected,
            Kind::Clock => 0,
        }
    }
}

/// What segments do not count because whoever began them could not read an earlier one: a disk that
/// failed for a while, a release that did not know it. By the time that it can be read, the books of those
/// behind it are too low by what is in it.
#[derive(Debug, Default)]
pub(crate) struct Uncounted {
    is_after_leap: bool,
}

impl Uncounted {
    /// What the segment that comes next lacks, which begins with those books. `after`: the books after
    /// the segments before it, with what those lacked.
    pub(crate) fn before(&mut self, next: &Header, after: &Books) -> Books {
        self.is_after_leap |= segment::is_after_leap(next.id, next.first_seq);
        if self.is_after_leap { after.beyond(&next.books) } else { Books::default() }
    }
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.refused = self.refused.saturating_add(other.refused);
        self.filtered = self.filtered.saturating_add(other.filtered);
        self.duplicate = self.duplicate.saturating_add(other.duplicate);
        self.dropped = self.dropped.saturating_add(other.dropped);
    }

    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}
