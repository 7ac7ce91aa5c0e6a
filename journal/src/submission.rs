//! What is handed to the journal, and what comes back out of a frame.

use std::{any::Any, sync::Arc};

use bytes::Bytes;

use crate::Ticket;

/// A submission's `bytes` may not be longer: a larger body becomes several, under one mark.
pub const SUBMISSION_BYTES_MAX: usize = 1024 * 1024;

/// Where a submission came from: `mqtt`, `http`, `ws`, `broker:home`. At most 64 bytes are kept.
pub type Source = Arc<str>;

/// The intake's books since the last submission, kept in frames so that they survive a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub refused: u64,
    pub filtered: u64,
    pub duplicate: u64,
    pub dropped: u64,
}

/// One hand-over: what one socket read (or a part of a large body) brought.
pub struct Submission {
    pub source: Source,
    /// Wall clock at arrival, nanoseconds since the Unix epoch.
    pub arrival_ns: i64,
    /// The clock epoch the stamps of this submission belong to.
    pub clock_epoch: u32,
    pub readings: u32,
    /// Readings in frame form, one after another; at most [`SUBMISSION_BYTES_MAX`]. May be empty.
    pub bytes: Vec<u8>,
    /// What intake refused, travelling as a frame of kind `rejected` in the same group.
    pub rejected: Vec<Rejected>,
    pub counts: Counts,
    /// What the sender wants back after a crash (`Journal::notes`), in the same frame as the
    /// readings: both live or die together. Nothing to the journal, not handed to readers; may be
    /// empty.
    pub note: Bytes,
    pub ticket: Ticket,
    /// Held until the submission is durable or dropped: the byte budget's guard.
    pub guard: Option<Box<dyn Any + Send>>,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("source", &self.source)
            .field("readings", &self.readings)
            .finish_non_exhaustive()
    }
}

/// One refused payload, or part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Topic or path; cut to 1 KiB.
    pub topic: String,
    pub index: u32,
    /// The closed-set label of the reason.
    pub kind: &'static str,
    /// Cut to 1 KiB.
    pub reason: String,
    /// The payload or the part that was refused; cut to a bound by intake, to 256 KiB here.
    pub bytes: Vec<u8>,
    /// How many readings this stands for in the books.
    pub readings: u64,
}

/// A submission inside a `data` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmissionRef<'a> {
    pub source: &'a str,
    pub arrival_ns: i64,
    pub clock_epoch: u32,
    pub readings: u32,
    pub bytes: &'a [u8],
}

/// An entry of a `rejected` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectedRef<'a> {
    pub source: &'a str,
    pub arrival_ns: i64,
    pub topic: &'a str,
    pub index: u32,
    pub kind: &'a str,
    pub reason: &'a str,
    pub bytes: &'a [u8],
    pub readings: u64,
}
