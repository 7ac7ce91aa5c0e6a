//! Readings that were stamped before the clock could be believed: they wait until it is decided what
//! becomes of them, and leave with the right time, or with a mark that says that nobody knows it.
//!
//! Promises: nothing of a frame leaves before every epoch in it is decided, and each time that the
//! frame comes again it leaves with the same times. Intake and acknowledgements go on meanwhile.

use journal::clock::BELIEVED;
use journal::{Epochs, Frame, Stamps};
use proto::Timestamp;
use proto::frame::{Restamp, restamp, shifted};
use tokio_util::sync::CancellationToken;

use super::stats::Stats;

/// Of a reading whose time nobody knows.
pub const MARK: Restamp<'static> = Restamp::Mark { key: "clock", value: "unsure" };

/// What an output knows of the clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    pub epochs: Epochs,
    /// Nothing is decided any more: what waits stays in the journal.
    pub stop: CancellationToken,
}

/// The gateway stops while a frame waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Clock {
    /// Whether there is something to wait for or to put right. Nearly never.
    pub fn concerns(frame: &Frame) -> bool {
        epochs(frame).any(|epoch| epoch > BELIEVED)
    }

    /// The first epoch in the frame that is not decided.
    pub fn awaited(&self, frame: &Frame) -> Option<u32> {
        epochs(frame).find(|epoch| self.epochs.of(*epoch) == Stamps::Waiting)
    }

    /// Waits until that epoch is decided. Cancel safe.
    pub async fn decided(&self, epoch: u32) -> Result<(), Stopped> {
        let decided = self.stop.run_until_cancelled(self.epochs.decided(epoch)).await;
        decided.ok_or(Stopped)
    }

    /// The frame with the times that it leaves with; all its epochs are decided.
    pub fn put_right(&self, frame: &Frame, stats: &Stats) -> Frame {
        frame.rewritten(|submission| {
            let mut readings = Vec::with_capacity(submission.bytes.len() + 64);
            match self.epochs.of(submission.clock_epoch) {
                Stamps::Right | Stamps::Waiting => None,
                Stamps::Correct(by) => {
                    let stamped = restamp(submission.bytes, Restamp::Shift(by), &mut readings);
                    stats.stamps_corrected.inc_by(stamped.into());
                    let arrival = shifted(Timestamp::from_nanos(submission.arrival_ns), by);
                    Some((arrival.nanos(), readings))
                }
                Stamps::Unsure => {
                    let stamped = restamp(submission.bytes, MARK, &mut readings);
                    stats.stamps_unsure.inc_by(stamped.into());
                    Some((submission.arrival_ns, readings))
                }
            }
        })
    }
}

fn epochs(frame: &Frame) -> impl Iterator<Item = u32> {
    frame.submissions().filter_map(Result::ok).map(|submission| submission.clock_epoch)
}
