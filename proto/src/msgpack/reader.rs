//! `MessagePack`'s values as tokens. Nothing is built but integers beyond 2^63.

use crate::{
    Kind,
    fault::Fault,
    scratch::Piece,
    tree::{
        Scalar,
        binary::{Count, Token, Tokens},
    },
    value::float_from_f32,
};

/// The extension type of a timestamp.
const TIMESTAMP: i8 = -1;

#[derive(Debug)]
pub(super) struct Reader<'p> {
    bytes: &'p [u8],
    at: usize,
}

impl<'p> Tokens<'p> for Reader<'p> {
    fn at(&self) -> usize {
        self.at
    }

    fn seek(&mut self, at: usize) {
        self.at = at;
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn token(&mut self, arena: &mut String) -> Result<Token<'p>, Fault> {
        let start = self.at;
        let [first] = self.array()?;
        let value = match first {
            0x00..=0x7F => Scalar::Integer(i64::from(first)),
            0xE0..=0xFF => Scalar::Integer(i64::from(first.cast_signed())),
            0x80..=0x8F => return Ok(map(u64::from(first & 0x0F))),
            0x90..=0x9F => return Ok(array(u64::from(first & 0x0F))),
            0xA0..=0xBF => self.text(u32::from(first & 0x1F))?,
            0xC0 => Scalar::Null,
            0xC1 => {
                let what = "0xC1, which MessagePack has not";
                return Err(Fault { at: start, kind: Kind::Undecodable, what });
            }
            0xC2 => Scalar::Boolean(false),
            0xC3 => Scalar::Boolean(true),
            0xC4..=0xC6 => {
                let len = self.len(first - 0xC4)?;
                Scalar::Bytes(self.take(len)?)
            }
            0xC7..=0xC9 => {
                let len = self.len(first - 0xC7)?;
                self.extension(len)?
            }
            0xD4..=0xD8 => self.extension(1 << (first - 0xD4))?,
            0xCA => finite(float_from_f32(f32::from_be_bytes(self.array()?))),
            0xCB => finite(f64::from_be_bytes(self.array()?)),
            0xCC..=0xCF => self.unsigned(first, arena)?,
            0xD0..=0xD3 => self.signed(first)?,
            0xD9..=0xDB => {
                let len = self.len(first - 0xD9)?;
                self.text(len)?
            }
            0xDC => return Ok(array(u64::from(self.len(1)?))),
            0xDD => return Ok(array(u64::from(self.len(2)?))),
            0xDE => return Ok(map(u64::from(self.len(1)?))),
            0xDF => return Ok(map(u64::from(self.len(2)?))),
        };
        Ok(Token::Scalar(value))
    }

    fn take_break(&mut self) -> bool {
        false
    }
}

impl<'p> Reader<'p> {
    pub(super) fn new(bytes: &'p [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let at = self.at;
        let found = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        self.at += N;
        found.copied().ok_or(Fault { at, kind: Kind::Undecodable, what: "the payload breaks off" })
    }

    fn take(&mut self, len: u32) -> Result<&'p [u8], Fault> {
        let at = self.at;
        let end = usize::try_from(len).ok().and_then(|len| at.checked_add(len));
        let found = end.and_then(|end| Some((self.bytes.get(at..end)?, end)));
        let Some((bytes, end)) = found else {
            return Err(Fault { at, kind: Kind::Undecodable, what: "the payload breaks off" });
        };
        self.at = end;
        Ok(bytes)
    }

    /// A length in 1, 2 or 4 bytes.
    fn len(&mut self, width: u8) -> Result<u32, Fault> {
        Ok(match width {
            0 => u32::from(u8::from_be_bytes(self.array()?)),
            1 => u32::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?),
        })
    }

    fn unsigned(&mut self, first: u8, arena: &mut String) -> Result<Scalar<'p>, Fault> {
        let number = match first {
            0xCC..=0xCE => u64::from(self.len(first - 0xCC)?),
            _ => u64::from_be_bytes(self.array()?),
        };
        Ok(i64::try_from(number).map_or_else(
            |_| {
                let from = arena.len();
                arena.push_str(itoa::Buffer::new().format(number));
                Scalar::Number(Piece::Made(from..arena.len()))
            },
            Scalar::Integer,
        ))
    }

    fn signed(&mut self, first: u8) -> Result<Scalar<'p>, Fault> {
        Ok(Scalar::Integer(match first {
            0xD0 => i64::from(i8::from_be_bytes(self.array()?)),
            0xD1 => i64::from(i16::from_be_bytes(self.array()?)),
            0xD2 => i64::from(i32::from_be_bytes(self.array()?)),
            _ => i64::from_be_bytes(self.array()?),
        }))
    }

    fn text(&mut self, len: u32) -> Result<Scalar<'p>, Fault> {
        Ok(std::str::from_utf8(self.take(len)?)
            .map_or(Scalar::Unstorable("a text that is not UTF-8"), |text| {
                Scalar::Text(Piece::Plain(text))
            }))
    }

    fn extension(&mut self, len: u32) -> Result<Scalar<'p>, Fault> {
        let kind = i8::from_be_bytes(self.array()?);
        let bytes = self.take(len)?;
        Ok(match kind {
            TIMESTAMP => instant(bytes)
                .unwrap_or(Scalar::Unstorable("a timestamp that is not one of MessagePack's")),
            _ => Scalar::Unstorable("an extension, which no field can hold"),
        })
    }
}

/// ```text
/// 4 bytes    seconds u32
/// 8 bytes    nanoseconds 30 bits · seconds 34 bits
/// 12 bytes   nanoseconds u32 · seconds i64
/// ```
fn instant<'p>(bytes: &[u8]) -> Option<Scalar<'p>> {
    let (seconds, nanos) = match bytes.len() {
        4 => (i64::from(u32::from_be_bytes(*bytes.first_chunk()?)), 0),
        8 => {
            let both = u64::from_be_bytes(*bytes.first_chunk()?);
            (i64::try_from(both & 0x3_FFFF_FFFF).ok()?, u32::try_from(both >> 34).ok()?)
        }
        12 => {
            let seconds = i64::from_be_bytes(*bytes.last_chunk()?);
            (seconds, u32::from_be_bytes(*bytes.first_chunk()?))
        }
        _ => return None,
    };
    (nanos < 1_000_000_000).then_some(Scalar::Instant { seconds, nanos })
}

fn map<'p>(members: u64) -> Token<'p> {
    Token::Map(Count::Items(members))
}

fn array<'p>(elements: u64) -> Token<'p> {
    Token::Array(Count::Items(elements))
}

fn finite<'p>(number: f64) -> Scalar<'p> {
    if number.is_finite() { Scalar::Float(number) } else { Scalar::NotFinite }
}
