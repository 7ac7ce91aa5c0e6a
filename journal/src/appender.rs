//! The way in: a queue bounded in bytes before the writer's thread.

use tokio::time::Instant;

use crate::Submission;

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

#[derive(Clone, Debug)]
pub struct Appender {}

impl Appender {
    /// Queues one submission; waits while the queue is full. First come, first served. Cancelled:
    /// the submission drops, its ticket with it, and the mark breaks.
    pub async fn append(&self, submission: Submission) -> Result<(), Closed> {
        drop(submission);
        std::future::pending().await
    }

    pub fn room(&self) -> Room {
        unimplemented!()
    }

    /// Follows `room`.
    pub fn watch_room(&self) -> tokio::sync::watch::Receiver<Room> {
        unimplemented!()
    }
}
