//! The intake's books: cumulative counts since the journal was made, kept in frames and segment
//! headers so that they survive a crash.

use crate::Counts;
use crate::Kind;

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
