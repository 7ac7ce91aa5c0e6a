//! Properties of version 5: which may stand where, how often, and of what type.
//!
//! ```text
//! length: variable integer | (identifier: variable integer | value)*
//! ```

use super::Violation;
use super::cursor::Cursor;

/// Where a list of properties stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    /// PUBACK, PUBREC, PUBREL and PUBCOMP.
    Ack,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Auth,
}

/// A property's value as it stands on the wire; only what someone asks for is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u32),
    Text(&'a str),
    /// Binary data, a pair of strings: checked, of no use to us.
    Other,
}

pub(super) const SESSION_EXPIRY_INTERVAL: u32 = 0x11;
pub(super) const ASSIGNED_CLIENT_IDENTIFIER: u32 = 0x12;
pub(super) const SERVER_KEEP_ALIVE: u32 = 0x13;
pub(super) const AUTHENTICATION_METHOD: u32 = 0x15;
pub(super) const REQUEST_PROBLEM_INFORMATION: u32 = 0x17;
pub(super) const REASON_STRING: u32 = 0x1f;
pub(super) const RECEIVE_MAXIMUM: u32 = 0x21;
pub(super) const TOPIC_ALIAS_MAXIMUM: u32 = 0x22;
pub(super) const TOPIC_ALIAS: u32 = 0x23;
pub(super) const USER_PROPERTY: u32 = 0x26;
pub(super) const MAXIMUM_PACKET_SIZE: u32 = 0x27;
pub(super) const WILDCARD_SUBSCRIPTION_AVAILABLE: u32 = 0x28;
pub(super) const SUBSCRIPTION_IDENTIFIER_AVAILABLE: u32 = 0x29;
pub(super) const SHARED_SUBSCRIPTION_AVAILABLE: u32 = 0x2a;

/// Reads a list of properties and shows each to `see`.
pub(super) fn read<'a>(
    packet: &mut Cursor<'a>,
    place: Place,
    mut see: impl FnMut(u32, Value<'a>),
) -> Result<(), Violation> {
    let len = packet.variable_integer()?;
    if len == 0 {
        return Ok(());
    }
    let mut list = Cursor::new(packet.bytes(len as usize)?);
    let mut seen = 0_u64;
    while !list.is_empty() {
        let id = list.variable_integer()?;
        let value = read_one(&mut list, place, id)?;
        // Every identifier that `read_one` lets through is below 64.
        let bit = 1_u64.checked_shl(id).unwrap_or(0);
        if seen & bit != 0 && id != USER_PROPERTY {
            return Err(Violation::Property);
        }
        seen |= bit;
        see(id, value);
    }
    Ok(())
}

/// Table 2-4 of the specification, those rows that a client may send.
fn read_one<'a>(list: &mut Cursor<'a>, place: Place, id: u32) -> Result<Value<'a>, Violation> {
    use Place::{Ack, Auth, Connect, Disconnect, Publish, Subscribe, Unsubscribe, Will};
    let at = |places: &[Place]| {
        if places.contains(&place) { Ok(()) } else { Err(Violation::Property) }
    };
    match id {
        0x01 => at(&[Publish, Will]).and_then(|()| flag(list)),
        0x02 => at(&[Publish, Will]).and_then(|()| four_bytes(list)),
        0x03 => at(&[Publish, Will]).and_then(|()| text(list)),
        0x08 => at(&[Publish, Will]).and_then(|()| topic(list)),
        0x09 => at(&[Publish, Will]).and_then(|()| binary(list)),
        0x0b => at(&[Subscribe]).and_then(|()| not_zero(list.variable_integer()?)),
        SESSION_EXPIRY_INTERVAL => at(&[Connect, Disconnect]).and_then(|()| four_bytes(list)),
        AUTHENTICATION_METHOD => at(&[Connect, Auth]).and_then(|()| text(list)),
        0x16 => at(&[Connect, Auth]).and_then(|()| binary(list)),
        REQUEST_PROBLEM_INFORMATION | 0x19 => at(&[Connect]).and_then(|()| flag(list)),
        0x18 => at(&[Will]).and_then(|()| four_bytes(list)),
        REASON_STRING => at(&[Ack, Disconnect, Auth]).and_then(|()| text(list)),
        RECEIVE_MAXIMUM => at(&[Connect]).and_then(|()| not_zero(list.u16()?.into())),
        TOPIC_ALIAS_MAXIMUM => at(&[Connect]).and_then(|()| two_bytes(list)),
        TOPIC_ALIAS => at(&[Publish]).and_then(|()| two_bytes(list)),
        USER_PROPERTY => {
            at(&[Connect, Will, Publish, Ack, Subscribe, Unsubscribe, Disconnect, Auth])?;
            pair(list)
        }
        MAXIMUM_PACKET_SIZE => at(&[Connect]).and_then(|()| not_zero(list.u32()?)),
        _ => Err(Violation::Property),
    }
}

fn flag<'a>(list: &mut Cursor<'a>) -> Result<Value<'a>, Violation> {
    match list.u8()? {
        bit @ 0..=1 => Ok(Value::Number(bit.into())),
        _ => Err(Violation::Property),
    }
}

fn two_bytes<'a>(list: &mut Cursor<'a>) -> Result<Value<'a>, Violation> {
    Ok(Value::Number(list.u16()?.into()))
}

fn four_bytes<'a>(list: &mut Cursor<'a>) -> Result<Value<'a>, Violation> {
    list.u32().map(Value::Number)
}

fn not_zero<'a>(number: u32) -> Result<Value<'a>, Violation> {
    if number == 0 { Err(Violation::Property) } else { Ok(Value::Number(number)) }
}

fn text<'a>(list: &mut Cursor<'a>) -> Result<Value<'a>, Violation> {
    list.utf8().map(Value::Text)
}

/// A response topic: nobody answers it here, but it must be one.
fn topic<'a>(list: &mut Cursor<'a>) -> Result<Value<'a>, Violation> {
    list.topic().map(Value::Text)
}

fn binary<'a>(list: &mut Cursor<'a>) -> Result<Value<'a>, Violation> {
    list.binary().map(|_| Value::Other)
}

fn pair<'a>(list: &mut Cursor<'a>) -> Result<Value<'a>, Violation> {
    list.utf8()?;
    list.utf8()?;
    Ok(Value::Other)
}
