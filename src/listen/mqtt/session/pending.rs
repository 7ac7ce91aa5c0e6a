//! The answers that a connection owes, in the order of their PUBLISH packets.
//!
//! ```text
//!  owed:  12 13 14 | 15 16 | 17 18 19        a packet identifier each
//!  runs:  ticket 4 |   5   | open            what one submission brought; the open one is not sealed
//! ```
//!
//! Promises: nothing leaves before its ticket is kept, and then in order; one entry per packet
//! identifier (a second PUBLISH with an identifier that is still owed takes the place of the first,
//! so that one answer speaks for both); four bytes per message.
//!
//! Left out: limits. The session asks for `len` and `bytes` before it takes more.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::CAPACITY_KEPT;

use crate::listen::mqtt::packet::PacketId;
use crate::listen::mqtt::packet::Reason;
use crate::listen::mqtt::packet::Version;
use crate::listen::mqtt::packet::write::{self, Answer};

#[derive(Debug, Default)]
pub(super) struct Pending {
    owed: VecDeque<Owed>,
    runs: VecDeque<Run>,
    open: Open,
    /// In sealed runs.
    bytes: usize,
    /// Entries that are PUBRECs without a failure.
    pubrecs: usize,
    /// Set by an identifier out of cyclic order; until nothing is owed, repeats are searched for.
    is_out_of_order: bool,
}

/// `None`: another entry further back answers for it.
#[derive(Clone, Copy, Debug)]
struct Owed {
    id: Option<PacketId>,
    answer: Answer,
    reason: Reason,
}

#[derive(Debug)]
struct Run {
    ticket: u64,
    owed: usize,
    bytes: usize,
    /// When its first message was read.
    since: Instant,
}

#[derive(Debug, Default)]
struct Open {
    owed: usize,
    bytes: usize,
}

impl Pending {
    /// Entries, those that were taken the place of included.
    pub(super) fn len(&self) -> usize {
        self.owed.len()
    }

    /// Of all messages that are not answered or not sealed.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.open.bytes
    }

    pub(super) fn pubrecs(&self) -> usize {
        self.pubrecs
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Whether the next seal has something to wait for.
    pub(super) fn owes_in_open_run(&self) -> bool {
        self.open.owed > 0
    }

    pub(super) fn contains(&self, id: PacketId, answer: Answer) -> bool {
        self.may_contain(id) && self.position(id, answer).is_some()
    }

    /// A message without an answer.
    pub(super) fn weigh(&mut self, bytes: usize) {
        self.open.bytes += bytes;
    }

    /// A message with an answer. An older entry with the same identifier is answered by this one.
    pub(super) fn push(&mut self, id: PacketId, answer: Answer, reason: Reason, bytes: usize) {
        if self.may_contain(id) {
            self.is_out_of_order = true;
            if let Some(older) = self.position(id, answer).and_then(|at| self.owed.get_mut(at)) {
                self.pubrecs -= usize::from(older.is_pubrec());
                older.id = None;
            }
        }
        let owed = Owed { id: Some(id), answer, reason };
        self.pubrecs += usize::from(owed.is_pubrec());
        self.owed.push_back(owed);
        self.open.owed += 1;
        self.open.bytes += bytes;
    }

    /// What was pushed since the last seal is answered once `ticket` is kept.
    pub(super) fn seal(&mut self, ticket: u64, since: Instant) {
        let Open { owed, bytes } = std::mem::take(&mut self.open);
        if owed > 0 {
            self.bytes += bytes;
            self.runs.push_back(Run { ticket, owed, bytes, since });
        }
    }

    /// Writes the answers of all runs up to the ticket `kept`; `waited` is shown how long each run
    /// was under way. Returns how many answers were written.
    pub(super) fn answer(
        &mut self,
        kept: u64,
        now: Instant,
        version: Version,
        out: &mut Vec<u8>,
        mut waited: impl FnMut(Duration),
    ) -> u64 {
        let mut answers = 0;
        while let Some(run) = self.runs.pop_front_if(|run| run.ticket <= kept) {
            self.bytes -= run.bytes;
            for owed in self.owed.drain(..run.owed) {
                if let Some(id) = owed.id {
                    write::answer(owed.answer, version, id, owed.reason, out);
                    answers += 1;
                    self.pubrecs -= usize::from(owed.is_pubrec());
                }
            }
            waited(now.saturating_duration_since(run.since));
        }
        if self.owed.is_empty() {
            self.is_out_of_order = false;
            give_back(&mut self.owed);
            give_back(&mut self.runs);
        }
        answers
    }

    /// False for certain if all identifiers so far rose, and this one goes on rising (around the
    /// 16-bit circle, not past the oldest): what every client in the field does. So the search is
    /// for those that are up to something.
    fn may_contain(&self, id: PacketId) -> bool {
        let ends = (self.owed.front(), self.owed.back());
        let (Some(front), Some(back)) = ends else { return false };
        let (Some(front), Some(back)) = (front.id, back.id) else { return true };
        let from_oldest = |id: PacketId| id.get().wrapping_sub(front.get());
        self.is_out_of_order || from_oldest(id) <= from_oldest(back)
    }

    fn position(&self, id: PacketId, answer: Answer) -> Option<usize> {
        self.owed.iter().rposition(|owed| owed.id == Some(id) && owed.answer == answer)
    }
}

impl Owed {
    fn is_pubrec(self) -> bool {
        self.id.is_some() && self.answer == Answer::PubRec && !self.reason.is_failure()
    }
}

fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > CAPACITY_KEPT {
        *queue = VecDeque::new();
    }
}

const _: () = assert!(size_of::<Owed>() == 4);

#[cfg(test)]
mod tests;
