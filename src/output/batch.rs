//! Groups readings into batches: bounded by lines, by bytes as the sink encodes them, and by age
//! counted from the first reading in it.
//!
//! ```text
//!   frame 7          frame 8                     Batch
//!  [r r r r]------+ [r r r r]--+-- push -->  body:    line 0 | line 1 | line 2 ...
//!                 |            |             origins: which readings each line is made of
//!                 |            |             keys:    hash of (series, timestamp) -> line
//!                 +-- loan     +-- loan      shares:  of each frame's receipt, with its readings here
//! ```
//!
//! Readings of one (series, timestamp) become one line, as the database would merge them: different
//! fields side by side, of one field the last value. A frame may lie in several batches, each with a
//! share of its receipt; every input reading is counted in exactly one of them.
//!
//! Pure: `now` is passed in, and there is a `deadline()`. Memory: the body, the frames its readings
//! came from (a merge reads them again; at most four times the body's limit, or one frame), and some
//! 40 bytes a line.

mod merge;

use std::{sync::Arc, time::Duration};

use proto::{ReadingRef, Time};
use tokio::time::Instant;

use crate::output::epoch::{Epoch, Hold};
use crate::output::keys::{Key, Keys};
use crate::output::lease::{Loan, Receipt};
use crate::sink::{Body, Fault, LostField, Refusal, Sink};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Input readings; a merged line counts each of its own.
    pub lines_max: usize,
    pub bytes_max: usize,
    /// From the first reading in a batch.
    pub age_max: Duration,
}

/// A batch on its way to the sink.
#[derive(Debug)]
pub struct Batch<R> {
    pub body: Arc<Body>,
    pub keys: Keys,
    pub shares: Vec<Share<R>>,
    pub origins: Origins,
    pub refused: Vec<Refused>,
    /// Epochs of the points in it that windows became.
    pub holds: Vec<Hold>,
}

/// What a batch holds of one frame; or of what came of several: that has no receipt.
#[derive(Debug)]
pub struct Share<R> {
    pub loan: Arc<Loan>,
    pub receipt: Option<R>,
    pub readings: u64,
}

/// One input reading: the `index`th of the frame of `shares[share]`, at byte `at` of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub share: u32,
    pub index: u32,
    pub at: u32,
}

/// Which readings each line is made of.
#[derive(Debug, Default)]
pub struct Origins {
    first: Vec<Origin>,
    /// Of merged lines, what came after the first; by line once the batch is sealed.
    more: Vec<(u32, Origin)>,
}

impl Origins {
    pub fn of(&self, line: u32) -> impl Iterator<Item = Origin> {
        self.first.get(line as usize).into_iter().copied().chain(self.more_of(line))
    }

    fn more_of(&self, line: u32) -> impl Iterator<Item = Origin> {
        let from = self.more.partition_point(|(of, _)| *of < line);
        let rest = self.more.get(from..).unwrap_or_default();
        rest.iter().take_while(move |(of, _)| *of == line).map(|(_, origin)| *origin)
    }
}

/// A reading, or one field of a reading, that the sink cannot write.
#[derive(Clone, Debug)]
pub struct Refused {
    pub origin: Origin,
    /// `Some`: only this field; the reading went on without it.
    pub field: Option<String>,
    pub refusal: Refusal,
    /// The reading as line protocol.
    pub line: String,
}

/// Where a reading that is pushed lies.
#[derive(Debug)]
pub struct From<'a, R> {
    pub loan: &'a Arc<Loan>,
    pub receipt: Option<&'a R>,
    pub index: u32,
    pub at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    Taken,
    /// It does not fit: seal this batch and push the reading again.
    Full,
}

#[derive(Debug)]
pub struct Batcher<R> {
    limits: Limits,
    body: Body,
    keys: Keys,
    shares: Vec<Share<R>>,
    /// The last of them that is of a whole frame.
    frame_share: Option<usize>,
    origins: Origins,
    refused: Vec<Refused>,
    holds: Vec<Hold>,
    lost: Vec<LostField>,
    readings: usize,
    /// Bytes of frames, of merged readings (not in the body), of refused ones.
    frame_bytes: usize,
    merged_bytes: usize,
    refused_bytes: usize,
    deadline: Option<Instant>,
}

