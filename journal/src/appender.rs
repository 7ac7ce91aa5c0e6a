//! The way in: a queue bounded in bytes before the writer's thread.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use tracing::error;

use crate::Submission;
use crate::group;
use crate::queue::Queue;
use crate::shared::Shared;
use crate::submission::SUBMISSION_BYTES_MAX;

/// The journal was shut (or its writer died): nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is closed")]
pub struct Closed;

/// Whether the journal takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Free,
    /// Full under `block`, or unable to write, since then.
    Full {
        since: Instant,
    },
}

/// Shared by all who hand submissions over; clones are cheap. When the last one is dropped, the
/// writer finishes what waits, and the readers come to an end.
#[derive(Clone, Debug)]
pub struct Appender {
    entrance: Arc<Entrance>,
}

#[derive(Debug)]
struct Entrance {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    /// A submission beyond it would not fit into a segment.
    cost_max: usize,
}

impl Appender {
    pub(crate) fn new(queue: Arc<Queue>, shared: Arc<Shared>) -> Self {
        let cost_max = shared.limits.submission_cost_max();
        Self { entrance: Arc::new(Entrance { queue, shared, cost_max }) }
    }

    /// Queues one submission; waits while the queue is full. First come, first served. Cancelled:
    /// the submission drops, its ticket with it, and the mark breaks. So it does when the
    /// submission is larger than its bound allows, which is a fault of the caller's.
    pub async fn append(&self, submission: Submission) -> Result<(), Closed> {
        let cost = group::cost(&submission);
        if submission.bytes.len() > SUBMISSION_BYTES_MAX || cost > self.entrance.cost_max {
            error!(?submission, cost, "a submission beyond its bound is refused");
            return Ok(());
        }
        self.entrance.queue.push(submission).await
    }

    pub fn room(&self) -> Room {
        *self.entrance.shared.room.borrow()
    }

    /// Follows `room`.
    pub fn watch_room(&self) -> watch::Receiver<Room> {
        self.entrance.shared.room.subscribe()
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.queue.close();
    }
}
