//! How far a numbered stream has come, over all its connections.
//!
//! ```text
//! note:   kind u8 = 3 | stream u64 LE | arrival i64 LE | upto u64 LE
//! ```
//! Every message up to `upto` is in the journal's queue or durable, or was refused there; nothing
//! behind it is. That holds because a stream has one connection at a time that may hand on anything,
//! and that one leaves no number out.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Resends, lock};

const KIND: u8 = 3;
const LEN: usize = 25;

#[derive(Debug)]
pub(super) struct Progress {
    pub(super) upto: u64,
    /// The last message of a submission on its way to the journal's queue; one at a time.
    pub(super) offered: Option<u64>,
    /// When something was stored last.
    pub(super) last: Instant,
    /// The connection that may hand on.
    pub(super) holder: u64,
}

/// One connection's hold on a numbered stream.
#[derive(Debug)]
pub struct Stream {
    pub(super) resends: Resends,
    pub(super) key: u64,
    pub(super) progress: Arc<Mutex<Progress>>,
    pub(super) holder: u64,
}

/// A submission on its way to the journal's queue. Dropped: it did not get there.
#[derive(Debug)]
#[must_use = "dropped, it says that the submission did not arrive"]
pub struct Advance(Arc<Mutex<Progress>>);

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self { upto: 0, offered: None, last: now, holder: 0 }
    }
}

impl Stream {
    /// The number of the last message that is stored.
    pub fn upto(&self) -> u64 {
        lock(&self.progress).upto
    }

    /// What the journal keeps beside a submission whose last message is `upto`.
    pub fn note(&self, arrival_ns: i64, upto: u64) -> Bytes {
        note(self.key, arrival_ns, upto)
    }

    /// Before a submission whose last message is `upto` goes to the journal. `None`: the stream has
    /// another connection by now, which will bring all of it again.
    pub fn offer(&self, upto: u64) -> Option<Advance> {
        let mut progress = lock(&self.progress);
        if progress.holder != self.holder {
            return None;
        }
        progress.offered = Some(upto);
        Some(Advance(Arc::clone(&self.progress)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut streams = lock(&self.resends.shared.streams);
        let (is_newest, is_begun) = {
            let progress = lock(&self.progress);
            (progress.holder == self.holder, progress.upto > 0 || progress.offered.is_some())
        };
        if is_newest {
            streams.leave(self.key, &self.progress, is_begun.then_some(&self.progress));
        }
    }
}

impl Advance {
    /// The submission is in the journal's queue.
    pub fn arrived(self, now: Instant) {
        let mut progress = lock(&self.0);
        progress.last = now;
        if let Some(upto) = progress.offered.take() {
            progress.upto = progress.upto.max(upto);
        }
    }
}

impl Drop for Advance {
    fn drop(&mut self) {
        lock(&self.0).offered = None;
    }
}

pub(super) fn note(stream: u64, arrival_ns: i64, upto: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.push(KIND);
    bytes.extend_from_slice(&stream.to_le_bytes());
    bytes.extend_from_slice(&arrival_ns.to_le_bytes());
    bytes.extend_from_slice(&upto.to_le_bytes());
    bytes.into()
}

/// Stream, arrival and number of a note of this kind.
pub(super) fn parse(note: &[u8]) -> Option<(u64, i64, u64)> {
    let (kind, rest) = note.split_first()?;
    let (stream, rest) = rest.split_first_chunk()?;
    let (arrival, rest) = rest.split_first_chunk()?;
    let upto: &[u8; 8] = rest.try_into().ok()?;
    let all =
        (u64::from_le_bytes(*stream), i64::from_le_bytes(*arrival), u64::from_le_bytes(*upto));
    (*kind == KIND).then_some(all)
}
