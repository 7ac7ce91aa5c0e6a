//! The one door: route -> decode -> check -> stamp -> encode -> budget -> journal.

pub mod decode;
pub mod route;
pub mod stamp;

use journal::{Appender, Closed, Room, Source, Ticket};
use proto::Rejects;

/// What a payload is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Auto,
    Json,
    Plain,
    Line,
    Frame,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub reading: proto::Limits,
    pub json_depth_max: usize,
    pub json_keys_max: usize,
    /// Bytes in flight between the sockets and the journal, over all connections.
    pub budget_bytes: usize,
    /// Bytes of a refused payload that a dead letter keeps.
    pub rejected_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reading: proto::Limits::default(),
            json_depth_max: 32,
            json_keys_max: 1024,
            budget_bytes: 32 * 1024 * 1024,
            rejected_bytes_max: 16 * 1024,
        }
    }
}

/// Shared by all listeners and collectors; clones are cheap.
#[derive(Clone, Debug)]
pub struct Intake {
    appender: Appender,
}

/// A payload whose format the endpoint knows (HTTP, WebSocket), without a topic to route by.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    pub bytes: &'a [u8],
    pub format: Format,
    pub precision: Option<proto::Precision>,
    /// `?device=`.
    pub device: Option<&'a str>,
    /// A JSON or plain reading without a device is refused.
    pub device_required: bool,
    /// Path of the endpoint, for the dead letter.
    pub path: &'a str,
}

/// What became of one payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub readings: u32,
    pub refused: u64,
    /// A command, config or log topic: taken note of, nothing stored, not a refusal.
    pub filtered: bool,
}

/// Gathers what one socket read brought into one submission. Owns no buffer until the first reading.
#[derive(Debug)]
pub struct Gather {
    intake: Intake,
}

/// A gathered submission, ready for the journal.
#[derive(Debug)]
pub struct Gathered {
    pub bytes: usize,
}

impl Intake {
    pub fn gather(&self, source: &Source) -> Gather {
        unimplemented!("{source:?}")
    }

    /// Waits for room in the byte budget, then for room in the journal's queue. Cancelled or
    /// failed: the ticket drops and its mark breaks.
    pub async fn submit(&self, gathered: Gathered) -> Result<(), Closed> {
        drop(gathered);
        std::future::pending().await
    }

    pub fn room(&self) -> Room {
        self.appender.room()
    }

    pub fn watch_room(&self) -> tokio::sync::watch::Receiver<Room> {
        self.appender.watch_room()
    }

    /// QoS 0 messages given up while the journal was full: into the books.
    pub fn dropped(&self, messages: u64) {
        unimplemented!("{messages}")
    }
}

impl Gather {
    /// Routes and decodes one message. Never fails: what is refused becomes a rejection in the
    /// same submission.
    pub fn message(&mut self, topic: &str, payload: &[u8]) -> Outcome {
        unimplemented!("{topic} {payload:?}")
    }

    /// Decodes a body whose format the endpoint knows.
    pub fn body(&mut self, body: &Body<'_>) -> Outcome {
        unimplemented!("{body:?}")
    }

    /// What was refused of the last payload.
    pub fn rejects(&self) -> &Rejects {
        unimplemented!()
    }

    /// Bytes gathered so far, rejections included.
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }

    /// Nothing in it that must become durable.
    pub fn is_empty(&self) -> bool {
        unimplemented!("{:?}", self.intake)
    }

    pub fn seal(self, ticket: Ticket) -> Gathered {
        unimplemented!("{ticket:?}")
    }
}
