//! Reads the field types of MQTT from a borrowed packet body, never past its end.
//!
//! ```text
//! u16, u32          big-endian
//! utf-8 string      len: u16 | bytes, no U+0000
//! binary            len: u16 | bytes
//! variable integer  1 to 4 bytes, 7 bits each, lowest first, top bit = more follows
//! ```

use std::num::NonZeroU16;

use super::{PacketId, Violation};

/// What is left of a packet's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<(), Violation> {
        if self.rest.is_empty() { Ok(()) } else { Err(Violation::Trailing) }
    }

    pub(super) fn u8(&mut self) -> Result<u8, Violation> {
        let (&byte, rest) = self.rest.split_first().ok_or(Violation::CutShort)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Violation> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(Violation::CutShort)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(bytes))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Violation> {
        let (&bytes, rest) = self.rest.split_first_chunk().ok_or(Violation::CutShort)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(bytes))
    }

    /// Version 5 wants the shortest form (MQTT-1.5.5-1), and this is used for version 5 only.
    pub(super) fn variable_integer(&mut self) -> Result<u32, Violation> {
        let mut value = 0;
        for place in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || place == 0;
                return if is_shortest { Ok(value) } else { Err(Violation::Length) };
            }
        }
        Err(Violation::Length)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Violation> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Violation::CutShort)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], Violation> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    pub(super) fn utf8(&mut self) -> Result<&'a str, Violation> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Violation::Utf8)?;
        if text.as_bytes().contains(&0) { Err(Violation::Utf8) } else { Ok(text) }
    }

    /// A topic name: something that can be published to. May be empty, which only an alias excuses.
    pub(super) fn topic(&mut self) -> Result<&'a str, Violation> {
        let bytes = self.binary()?;
        if bytes.iter().any(|byte| matches!(byte, 0 | b'+' | b'#')) {
            return Err(Violation::Topic);
        }
        std::str::from_utf8(bytes).map_err(|_| Violation::Utf8)
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, Violation> {
        NonZeroU16::new(self.u16()?).map(PacketId).ok_or(Violation::PacketId)
    }
}
