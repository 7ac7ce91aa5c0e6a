//! A reader's way through the frames: from memory at the head, else from the disk.
//!
//! Blocking where it reads the disk, so the async reader runs it on a blocking thread. It names
//! every sequence number between where it stands and the durable mark exactly once: as a frame, as
//! passed by (another kind), or as missing. Readings of frames whose very header is gone become
//! known when the next segment's header tells its books.

mod item;
mod loss;
mod unreadable;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
pub(crate) use item::Item;
use item::{is_torn, missing, pass};
use tracing::error;
use unreadable::Waiting;
use zstd::bulk::Decompressor;

use crate::Frame;
use crate::Kind;
use crate::PositionAlarm;
use crate::catalog::{Found, Segment};
use crate::frame::{FrameHeader, Unreadable};
use crate::ledger::Way;
use crate::quarantine;
use crate::scan::{Body, Scan, Scanned};
use crate::segment;
use crate::shared::{FrameAt, Shared, lock};

/// One fetch returns about so much payload.
const FETCH_BYTES: usize = 512 * 1024;
const FETCH_ITEMS: usize = 256;

pub(crate) struct Fetcher {
    shared: Arc<Shared>,
    kind: Kind,
    zstd: Decompressor<'static>,
    open: Option<Open>,
    /// Everything before it has been returned.
    next: u64,
    /// Readings of this kind of frames before `next`, this output's base included.
    readings: u64,
    /// What it stopped at, to say so once.
    stopped: Option<Stopped>,
    /// The page that it could not read the last time.
    waiting: Option<Waiting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stopped {
    segment: u64,
    by: PositionAlarm,
}

struct Open {
    segment: Arc<Segment>,
    scan: Scan,
    /// Stretches without a frame since the last one: worth keeping if frames are missing there.
    garbage: Vec<(u64, u64)>,
}

/// What one look at the scan came to.
enum Step {
    Item(Item),
    Nothing,
    /// The segment has no more.
    End,
    Stop,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Fetcher {
    pub(crate) fn new(shared: Arc<Shared>, kind: Kind, next: u64, readings: u64) -> Self {
        let zstd = Decompressor::default();
        Self { shared, kind, zstd, open: None, next, readings, stopped: None, waiting: None }
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Stands before a segment that could not be read.
    pub(crate) fn stopped(&self) -> Option<PositionAlarm> {
        self.stopped.map(|stopped| stopped.by)
    }

    /// Past what was given up: the file it stands in may be gone, or another segment by now. Then
    /// (back) to a frame whose place is known.
    pub(crate) fn go(&mut self, way: &Way) {
        if let Some((seq, readings)) = way.jump {
            (self.next, self.readings) = (seq, readings);
            (self.open, self.stopped) = (None, None);
        }
        if let Some((seq, at, readings)) = way.back {
            (self.next, self.readings) = (seq, readings);
            match &mut self.open {
                Some(open) if open.segment.id == at.segment => open.scan.seek(at.offset),
                _ => self.open = None,
            }
        }
    }

    /// A file that is done with must not stay open: its bytes would come back only with its handle.
    /// The one being written is needed again.
    fn close_what_is_passed(&mut self) {
        let active = self.shared.active.load(Ordering::Acquire);
        let is_passed = |open: &Open| open.segment.id != active && open.segment.last() < self.next;
        if self.open.as_ref().is_some_and(is_passed) {
            self.open = None;
        }
    }

    /// What is missing here was given up, and the output's ledger knows. Asked after a look at the
    /// disk and before anything is named as lost: a segment that goes is given up before.
    fn is_given_up(&self) -> bool {
        self.next <= self.shared.dropped_upto.load(Ordering::Acquire)
    }

    /// What is still in memory. Never blocks.
    pub(crate) fn take_from_memory(&mut self, durable: u64) -> Vec<Item> {
        let held = lock(&self.shared.tail).from(self.next, FETCH_BYTES);
        let mut items = Vec::with_capacity(held.len());
        let mut within = 0;
        for held in held.into_iter().take_while(|held| held.seq <= durable) {
            if std::mem::replace(&mut within, held.at.segment) != held.at.segment {
                let segment = self.shared.catalog.get(held.at.segment);
                items.extend(segment.and_then(|segment| self.compare_books(&segment)));
            }
            self.next = held.seq + 1;
            items.push(if held.frame.kind == self.kind && !held.frame.is_hollow() {
                self.readings += u64::from(held.frame.readings);
                Item::Frame { seq: held.seq, at: held.at, frame: held.frame }
            } else {
                pass(held.seq, held.at)
            });
        }
        self.close_what_is_passed();
        items
    }

    /// From the disk, up to `durable` (which was read from the head before the call) or until
    /// enough is fetched. Empty only at a segment that this release cannot read.
    pub(crate) fn take_from_disk(&mut self, durable: u64) -> Vec<Item> {
        let mut items = Vec::new();
        let mut bytes = 0;
        while self.next <= durable
            && bytes < FETCH_BYTES
            && items.len() < FETCH_ITEMS
            && !self.is_given_up()
        {
            let Some(mut open) = self.open.take().filter(|open| open.segment.last() >= self.next)
            else {
                if !self.enter(durable, &mut items) {
                    break;
                }
                continue;
            };
            match self.step(&mut open, durable) {
                Step::Item(item) => {
                    if let Item::Frame { frame, .. } = &item {
                        bytes += frame.payload.len();
                    }
                    items.push(item);
                    self.stopped = None;
                }
                Step::Nothing => {}
                Step::End if self.is_given_up() => break,
                Step::End => {
                    items.extend(self.gap_within(&mut open, None));
                    continue; // Without this segment.
                }
                Step::Stop => {
                    self.open = Some(open);
                    break;
                }
            }
            self.open = Some(open);
        }
        self.close_what_is_passed();
        items
    }

    /// Opens the segment that holds `next`, or comes next. `false`: it may not be read.
    fn enter(&mut self, durable: u64, items: &mut Vec<Item>) -> bool {
        let found = self.shared.catalog.find(self.next);
        if self.is_given_up() {
            return false;
        }
        let segment = match found {
            Found::Segment(segment) => segment,
            Found::Closed { id, by_newer: true } => {
                self.stop_at(id, PositionAlarm::NewerFrames, "a segment of a later release");
                return false;
            }
            Found::Closed { id, by_newer: false } => {
                self.stop_at(id, PositionAlarm::Stopped, "a segment that cannot be read");
                return false;
            }
            Found::Nothing => {
                self.name_missing(durable, "no segment");
                let at = FrameAt { segment: 0, offset: 0 };
                items.push(missing(durable, at, 0));
                self.next = durable + 1;
                return true;
            }
        };
        items.extend(self.gap(&segment, segment.first_seq).map(|(item, _)| item));
        items.extend(self.compare_books(&segment));
        let file = match self.shared.disk.open(&segment::name(segment.id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.is_given_up() {
                    return false;
                }
                let gap = self.gap(&segment, segment.last() + 1); // Somebody removed it.
                items.extend(gap.map(|(item, _)| item));
                return true;
            }
            Err(error) => {
                self.stop_at(segment.id, PositionAlarm::Stopped, &error.to_string());
                return false;
            }
        };
        self.stopped = None;
        let mut scan = Scan::new(file, segment.salt, segment.end(), &self.shared.limits);
        scan.stop_at_unreadable(0);
        self.open = Some(Open { segment, scan, garbage: Vec::new() });
        true
    }

    fn step(&mut self, open: &mut Open, durable: u64) -> Step {
        let (next, kind) = (self.next, self.kind);
        open.scan.set_end(open.segment.end());
        let wanted = |header: &FrameHeader| {
            header.seq >= next && header.seq <= durable && header.known_kind() == Some(kind)
        };
        let scanned = match open.scan.next(wanted) {
            None => return Step::End,
            Some(Scanned::Skipped { from, to, zeros }) => {
                if !zeros {
                    open.garbage.push((from, to));
                }
                return Step::Nothing;
            }
            Some(Scanned::Unreadable(stuck)) => return self.wait_for(open, stuck),
            Some(Scanned::Frame { header, .. }) if header.seq < next => return Step::Nothing,
            Some(Scanned::Frame { at, header, body }) => (at, header, body),
        };
        let (offset, header, body) = scanned;
        let at = FrameAt { segment: open.segment.id, offset };
        if header.seq > durable {
            open.scan.seek(offset); // Durable by now, but not yet published when we were called.
            return Step::Stop;
        }
        if header.seq > next {
            open.scan.seek(offset);
            if self.is_given_up() {
                return Step::Stop;
            }
            return self.gap_within(open, Some(header.seq)).map_or(Step::Nothing, Step::Item);
        }
        open.garbage.clear();
        let payload = match body {
            Body::Passed if header.known_kind().is_none() => Err(Unreadable::Newer),
            Body::Passed => {
                self.next += 1;
                return Step::Item(pass(header.seq, at));
            }
            Body::Bad => Err(Unreadable::Broken),
            Body::Good(stored) => header.open(stored, &mut self.zstd),
        };
        self.took(open, at, &header, payload)
    }

    /// The next frame is here, whole or not.
    fn took(
        &mut self,
        open: &mut Open,
        at: FrameAt,
        header: &FrameHeader,
        payload: Result<Bytes, Unreadable>,
    ) -> Step {
        match payload {
            Ok(payload) => {
                self.next += 1;
                self.readings += u64::from(header.readings);
                let (schema, readings) = (header.schema, header.readings);
                let frame = Frame { kind: self.kind, schema, readings, payload };
                Step::Item(if frame.is_hollow() {
                    pass(header.seq, at)
                } else {
                    Item::Frame { seq: header.seq, at, frame }
                })
            }
            Err(Unreadable::Newer) => {
                open.scan.seek(at.offset);
                let why = "a frame of a later release";
                self.stop_at(open.segment.id, PositionAlarm::NewerFrames, why);
                Step::Stop
            }
            Err(Unreadable::Broken) if is_torn(&open.segment.extent().torn, header.seq) => {
                self.next += 1;
                Step::Item(missing(header.seq, at, 0))
            }
            Err(Unreadable::Broken) if self.is_given_up() => Step::Stop,
            Err(Unreadable::Broken) => {
                let end = at.offset + header.frame_len();
                quarantine::keep(&self.shared, at.segment, at.offset, end);
                Step::Item(self.damaged(header, at))
            }
        }
    }

    fn stop_at(&mut self, segment: u64, by: PositionAlarm, why: &str) {
        let stopped = Some(Stopped { segment, by });
        if self.stopped != stopped {
            self.stopped = stopped;
            error!(segment = segment::name(segment), why, "a reader of the journal stops here");
        }
    }
}
