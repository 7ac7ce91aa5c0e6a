//! The epoch gate: which messages of *this* connection may be acknowledged, and which resends are known. Pure.
//!
//! A PUBACK carries a packet identifier and nothing else. Sent on a later connection it acknowledges whatever
//! message has that identifier there, and the broker forgets a reading that nobody has. So a gate lives as long
//! as one connection, and when that ends (`shut`) it lets nothing more through.
//!
//! ```text
//!  took(ticket, messages) --> waiting --keep(mark)--> handed to the network --written--> forgotten
//!                                |                            |
//!                               shut                         shut
//!                                +--keep(mark)--> Carry <-----+   all but the first: that one may have left
//! ```
//!
//! What became durable after its connection ended, the broker will send again on the next, marked DUP. `Carry`
//! knows it by identifier and content, so that it is acknowledged there and not stored twice. Only messages
//! whose acknowledgement certainly never left are carried: for any other the broker may have given the
//! identifier to a new message, which can look the same (a sensor that repeats its value) and must be stored.
//! Left out: resends across a restart of this process; those are stored again.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

/// A message that the broker waits to see acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub packet_id: u16,
    /// Acknowledged by PUBREC, not PUBACK: a broker that ignores the QoS we asked for.
    pub exactly_once: bool,
    /// Of topic and payload; see [`Carry::fingerprint`].
    pub fingerprint: u64,
}

#[derive(Debug)]
struct Waiting<G> {
    ticket: u64,
    messages: Vec<Message>,
    /// Gives back the memory budget when it drops.
    guard: G,
}

#[derive(Debug)]
pub(super) struct Gate<G> {
    /// In the order of arrival, which is the order in which MQTT wants its acknowledgements.
    waiting: VecDeque<Waiting<G>>,
    /// Handed to the network, in order, not seen to be written yet.
    handed: VecDeque<Message>,
    /// Durable since the connection ended.
    unsent: Vec<Message>,
    last_ticket: u64,
    is_shut: bool,
}

impl<G> Gate<G> {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            handed: VecDeque::new(),
            unsent: Vec::new(),
            last_ticket: 0,
            is_shut: false,
        }
    }

    /// Messages that may be acknowledged when this ticket is kept; `None` where they left nothing to keep: they
    /// go after everything before them.
    pub(super) fn took(&mut self, ticket: Option<u64>, messages: Vec<Message>, guard: G) {
        let ticket = ticket.unwrap_or(self.last_ticket);
        debug_assert!(ticket >= self.last_ticket, "tickets rise");
        self.last_ticket = ticket;
        self.waiting.push_back(Waiting { ticket, messages, guard });
    }

    /// The mark stands at `kept`: what to acknowledge now, in order. Nothing once shut.
    pub(super) fn keep(&mut self, kept: u64) -> Vec<Message> {
        let mut released = Vec::new();
        while self.waiting.front().is_some_and(|first| first.ticket <= kept) {
            if let Some(Waiting { messages, guard, .. }) = self.waiting.pop_front() {
                drop(guard);
                released.extend(messages);
            }
        }
        if self.is_shut {
            self.unsent.append(&mut released);
        }
        self.handed.extend(&released);
        released
    }

    /// The oldest acknowledgement that was handed over is on the wire.
    pub(super) fn written(&mut self) {
        self.handed.pop_front();
    }

    /// The connection has ended: nothing can be acknowledged on it any more.
    pub(super) fn shut(&mut self) {
        self.is_shut = true;
    }

    /// Everything taken is durable.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What the next connection may acknowledge without storing it again: this connection's, and what an
    /// earlier one left and the broker did not come to send on this.
    pub(super) fn into_carry(mut self, mut carry: Carry) -> Carry {
        self.handed.pop_front(); // It may have left before the connection ended.
        let certain = self.handed.into_iter().chain(self.unsent);
        carry.messages.extend(certain.map(|message| (message.packet_id, message.fingerprint)));
        carry
    }
}

/// Messages that are durable, and whose acknowledgement never left.
#[derive(Debug, Default)]
pub(super) struct Carry {
    messages: HashMap<u16, u64>,
    hasher: RandomState,
}

impl Carry {
    pub(super) fn fingerprint(&self, topic: &[u8], payload: &[u8]) -> u64 {
        self.hasher.hash_one((topic, payload))
    }

    /// Whether this is a resend of a message that is durable already. Asked once for every message that
    /// carries an identifier: the first use of it on a connection settles what it means from then on.
    pub(super) fn is_resend(&mut self, packet_id: u16, dup: bool, fingerprint: u64) -> bool {
        !self.messages.is_empty() && self.messages.remove(&packet_id) == Some(fingerprint) && dup
    }

    /// The broker has forgotten the session: its identifiers mean nothing any more.
    pub(super) fn forget(&mut self) {
        self.messages.clear();
    }
}

#[cfg(test)]
mod tests;
