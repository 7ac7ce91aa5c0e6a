//! Resends: what a device sends again because its acknowledgement was lost is stored once.
//!
//! ```text
//!  message --> Known::New ----> gather + identity --seal--> submission with a *note*  --> journal
//!         \--> Known::Stored -> counted as duplicate                                --> journal
//!                                                                                        |
//!  start:   notes in the journal's tail ----- recall -----> what is remembered  <--------+ crash
//! ```
//! An identity is written into the very frame that holds the reading, so a crash leaves both or
//! none. A resend is acknowledged by a submission of its own; as the journal keeps order, the
//! original is durable by then.
//!
//! MQTT: an identity is client identifier, packet identifier and a keyed 64-bit fingerprint of QoS,
//! topic and payload. A wrong guess would lose a reading, so the question is narrow: the client says
//! DUP, on the connection after the one that brought the original (or a later one, if those between
//! brought resends), within `age_max`, with an identifier that occurs once among its last
//! `messages_max` messages.
//!
//! WebSocket: a stream has a name and numbers its messages; those up to the highest that is stored
//! are stored.
//!
//! HTTP: a request with an `Idempotency-Key` is known by that; what is stored of its body is told by
//! how far it goes, and by a keyed fingerprint of the bytes up to there.
//!
//! Bounded: so many messages a client, so many requests, and so many clients and streams that are not
//! connected; who left first is forgotten. What is forgotten is stored again: a second point, never a
//! lost one.

mod bounded;
mod hash;
mod recent;
mod request;
mod senders;
mod several;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use proto::Timestamp;
use tokio::time::Instant;

use hash::Key;
use recent::{Entry, Noted, Recent};
use request::Requests;
use senders::Senders;
use stream::Progress;

