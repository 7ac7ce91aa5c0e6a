//! What one connection hands to intake: gathered, sealed with tickets, in order.
//!
//! ```text
//!  messages --> gather --seal--> sealed --next--> under way (one at a time) --> journal
//!                          |
//!                 ticket of this connection's mark, if anybody waits for an answer
//! ```

use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use journal::{Kept, Mark, Ticket};
use tokio::time::Instant;

use super::Shared;

use crate::intake::Gather;
use crate::intake::Gathered;
use crate::intake::Outcome;
use crate::intake::resends::{Identities, Sender};
use crate::listen::mqtt::packet::{Delivery, PacketId};
use crate::listen::mqtt::session::Ending;

#[derive(Debug)]
pub(super) struct Outbox {
    gather: Option<Gather>,
    /// Of the messages in `gather` that their client may send again.
    identities: Identities,
    /// When the first message in `gather` was read.
    read_at: Instant,
    sealed: VecDeque<Gathered>,
    sealed_bytes: usize,
    /// Bytes of the submission that waits for room right now.
    under_way: Option<usize>,
    mark: Mark,
    /// Of the last ticket taken from the mark.
    ticket: u64,
    pub(super) kept: Kept,
}

/// A PUBLISH as the session passed it on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) delivery: Delivery,
    /// The client says that it sent it before.
    pub(super) is_resend: bool,
}

/// What tells a message from all others of its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) id: PacketId,
    pub(super) fingerprint: u64,
    pub(super) is_stored: bool,
}

/// What `Outbox::seal` made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// What the answers wait for.
    pub(super) ticket: u64,
    pub(super) since: Instant,
}

impl Outbox {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            gather: None,
            identities: Identities::default(),
            read_at: now,
            sealed: VecDeque::new(),
            sealed_bytes: 0,
            under_way: None,
            mark: Mark::new(),
            ticket: 0,
            kept: Kept(0),
        }
    }

    /// Returns whether nothing of the message can be stored.
    pub(super) fn take(
        &mut self,
        shared: &Shared,
        now: Instant,
        message: &Message<'_>,
        identity: Option<Identity>,
    ) -> bool {
        let gather = self.gather.get_or_insert_with(|| {
            self.read_at = now;
            shared.intake.gather(&shared.source)
        });
        let is_stored = identity.as_ref().is_some_and(|identity| identity.is_stored);
        let outcome = if is_stored {
            gather.duplicate();
            Outcome::default()
        } else {
            gather.message(message.topic, message.payload)
        };
        if let Some(identity) = identity.filter(|_| outcome.readings > 0 || outcome.held > 0) {
            self.identities.push(identity.id.get(), identity.fingerprint);
        }
        outcome.readings == 0 && outcome.refused > 0
    }

    pub(super) fn is_large(&self) -> bool {
        self.gather.as_ref().is_some_and(Gather::is_large)
    }

    /// Closes what was gathered. `is_owed`: answers wait for it, so it gets a ticket; if there is
    /// nothing to store, the ticket before speaks for it.
    pub(super) fn seal(&mut self, is_owed: bool, sender: Option<&Sender>) -> Sealed {
        if let Some(gather) = self.gather.take().filter(|gather| !gather.is_empty()) {
            let ticket = if is_owed { self.mark.ticket() } else { Ticket::nobody() };
            if is_owed {
                self.ticket = ticket.number();
            }
            let note = sender.map(|sender| sender.note(gather.arrival(), &self.identities));
            let gathered = gather.seal_with(ticket, note.unwrap_or_default());
            self.sealed_bytes += gathered.bytes;
            self.sealed.push_back(gathered);
        }
        self.identities.clear();
        Sealed { ticket: self.ticket, since: self.read_at }
    }

    /// Ready when more of what was handed over is durable than before.
    pub(super) fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let moved = ready!(pin!(self.mark.moved()).poll(cx));
        self.kept = moved.map_err(|_| Ending::Broken)?;
        Poll::Ready(Ok(()))
    }

    pub(super) fn has_gathered(&self) -> bool {
        self.gather.is_some()
    }

    /// The next submission, unless one is under way.
    pub(super) fn next(&mut self) -> Option<Gathered> {
        if self.under_way.is_some() {
            return None;
        }
        let gathered = self.sealed.pop_front()?;
        self.sealed_bytes -= gathered.bytes;
        self.under_way = Some(gathered.bytes);
        Some(gathered)
    }

    pub(super) fn arrived(&mut self) {
        self.under_way = None;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    pub(super) fn has_next(&self) -> bool {
        self.under_way.is_none() && !self.sealed.is_empty()
    }

    /// Held here, outside the intake's budget.
    pub(super) fn bytes(&self) -> usize {
        let gathered = self.gather.as_ref().map_or(0, Gather::bytes) + self.identities.bytes();
        gathered + self.sealed_bytes + self.under_way.unwrap_or(0)
    }
}