impl<R: Receipt> Batcher<R> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            body: Body::default(),
            keys: Keys::default(),
            shares: Vec::new(),
            frame_share: None,
            origins: Origins::default(),
            refused: Vec::new(),
            holds: Vec::new(),
            lost: Vec::new(),
            readings: 0,
            frame_bytes: 0,
            merged_bytes: 0,
            refused_bytes: 0,
            deadline: None,
        }
    }

    /// When the open batch must go; `None` while it is empty.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes one reading in, or says that the batch must go first. An empty batch takes any reading.
    pub fn push<S: Sink>(
        &mut self,
        sink: &S,
        from: &From<'_, R>,
        reading: &ReadingRef<'_>,
        now: Instant,
    ) -> Pushed {
        if self.readings >= self.limits.lines_max || !self.has_room_for_frame(from.loan) {
            return Pushed::Full;
        }
        let (Time::At(timestamp) | Time::Stamped(timestamp)) = reading.time else {
            let refusal = Refusal::new(Fault::Value, "reading without a timestamp");
            self.refuse(from, reading, None, refusal, now);
            return Pushed::Taken;
        };
        let key = Key::new(reading.series, timestamp.nanos());
        let merges_into = self.keys.line_of(key);
        let is_other = |line| !self.is_same_point(line, reading);
        if merges_into.is_some_and(is_other) {
            return Pushed::Full; // Two points with one hash: the next batch takes the second.
        }

        let (start, lines) = (self.body.bytes.len(), self.body.lines() as usize);
        self.lost.clear();
        if let Err(refusal) = sink.encode(reading, &mut self.body, &mut self.lost) {
            self.refuse(from, reading, None, refusal, now);
            return Pushed::Taken;
        }
        let line_bytes = self.body.bytes.len() - start;
        let too_many = self.weight() > self.limits.bytes_max && self.readings > 0;
        if too_many || merges_into.is_some() {
            self.body.truncate(lines);
        }
        if too_many {
            return Pushed::Full;
        }

        let origin = self.origin(from, now);
        if let Some(line) = merges_into {
            self.merged_bytes += line_bytes;
            self.origins.more.push((line, origin));
        } else {
            let line = u32::try_from(self.origins.first.len()).unwrap_or(u32::MAX);
            self.origins.first.push(origin);
            self.keys.insert(key, timestamp.nanos(), line);
        }
        for (field, refusal) in std::mem::take(&mut self.lost) {
            self.note_refused(origin, reading, Some(field), refusal);
        }
        Pushed::Taken
    }

    /// The point that was pushed last is one of this epoch.
    pub fn hold(&mut self, epoch: &Arc<Epoch>) {
        if !self.holds.last().is_some_and(|hold| hold.is_of(epoch)) {
            self.holds.push(epoch.hold());
        }
    }

    /// Ends the open batch; `None` if there is nothing in it.
    pub fn seal<S: Sink>(&mut self, sink: &S) -> Option<Batch<R>> {
        if self.readings == 0 {
            return None;
        }
        // The next batch will be about as large as this one.
        let mut next = Self::new(self.limits);
        next.body = Body::with_capacity(self.body.bytes.len(), self.origins.first.len());
        next.keys = Keys::with_capacity(self.origins.first.len());
        next.origins.first.reserve(self.origins.first.len());
        let mut sealed = std::mem::replace(self, next);
        if !sealed.origins.more.is_empty() {
            sealed.merge_lines(sink);
        }
        Some(Batch {
            body: Arc::new(sealed.body),
            keys: sealed.keys,
            shares: sealed.shares,
            origins: sealed.origins,
            refused: sealed.refused,
            holds: sealed.holds,
        })
    }

    /// Cuts off what a panicking encoder left half done. Whole readings stay.
    pub fn mend(&mut self) {
        let lines = self.origins.first.len().min(self.body.lines() as usize);
        self.body.truncate(lines);
        self.origins.first.truncate(lines);
        self.lost.clear();
    }

    /// Bytes that count against the limit.
    fn weight(&self) -> usize {
        self.body.bytes.len() + self.merged_bytes + self.refused_bytes
    }

    fn has_room_for_frame(&self, loan: &Arc<Loan>) -> bool {
        self.shares.is_empty()
            || self.share_of(loan).is_some()
            || self.frame_bytes + loan.payload.len() <= self.limits.bytes_max.saturating_mul(4)
    }

    /// Readings of a frame come by turns as they are and as what is left of them.
    fn share_of(&self, loan: &Arc<Loan>) -> Option<usize> {
        let last = self.shares.len().checked_sub(1);
        let mut known = last.into_iter().chain(self.frame_share);
        known.find(|at| self.shares.get(*at).is_some_and(|it| Arc::ptr_eq(&it.loan, loan)))
    }

    /// Counts a reading as one of this batch.
    fn origin(&mut self, from: &From<'_, R>, now: Instant) -> Origin {
        let at = self.share_of(from.loan).unwrap_or_else(|| {
            let receipt = from.receipt.map(Receipt::share);
            self.frame_bytes += from.loan.payload.len();
            self.shares.push(Share { loan: Arc::clone(from.loan), receipt, readings: 0 });
            let at = self.shares.len() - 1;
            self.frame_share = if from.loan.is_frame() { Some(at) } else { self.frame_share };
            at
        });
        if let Some(share) = self.shares.get_mut(at) {
            share.readings += 1;
        }
        self.readings += 1;
        self.deadline.get_or_insert(now + self.limits.age_max);
        let share = u32::try_from(at).unwrap_or(u32::MAX);
        Origin { share, index: from.index, at: u32::try_from(from.at).unwrap_or(u32::MAX) }
    }

    fn refuse(
        &mut self,
        from: &From<'_, R>,
        reading: &ReadingRef<'_>,
        field: Option<String>,
        refusal: Refusal,
        now: Instant,
    ) {
        let origin = self.origin(from, now);
        self.note_refused(origin, reading, field, refusal);
    }

    fn note_refused(
        &mut self,
        origin: Origin,
        reading: &ReadingRef<'_>,
        field: Option<String>,
        refusal: Refusal,
    ) {
        let line = merge::as_line(reading);
        self.refused_bytes += line.len() + refusal.text.len();
        self.refused.push(Refused { origin, field, refusal, line });
    }
}

#[cfg(test)]
mod tests;
