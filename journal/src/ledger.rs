//! An output's ledger: which frames are out on loan, which are done with, and how far everything
//! before is done.
//!
//! ```text
//!  ... done ...  low | done | leased | done .. done | again | leased |   not handed out yet
//!                      ^ entries, in order, without holes
//! ```
//! `low` is the end of the contiguous prefix that is done; the fates of what lies beyond it are
//! kept apart, so a record written at any time holds exactly the fates of the frames up to `low`.
//! What is cut off (`drop-oldest`) counts as dropped in the very prefix that `low` ends; a lease out
//! of it that is confirmed after all takes its readings back out of that count.
//! A frame has at most one live lease; one that was given up is handed out again, those behind it
//! that are still out or done are not.

use std::collections::{BTreeMap, VecDeque};

use crate::receipt::Fates;
use crate::restart::{Counted, Restart, Restarts};
use crate::shared::FrameAt;

#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) low: u64,
    /// Readings journaled before this output's first frame.
    pub(crate) base: u64,
    /// Readings of this output's frames up to `low`.
    pub(crate) passed: u64,
    /// Of those.
    pub(crate) fates: Fates,
    /// Payload bytes done with since the journal was opened.
    pub(crate) bytes_done: u64,
    /// Of an output with a state.
    pub(crate) restarts: Restarts,
    entries: VecDeque<Entry>,
    /// The first frame that was given up.
    again: Option<u64>,
    /// Something was cut off: whatever the reader has in hand is void until it has looked here.
    jumped: bool,
    /// Leases out of what was cut off, and their readings. No more than there are live leases.
    revoked: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug)]
struct Entry {
    first: u64,
    last: u64,
    readings: u64,
    bytes: u64,
    at: FrameAt,
    state: State,
    /// Its first frame was handed out; the rest passed by.
    was_leased: bool,
}

#[derive(Clone, Debug)]
enum State {
    Leased,
    Again,
    Done(Fates),
}

/// Whether a frame that the reader has in hand may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    Lease,
    Skip,
}

/// First the one, then the other, each with the readings before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// Past what is done with or cut off.
    pub(crate) jump: Option<(u64, u64)>,
    /// To the first frame that was given up.
    pub(crate) back: Option<(u64, FrameAt, u64)>,
}

impl Ledger {
    pub(crate) fn new(low: u64, base: u64, passed: u64, fates: Fates) -> Self {
        Self { low, base, passed, fates, ..Self::default() }
    }

    /// What a record says: the prefix that is done, or where an output with a state goes on.
    pub(crate) fn recorded(&self) -> Restart {
        let stateless = || Restart::stateless(self.counted(), self.restarts.is_cut());
        self.restarts.now().cloned().unwrap_or_else(stateless)
    }

    pub(crate) fn counted(&self) -> Counted {
        Counted { low: self.low, passed: self.passed, fates: self.fates }
    }

    /// A new reader goes on where a crash would.
    pub(crate) fn go_back_to_restart(&mut self) {
        let Some(now) = self.restarts.now().cloned() else { return };
        if now.at.low < self.low || !self.entries.is_empty() {
            let Counted { low, passed, fates } = now.at;
            let mut ledger = Self::new(low, self.base, passed, fates);
            ledger.restarts = std::mem::take(&mut self.restarts);
            ledger.restarts.give_up_pending();
            *self = ledger;
        }
    }

    /// The first frame that no entry covers.
    pub(crate) fn next(&self) -> u64 {
        self.entries.back().map_or(self.low, |entry| entry.last) + 1
    }

    /// Readings on this output's way before the frame `seq`.
    pub(crate) fn readings_before(&self, seq: u64) -> u64 {
        let entries = self.entries.iter().take_while(|entry| entry.last < seq);
        self.base + self.passed + entries.map(|entry| entry.readings).sum::<u64>()
    }

    /// What is done, in order or not: readings, and their fates.
    pub(crate) fn done(&self) -> (u64, Fates) {
        let (mut readings, mut fates) = (self.passed, self.fates);
        for entry in &self.entries {
            if let State::Done(more) = &entry.state {
                readings += entry.readings;
                fates.add(more);
            }
        }
        (readings, fates)
    }

    /// Where the reader must go before it takes more, once; it stands at `at`. All of it under one
    /// lock: between two, something could be cut off, and what was given up behind it forgotten.
    pub(crate) fn take_way(&mut self, at: u64) -> Way {
        let jumped = std::mem::take(&mut self.jumped);
        let jump = if jumped {
            Some(self.next())
        } else {
            // What it would read there is done with, and may be gone from the disk.
            (at <= self.low).then_some(self.low + 1)
        };
        let again = self.again.take();
        let back = again.and_then(|seq| {
            let entry = self.entry(seq)?;
            Some((entry.first, entry.at, self.readings_before(entry.first)))
        });
        Way { jump: jump.map(|seq| (seq, self.readings_before(seq))), back }
    }

    /// Whether the reader must go somewhere else before it takes more.
    pub(crate) fn has_again(&self) -> bool {
        self.again.is_some() || self.jumped
    }

    /// Whether what is under way may move it past `last`: a lease of a frame up to there, or a
    /// checkpoint.
    pub(crate) fn is_under_way_upto(&self, last: u64) -> bool {
        let mut within = self.entries.iter().take_while(|entry| entry.first <= last);
        within.any(|entry| matches!(entry.state, State::Leased))
            || self.restarts.is_pending_upto(last, self.low)
    }

