//! The way out: leases in order, receipts in any order, a position that only proof moves.

use bytes::Bytes;

use crate::{RejectedRef, SubmissionRef};

/// A frame's sequence number: rises by one per frame, never reused. The first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    Rejected,
    Clock,
}

/// A frame's payload, decompressed and checked.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: Kind,
    pub schema: u16,
    pub readings: u32,
    pub payload: Bytes,
}

/// A payload of ours that does not parse although its checksum holds: a fault of ours, or a newer
/// schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct PayloadError {
    pub at: usize,
    pub what: &'static str,
}

impl Frame {
    /// The submissions of a `data` frame.
    pub fn submissions(&self) -> impl Iterator<Item = Result<SubmissionRef<'_>, PayloadError>> {
        std::iter::empty()
    }

    /// The entries of a `rejected` frame.
    pub fn rejected(&self) -> impl Iterator<Item = Result<RejectedRef<'_>, PayloadError>> {
        std::iter::empty()
    }
}

/// One frame on loan to one output. Dropping the receipt hands it out again.
#[derive(Debug)]
pub struct Lease {
    pub seq: Seq,
    pub frame: Frame,
    pub receipt: Receipt,
}

/// What became of a lease's readings; an output's books in input readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    pub confirmed: u64,
    pub dead: u64,
    pub dropped: u64,
    pub filtered: u64,
    pub absorbed: u64,
    pub quarantined: u64,
}

/// The right and the duty to say that a lease is done with. Dropped: the frame comes again (the
/// reader goes back to it). Shared: every share must confirm, and their fates add up.
#[derive(Debug)]
#[must_use = "dropping a receipt means the frame is handed out again"]
pub struct Receipt {}

impl Receipt {
    pub fn share(&self) -> Self {
        Self {}
    }

    pub fn confirm(self, fates: &Fates) {
        unimplemented!("{fates:?}")
    }
}

/// One output's way through the journal. Only frames that are durable.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// The next frame in order; after a dropped receipt, from that frame on again. `None` when the
    /// journal's appenders are gone and everything was handed out and settled or confirmed.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Lease> {
        std::future::pending().await
    }

    /// Whether nothing durable waits to be handed out.
    pub fn at_head(&self) -> bool {
        unimplemented!()
    }
}
