//! CONNECT: who is there, in which version, and what it asks for.
//!
//! ```text
//! name: string | level: u8 | flags: u8 | keep alive: u16 | properties (5) |
//! client id: string | [will properties (5) | will topic: string | will payload: binary] |
//! [user name: string] | [password: binary]
//!
//! flags: user name, password, will retain, will QoS (2 bits), will, clean start, reserved
//! ```

use std::fmt;

use super::cursor::Cursor;
use super::properties::{self, Place, Value};
use super::{Frame, Qos, Version, Violation};

/// Set by mosquitto bridges in the level of 3.1 and 3.1.1; means nothing to one who only listens.
const BRIDGE_BIT: u8 = 0x80;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    pub version: Version,
    /// May be empty: then `clean_start` says whether that is allowed.
    pub client_id: &'a str,
    /// "Clean session" before version 5.
    pub clean_start: bool,
    /// Seconds; 0: none.
    pub keep_alive: u16,
    pub will: Option<Will<'a>>,
    pub username: Option<&'a str>,
    pub password: Option<Password<'a>>,
    pub properties: Asked<'a>,
}

/// What to publish for a client that vanishes. Checked, and so far nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: Qos,
    pub retain: bool,
}

/// Never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password<'a>(pub &'a [u8]);

/// What the properties of a version 5 CONNECT ask for; before version 5, the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Seconds that the session should outlive the connection.
    pub session_expiry: u32,
    pub packet_bytes_max: Option<u32>,
    /// Whether reason strings are welcome everywhere.
    pub problem_information: bool,
    pub authentication_method: Option<&'a str>,
}

impl<'a> Connect<'a> {
    pub fn parse(frame: Frame<'a>) -> Result<Self, Violation> {
        if frame.packet_type() != super::CONNECT {
            return Err(Violation::NotConnected);
        }
        if frame.flags() != 0 {
            return Err(Violation::Flags);
        }
        let mut body = Cursor::new(frame.body);
        let version = version(&mut body)?;
        let flags = Flags::parse(body.u8()?, version)?;
        let keep_alive = body.u16()?;
        let properties = if version == Version::V5 { asked(&mut body)? } else { Asked::default() };
        let client_id = body.utf8()?;
        let will = flags.will.then(|| will(&mut body, flags, version)).transpose()?;
        // Clients of 3.1 may set these flags and leave the fields out (3.1, "CONNECT", user name).
        let is_left_out = |body: &Cursor<'_>| version == Version::V31 && body.is_empty();
        let username = (flags.username && !is_left_out(&body)).then(|| body.utf8()).transpose()?;
        let password =
            (flags.password && !is_left_out(&body)).then(|| body.binary()).transpose()?;
        body.finish()?;
        Ok(Self {
            version,
            client_id,
            clean_start: flags.clean_start,
            keep_alive,
            will,
            username,
            password: password.map(Password),
            properties,
        })
    }

    /// The version whose CONNACK a client that sent this most likely understands, even if the rest
    /// of it cannot be read.
    pub fn dialect(frame: Frame<'a>) -> Version {
        let mut body = Cursor::new(frame.body);
        match (body.binary(), body.u8()) {
            (Ok(b"MQTT"), Ok(5..=0x7f)) => Version::V5,
            (Ok(b"MQIsdp"), _) => Version::V31,
            _ => Version::V311,
        }
    }
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self {
            session_expiry: 0,
            packet_bytes_max: None,
            problem_information: true,
            authentication_method: None,
        }
    }
}

impl fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

fn version(body: &mut Cursor<'_>) -> Result<Version, Violation> {
    let name = body.binary()?;
    let level = body.u8()?;
    match (name, level) {
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", _) if level & !BRIDGE_BIT == 4 => Ok(Version::V311),
        (b"MQIsdp", _) if level & !BRIDGE_BIT == 3 => Ok(Version::V31),
        (b"MQTT" | b"MQIsdp", _) => Err(Violation::ProtocolVersion),
        _ => Err(Violation::ProtocolName),
    }
}

#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "six flags in one byte are what the wire has")]
struct Flags {
    username: bool,
    password: bool,
    will: bool,
    will_qos: Qos,
    will_retain: bool,
    clean_start: bool,
}

impl Flags {
    fn parse(byte: u8, version: Version) -> Result<Self, Violation> {
        let bit = |at: u8| byte & (1 << at) != 0;
        let flags = Self {
            username: bit(7),
            password: bit(6),
            will: bit(2),
            will_qos: Qos::from_bits(byte >> 3)?,
            will_retain: bit(5),
            clean_start: bit(1),
        };
        let is_stray_will = !flags.will && (flags.will_qos != Qos::AtMostOnce || flags.will_retain);
        let is_stray_password = flags.password && !flags.username && version != Version::V5;
        // 3.1 says nothing of stray bits.
        let is_strict = version != Version::V31;
        if is_stray_password || (is_strict && (bit(0) || is_stray_will)) {
            return Err(Violation::Flags);
        }
        Ok(flags)
    }
}

fn asked<'a>(body: &mut Cursor<'a>) -> Result<Asked<'a>, Violation> {
    let mut asked = Asked::default();
    properties::read(body, Place::Connect, |id, value| match (id, value) {
        (properties::SESSION_EXPIRY_INTERVAL, Value::Number(seconds)) => {
            asked.session_expiry = seconds;
        }
        (properties::MAXIMUM_PACKET_SIZE, Value::Number(bytes)) => {
            asked.packet_bytes_max = Some(bytes);
        }
        (properties::REQUEST_PROBLEM_INFORMATION, Value::Number(bit)) => {
            asked.problem_information = bit == 1;
        }
        (properties::AUTHENTICATION_METHOD, Value::Text(method)) => {
            asked.authentication_method = Some(method);
        }
        _ => {}
    })?;
    Ok(asked)
}

fn will<'a>(body: &mut Cursor<'a>, flags: Flags, version: Version) -> Result<Will<'a>, Violation> {
    if version == Version::V5 {
        properties::read(body, Place::Will, |_, _| {})?;
    }
    let topic = body.topic()?;
    if topic.is_empty() {
        return Err(Violation::Topic);
    }
    Ok(Will { topic, payload: body.binary()?, qos: flags.will_qos, retain: flags.will_retain })
}
