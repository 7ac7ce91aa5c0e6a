//! What a reader misses: which frames, how many readings, and what is said of it.

use tracing::error;

use super::{Fetcher, Item, Open, is_torn, missing};
use crate::catalog::Segment;
use crate::frame::FrameHeader;
use crate::quarantine;
use crate::segment;
use crate::shared::FrameAt;

/// A group has no more frames than this, so a gap that is larger is not a torn one.
const TORN_GAP_MAX: u64 = 1 << 16;

impl Fetcher {
    /// At a segment's first frame: its header tells how many readings came before.
    pub(super) fn compare_books(&mut self, segment: &Segment) -> Option<Item> {
        let journaled = segment.books.of(self.kind);
        if segment.first_seq != self.next || journaled == self.readings {
            return None;
        }
        let missing = journaled.saturating_sub(self.readings);
        let surplus = self.readings.saturating_sub(journaled);
        self.readings = journaled;
        Some(Item::Correct { missing, surplus })
    }

    /// The payload is lost, the header says of how many readings.
    pub(super) fn damaged(&mut self, header: &FrameHeader, at: FrameAt) -> Item {
        self.name_missing(header.seq, "damaged payload");
        self.next = header.seq + 1;
        self.readings += u64::from(header.readings);
        missing(header.seq, at, u64::from(header.readings))
    }

    /// Frames missing before this one, or at the segment's end; keeps what lies in their place.
    pub(super) fn gap_within(&mut self, open: &mut Open, upto: Option<u64>) -> Option<Item> {
        let upto = upto.unwrap_or_else(|| open.segment.last() + 1);
        let garbage = std::mem::take(&mut open.garbage);
        let (item, is_news) = self.gap(&open.segment, upto)?;
        if is_news {
            for (from, to) in garbage {
                quarantine::keep(&self.shared, open.segment.id, from, to);
            }
        }
        Some(item)
    }

    /// Missing from `next` up to before `upto`: never acknowledged, or lost. The second value says
    /// whether a loss is news.
    pub(super) fn gap(&mut self, segment: &Segment, upto: u64) -> Option<(Item, bool)> {
        if upto <= self.next {
            return None;
        }
        let mut is_news = false;
        let torn = segment.extent().torn;
        let is_torn = |seq| is_torn(&torn, seq);
        // Behind what could not be read when the journal was opened, numbers go on far away.
        let is_leap =
            upto == segment.first_seq && segment::is_after_leap(segment.id, segment.first_seq);
        if !is_leap && (upto - self.next > TORN_GAP_MAX || !(self.next..upto).all(is_torn)) {
            is_news = self.name_missing(upto - 1, "missing frames");
        }
        self.next = upto;
        let at = FrameAt { segment: segment.id, offset: segment::HEADER_END };
        Some((missing(upto - 1, at, 0), is_news))
    }

    /// Says that acknowledged frames are gone; `false` if that was known.
    pub(super) fn name_missing(&self, last: u64, what: &'static str) -> bool {
        let first = self.next;
        let is_new = self.shared.name_gap(first, last);
        if is_new {
            error!(first, last, what, "frames of the journal are lost");
        }
        is_new
    }
}
