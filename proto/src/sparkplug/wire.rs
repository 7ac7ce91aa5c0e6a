//! The protobuf wire format, as far as it goes here.
//!
//! ```text
//! message   (key varint · value)*         key = field number << 3 | type
//! type      0 varint | 1 eight bytes | 2 length varint · bytes | 5 four bytes
//! varint    7 bits a byte, the lowest first, the top bit: more follow; at most 10 bytes
//! ```
//! Numbers in four and eight bytes are little-endian. Groups (types 3 and 4) are not used.

use std::ops::Range;

use crate::{Kind, fault::Fault};

/// A field's value, by its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire<'p> {
    Varint(u64),
    Eight([u8; 8]),
    Bytes(&'p [u8]),
    Four([u8; 4]),
}

/// Its number, its value, and where in the payload that lies.
type Field<'p> = (u64, Wire<'p>, Range<usize>);

#[derive(Clone, Debug)]
pub(super) struct Fields<'p> {
    bytes: &'p [u8],
    at: usize,
    /// Where in the payload the message lies.
    start: usize,
}

impl<'p> Fields<'p> {
    pub(super) fn new(bytes: &'p [u8], start: usize) -> Self {
        Self { bytes, at: 0, start }
    }

    /// Where the next field lies in the payload.
    pub(super) fn at(&self) -> usize {
        self.start + self.at
    }

    pub(super) fn next(&mut self) -> Option<Result<Field<'p>, Fault>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        Some(self.field())
    }

    fn field(&mut self) -> Result<Field<'p>, Fault> {
        let key = self.varint()?;
        let mut start = self.at();
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Eight(self.array()?),
            2 => {
                let len = self.varint()?;
                start = self.at();
                Wire::Bytes(self.take(len)?)
            }
            5 => Wire::Four(self.array()?),
            _ => return self.fault("a field of a type that protobuf has not"),
        };
        Ok((key >> 3, value, start..self.at()))
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            // Of a tenth byte only one bit has room; what does not fit is cut, as everywhere.
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.fault("a number of more than ten bytes")
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let found = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        let Some(found) = found else { return self.fault("the payload breaks off") };
        self.at += N;
        Ok(*found)
    }

    fn take(&mut self, len: u64) -> Result<&'p [u8], Fault> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let found = end.and_then(|end| Some((self.bytes.get(self.at..end)?, end)));
        let Some((bytes, end)) = found else { return self.fault("the payload breaks off") };
        self.at = end;
        Ok(bytes)
    }

    fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { at: self.at(), kind: Kind::Undecodable, what })
    }
}

pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(0x80 | u8::try_from(value & 0x7F).unwrap_or_default());
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

/// A field of this number.
pub(super) fn put_number(field: u64, number: u64, out: &mut Vec<u8>) {
    put_varint(field << 3, out);
    put_varint(number, out);
}

pub(super) fn put_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(field << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
