//! The binary frame: on the wire, and (its body) in the journal.

use crate::{Context, Reading, ReadingRef, Readings, Rejects};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct FrameError {
    pub at: usize,
    pub what: std::borrow::Cow<'static, str>,
}

/// Walks readings in frame form (the body of our own frames, as the journal keeps them).
#[derive(Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// `bytes`: readings one after another, no frame header.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next reading, borrowed from the bytes and this cursor's scratch.
    #[expect(clippy::should_implement_trait, reason = "lends from itself")]
    pub fn next(&mut self) -> Option<Result<ReadingRef<'_>, FrameError>> {
        unimplemented!("{:?}", self.bytes)
    }
}

/// Decodes a device's frame: checks it and encodes it anew into `out`, never copies.
pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    unimplemented!("{payload:?} {context:?} {out:?} {bad:?}")
}

/// Encodes a frame as a device would.
pub fn encode(readings: &[Reading], out: &mut Vec<u8>) {
    unimplemented!("{readings:?} {out:?}")
}
