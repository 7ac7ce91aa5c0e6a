//! A frame's payload: what the writer puts in, what a reader takes out.
//!
//! ```text
//! v = varint (LEB128), s = length v and as many bytes
//!
//! counts     refused v  filtered v  duplicate v  dropped v      since the frame before
//!
//! data       counts, then until the end, for each submission:
//!              arrival i64 LE (ns since 1970)  clock_epoch v  source s  readings v  bytes s
//! rejected   counts, then until the end, for each entry:
//!              arrival i64 LE  source s  topic s  index v  kind s  reason s  readings v  bytes s
//! ```
//! The first frame of a group carries the group's counts, the others zeros. Counts that no readings
//! came along with for a minute go in a `data` frame without submissions.

use bytes::Bytes;

use crate::Counts;
use crate::Rejected;
use crate::RejectedRef;
use crate::Submission;
use crate::SubmissionRef;
use crate::layout::{array_at, put_varint, varint_at};

const SOURCE_BYTES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 1024;
const REJECTED_BYTES_MAX: usize = 256 * 1024;

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
    /// The submissions of a `data` frame; none of another kind. Ends at the first error.
    pub fn submissions(&self) -> impl Iterator<Item = Result<SubmissionRef<'_>, PayloadError>> {
        self.entries(Kind::Data, Fields::submission)
    }

    /// A `data` frame that carries counts and nothing else: no reader has anything to do with it.
    pub(crate) fn is_hollow(&self) -> bool {
        self.kind == Kind::Data && self.readings == 0 && self.submissions().next().is_none()
    }

    /// The same `data` frame, with other content where `rewrite` gives it: when it arrived, and the
    /// readings. What cannot be read stays as it is.
    #[must_use]
    pub fn rewritten(
        &self,
        mut rewrite: impl FnMut(&SubmissionRef<'_>) -> Option<(i64, Vec<u8>)>,
    ) -> Self {
        let bytes: &[u8] = &self.payload;
        let mut fields = Fields { bytes, at: 0 };
        let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4);
        let mut copied = 0;
        if self.kind == Kind::Data && fields.counts().is_ok() {
            while !fields.is_at_end() {
                let start = fields.at;
                let Ok(submission) = fields.submission() else { break };
                let Some((arrival_ns, readings)) = rewrite(&submission) else { continue };
                out.extend_from_slice(bytes.get(copied..start).unwrap_or_default());
                copied = fields.at;
                let SubmissionRef { source, clock_epoch, readings: count, .. } = submission;
                put_fields(&mut out, arrival_ns, clock_epoch, source, count, &readings);
            }
        }
        out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        Self { payload: out.into(), ..*self }
    }

    /// The entries of a `rejected` frame; none of another kind. Ends at the first error.
    pub fn rejected(&self) -> impl Iterator<Item = Result<RejectedRef<'_>, PayloadError>> {
        self.entries(Kind::Rejected, Fields::rejected)
    }

    fn entries<'a, T>(
        &'a self,
        kind: Kind,
        next: impl Fn(&mut Fields<'a>) -> Result<T, PayloadError>,
    ) -> impl Iterator<Item = Result<T, PayloadError>> {
        let bytes = if self.kind == kind { &*self.payload } else { &[] };
        let mut fields = Fields { bytes, at: 0 };
        let mut failed = if bytes.is_empty() { None } else { fields.counts().err() };
        let mut ended = false;
        std::iter::from_fn(move || {
            if ended || (failed.is_none() && fields.is_at_end()) {
                return None;
            }
            let entry = failed.take().map_or_else(|| next(&mut fields), Err);
            ended = entry.is_err();
            Some(entry)
        })
    }
}

pub(crate) fn put_counts(out: &mut Vec<u8>, counts: &Counts) {
    for count in [counts.refused, counts.filtered, counts.duplicate, counts.dropped] {
        put_varint(out, count);
    }
}

/// The counts at the head of a `data` or `rejected` payload.
pub(crate) fn counts(payload: &[u8]) -> Option<Counts> {
    Fields { bytes: payload, at: 0 }.counts().ok()
}

pub(crate) fn put_submission(out: &mut Vec<u8>, submission: &Submission) {
    let Submission { arrival_ns, clock_epoch, source, readings, bytes, .. } = submission;
    put_fields(out, *arrival_ns, *clock_epoch, source, *readings, bytes);
}

