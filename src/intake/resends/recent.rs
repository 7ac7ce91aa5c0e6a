//! What one MQTT client sent over one connection, as far as it may still send it again.
//!
//! ```text
//! entry:  packet identifier u16 LE | fingerprint of QoS, topic and payload u64 LE       10 bytes
//! note:   kind u8 | client u64 LE | connection u32 LE | arrival i64 LE | entries
//!         kind 1: what a submission brought      2: all that is known of the connection
//! ```
//! Pure and bounded: beyond `messages_max` the oldest entries go. Promises: only what is
//! byte-identical to a message that was offered and not withdrawn is ever said to be stored, and
//! only if its packet identifier occurs once in here: from a client that uses an identifier again
//! so soon, the same bytes may be a second reading of the same value.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

const BROUGHT: u8 = 1;
const ALL: u8 = 2;
const HEAD: usize = 21;
const ENTRY: usize = 10;

pub(super) type Entry = [u8; ENTRY];

#[derive(Debug)]
pub(super) struct Recent {
    /// Of the connection, or of the one whose resends it goes on with.
    connection: u32,
    entries: VecDeque<Entry>,
    messages_max: usize,
    /// The note of a submission on its way to the journal's queue; one at a time.
    offered: Option<Bytes>,
    /// When something was stored last.
    last: Instant,
    /// Another connection of the client has come: nothing more may be offered here.
    is_over: bool,
}

/// What is known of a message that its client says it sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is a new one.
    New,
    /// It is in the journal's queue, or durable: whatever is appended from now on comes after it.
    Stored,
    /// It is on its way there, and may still come to nothing.
    Undecided,
}

/// A note's head, and its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted<'a> {
    /// Instead of what was noted of this connection before.
    pub(super) is_all: bool,
    pub(super) client: u64,
    pub(super) connection: u32,
    pub(super) arrival_ns: i64,
    pub(super) entries: &'a [Entry],
}

pub(super) fn entry(id: u16, fingerprint: u64) -> Entry {
    let mut entry = [0; ENTRY];
    let (id_part, fingerprint_part) = entry.split_at_mut(2);
    id_part.copy_from_slice(&id.to_le_bytes());
    fingerprint_part.copy_from_slice(&fingerprint.to_le_bytes());
    entry
}

impl<'a> Noted<'a> {
    pub(super) fn new(client: u64, connection: u32, arrival_ns: i64, entries: &'a [Entry]) -> Self {
        Self { is_all: false, client, connection, arrival_ns, entries }
    }

    pub(super) fn bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEAD + self.entries.len() * ENTRY);
        bytes.push(if self.is_all { ALL } else { BROUGHT });
        bytes.extend_from_slice(&self.client.to_le_bytes());
        bytes.extend_from_slice(&self.connection.to_le_bytes());
        bytes.extend_from_slice(&self.arrival_ns.to_le_bytes());
        bytes.extend_from_slice(self.entries.as_flattened());
        bytes.into()
    }

    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (client, rest) = rest.split_first_chunk()?;
        let (connection, rest) = rest.split_first_chunk()?;
        let (arrival, rest) = rest.split_first_chunk()?;
        let (entries, left) = rest.as_chunks();
        let is_known = matches!(*kind, BROUGHT | ALL) && left.is_empty();
        is_known.then(|| Self {
            is_all: *kind == ALL,
            client: u64::from_le_bytes(*client),
            connection: u32::from_le_bytes(*connection),
            arrival_ns: i64::from_le_bytes(*arrival),
            entries,
        })
    }
}

impl Recent {
    pub(super) fn new(connection: u32, messages_max: usize, now: Instant) -> Self {
        let entries = VecDeque::new();
        Self { connection, entries, messages_max, offered: None, last: now, is_over: false }
    }

    pub(super) fn connection(&self) -> u32 {
        self.connection
    }

    /// A resend came that is stored already: the client is sending again what it sent then, and may
    /// be cut off half way. So what is known of that connection goes on to be known.
    pub(super) fn go_on_with(&mut self, before: &Self) {
        if self.connection != before.connection {
            let own = std::mem::replace(&mut self.entries, before.entries.clone());
            self.connection = before.connection;
            self.extend(&Vec::from(own));
        }
    }

    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// Nothing more may be offered: what is looked up from now on stays as it is.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// `false`: it is too late, the submission must be dropped.
    pub(super) fn offer(&mut self, note: &Bytes) -> bool {
        if !self.is_over {
            self.offered = Some(note.clone());
        }
        !self.is_over
    }

    /// What was offered is in the journal's queue.
    pub(super) fn arrived(&mut self, now: Instant) {
        self.last = now;
        let offered = self.offered.take();
        if let Some(noted) = offered.as_deref().and_then(Noted::parse) {
            self.extend(noted.entries);
        }
    }

    /// What was offered has come to nothing.
    pub(super) fn withdrawn(&mut self) {
        self.offered = None;
    }

    /// From the journal, after a start.
    pub(super) fn recall(&mut self, noted: &Noted<'_>, last: Instant) {
        self.last = last;
        if noted.is_all {
            self.entries.clear();
        }
        self.extend(noted.entries);
    }

    /// All of it in one note.
    pub(super) fn all(&mut self, client: u64, arrival_ns: i64) -> Bytes {
        let (connection, entries) = (self.connection, self.entries.make_contiguous());
        Noted { is_all: true, client, connection, arrival_ns, entries }.bytes()
    }

    fn extend(&mut self, entries: &[Entry]) {
        let room = self.messages_max.saturating_sub(entries.len());
        let gone = self.entries.len().saturating_sub(room);
        self.entries.drain(..gone);
        let skipped = entries.len().saturating_sub(self.messages_max);
        self.entries.extend(entries.iter().skip(skipped));
    }

    /// QoS 2: the client has released the identifier, so it will not send that message again.
    pub(super) fn released(&mut self, id: u16) {
        let id = id.to_le_bytes();
        if let Some(at) = self.entries.iter().position(|entry| entry.starts_with(&id)) {
            self.entries.remove(at);
        }
    }

    pub(super) fn look(&self, message: Entry) -> Known {
        let [low, high, ..] = message;
        let offered = self.offered.as_deref().and_then(Noted::parse);
        if offered.is_some_and(|noted| noted.entries.contains(&message)) {
            return Known::Undecided;
        }
        let mut of_id = self.entries.iter().filter(|entry| entry.starts_with(&[low, high]));
        let first = of_id.next();
        if first == Some(&message) && of_id.next().is_none() { Known::Stored } else { Known::New }
    }

    /// The connection is gone. `false`: it left nothing that anyone could ask for.
    pub(super) fn give_back(&mut self) -> bool {
        self.entries.shrink_to_fit();
        !self.entries.is_empty() || self.offered.is_some()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
