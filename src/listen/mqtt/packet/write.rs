//! The packets that this gateway sends, appended to a buffer.
//!
//! ```text
//! CONNACK    0x20 | len | 0 (session present, never) | code | properties (5)
//! PUBACK     0x40 | len | packet id: u16 | reason (5, left out if 0)         PUBREC 0x50, PUBCOMP 0x70
//! SUBACK     0x90 | len | packet id: u16 | properties (5) | a code per filter  UNSUBACK 0xb0
//! PINGRESP   0xd0 | 0
//! DISCONNECT 0xe0 | len | reason | properties                               (5 only)
//! ```

use super::properties::{
    ASSIGNED_CLIENT_IDENTIFIER, MAXIMUM_PACKET_SIZE, REASON_STRING, RECEIVE_MAXIMUM,
    SERVER_KEEP_ALIVE, SESSION_EXPIRY_INTERVAL, SHARED_SUBSCRIPTION_AVAILABLE,
    SUBSCRIPTION_IDENTIFIER_AVAILABLE, TOPIC_ALIAS_MAXIMUM, WILDCARD_SUBSCRIPTION_AVAILABLE,
};
use super::{PacketId, Reason, Version};

/// The longest string that a property can hold.
const STRING_BYTES_MAX: usize = u16::MAX as usize;

/// What a version 5 client is told when it is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted<'a> {
    pub receive_max: u16,
    pub packet_bytes_max: u32,
    pub topic_alias_max: u16,
    /// If the client gave none.
    pub assigned_client_id: Option<&'a str>,
    /// If it differs from what the client asked for.
    pub keep_alive: Option<u16>,
    /// The client asked for a session that outlives the connection; there is none.
    pub ends_with_connection: bool,
}

/// Which of the three answers that look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Answer {
    PubAck = 0x40,
    PubRec = 0x50,
    PubComp = 0x70,
}

/// CONNACK to a client of version 3.1 or 3.1.1 that is let in.
pub fn connack(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x20, 2, 0, 0]);
}

/// CONNACK to a client of version 5 that is let in. Subscriptions of any special kind are not
/// available; what is left out has the specification's default: QoS 2, retained messages taken.
pub fn connack_v5(granted: &Granted<'_>, out: &mut Vec<u8>) {
    let mut list = Vec::with_capacity(64);
    number(&mut list, RECEIVE_MAXIMUM, &granted.receive_max.to_be_bytes());
    number(&mut list, MAXIMUM_PACKET_SIZE, &granted.packet_bytes_max.to_be_bytes());
    if granted.topic_alias_max > 0 {
        number(&mut list, TOPIC_ALIAS_MAXIMUM, &granted.topic_alias_max.to_be_bytes());
    }
    if let Some(client_id) = granted.assigned_client_id {
        string(&mut list, ASSIGNED_CLIENT_IDENTIFIER, client_id);
    }
    if let Some(seconds) = granted.keep_alive {
        number(&mut list, SERVER_KEEP_ALIVE, &seconds.to_be_bytes());
    }
    if granted.ends_with_connection {
        number(&mut list, SESSION_EXPIRY_INTERVAL, &0_u32.to_be_bytes());
    }
    number(&mut list, WILDCARD_SUBSCRIPTION_AVAILABLE, &[0]);
    number(&mut list, SUBSCRIPTION_IDENTIFIER_AVAILABLE, &[0]);
    number(&mut list, SHARED_SUBSCRIPTION_AVAILABLE, &[0]);
    packet(out, 0x20, &[0, Reason::Success.code()], &list);
}

/// CONNACK to a client that is not let in: nothing at all if its version has no word for it.
pub fn connack_refused(
    version: Version,
    reason: Reason,
    why: &str,
    bytes_max: Option<u32>,
    out: &mut Vec<u8>,
) {
    match version {
        Version::V5 => with_reason_string(out, 0x20, &[0, reason.code()], why, bytes_max),
        Version::V31 | Version::V311 => {
            if let Some(code) = reason.return_code() {
                out.extend_from_slice(&[0x20, 2, 0, code]);
            }
        }
    }
}

