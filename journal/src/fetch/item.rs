//! What a reader meets on its way.

use crate::Frame;
use crate::receipt::Fates;
use crate::shared::FrameAt;

/// What lies next on the way.
#[derive(Debug)]
pub(crate) enum Item {
    Frame {
        seq: u64,
        at: FrameAt,
        frame: Frame,
    },
    /// Frames up to `last` that are not handed out.
    Pass {
        last: u64,
        at: FrameAt,
        readings: u64,
        fates: Fates,
    },
    /// The next segment's books: readings of frames that were passed as missing, or readings that
    /// were taken for lost and had never been journaled (torn ones, where the trailer that knew
    /// them is damaged too).
    Correct {
        missing: u64,
        surplus: u64,
    },
}

pub(super) fn is_torn(torn: &[(u64, u64)], seq: u64) -> bool {
    torn.iter().any(|(first, last)| (*first..=*last).contains(&seq))
}

pub(super) fn pass(last: u64, at: FrameAt) -> Item {
    Item::Pass { last, at, readings: 0, fates: Fates::default() }
}

pub(super) fn missing(last: u64, at: FrameAt, readings: u64) -> Item {
    let fates = Fates { quarantined: readings, ..Fates::default() };
    Item::Pass { last, at, readings, fates }
}
