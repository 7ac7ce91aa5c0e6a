//! A page that cannot be read: waited for, and lost in the end.

use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

use super::{Fetcher, Open, Step};
use crate::PositionAlarm;
use crate::scan::Stuck;
use crate::segment;

/// A page that cannot be read may be a cable, or a disk that is busy with itself: only after so long
/// and so many tries it counts as lost.
const UNREADABLE_MAX: Duration = Duration::from_mins(1);
const TRIES_MIN: u32 = 5;

/// For a page of the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    segment: u64,
    at: u64,
    since: Instant,
    tries: u32,
}

impl Fetcher {
    /// Stops before a page that cannot be read, for a while; then what is in it is lost.
    pub(super) fn wait_for(&mut self, open: &mut Open, stuck: Stuck) -> Step {
        let (segment, at) = (open.segment.id, stuck.at);
        let waiting = match self.waiting {
            Some(it) if (it.segment, it.at) == (segment, at) => {
                Waiting { tries: it.tries + 1, ..it }
            }
            _ => Waiting { segment, at, since: Instant::now(), tries: 1 },
        };
        self.waiting = Some(waiting);
        if self.is_given_up()
            || waiting.tries < TRIES_MIN
            || waiting.since.elapsed() < UNREADABLE_MAX
        {
            self.stop_at(segment, PositionAlarm::Stopped, "a page that cannot be read");
            return Step::Stop;
        }
        error!(segment = segment::name(segment), at, "a page stays unreadable: it counts as lost");
        open.segment.keep();
        open.scan.stop_at_unreadable(stuck.to);
        Step::Nothing
    }
}
