//! CBOR's items as tokens. Nothing is built but texts that come in pieces and numbers that no
//! machine word holds.

use crate::{
    Kind,
    decimal::Decimal,
    fault::Fault,
    scratch::Piece,
    tree::{
        Scalar,
        binary::{Count, Token, Tokens},
    },
    value::float_from_f32,
};

const BREAK: u8 = 0xFF;
const NOT_UTF8: &str = "a text that is not UTF-8";

#[derive(Debug)]
pub(crate) struct Reader<'p> {
    bytes: &'p [u8],
    at: usize,
}

/// The initial byte and its argument.
#[derive(Clone, Copy, Debug)]
struct Head {
    major: u8,
    info: u8,
    argument: u64,
}

impl Head {
    fn is_indefinite(self) -> bool {
        self.info == 31
    }

    fn count(self) -> Count {
        if self.is_indefinite() { Count::UntilBreak } else { Count::Items(self.argument) }
    }
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

    /// Of several tags around one item the innermost counts.
    fn token(&mut self, arena: &mut String) -> Result<Token<'p>, Fault> {
        let mut tag = None;
        let head = loop {
            let head = self.head()?;
            if head.major != 6 {
                break head;
            }
            tag = Some(head.argument);
        };
        let value = match head.major {
            0 | 1 => integer(head, arena),
            2 => self.byte_string(head, tag, arena)?,
            3 => self.text(head, arena)?,
            4 if tag == Some(4) => self.decimal_fraction(head, arena)?,
            4 => return Ok(Token::Array(head.count())),
            5 => return Ok(Token::Map(head.count())),
            _ => self.simple(head)?,
        };
        let is_time = tag == Some(1);
        Ok(Token::Scalar(if is_time { instant(value, arena) } else { value }))
    }

    fn take_break(&mut self) -> bool {
        let here = self.bytes.get(self.at) == Some(&BREAK);
        self.at += usize::from(here);
        here
    }
}

impl<'p> Reader<'p> {
    pub(crate) fn new(bytes: &'p [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn head(&mut self) -> Result<Head, Fault> {
        let start = self.at;
        let [initial] = self.array()?;
        let (major, info) = (initial >> 5, initial & 0x1F);
        let argument = match info {
            0..=23 => u64::from(info),
            24 => u64::from(u8::from_be_bytes(self.array()?)),
            25 => u64::from(u16::from_be_bytes(self.array()?)),
            26 => u64::from(u32::from_be_bytes(self.array()?)),
            27 => u64::from_be_bytes(self.array()?),
            31 if matches!(major, 2..=5) => 0,
            31 if major == 7 => return fault(start, "an end mark where an item was expected"),
            _ => return fault(start, "a length that CBOR has not"),
        };
        Ok(Head { major, info, argument })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let at = self.at;
        let found = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        self.at += N;
        found.copied().ok_or(Fault { at, kind: Kind::Undecodable, what: "the payload breaks off" })
    }

