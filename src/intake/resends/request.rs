//! Requests that have a key of their own (`Idempotency-Key`): how much of each is stored.
//!
//! ```text
//! note:   kind u8 = 4 | flags u8 | request u64 LE | arrival i64 LE | hash u64 LE
//!         | from, readings, upto, lines: varint each | answer, until the end
//! flags:  1 the body ends at `upto`    2 there, a line that was given up is not over
//! varint: 7 bits a byte, the lowest first; the top bit says that more follow
//! ```
//! A note says all that is known of its request: the last one counts.
//!
//! The newest attempt at a request goes on with it: those before it hand nothing more to the
//! journal. It begins where they stopped, and only if its bytes up to there are theirs: that is for
//! the caller to compare. What comes to nothing (no room, a broken body) leaves no trace, so the
//! request can be sent again.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::Arc;

use bytes::Bytes;
use proto::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::bounded::Bounded;
use super::hash::Running;
use super::{Resends, lock};

const KIND: u8 = 4;
const HEAD: usize = 26;
const WHOLE: u8 = 1;
const SKIPPING: u8 = 2;

/// How much of a request's body (without its encoding) is in the journal's queue, or durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Everything before this byte is.
    pub from: u64,
    /// Of what stands between `from` and `upto`, so many readings are: the beginning of a piece that
    /// was too much for one submission. 0 where both are the same.
    pub readings: u64,
    pub upto: u64,
    /// Of the first `upto` bytes, by `Attempt::hash`.
    pub hash: u64,
    /// What is counted (lines or readings) before `from`.
    pub lines: u64,
    /// At `from`, a line that was given up is not over.
    pub is_skipping: bool,
    /// The body ends at `upto`.
    pub is_whole: bool,
    /// What is to be answered of everything before `from`; its meaning is the caller's affair.
    pub answer: Bytes,
}

#[derive(Debug)]
pub(super) struct Requests {
    /// With when it was stored.
    stored: Bounded<(Stored, Instant)>,
    /// As many as there are attempts; they come and go with their connections.
    under_way: HashMap<u64, UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    attempts: usize,
    /// The one that may hand on.
    newest: u64,
    /// A submission is on its way to the journal's queue; one at a time.
    is_handing_on: bool,
    settled: Arc<Notify>,
}

/// One attempt at a request.
#[derive(Debug)]
pub struct Attempt {
    resends: Resends,
    request: u64,
    number: u64,
}

/// A submission on its way to the journal's queue. Dropped: no more of it gets there.
#[derive(Debug)]
#[must_use = "dropped, it says that no more of the submission arrives"]
pub struct Handover<'a>(&'a Attempt);

/// Something is being handed on, and may still come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Undecided;

impl Resends {
    /// An attempt at the request that these parts identify together begins; those before it hand
    /// on nothing more.
    pub fn attempt(&self, identity: &[&[u8]]) -> Attempt {
        let mut hash = Running::new(self.shared.key.after(b"request"));
        for part in identity {
            hash.write(&(part.len() as u64).to_le_bytes());
            hash.write(part);
        }
        let (request, number) = (hash.value(), fastrand::u64(..));
        let mut requests = lock(&self.shared.requests);
        let under_way = requests.under_way.entry(request).or_default();
        under_way.attempts += 1;
        under_way.newest = number;
        Attempt { resends: self.clone(), request, number }
    }
}

impl Attempt {
    /// What earlier attempts have stored. Waits while one of them is handing something on, which has
    /// its own deadlines. Cancel safe.
    pub async fn stored(&self) -> Option<Stored> {
        loop {
            let settled = {
                let requests = lock(&self.resends.shared.requests);
                requests.under_way.get(&self.request).map(|it| Arc::clone(&it.settled))
            };
            let settled = settled.unwrap_or_default();
            // From here on it hears of it.
            let notified = settled.notified();
            if let Ok(stored) = self.look(Instant::now()) {
                return stored;
            }
            notified.await;
        }
    }

    fn look(&self, now: Instant) -> Result<Option<Stored>, Undecided> {
        let mut requests = lock(&self.resends.shared.requests);
        if requests.under_way.get(&self.request).is_some_and(|it| it.is_handing_on) {
            return Err(Undecided);
        }
        let age_max = self.resends.shared.limits.age_max;
        let known = requests.stored.touch(self.request);
        let known = known.filter(|(_, last)| now.saturating_duration_since(*last) <= age_max);
        Ok(known.map(|(stored, _)| stored.clone()))
    }