    /// Moves past `last`: what is not done up to there is dropped. `journaled`: readings on this
    /// output's way up to `last`, from the books. Returns how many were dropped.
    pub(crate) fn cut(&mut self, last: u64, journaled: u64) -> u64 {
        let before = self.fates.dropped;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.last <= last) {
            match entry.state {
                State::Done(fates) => self.fates.add(&fates),
                State::Again => self.fates.dropped += entry.readings,
                State::Leased => {
                    self.fates.dropped += entry.readings;
                    self.revoked.insert(entry.first, entry.readings);
                }
            }
            self.passed += entry.readings;
            self.low = entry.last;
            self.restarts.advanced(self.counted(), !entry.was_leased);
        }
        // What it has beyond `last` only passed by.
        let is_done = |entry: &Entry| entry.first <= last && matches!(entry.state, State::Done(_));
        if self.entries.front().is_some_and(is_done) {
            self.advance_once();
        }
        if self.low < last {
            let unseen = (journaled - self.base.min(journaled)).saturating_sub(self.passed);
            self.fates.dropped += unseen;
            self.passed += unseen;
            self.low = last;
            self.restarts.advanced(self.counted(), true);
        }
        self.restarts.cut(self.counted());
        self.advance();
        let again = |entry: &Entry| matches!(entry.state, State::Again).then_some(entry.first);
        self.again = self.entries.iter().find_map(again);
        self.jumped = true;
        self.fates.dropped - before
    }

    /// Marks the frame as out, unless it is out already or done.
    pub(crate) fn lease(&mut self, seq: u64, at: FrameAt, readings: u32, bytes: usize) -> Offer {
        if self.jumped {
            return Offer::Skip;
        }
        if seq >= self.next() {
            debug_assert_eq!(seq, self.next(), "frames are offered without holes");
            self.entries.push_back(Entry {
                first: seq,
                last: seq,
                readings: u64::from(readings),
                bytes: bytes as u64,
                at,
                state: State::Leased,
                was_leased: true,
            });
            return Offer::Lease;
        }
        match self.entry_mut(seq) {
            Some(entry) if matches!(entry.state, State::Again) => {
                entry.state = State::Leased;
                Offer::Lease
            }
            _ => Offer::Skip,
        }
    }

    /// Takes note of frames that are not handed out: other kinds', or missing.
    pub(crate) fn pass(&mut self, last: u64, readings: u64, fates: &Fates, at: FrameAt) {
        let first = self.next();
        if last < first || self.jumped {
            return; // Seen before, on an earlier way.
        }
        if let Some(Entry { last: end, readings: sum, state: State::Done(all), .. }) =
            self.entries.back_mut()
        {
            *end = last;
            *sum += readings;
            all.add(fates);
        } else {
            let state = State::Done(*fates);
            let was_leased = false;
            self.entries.push_back(Entry {
                first,
                last,
                readings,
                bytes: 0,
                at,
                state,
                was_leased,
            });
        }
        self.advance();
    }

    /// Readings that are missing, or were wrongly taken for lost: found out only when the segment
    /// after the gap told its books.
    pub(crate) fn correct(&mut self, missing: u64, surplus: u64) {
        if self.jumped {
            return;
        }
        self.passed += missing;
        self.fates.quarantined += missing;
        let mut left = surplus;
        for entry in self.entries.iter_mut().rev() {
            if let State::Done(fates) = &mut entry.state {
                let back = left.min(fates.quarantined);
                fates.quarantined -= back;
                entry.readings -= back;
                left -= back;
            }
        }
        let back = left.min(self.fates.quarantined);
        self.fates.quarantined -= back;
        // What was cut off was counted from the books of a segment that is gone by now.
        let rest = (left - back).min(self.fates.dropped);
        self.fates.dropped -= rest;
        self.passed -= back + rest;
    }

    /// A lease came back: with its readings' fates, or given up. `true` if the reader must go back.
    pub(crate) fn settle(&mut self, seq: u64, fates: Option<Fates>) -> bool {
        let Some(entry) = self.entry_mut(seq) else {
            self.settle_late(seq, fates);
            return false;
        };
        let Some(fates) = fates else {
            entry.state = State::Again;
            self.again = Some(self.again.map_or(seq, |again| again.min(seq)));
            return true;
        };
        entry.state = State::Done(fates);
        self.bytes_done += entry.bytes;
        self.advance();
        false
    }

    /// A lease out of what was cut off: it was counted as dropped, and got through after all.
    fn settle_late(&mut self, seq: u64, fates: Option<Fates>) {
        if let (Some(readings), Some(fates)) = (self.revoked.remove(&seq), fates) {
            self.fates.dropped = self.fates.dropped.saturating_sub(readings);
            self.fates.add(&fates);
        }
    }

    fn advance(&mut self) {
        while self.advance_once() {}
    }

    /// Counts the first entry, if it is done with.
    fn advance_once(&mut self) -> bool {
        let Some(Entry { last, readings, state: State::Done(fates), was_leased, .. }) =
            self.entries.front()
        else {
            return false;
        };
        let has_passed_by = !*was_leased;
        self.low = *last;
        self.passed += readings;
        self.fates.add(fates);
        self.entries.pop_front();
        self.restarts.advanced(self.counted(), has_passed_by);
        true
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        let index = self.entries.partition_point(|entry| entry.last < seq);
        self.entries.get(index).filter(|entry| entry.first <= seq)
    }

    fn entry_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        let index = self.entries.partition_point(|entry| entry.last < seq);
        self.entries.get_mut(index).filter(|entry| entry.first <= seq)
    }
}

#[cfg(test)]
mod tests;
