//! One client's side of the protocol as a pure struct: packets in, bytes and steps out, `now` passed
//! in. No I/O, no clock, no task; `connection` is the thin loop around it.
//!
//! Promises: a PUBACK or PUBREC is written only by `kept`, in the order of the PUBLISH packets; the
//! answer to a PINGREQ never waits for anything; what one client can make the session remember is
//! bounded (answers owed, identifiers between PUBREC and PUBREL, topic aliases).
//!
//! What is remembered belongs to this connection, never to a client identifier: Session Present is
//! always 0, and after a reconnect a client sends again what it was not acknowledged. Whether that
//! is stored already is asked outside (`intake::resends`); here it is a message as any other.
//!
//! Left out so far: users, subscriptions (refused), wills and retained messages (taken note of).

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use journal::Kept;
use tokio::time::Instant;

use aliases::Aliases;
use pending::Pending;

use crate::listen::mqtt::Limits;
use crate::listen::mqtt::packet::Delivery;
use crate::listen::mqtt::packet::Frame;
use crate::listen::mqtt::packet::Packet;
use crate::listen::mqtt::packet::PacketId;
use crate::listen::mqtt::packet::Publish;
use crate::listen::mqtt::packet::Reason;
use crate::listen::mqtt::packet::Version;
use crate::listen::mqtt::packet::Violation;
use crate::listen::mqtt::packet::write::{self, Answer};

pub use ending::{Ending, Refusal};

mod aliases;
mod connect;
mod ending;
mod pending;

/// Before a client is known it may send this much: room for a long password and a will.
const CONNECT_BYTES_MAX: usize = 16 * 1024;
/// What grew beyond this is given back when it is empty: an idle connection owns next to nothing.
const CAPACITY_KEPT: usize = 64;

#[derive(Debug)]
pub struct Session {
    limits: Limits,
    phase: Phase,
    /// What a refused client is told instead of being let in.
    refusal: Option<Refusal>,
    /// Of the CONNECT, or what it looked like.
    version: Version,
    /// Largest packet that the client takes.
    packet_bytes_max: Option<u32>,
    /// Since when the client has been silent.
    heard: Instant,
    /// How long it may be.
    silence_max: Duration,
    pending: Pending,
    /// QoS 2: between PUBLISH and PUBREL.
    unreleased: HashSet<PacketId>,
    aliases: Aliases,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing but CONNECT is welcome.
    Expected,
    /// A CONNECT came and was not accepted.
    Turned,
    Connected,
}

/// What is so around the session while it takes packets.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Instant,
    /// The journal has been full for a while: CONNECT is refused, QoS 0 dropped.
    pub is_full: bool,
    /// This connection has been at its limit for too long: QoS 0 is dropped, anything else ends it.
    pub is_stuck: bool,
}

/// What a packet asks of the loop around the session.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Let in. None: it has no identifier, and nobody can take over from it.
    Connected {
        client_id: Option<Cow<'a, str>>,
    },
    /// Gather it, then say what came of it to `took`.
    Message {
        topic: &'a str,
        payload: &'a [u8],
        delivery: Delivery,
        /// The client says that it sent it before.
        is_resend: bool,
    },
    /// A resend of what is being stored already.
    Repeated,
    /// A QoS 0 message given up.
    Dropped,
    Pinged,
    /// QoS 2: answered, and the client is done with that message.
    Released(PacketId),
    /// Answered, and nothing to do.
    Answered,
    Left,
}