    /// For the bytes of the body.
    pub fn hash(&self) -> Running {
        Running::new(self.resends.shared.key.after(b"body"))
    }

    /// What the journal keeps beside the submission after which so much is stored.
    pub fn note(&self, arrival: Timestamp, stored: &Stored) -> Bytes {
        note(self.request, arrival.nanos(), stored)
    }

    /// Before a submission goes to the journal. `None`: another attempt has begun, which brings all
    /// of it, so it must be dropped.
    pub fn offer(&self) -> Option<Handover<'_>> {
        let mut requests = lock(&self.resends.shared.requests);
        let under_way = requests.under_way.get_mut(&self.request)?;
        if under_way.newest != self.number || under_way.is_handing_on {
            return None;
        }
        under_way.is_handing_on = true;
        Some(Handover(self))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut requests = lock(&self.resends.shared.requests);
        if let hash_map::Entry::Occupied(mut under_way) = requests.under_way.entry(self.request) {
            under_way.get_mut().attempts -= 1;
            if under_way.get().attempts == 0 {
                under_way.remove();
            }
        }
    }
}

impl Handover<'_> {
    /// What has this note is in the journal's queue.
    pub fn arrived(&self, note: &[u8], now: Instant) {
        if let Some((request, _, stored)) = parse(note) {
            lock(&self.0.resends.shared.requests).put(request, stored, now);
        }
    }
}

impl Drop for Handover<'_> {
    fn drop(&mut self) {
        let mut requests = lock(&self.0.resends.shared.requests);
        if let Some(under_way) = requests.under_way.get_mut(&self.0.request) {
            under_way.is_handing_on = false;
            under_way.settled.notify_waiters();
        }
    }
}

impl Requests {
    pub(super) fn new(requests_max: usize) -> Self {
        Self { stored: Bounded::new(requests_max), under_way: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.stored.len()
    }

    pub(super) fn put(&mut self, request: u64, stored: Stored, last: Instant) {
        self.stored.put(request, (stored, last));
    }

    /// Most recent first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Stored, Instant)> {
        self.stored.iter().map(|(request, (stored, last))| (request, stored, *last))
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }
}

pub(super) fn note(request: u64, arrival_ns: i64, stored: &Stored) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD + 16 + stored.answer.len());
    let whole = if stored.is_whole { WHOLE } else { 0 };
    let skipping = if stored.is_skipping { SKIPPING } else { 0 };
    bytes.extend_from_slice(&[KIND, whole | skipping]);
    bytes.extend_from_slice(&request.to_le_bytes());
    bytes.extend_from_slice(&arrival_ns.to_le_bytes());
    bytes.extend_from_slice(&stored.hash.to_le_bytes());
    for number in [stored.from, stored.readings, stored.upto, stored.lines] {
        put_varint(&mut bytes, number);
    }
    bytes.extend_from_slice(&stored.answer);
    bytes.into()
}

/// Request, arrival, and what is stored, of a note of this kind.
pub(super) fn parse(note: &[u8]) -> Option<(u64, i64, Stored)> {
    let ([kind, flags], rest) = note.split_first_chunk()?;
    let (request, rest) = rest.split_first_chunk()?;
    let (arrival, rest) = rest.split_first_chunk()?;
    let (hash, mut rest) = rest.split_first_chunk()?;
    let mut number = || {
        let (number, left) = varint(rest)?;
        rest = left;
        Some(number)
    };
    let (from, readings, upto, lines) = (number()?, number()?, number()?, number()?);
    let stored = Stored {
        from,
        readings,
        upto,
        hash: u64::from_le_bytes(*hash),
        lines,
        is_skipping: flags & SKIPPING != 0,
        is_whole: flags & WHOLE != 0,
        answer: Bytes::copy_from_slice(rest),
    };
    // A flag of a later release may mean anything.
    let is_known = *kind == KIND && *flags <= (WHOLE | SKIPPING) && from <= upto;
    is_known.then_some((u64::from_le_bytes(*request), i64::from_le_bytes(*arrival), stored))
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        let [low, ..] = number.to_le_bytes();
        bytes.push(low | 0x80);
        number >>= 7;
    }
    let [low, ..] = number.to_le_bytes();
    bytes.push(low);
}

/// The number, and what comes after it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        let shifted = part << (7 * place);
        if shifted >> (7 * place) != part {
            return None; // More than 64 bits.
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(place + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests;
