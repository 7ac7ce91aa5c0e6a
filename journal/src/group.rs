//! A group: what waited, packed into frames, ready to be written at any place in any segment.
//!
//! Submissions are packed in order into frames of about 64 KiB (a larger one is a frame of its
//! own), what intake refused into `rejected` frames after them; from 1 KiB on a payload is
//! compressed. The frames keep their sequence numbers and their grouping however often the group
//! has to be written again; only the checksums change with the segment's salt.

use std::{any::Any, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;
use zstd::{bulk::Compressor, zstd_safe::compress_bound};

use crate::Books;
use crate::Counts;
use crate::Frame;
use crate::Kind;
use crate::Submission;
use crate::Ticket;
use crate::frame::{self, ALIGN, Codec, FRAME_HEADER, FrameHeader, SCHEMA};
use crate::note;
use crate::options::{Limits, PAGE};
use crate::payload;

const ZSTD_LEVEL: i32 = 1;

/// So long may counts wait for readings to go with; a crash loses at most as much of them.
const CARRIED_MAX: Duration = Duration::from_mins(1);

/// What a submission costs beside its bytes: the struct itself, its place in the queue.
const SUBMISSION_OVERHEAD: usize = 256;

/// What is written and synced at once.
#[derive(Default)]
pub(crate) struct Group {
    /// Frames one after another, as they go to the file.
    bytes: Vec<u8>,
    /// Without padding.
    body_len: usize,
    pub(crate) frames: Vec<GroupFrame>,
    /// Intake's counts of this group, in its first frame.
    pub(crate) counts: Counts,
    pub(crate) tickets: Vec<Ticket>,
    /// Dropped when the group is durable, or given up.
    guards: Vec<Box<dyn Any + Send>>,
}

/// A frame in a group.
#[derive(Debug)]
pub(crate) struct GroupFrame {
    pub(crate) seq: u64,
    /// Offset within the group.
    pub(crate) at: usize,
    /// As a reader gets it.
    pub(crate) frame: Frame,
}

/// Packs submissions; keeps its buffers and the compressor between groups.
pub(crate) struct Encoder {
    limits: Limits,
    zstd: Compressor<'static>,
    /// Counts of submissions that had nothing else to write; they go with the next frame, or in
    /// one of their own.
    carried: Counts,
    carried_since: Option<Instant>,
}

/// A frame being filled.
struct Draft {
    kind: Kind,
    payload: Vec<u8>,
    notes: Vec<u8>,
    readings: u32,
    entries: usize,
}

/// What a submission takes of the queue and of a group.
pub(crate) fn cost(submission: &Submission) -> usize {
    let rejected: usize = submission.rejected.iter().map(payload::rejected_len_max).sum();
    submission.bytes.len() + submission.note.len() + rejected + SUBMISSION_OVERHEAD
}

impl Encoder {
    pub(crate) fn new(limits: Limits) -> std::io::Result<Self> {
        Ok(Self {
            limits,
            zstd: Compressor::new(ZSTD_LEVEL)?,
            carried: Counts::default(),
            carried_since: None,
        })
    }

    /// Empties `submissions` into `group`, numbering frames from `durable + 1`.
    pub(crate) fn encode(
        &mut self,
        submissions: &mut Vec<Submission>,
        durable: u64,
        group: &mut Group,
    ) {
        group.clear();
        group.counts = std::mem::take(&mut self.carried);
        for submission in submissions.iter() {
            group.counts.add(&submission.counts);
        }
        let mut data = Draft::new(Kind::Data);
        let mut rejected = Draft::new(Kind::Rejected);
        let mut left: usize = submissions.iter().map(cost).sum();
        for submission in submissions.iter() {
            let has_readings = submission.readings > 0 || !submission.bytes.is_empty();
            if has_readings || !submission.note.is_empty() {
                let len_max =
                    if has_readings { payload::submission_len_max(submission) } else { 0 };
                self.make_room(&mut data, len_max, left, durable, group);
                if has_readings {
                    payload::put_submission(&mut data.payload, submission);
                }
                data.note(&submission.note);
                data.count(submission.readings);
            }
            left = left.saturating_sub(cost(submission));
        }
        self.close(&mut data, durable, group);
        for submission in submissions.iter() {
            for entry in &submission.rejected {
                let len_max = payload::rejected_len_max(entry);
                self.make_room(&mut rejected, len_max, 0, durable, group);
                payload::put_rejected(&mut rejected.payload, submission, entry);
                rejected.count(u32::try_from(entry.readings).unwrap_or(u32::MAX));
            }
        }
        self.close(&mut rejected, durable, group);
        if group.frames.is_empty() {
            self.carry(durable, group);
        } else {
            self.carried_since = None;
        }
        group.body_len = group.bytes.len();
        for submission in submissions.drain(..) {
            if !submission.ticket.is_nobody() {
                group.tickets.push(submission.ticket);
            }
            group.guards.extend(submission.guard);
        }
    }

    /// The last counts, in a frame of their own; `false` if there are none.
    pub(crate) fn encode_carried(&mut self, durable: u64, group: &mut Group) -> bool {
        group.clear();
        group.counts = std::mem::take(&mut self.carried);
        if group.counts.is_zero() {
            return false;
        }
        self.close_counts(durable, group);
        group.body_len = group.bytes.len();
        true
    }

    /// Counts that no frame carries yet.
    pub(crate) fn carried(&self) -> Counts {
        self.carried
    }

    /// Counts alone are not worth a sync each: they wait for readings, but not for ever.
    fn carry(&mut self, durable: u64, group: &mut Group) {
        if group.counts.is_zero() {
            return;
        }
        let since = *self.carried_since.get_or_insert_with(Instant::now);
        if since.elapsed() < CARRIED_MAX {
            self.carried = std::mem::take(&mut group.counts);
        } else {
            self.close_counts(durable, group);
        }
    }

    fn close_counts(&mut self, durable: u64, group: &mut Group) {
        let mut draft = Draft::new(Kind::Data);
        payload::put_counts(&mut draft.payload, &group.counts);
        draft.entries = 1;
        self.close(&mut draft, durable, group);
        self.carried_since = None;
    }

    /// Closes a frame that the next entry would take beyond its size; opens one if there is none.
    fn make_room(
        &mut self,
        draft: &mut Draft,
        len_max: usize,
        left: usize,
        durable: u64,
        group: &mut Group,
    ) {
        let frame_bytes = self.limits.frame_bytes;
        if draft.entries > 0 && draft.payload.len() + len_max > frame_bytes {
            self.close(draft, durable, group);
        }
        if draft.entries == 0 {
            let likely = left.min(frame_bytes).max(len_max) + 64;
            draft.payload = Vec::with_capacity(likely);
            let counts = if group.frames.is_empty() { group.counts } else { Counts::default() };
            payload::put_counts(&mut draft.payload, &counts);
        }
    }

    fn close(&mut self, draft: &mut Draft, durable: u64, group: &mut Group) {
        if draft.entries == 0 {
            return;
        }
        let raw = std::mem::take(&mut draft.payload);
        let notes = std::mem::take(&mut draft.notes);
        let at = group.bytes.len();
        group.bytes.resize(at + FRAME_HEADER, 0);
        let codec = self.store(&raw, &notes, &mut group.bytes);
        let stored = group.bytes.get(at + FRAME_HEADER..).unwrap_or_default();
        let seq = durable + 1 + group.frames.len() as u64;
        let header = FrameHeader {
            stored_len: u32::try_from(stored.len()).unwrap_or(u32::MAX),
            seq,
            durable_upto: durable,
            payload_crc: crc32c::crc32c(stored),
            readings: draft.readings,
            kind: frame::kind_byte(draft.kind),
            codec: codec.byte(),
            schema: SCHEMA,
        };
        header.put(group.bytes.get_mut(at..).unwrap_or_default(), 0);
        group.bytes.resize(group.bytes.len().next_multiple_of(ALIGN), 0);
        let frame = Frame {
            kind: draft.kind,
            schema: SCHEMA,
            readings: draft.readings,
            payload: Bytes::from(raw),
        };
        group.frames.push(GroupFrame { seq, at, frame });
        draft.readings = 0;
        draft.entries = 0;
    }

    /// Appends the payload, compressed if that is worth it, or if notes go before it.
    fn store(&mut self, raw: &[u8], notes: &[u8], out: &mut Vec<u8>) -> Codec {
        let at = out.len();
        if !notes.is_empty() {
            note::put_frame(out, notes);
            let from = out.len();
            out.resize(from + compress_bound(raw.len()), 0);
            let room = out.get_mut(from..).unwrap_or_default();
            if let Ok(len) = self.zstd.compress_to_buffer(raw, room) {
                out.truncate(from + len);
                return Codec::Zstd;
            }
            out.truncate(at); // Never, says zstd: there was room for the worst.
        }
        if raw.len() >= self.limits.compress_from {
            // Room for less than the payload: what does not shrink is stored as it is.
            out.resize(at + raw.len() - 1, 0);
            let room = out.get_mut(at..).unwrap_or_default();
            if let Ok(len) = self.zstd.compress_to_buffer(raw, room) {
                out.truncate(at + len);
                return Codec::Zstd;
            }
            out.truncate(at);
        }
        out.extend_from_slice(raw);
        Codec::None
    }
}

impl Group {
    /// Fits the frames to a segment, and the end to a page if that costs at most an eighth.
    pub(crate) fn place(&mut self, salt: u64, offset: u64) -> &[u8] {
        self.bytes.truncate(self.body_len);
        for frame in &self.frames {
            frame::stamp(self.bytes.get_mut(frame.at..).unwrap_or_default(), salt);
        }
        let end = offset + self.body_len as u64;
        let padding = usize::try_from(end.next_multiple_of(PAGE) - end).unwrap_or(usize::MAX);
        if padding <= self.body_len / 8 {
            self.bytes.resize(self.body_len + padding, 0);
        }
        &self.bytes
    }

    /// Without padding.
    pub(crate) fn body_len(&self) -> u64 {
        self.body_len as u64
    }

    /// In all its frames.
    pub(crate) fn readings(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.frame.readings)).sum()
    }

    pub(crate) fn count_into(&self, books: &mut Books) {
        books.count(&self.counts);
        for frame in &self.frames {
            books.count_frame(frame.frame.kind, frame.frame.readings);
        }
    }

    /// Gives up: every ticket that is still here breaks its mark.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.body_len = 0;
        self.frames.clear();
        self.counts = Counts::default();
        self.tickets.clear();
        self.guards.clear();
    }

    pub(crate) fn take_settlement(&mut self) -> (Vec<Ticket>, Vec<Box<dyn Any + Send>>) {
        (std::mem::take(&mut self.tickets), std::mem::take(&mut self.guards))
    }
}

impl Draft {
    fn new(kind: Kind) -> Self {
        Self { kind, payload: Vec::new(), notes: Vec::new(), readings: 0, entries: 0 }
    }

    fn note(&mut self, note: &[u8]) {
        if !note.is_empty() {
            note::put(&mut self.notes, note);
        }
    }

    fn count(&mut self, readings: u32) {
        self.readings = self.readings.saturating_add(readings);
        self.entries += 1;
    }
}
