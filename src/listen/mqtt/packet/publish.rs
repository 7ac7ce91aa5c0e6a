//! PUBLISH, parsed in place: topic and payload are borrowed from the read buffer.
//!
//! ```text
//! flags: DUP, QoS (2 bits), RETAIN | topic: string | packet id: u16 (QoS 1, 2) | properties (5) | payload
//! ```

use super::cursor::Cursor;
use super::properties::{self, Place, Value};
use super::{Frame, PacketId, Qos, Version, Violation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Empty only in version 5, and only with an alias.
    pub topic: &'a str,
    pub alias: Option<u16>,
    pub delivery: Delivery,
    /// Sent before, says the client.
    pub is_repeat: bool,
    pub retain: bool,
    pub payload: &'a [u8],
}

/// QoS and packet identifier, which only come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    AtMostOnce,
    AtLeastOnce(PacketId),
    ExactlyOnce(PacketId),
}

impl Delivery {
    pub fn qos(self) -> Qos {
        match self {
            Self::AtMostOnce => Qos::AtMostOnce,
            Self::AtLeastOnce(_) => Qos::AtLeastOnce,
            Self::ExactlyOnce(_) => Qos::ExactlyOnce,
        }
    }
}

impl Delivery {
    pub fn id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce(id) | Self::ExactlyOnce(id) => Some(id),
        }
    }
}

impl<'a> Publish<'a> {
    pub(super) fn parse(frame: Frame<'a>, version: Version) -> Result<Self, Violation> {
        let flags = frame.flags();
        let qos = Qos::from_bits(flags >> 1)?;
        let mut body = Cursor::new(frame.body);
        let topic = body.topic()?;
        let delivery = match qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(body.packet_id()?),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(body.packet_id()?),
        };
        let alias = if version == Version::V5 { alias(&mut body)? } else { None };
        if topic.is_empty() && alias.is_none() {
            return Err(Violation::Topic);
        }
        Ok(Self {
            topic,
            alias,
            delivery,
            is_repeat: flags & 0b1000 != 0,
            retain: flags & 1 != 0,
            payload: body.rest(),
        })
    }
}

fn alias(body: &mut Cursor<'_>) -> Result<Option<u16>, Violation> {
    let mut alias = None;
    properties::read(body, Place::Publish, |id, value| {
        if let (properties::TOPIC_ALIAS, Value::Number(number)) = (id, value) {
            alias = u16::try_from(number).ok();
        }
    })?;
    Ok(alias)
}
