//! A request that may have been sent before: what of its body is stored already, and what the
//! journal is to know of the rest.
//!
//! ```text
//!  body   |======== stored ========|~~ in part ~~|........ new ........|
//!         0                      from          upto
//!          compared by its hash,     looked at again, but     as ever, with a note
//!          not looked at             its first readings       in each submission
//! ```
//! Nothing is passed over unless all bytes up to `upto` are those that were stored.

use bytes::Bytes;
use proto::Timestamp;

use super::{
    key::Key,
    refusal::{Refusal, Why},
};
use crate::intake::Intake;
use crate::intake::resends::Attempt;
use crate::intake::resends::Running;
use crate::intake::resends::Stored;

#[derive(Debug)]
pub(super) struct Again {
    pub(super) attempt: Attempt,
    /// Of the body's bytes before `at`.
    hash: Running,
    at: u64,
    /// What is stored, once what is being handed on is.
    stored: Stored,
    /// What was before that.
    before: Stored,
    /// The journal knows of something of this request.
    is_begun: bool,
    /// The journal knows `stored`, the end of the body included.
    is_noted: bool,
}

impl Again {
    pub(super) fn new(intake: &Intake, key: &Key) -> Self {
        let attempt = intake.resends().attempt(&key.parts());
        Self {
            hash: attempt.hash(),
            attempt,
            at: 0,
            stored: Stored::default(),
            before: Stored::default(),
            is_begun: false,
            is_noted: true,
        }
    }

    /// What earlier attempts stored: to be passed before anything else.
    pub(super) fn goes_on_after(&mut self, stored: Option<Stored>) {
        self.is_begun = stored.is_some();
        self.stored = stored.unwrap_or_default();
    }

    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Removes from the body's next bytes what is stored, and leaves what is stored in part. `false`:
    /// more of them are needed. Refused if they are not those that were stored.
    pub(super) fn pass(&mut self, bytes: &mut Vec<u8>) -> Result<bool, Refusal> {
        let missing = usize::try_from(self.stored.from - self.at).unwrap_or(usize::MAX);
        let passed = bytes.get(..missing).unwrap_or(bytes);
        let passed_len = passed.len();
        self.hash.write(passed);
        self.at += passed_len as u64;
        bytes.drain(..passed_len);
        let Some(in_part) = bytes.get(..self.in_part()).filter(|_| self.at == self.stored.from)
        else {
            return Ok(false);
        };
        let mut hash = self.hash.clone();
        hash.write(in_part);
        if hash.value() == self.stored.hash { Ok(true) } else { Err(another_body()) }
    }

    /// Bytes of the piece that is stored in part.
    pub(super) fn in_part(&self) -> usize {
        usize::try_from(self.stored.upto - self.stored.from).unwrap_or(usize::MAX)
    }

    /// The next bytes of the body are looked at.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
        self.at += bytes.len() as u64;
    }

    /// What was taken since goes to the journal together, and is stored once it has come there.
    /// `place`: where that leaves `Pieces`.
    pub(super) fn advance(
        &mut self,
        (lines, is_skipping): (u64, bool),
        is_whole: bool,
        answer: Bytes,
    ) {
        let hash = self.hash.value();
        let (from, upto, readings) = (self.at, self.at, 0);
        let stored = Stored { from, readings, upto, hash, lines, is_skipping, is_whole, answer };
        self.before = std::mem::replace(&mut self.stored, stored);
        self.is_noted = false;
    }

    /// The body has ended, and the journal does not know it.
    pub(super) fn end(&mut self) -> bool {
        let is_known = self.is_noted && self.stored.is_whole;
        self.stored.is_whole = true;
        self.is_begun && !is_known
    }

    /// As `Gather::seal_noting` asks.
    pub(super) fn note(&self, arrival: Timestamp, first: Option<u64>) -> Bytes {
        let Some(readings) = first else { return self.attempt.note(arrival, &self.stored) };
        let Stored { upto, hash, .. } = self.stored;
        let readings = self.before.readings + readings;
        let in_part = Stored { upto, hash, readings, is_whole: false, ..self.before.clone() };
        self.attempt.note(arrival, &in_part)
    }

    /// All that was handed on has arrived.
    pub(super) fn noted(&mut self) {
        (self.is_begun, self.is_noted) = (true, true);
    }
}

pub(super) fn another_body() -> Refusal {
    let text = "this Idempotency-Key came with another body before: a key is for one body, \
                sent again unchanged";
    Refusal::new(Why::KeyReused, text)
}

pub(super) fn superseded() -> Refusal {
    let text = "another request with this Idempotency-Key has come, and goes on where this one was; \
                send again";
    Refusal::new(Why::Superseded, text)
}
