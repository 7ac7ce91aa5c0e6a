//! The packets of MQTT 3.1, 3.1.1 and 5 as bytes: those a client sends are parsed in place, those
//! we send are written by `write`.
//!
//! ```text
//! type: 4 bits | flags: 4 bits | remaining length: variable integer | body
//! ```
//!
//! Promises: a parsed packet borrows topic and payload; nothing is allocated; nothing is trusted
//! (lengths, reserved flags, UTF-8, wildcards, identifiers, properties), and whatever is wrong is
//! a `Violation` with the kind for the metrics and the reason for the client. Sans-io.
//!
//! Lenient in three places, because clients in the field are: a remaining length may be written
//! longer than need be (legal before version 5), 3.1 may set the DUP flag where 3.1.1 has a
//! reserved one, and a DUP flag at QoS 0 means nothing.

use std::num::NonZeroU16;

use cursor::Cursor;
use properties::Place;

pub use connect::{Asked, Connect, Password, Will};
pub use publish::{Delivery, Publish};
pub use reason::Reason;
pub use violation::Violation;

mod connect;
mod cursor;
mod properties;
mod publish;
mod reason;
mod violation;
pub mod write;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `MQIsdp`, level 3.
    V31,
    V311,
    V5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    AtMostOnce,
    AtLeastOnce,
    ExactlyOnce,
}

/// Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketId(pub NonZeroU16);

/// What a client may send once it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    Publish(Publish<'a>),
    PubRel(PacketId),
    Subscribe { id: PacketId, filters: usize },
    Unsubscribe { id: PacketId, filters: usize },
    PingReq,
    Disconnect,
}

/// One packet's bytes, cut out of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    first: u8,
    body: &'a [u8],
    /// Bytes of the whole packet.
    pub len: usize,
}

/// What stands at the beginning of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    Whole(Frame<'a>),
    /// At least so many bytes are needed to know more; the packet's size, once its length is there.
    Partial {
        wanted: usize,
    },
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBREL: u8 = 6;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;
const AUTH: u8 = 15;

/// Cuts the first packet out of `bytes`. Its length is checked before any of its body is there.
pub fn frame(bytes: &[u8], packet_bytes_max: usize) -> Result<Framed<'_>, Violation> {
    let Some((&first, after)) = bytes.split_first() else {
        return Ok(Framed::Partial { wanted: 2 });
    };
    let mut remaining = 0;
    for place in 0..4 {
        let Some(&byte) = after.get(place) else {
            return Ok(Framed::Partial { wanted: place + 2 });
        };
        remaining |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let head = place + 2;
            let len = head + remaining;
            if len > packet_bytes_max {
                return Err(Violation::TooLarge);
            }
            return Ok(match bytes.get(head..len) {
                Some(body) => Framed::Whole(Frame { first, body, len }),
                None => Framed::Partial { wanted: len },
            });
        }
    }
    Err(Violation::Length)
}

impl<'a> Frame<'a> {
    /// Any packet but CONNECT.
    pub fn packet(self, version: Version) -> Result<Packet<'a>, Violation> {
        let packet_type = self.packet_type();
        if packet_type == PUBLISH {
            return Publish::parse(self, version).map(Packet::Publish);
        }
        self.check_flags(version)?;
        match packet_type {
            PUBREL => self.acknowledgement(version).map(Packet::PubRel),
            SUBSCRIBE => self.subscribe(version),
            UNSUBSCRIBE => self.unsubscribe(version),
            PINGREQ => self.nothing_else().map(|()| Packet::PingReq),
            DISCONNECT => self.disconnect(version).map(|()| Packet::Disconnect),
            CONNECT => Err(Violation::SecondConnect),
            AUTH if version == Version::V5 => Err(Violation::Auth),
            // PUBACK, PUBREC and PUBCOMP among them: they answer what we never send.
            _ => Err(Violation::PacketType),
        }
    }

    /// The first byte: type and flags.
    pub fn first(self) -> u8 {
        self.first
    }

    fn packet_type(self) -> u8 {
        self.first >> 4
    }

    fn flags(self) -> u8 {
        self.first & 0x0f
    }

    fn check_flags(self, version: Version) -> Result<(), Violation> {
        let is_numbered = matches!(self.packet_type(), PUBREL | SUBSCRIBE | UNSUBSCRIBE);
        let is_right = match version {
            _ if !is_numbered => self.flags() == 0,
            Version::V31 => self.flags() & 0b0111 == 0b0010,
            Version::V311 | Version::V5 => self.flags() == 0b0010,
        };
        if is_right { Ok(()) } else { Err(Violation::Flags) }
    }

    fn nothing_else(self) -> Result<(), Violation> {
        Cursor::new(self.body).finish()
    }

    /// Packet identifier; in version 5 a reason and properties may follow.
    fn acknowledgement(self, version: Version) -> Result<PacketId, Violation> {
        let mut body = Cursor::new(self.body);
        let id = body.packet_id()?;
        if version == Version::V5 {
            reason_and_properties(&mut body, Place::Ack)?;
        }
        body.finish()?;
        Ok(id)
    }

    fn disconnect(self, version: Version) -> Result<(), Violation> {
        let mut body = Cursor::new(self.body);
        if version == Version::V5 {
            reason_and_properties(&mut body, Place::Disconnect)?;
        }
        body.finish()
    }

    fn subscribe(self, version: Version) -> Result<Packet<'a>, Violation> {
        let mut body = Cursor::new(self.body);
        let id = body.packet_id()?;
        if version == Version::V5 {
            properties::read(&mut body, Place::Subscribe, |_, _| {})?;
        }
        let filters = count_filters(&mut body, |body| {
            let options = body.u8()?;
            let is_possible = match version {
                // QoS below 3, retain handling below 3, reserved bits 0.
                Version::V5 => options & 3 < 3 && options & 0x30 < 0x30 && options & 0xc0 == 0,
                Version::V31 | Version::V311 => options < 3,
            };
            if is_possible { Ok(()) } else { Err(Violation::Subscription) }
        })?;
        Ok(Packet::Subscribe { id, filters })
    }

    fn unsubscribe(self, version: Version) -> Result<Packet<'a>, Violation> {
        let mut body = Cursor::new(self.body);
        let id = body.packet_id()?;
        if version == Version::V5 {
            properties::read(&mut body, Place::Unsubscribe, |_, _| {})?;
        }
        let filters = count_filters(&mut body, |_| Ok(()))?;
        Ok(Packet::Unsubscribe { id, filters })
    }
}

/// Both may be left out: then the reason is 0, and there is no property.
fn reason_and_properties(body: &mut Cursor<'_>, place: Place) -> Result<(), Violation> {
    if !body.is_empty() {
        body.u8()?;
    }
    if !body.is_empty() {
        properties::read(body, place, |_, _| {})?;
    }
    Ok(())
}

/// At least one, none of them empty.
fn count_filters<'a>(
    body: &mut Cursor<'a>,
    options: impl Fn(&mut Cursor<'a>) -> Result<(), Violation>,
) -> Result<usize, Violation> {
    let mut filters = 0;
    while !body.is_empty() || filters == 0 {
        let is_empty = body.is_empty() || body.utf8()?.is_empty();
        if is_empty {
            return Err(Violation::Subscription);
        }
        options(body)?;
        filters += 1;
    }
    Ok(filters)
}

impl PacketId {
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl Qos {
    /// From the two lowest bits.
    fn from_bits(bits: u8) -> Result<Self, Violation> {
        match bits & 3 {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err(Violation::Qos),
        }
    }
}

#[cfg(test)]
mod tests;