impl Session {
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            phase: Phase::Expected,
            refusal: None,
            version: Version::V311,
            packet_bytes_max: None,
            heard: now,
            silence_max: limits.handshake_max,
            pending: Pending::default(),
            unreleased: HashSet::new(),
            aliases: Aliases::default(),
        }
    }

    /// Whoever it is will be told `refusal`.
    pub fn refusing(limits: Limits, now: Instant, refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::new(limits, now) }
    }

    /// A CONNECT was accepted.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// When `expired` has something to say, if no packet comes before.
    pub fn deadline(&self) -> Instant {
        self.heard + self.silence_max
    }

    pub fn expired(&self, now: Instant) -> Option<Ending> {
        let ending = match self.phase {
            Phase::Connected => Ending::KeepAlive,
            Phase::Expected | Phase::Turned => Ending::Silent,
        };
        (now >= self.deadline()).then_some(ending)
    }

    /// Counts as heard: after a time in which nobody listened.
    pub fn listened(&mut self, now: Instant) {
        if self.phase == Phase::Connected {
            self.heard = now;
        }
    }

    /// How large a packet may be now.
    pub fn packet_bytes_max(&self) -> usize {
        match self.phase {
            Phase::Connected => self.limits.packet_bytes_max,
            Phase::Expected | Phase::Turned => self.limits.packet_bytes_max.min(CONNECT_BYTES_MAX),
        }
    }

    /// Whether bytes that begin so can become a packet at all.
    pub fn glance(&self, first: u8) -> Result<(), Ending> {
        match (self.phase, first) {
            (Phase::Connected | Phase::Turned, _) | (_, 0x10) => Ok(()),
            (Phase::Expected, 0x11..=0x1f) => Err(Ending::Violation(Violation::Flags)), // TLS, too.
            (Phase::Expected, _) => Err(Ending::Violation(Violation::NotConnected)),
        }
    }

    /// Takes one packet; what is to be said at once goes to `out`. `assigned` is a name for a client
    /// that brings none.
    pub fn take<'a>(
        &'a mut self,
        frame: Frame<'a>,
        moment: &Moment,
        assigned: impl FnOnce() -> String,
        out: &mut Vec<u8>,
    ) -> Result<Step<'a>, Ending> {
        if self.phase != Phase::Connected {
            return self.connect(frame, moment, assigned, out);
        }
        self.heard = moment.now;
        match frame.packet(self.version).map_err(Ending::Violation)? {
            Packet::Publish(publish) => self.publish(publish, moment),
            Packet::PubRel(id) => {
                self.release(id);
                write::answer(Answer::PubComp, self.version, id, Reason::Success, out);
                Ok(Step::Released(id))
            }
            Packet::Subscribe { id, filters } => {
                write::suback_refused(self.version, id, filters, out);
                Ok(Step::Answered)
            }
            Packet::Unsubscribe { id, filters } => {
                write::unsuback(self.version, id, filters, out);
                Ok(Step::Answered)
            }
            Packet::PingReq => {
                write::pingresp(out);
                Ok(Step::Pinged)
            }
            Packet::Disconnect => Ok(Step::Left),
        }
    }

    /// The message of the last step was gathered: `is_refused` if nothing of it can be stored.
    /// `bytes` is what it weighs.
    pub fn took(&mut self, delivery: Delivery, is_refused: bool, bytes: usize) {
        // Withholding the answer would make it a poison message for ever.
        let is_refused = is_refused && self.version == Version::V5;
        let reason = if is_refused { Reason::PayloadFormatInvalid } else { Reason::Success };
        match delivery {
            Delivery::AtMostOnce => self.pending.weigh(bytes),
            Delivery::AtLeastOnce(id) => self.pending.push(id, Answer::PubAck, reason, bytes),
            Delivery::ExactlyOnce(id) => {
                if is_refused {
                    self.release(id); // A failure ends the exchange; no PUBREL follows.
                }
                self.pending.push(id, Answer::PubRec, reason, bytes);
            }
        }
    }

    /// Whether what was gathered since the last `seal` has anybody waiting for it.
    pub fn owes_for_open_run(&self) -> bool {
        self.pending.owes_in_open_run()
    }

    /// What was gathered since the last seal is answered once `ticket` is kept. `since` is when its
    /// first message was read.
    pub fn seal(&mut self, ticket: u64, since: Instant) {
        self.pending.seal(ticket, since);
    }

    /// Writes what may be answered now that all tickets up to `kept` are durable.
    pub fn kept(
        &mut self,
        kept: Kept,
        now: Instant,
        out: &mut Vec<u8>,
        waited: impl FnMut(Duration),
    ) -> u64 {
        self.pending.answer(kept.0, now, self.version, out, waited)
    }

    /// Something waits for its ticket.
    pub fn owes(&self) -> bool {
        !self.pending.is_empty()
    }

    /// As much is unanswered as one connection may have.
    pub fn is_at_limit(&self) -> bool {
        let is_too_many = match self.version {
            // Announced by the receive maximum, and enforced by an ending.
            Version::V5 => false,
            Version::V31 | Version::V311 => self.pending.len() >= self.limits.unacked_messages_max,
        };
        is_too_many || self.pending.bytes() >= self.limits.unacked_bytes_max
    }

    /// What is remembered for the client beyond a few bytes a message.
    pub fn remembered_bytes(&self) -> usize {
        self.aliases.bytes()
    }

    /// The last words, if this version has any for it.
    pub fn farewell(&self, ending: Ending, out: &mut Vec<u8>) {
        let Some((reason, why)) = ending.told() else { return };
        match self.phase {
            Phase::Turned => {
                write::connack_refused(self.version, reason, why, self.packet_bytes_max, out);
            }
            Phase::Connected if self.version == Version::V5 => {
                write::disconnect(reason, why, self.packet_bytes_max, out);
            }
            Phase::Expected | Phase::Connected => {}
        }
    }

    fn publish<'a>(
        &'a mut self,
        publish: Publish<'a>,
        moment: &Moment,
    ) -> Result<Step<'a>, Ending> {
        // An alias counts even if the message that brings it does not.
        if let Some(alias) = publish.alias {
            let max = self.limits.topic_alias_max;
            self.aliases.note(alias, publish.topic, max).map_err(Ending::Violation)?;
        }
        match publish.delivery {
            Delivery::AtMostOnce if moment.is_full || moment.is_stuck => return Ok(Step::Dropped),
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce(id) => {
                if publish.is_repeat && self.pending.contains(id, Answer::PubAck) {
                    return Ok(Step::Repeated);
                }
                self.check_window(moment)?;
            }
            Delivery::ExactlyOnce(id) => {
                if self.unreleased.contains(&id) {
                    self.answer_again(id);
                    return Ok(Step::Repeated);
                }
                self.check_window(moment)?;
                self.unreleased.insert(id);
            }
        }
        let topic = match publish.alias {
            Some(alias) => self.aliases.topic(alias).map_err(Ending::Violation)?,
            None => publish.topic,
        };
        let Publish { payload, delivery, is_repeat: is_resend, .. } = publish;
        Ok(Step::Message { topic, payload, delivery, is_resend })
    }

    /// One more message that wants an answer.
    fn check_window(&self, moment: &Moment) -> Result<(), Ending> {
        if moment.is_stuck {
            return Err(Ending::Busy);
        }
        let unanswered = self.pending.len() - self.pending.pubrecs() + self.unreleased.len();
        let is_overrun = match self.version {
            Version::V5 => {
                let factor = usize::from(self.limits.overrun_factor.max(1));
                unanswered >= usize::from(self.limits.receive_max) * factor
            }
            // Answers owed are what the brake is for; identifiers that are never released are not.
            Version::V31 | Version::V311 => {
                self.unreleased.len() >= self.limits.unacked_messages_max
            }
        };
        if is_overrun { Err(Ending::Violation(Violation::ReceiveMaximum)) } else { Ok(()) }
    }

    fn release(&mut self, id: PacketId) {
        self.unreleased.remove(&id);
        if self.unreleased.is_empty() && self.unreleased.capacity() > CAPACITY_KEPT {
            self.unreleased = HashSet::new();
        }
    }

    /// QoS 2, sent again before PUBREL: the message is here already, only its PUBREC may be lost.
    fn answer_again(&mut self, id: PacketId) {
        if !self.pending.contains(id, Answer::PubRec) {
            self.pending.push(id, Answer::PubRec, Reason::Success, 0);
        }
    }
}

#[cfg(test)]
mod tests;