    fn take(&mut self, len: u64) -> Result<&'p [u8], Fault> {
        let at = self.at;
        let end = usize::try_from(len).ok().and_then(|len| at.checked_add(len));
        let found = end.and_then(|end| Some((self.bytes.get(at..end)?, end)));
        let Some((bytes, end)) = found else { return fault(at, "the payload breaks off") };
        self.at = end;
        Ok(bytes)
    }

    fn text(&mut self, head: Head, arena: &mut String) -> Result<Scalar<'p>, Fault> {
        if !head.is_indefinite() {
            let text = std::str::from_utf8(self.take(head.argument)?);
            return Ok(text.map_or(Scalar::Unstorable(NOT_UTF8), |t| Scalar::Text(Piece::Plain(t))));
        }
        let from = arena.len();
        let mut is_utf8 = true;
        while let Some(chunk) = self.chunk(head.major)? {
            match std::str::from_utf8(chunk) {
                Ok(chunk) => arena.push_str(chunk),
                Err(_) => is_utf8 = false,
            }
        }
        let made = Scalar::Text(Piece::Made(from..arena.len()));
        Ok(if is_utf8 { made } else { Scalar::Unstorable(NOT_UTF8) })
    }

    fn byte_string(
        &mut self,
        head: Head,
        tag: Option<u64>,
        arena: &mut String,
    ) -> Result<Scalar<'p>, Fault> {
        if head.is_indefinite() {
            while self.chunk(head.major)?.is_some() {}
            return Ok(Scalar::Unstorable("bytes in pieces, which no field can hold"));
        }
        let bytes = self.take(head.argument)?;
        Ok(match tag {
            Some(2) => bignum(bytes, false, arena),
            Some(3) => bignum(bytes, true, arena),
            _ => Scalar::Bytes(bytes),
        })
    }

    /// The next piece of a text or byte string without a length; `None` at its end.
    fn chunk(&mut self, major: u8) -> Result<Option<&'p [u8]>, Fault> {
        if self.take_break() {
            return Ok(None);
        }
        let at = self.at;
        let head = self.head()?;
        if head.major != major || head.is_indefinite() {
            return fault(at, "a piece that is not of its string's kind");
        }
        self.take(head.argument).map(Some)
    }

    /// Tag 4: an array of exponent and mantissa, read from their decimals.
    fn decimal_fraction(&mut self, head: Head, arena: &mut String) -> Result<Scalar<'p>, Fault> {
        let at = self.at;
        let wrong = || fault(at, "a decimal fraction that is not an exponent and a mantissa");
        if head.argument != 2 || head.is_indefinite() {
            return wrong();
        }
        let Scalar::Integer(exponent) = self.whole_number(arena)? else { return wrong() };
        let mantissa = self.whole_number(arena)?;
        let from = arena.len();
        match mantissa {
            Scalar::Integer(mantissa) => arena.push_str(itoa::Buffer::new().format(mantissa)),
            Scalar::Number(Piece::Made(range)) => arena.extend_from_within(range),
            _ => return wrong(),
        }
        arena.push('e');
        arena.push_str(itoa::Buffer::new().format(exponent));
        Ok(Scalar::Number(Piece::Made(from..arena.len())))
    }

    /// An integer or a bignum. Not by way of `token`, which would nest as deeply as the payload
    /// wants it to.
    fn whole_number(&mut self, arena: &mut String) -> Result<Scalar<'p>, Fault> {
        let head = self.head()?;
        match (head.major, head.argument) {
            (0 | 1, _) => Ok(integer(head, arena)),
            (6, tag @ (2 | 3)) => {
                let content = self.head()?;
                if content.major != 2 {
                    return fault(self.at, "a bignum that is not bytes");
                }
                self.byte_string(content, Some(tag), arena)
            }
            _ => fault(self.at, "a decimal fraction of something other than integers"),
        }
    }

    fn simple(&self, head: Head) -> Result<Scalar<'p>, Fault> {
        Ok(match (head.info, head.argument) {
            (20, _) => Scalar::Boolean(false),
            (21, _) => Scalar::Boolean(true),
            (22 | 23, _) => Scalar::Null,
            (24, ..32) => return fault(self.at, "a simple value that is written too long"),
            (25, bits) => finite(half(bits)),
            (26, bits) => {
                finite(u32::try_from(bits).map_or(f64::NAN, |b| float_from_f32(f32::from_bits(b))))
            }
            (27, bits) => finite(f64::from_bits(bits)),
            _ => Scalar::Unstorable("a simple value, which no field can hold"),
        })
    }
}

fn integer<'p>(head: Head, arena: &mut String) -> Scalar<'p> {
    match (i64::try_from(head.argument), head.major) {
        (Ok(number), 0) => Scalar::Integer(number),
        (Ok(number), _) => Scalar::Integer(-1 - number),
        (Err(_), 0) => number_made(i128::from(head.argument), arena),
        (Err(_), _) => number_made(-1 - i128::from(head.argument), arena),
    }
}

/// Exact up to 127 bits, beyond that as near as a float comes.
fn bignum<'p>(bytes: &[u8], negative: bool, arena: &mut String) -> Scalar<'p> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = bytes.get(zeros..).unwrap_or_default();
    let (leading, rest) = bytes.split_at(bytes.len().min(16));
    let leading = leading.iter().fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
    if rest.is_empty()
        && let Ok(number) = i128::try_from(leading)
    {
        return number_made(if negative { -1 - number } else { number }, arena);
    }
    let scale = i32::try_from(rest.len()).map_or(i32::MAX, |len| len.saturating_mul(8));
    #[expect(clippy::cast_precision_loss, reason = "a number of that size is rounded, as in JSON")]
    let number = leading as f64 * 2_f64.powi(scale);
    finite(if negative { -number } else { number })
}

fn number_made<'p>(number: i128, arena: &mut String) -> Scalar<'p> {
    let from = arena.len();
    arena.push_str(itoa::Buffer::new().format(number));
    Scalar::Number(Piece::Made(from..arena.len()))
}

/// Tag 1: seconds since 1970. What is no number keeps its own meaning.
fn instant<'p>(value: Scalar<'p>, arena: &str) -> Scalar<'p> {
    let mut float = zmij::Buffer::new();
    let text = match &value {
        Scalar::Integer(seconds) => return Scalar::Instant { seconds: *seconds, nanos: 0 },
        Scalar::Float(seconds) => float.format_finite(*seconds),
        Scalar::Number(text) => text.get(arena),
        _ => return value,
    };
    let nanos = Decimal::parse(text).and_then(|seconds| seconds.scaled(9)).unwrap_or(i128::MAX);
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
    let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default();
    Scalar::Instant { seconds, nanos }
}

/// The exact value: the half of a sender who made a number as short as it can be is that number.
fn half(bits: u64) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(u8::try_from(bits >> 10 & 0x1F).unwrap_or_default());
    let mantissa = f64::from(u16::try_from(bits & 0x3FF).unwrap_or_default());
    sign * match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2_f64.powi(exponent - 25),
    }
}

fn finite<'p>(number: f64) -> Scalar<'p> {
    if number.is_finite() { Scalar::Float(number) } else { Scalar::NotFinite }
}

fn fault<T>(at: usize, what: &'static str) -> Result<T, Fault> {
    Err(Fault { at, kind: Kind::Undecodable, what })
}