pub use hash::Running;
pub use recent::Known;
pub use request::{Attempt, Handover, Stored};
pub use stream::{Advance, Stream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages remembered of each client.
    pub messages_max: usize,
    /// Clients remembered, and as many streams, besides those that are connected.
    pub senders_max: usize,
    /// HTTP requests with an `Idempotency-Key` remembered.
    pub requests_max: usize,
    /// For how long after its last message a client's resends are known.
    pub age_max: Duration,
    /// How much of the journal's end is read at start.
    pub tail_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages_max: 128,
            senders_max: 10_000,
            requests_max: 20_000,
            age_max: Duration::from_hours(1),
            tail_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// What is remembered of all senders; clones share it.
#[derive(Clone, Debug)]
pub struct Resends {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: Key,
    limits: Limits,
    /// By the hash of its identifier, what each client's last connection brought.
    clients: Mutex<Senders<Recent>>,
    /// By the hash of its name.
    streams: Mutex<Senders<Progress>>,
    requests: Mutex<Requests>,
}

/// One connection of an MQTT client, with what the connection before it brought.
#[derive(Debug)]
pub struct Sender {
    resends: Resends,
    client: u64,
    own: Arc<Mutex<Recent>>,
    previous: Option<Arc<Mutex<Recent>>>,
    /// What the connection before has on its way was asked for: it is to be known to the next as well.
    was_undecided: AtomicBool,
}

/// Identities of the messages in one submission, until it is sealed.
#[derive(Debug, Default)]
pub struct Identities(Vec<Entry>);

/// A submission on its way to the journal's queue. Dropped: it did not get there.
#[derive(Debug)]
#[must_use = "dropped, it says that the submission did not arrive"]
pub struct Offer(Option<Arc<Mutex<Recent>>>);

impl Default for Resends {
    /// Remembers nothing, with a key of its own.
    fn default() -> Self {
        Self::new(Limits::default(), fastrand::u128(..).to_le_bytes())
    }
}

impl Resends {
    /// `secret` keys the fingerprints: the journal's, so that they hold as long as it lives.
    pub fn new(limits: Limits, secret: [u8; 16]) -> Self {
        let clients = Mutex::new(Senders::new(limits.senders_max));
        let streams = Mutex::new(Senders::new(limits.senders_max));
        let requests = Mutex::new(Requests::new(limits.requests_max));
        let key = Key::new(secret);
        Self { shared: Arc::new(Shared { key, limits, clients, streams, requests }) }
    }

    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Clients and streams remembered now; of those that are connected, all.
    pub fn senders(&self) -> usize {
        lock(&self.shared.clients).len() + lock(&self.shared.streams).len()
    }

    /// HTTP requests remembered now.
    pub fn requests(&self) -> usize {
        lock(&self.shared.requests).len()
    }

    /// Takes back what a note from the journal says, before the first connection; notes come in the
    /// journal's order. One of a later release says nothing here.
    pub fn recall(&self, note: &[u8], now: Instant, wall: Timestamp) {
        match several::parse(note) {
            Some(notes) => notes.for_each(|note| self.recall_one(note, now, wall)),
            None => self.recall_one(note, now, wall),
        }
    }

    fn recall_one(&self, note: &[u8], now: Instant, wall: Timestamp) {
        if let Some(noted) = Noted::parse(note) {
            if let Some(last) = self.moment(noted.arrival_ns, now, wall) {
                self.recall_client(&noted, last);
            }
        } else if let Some((stream, arrival_ns, upto)) = stream::parse(note)
            && let Some(last) = self.moment(arrival_ns, now, wall)
        {
            let progress = Progress { upto, ..Progress::new(last) };
            lock(&self.shared.streams).recall(stream, progress);
        } else if let Some((request, arrival_ns, stored)) = request::parse(note)
            && let Some(last) = self.moment(arrival_ns, now, wall)
        {
            lock(&self.shared.requests).put(request, stored, last);
        }
    }

    /// When that was; `None` if it is too long ago.
    fn moment(&self, arrival_ns: i64, now: Instant, wall: Timestamp) -> Option<Instant> {
        // A clock that went back makes it young: better remembered too long than forgotten.
        let age = wall.nanos().saturating_sub(arrival_ns);
        let age = Duration::from_nanos(u64::try_from(age).unwrap_or(0));
        (age <= self.shared.limits.age_max).then(|| now.checked_sub(age).unwrap_or(now))
    }

    fn recall_client(&self, noted: &Noted<'_>, last: Instant) {
        let mut clients = lock(&self.shared.clients);
        if let Some(recent) = clients.recalled(noted.client) {
            let mut recent = lock(recent);
            if recent.connection() == noted.connection {
                recent.recall(noted, last);
                return;
            }
        }
        let mut recent = Recent::new(noted.connection, self.shared.limits.messages_max, last);
        recent.recall(noted, last);
        clients.recall(noted.client, recent);
    }

    /// Everything that was recalled, to be noted again in about so many bytes, the most recent
    /// first: it must not go with the segments that it was found in. `None`: there is nothing.
    pub fn note(&self, bytes_max: usize, now: Instant, wall: Timestamp) -> Option<Bytes> {
        several::put(&self.notes(bytes_max, now, wall))
    }

    fn notes(&self, bytes_max: usize, now: Instant, wall: Timestamp) -> Vec<Bytes> {
        let arrival_ns = |last: Instant| {
            let age = now.saturating_duration_since(last).as_nanos();
            wall.nanos().saturating_sub(i64::try_from(age).unwrap_or(i64::MAX))
        };
        let (clients, streams) = (lock(&self.shared.clients), lock(&self.shared.streams));
        let requests = lock(&self.shared.requests);
        let of_clients = clients.left().map(|(client, recent)| {
            let mut recent = lock(recent);
            let arrival_ns = arrival_ns(recent.last());
            recent.all(client, arrival_ns)
        });
        let of_streams = streams.left().map(|(stream, progress)| {
            let progress = lock(progress);
            stream::note(stream, arrival_ns(progress.last), progress.upto)
        });
        let of_requests = requests
            .iter()
            .map(|(request, stored, last)| request::note(request, arrival_ns(last), stored));
        let mut notes = Vec::new();
        let mut left = bytes_max;
        // Neither many requests nor many clients leave the other nothing.
        take_within(&mut left, of_streams, &mut notes);
        let mut half = left / 2;
        left -= half;
        take_within(&mut half, of_requests, &mut notes);
        left += half;
        take_within(&mut left, of_clients, &mut notes);
        notes.reverse(); // Recalled in order, the most recent one is touched last.
        notes
    }

    /// A connection of this client begins; one before it can store nothing more.
    pub fn connect(&self, client_id: &str, now: Instant) -> Sender {
        let client = self.shared.key.hash(client_id.as_bytes());
        let own = Recent::new(fastrand::u32(..), self.shared.limits.messages_max, now);
        let own = Arc::new(Mutex::new(own));
        let previous = lock(&self.shared.clients).come(client, &own);
        if let Some(previous) = &previous {
            lock(previous).end();
        }
        Sender {
            resends: self.clone(),
            client,
            own,
            previous,
            was_undecided: AtomicBool::new(false),
        }
    }

    /// A connection of this stream begins; one before it can store nothing more. `None` while that
    /// one is handing something on: the stream is to come again in a moment.
    pub fn stream(&self, name: &str, now: Instant) -> Option<Stream> {
        let key = self.shared.key.after(b"stream").hash(name.as_bytes());
        let mut streams = lock(&self.shared.streams);
        let known = streams.get(key).map(Arc::clone);
        let progress = known.unwrap_or_else(|| Arc::new(Mutex::new(Progress::new(now))));
        let holder = fastrand::u64(..);
        {
            let mut held = lock(&progress);
            if held.offered.is_some() {
                return None;
            }
            held.holder = holder;
            if now.saturating_duration_since(held.last) > self.shared.limits.age_max {
                *held = Progress { holder, ..Progress::new(now) };
            }
        }
        streams.come(key, &progress);
        Some(Stream { resends: self.clone(), key, progress, holder })
    }
}

impl Sender {
    /// Of a message at QoS 1 or 2.
    pub fn fingerprint(&self, is_qos_2: bool, topic: &str, payload: &[u8]) -> u64 {
        let key = self.resends.shared.key.after(topic.as_bytes());
        if is_qos_2 { key.after(b"2").hash(payload) } else { key.hash(payload) }
    }

    /// What is known of a message that the client says it sent before.
    pub fn look(&self, id: u16, fingerprint: u64, now: Instant) -> Known {
        let Some(previous) = &self.previous else { return Known::New };
        let previous = lock(previous);
        let age = now.saturating_duration_since(previous.last());
        if age > self.resends.shared.limits.age_max {
            return Known::New;
        }
        let known = previous.look(recent::entry(id, fingerprint));
        match known {
            Known::Stored => lock(&self.own).go_on_with(&previous),
            Known::Undecided => self.was_undecided.store(true, Ordering::Relaxed),
            Known::New => {}
        }
        known
    }

    /// What the journal keeps beside the submission. Nothing for no identities.
    pub fn note(&self, arrival: Timestamp, identities: &Identities) -> Bytes {
        let Identities(entries) = identities;
        if entries.is_empty() {
            return Bytes::new();
        }
        let connection = lock(&self.own).connection();
        Noted::new(self.client, connection, arrival.nanos(), entries).bytes()
    }

    /// Before a submission with this note goes to the journal. `None`: another connection of the
    /// client has come, which will bring all of it again, so it must be dropped.
    pub fn offer(&self, note: &Bytes) -> Option<Offer> {
        if note.is_empty() {
            return Some(Offer(None));
        }
        lock(&self.own).offer(note).then(|| Offer(Some(Arc::clone(&self.own))))
    }

    /// QoS 2: PUBREL has come, so the message will not be sent again.
    pub fn released(&self, id: u16) {
        lock(&self.own).released(id);
        if let Some(previous) = &self.previous {
            lock(previous).released(id);
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let known = if lock(&self.own).give_back() {
            Some(&self.own)
        } else if self.was_undecided.load(Ordering::Relaxed) {
            self.previous.as_ref()
        } else {
            None
        };
        lock(&self.resends.shared.clients).leave(self.client, &self.own, known);
    }
}

impl Identities {
    pub fn push(&mut self, id: u16, fingerprint: u64) {
        self.0.push(recent::entry(id, fingerprint));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.0.len() * size_of::<Entry>()
    }

    /// Keeps its buffer, unless it is a large one.
    pub fn clear(&mut self) {
        const KEPT: usize = 64;
        self.0.clear();
        self.0.shrink_to(KEPT);
    }
}

impl Offer {
    /// The submission is in the journal's queue.
    pub fn arrived(mut self, now: Instant) {
        if let Some(recent) = self.0.take() {
            lock(&recent).arrived(now);
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(recent) = self.0.take() {
            lock(&recent).withdrawn();
        }
    }
}

/// Takes notes until one does not fit into what is `left`.
fn take_within(left: &mut usize, all: impl Iterator<Item = Bytes>, notes: &mut Vec<Bytes>) {
    notes.extend(all.take_while(|note| {
        let fits = note.len() <= *left;
        *left = left.saturating_sub(note.len());
        fits
    }));
}

/// Nothing that can panic runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