fn put_fields(
    out: &mut Vec<u8>,
    arrival_ns: i64,
    clock_epoch: u32,
    source: &str,
    readings: u32,
    bytes: &[u8],
) {
    out.extend_from_slice(&arrival_ns.to_le_bytes());
    put_varint(out, u64::from(clock_epoch));
    put_bytes(out, cut(source, SOURCE_BYTES_MAX).as_bytes());
    put_varint(out, u64::from(readings));
    put_bytes(out, bytes);
}

pub(crate) fn put_rejected(out: &mut Vec<u8>, submission: &Submission, rejected: &Rejected) {
    out.extend_from_slice(&submission.arrival_ns.to_le_bytes());
    put_bytes(out, cut(&submission.source, SOURCE_BYTES_MAX).as_bytes());
    put_bytes(out, cut(&rejected.topic, TEXT_BYTES_MAX).as_bytes());
    put_varint(out, u64::from(rejected.index));
    put_bytes(out, cut(rejected.kind, SOURCE_BYTES_MAX).as_bytes());
    put_bytes(out, cut(&rejected.reason, TEXT_BYTES_MAX).as_bytes());
    put_varint(out, rejected.readings);
    let kept = rejected.bytes.get(..REJECTED_BYTES_MAX).unwrap_or(&rejected.bytes);
    put_bytes(out, kept);
}

/// At most so many bytes go in for this submission's data, everything included.
pub(crate) fn submission_len_max(submission: &Submission) -> usize {
    submission.bytes.len() + SOURCE_BYTES_MAX + 32
}

pub(crate) fn rejected_len_max(rejected: &Rejected) -> usize {
    rejected.bytes.len().min(REJECTED_BYTES_MAX) + 2 * TEXT_BYTES_MAX + 2 * SOURCE_BYTES_MAX + 48
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The longest prefix within the limit that does not split a character.
fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn counts(&mut self) -> Result<Counts, PayloadError> {
        Ok(Counts {
            refused: self.varint("counts")?,
            filtered: self.varint("counts")?,
            duplicate: self.varint("counts")?,
            dropped: self.varint("counts")?,
        })
    }

    fn submission(&mut self) -> Result<SubmissionRef<'a>, PayloadError> {
        Ok(SubmissionRef {
            arrival_ns: self.i64("arrival")?,
            clock_epoch: self.u32("clock epoch")?,
            source: self.text("source")?,
            readings: self.u32("readings")?,
            bytes: self.slice("bytes")?,
        })
    }

    fn rejected(&mut self) -> Result<RejectedRef<'a>, PayloadError> {
        Ok(RejectedRef {
            arrival_ns: self.i64("arrival")?,
            source: self.text("source")?,
            topic: self.text("topic")?,
            index: self.u32("index")?,
            kind: self.text("kind")?,
            reason: self.text("reason")?,
            readings: self.varint("readings")?,
            bytes: self.slice("bytes")?,
        })
    }

    fn i64(&mut self, what: &'static str) -> Result<i64, PayloadError> {
        let value = array_at(self.bytes, self.at).ok_or(PayloadError { at: self.at, what })?;
        self.at += 8;
        Ok(i64::from_le_bytes(value))
    }

    fn varint(&mut self, what: &'static str) -> Result<u64, PayloadError> {
        let (value, len) =
            varint_at(self.bytes, self.at).ok_or(PayloadError { at: self.at, what })?;
        self.at += len;
        Ok(value)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, PayloadError> {
        let at = self.at;
        u32::try_from(self.varint(what)?).map_err(|_| PayloadError { at, what })
    }

    fn slice(&mut self, what: &'static str) -> Result<&'a [u8], PayloadError> {
        let at = self.at;
        let wrong = PayloadError { at, what };
        let len = usize::try_from(self.varint(what)?).map_err(|_| wrong.clone())?;
        let end = self.at.checked_add(len).ok_or_else(|| wrong.clone())?;
        let slice = self.bytes.get(self.at..end).ok_or(wrong)?;
        self.at = end;
        Ok(slice)
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, PayloadError> {
        let at = self.at;
        std::str::from_utf8(self.slice(what)?).map_err(|_| PayloadError { at, what })
    }
}

#[cfg(test)]
mod tests;