/// PUBACK, PUBREC or PUBCOMP. Before version 5 there is no reason, only the answer.
pub fn answer(answer: Answer, version: Version, id: PacketId, reason: Reason, out: &mut Vec<u8>) {
    let [high, low] = id.get().to_be_bytes();
    if version == Version::V5 && reason != Reason::Success {
        out.extend_from_slice(&[answer as u8, 3, high, low, reason.code()]);
    } else {
        out.extend_from_slice(&[answer as u8, 2, high, low]);
    }
}

pub fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xd0, 0]);
}

/// SUBACK that refuses every filter.
pub fn suback_refused(version: Version, id: PacketId, filters: usize, out: &mut Vec<u8>) {
    let code = match version {
        Version::V5 => Reason::QuotaExceeded.code(),
        Version::V31 | Version::V311 => 0x80,
    };
    let [high, low] = id.get().to_be_bytes();
    let no_properties = usize::from(version == Version::V5);
    header(out, 0x90, 2 + no_properties + filters);
    out.extend_from_slice(&[high, low]);
    out.resize(out.len() + no_properties, 0);
    out.resize(out.len() + filters, code);
}

/// UNSUBACK: in version 5 it says that there was no such subscription.
pub fn unsuback(version: Version, id: PacketId, filters: usize, out: &mut Vec<u8>) {
    let [high, low] = id.get().to_be_bytes();
    if version == Version::V5 {
        header(out, 0xb0, 3 + filters);
        out.extend_from_slice(&[high, low, 0]);
        out.resize(out.len() + filters, Reason::NoSubscriptionExisted.code());
    } else {
        out.extend_from_slice(&[0xb0, 2, high, low]);
    }
}

/// DISCONNECT. Only version 5 lets a server send it.
pub fn disconnect(reason: Reason, why: &str, bytes_max: Option<u32>, out: &mut Vec<u8>) {
    with_reason_string(out, 0xe0, &[reason.code()], why, bytes_max);
}

/// The reason string is left out where the client's maximum packet size has no room for it.
fn with_reason_string(
    out: &mut Vec<u8>,
    first: u8,
    fields: &[u8],
    why: &str,
    bytes_max: Option<u32>,
) {
    let mut list = Vec::new();
    if !why.is_empty() {
        string(&mut list, REASON_STRING, why);
    }
    // Fixed header and length of the properties: at most 5 and 4 bytes.
    let is_too_large = bytes_max.is_some_and(|max| 9 + fields.len() + list.len() > max as usize);
    packet(out, first, fields, if is_too_large { &[] } else { &list });
}

fn packet(out: &mut Vec<u8>, first: u8, fields: &[u8], list: &[u8]) {
    let mut len = Vec::with_capacity(4);
    variable_integer(&mut len, list.len());
    header(out, first, fields.len() + len.len() + list.len());
    out.extend_from_slice(fields);
    out.extend_from_slice(&len);
    out.extend_from_slice(list);
}

fn header(out: &mut Vec<u8>, first: u8, len: usize) {
    out.push(first);
    variable_integer(out, len);
}

fn variable_integer(out: &mut Vec<u8>, mut value: usize) {
    loop {
        #[expect(clippy::cast_possible_truncation, reason = "masked to seven bits")]
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

/// Every identifier of a property that we send is below 128: one byte.
fn number(list: &mut Vec<u8>, id: u32, value: &[u8]) {
    variable_integer(list, id as usize);
    list.extend_from_slice(value);
}

/// Cut at a character boundary if it is longer than a string can be.
fn string(list: &mut Vec<u8>, id: u32, text: &str) {
    let text = text.get(..text.floor_char_boundary(STRING_BYTES_MAX)).unwrap_or_default();
    variable_integer(list, id as usize);
    list.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    list.extend_from_slice(text.as_bytes());
}
