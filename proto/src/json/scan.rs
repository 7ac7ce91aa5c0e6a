//! JSON's tokens (RFC 8259), and two words beyond them: `NaN` and `Infinity`, which Python writes.
//!
//! Nothing is built: a token is a piece of the payload, a number its text.

use std::ops::Range;

use crate::{Kind, fault::Fault, scratch::Piece, tree::Scalar};

#[derive(Debug)]
pub(crate) struct Scanner<'p> {
    bytes: &'p [u8],
    /// The payload, if all of it is UTF-8: then no part has to be looked at again.
    text: Option<&'p str>,
    pub(crate) at: usize,
}

impl<'p> Scanner<'p> {
    /// A byte order mark before and zero bytes behind are not looked at: editors write the one, C
    /// programs the others.
    pub(crate) fn new(payload: &'p [u8]) -> Self {
        let at = if payload.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        let zeros = payload.iter().rev().take_while(|byte| **byte == 0).count();
        let bytes = payload.get(..payload.len() - zeros).unwrap_or_default();
        Self { bytes, text: std::str::from_utf8(bytes).ok(), at }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn peek_at(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    pub(crate) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    pub(crate) fn fault<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { at: self.at, kind: Kind::Undecodable, what })
    }

    /// Whether an array starts here whose first element is an object, or that has none.
    pub(crate) fn is_array_of_objects(&self) -> bool {
        let rest = self.bytes.get(self.at..).and_then(|rest| rest.strip_prefix(b"["));
        rest.is_some_and(|rest| matches!(rest.trim_ascii_start(), [b'{' | b']', ..]))
    }

    /// Where the container that starts at `start` ends: braces and brackets are counted, texts
    /// respected, nothing else is checked. `None` if it does not, or its parent ends before it.
    pub(crate) fn balanced_end(&self, start: usize) -> Option<usize> {
        let (mut braces, mut brackets) = (0_usize, 0_usize);
        let (mut quoted, mut escaped) = (false, false);
        for (at, byte) in self.bytes.iter().enumerate().skip(start) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'{' => braces += 1,
                b'[' => brackets += 1,
                b'}' => braces = braces.checked_sub(1)?,
                b']' => brackets = brackets.checked_sub(1)?,
                _ => {}
            }
            if braces == 0 && brackets == 0 && !quoted {
                return Some(at + 1);
            }
        }
        None
    }

    /// The start of the first line at or after `from` that begins with `{`.
    pub(crate) fn next_object_line(&self, from: usize) -> Option<usize> {
        let starts = |at: &usize| {
            let line_start = at.checked_sub(1).is_none_or(|at| self.bytes.get(at) == Some(&b'\n'));
            line_start && self.bytes.get(*at) == Some(&b'{')
        };
        (from..self.len()).find(starts)
    }

    /// A text, with its quotes; escapes are resolved into `arena`.
    pub(crate) fn string(&mut self, arena: &mut String) -> Result<Piece<'p>, Fault> {
        if !self.take(b'"') {
            return self.fault("expected a text in quotes");
        }
        let start = self.at;
        self.plain_part()?;
        if self.peek() == Some(b'"') {
            let text = self.slice(start..self.at)?;
            self.at += 1;
            return Ok(Piece::Plain(text));
        }
        let from = arena.len();
        arena.push_str(self.slice(start..self.at)?);
        while !self.take(b'"') {
            arena.push(self.escape()?);
            let start = self.at;
            self.plain_part()?;
            arena.push_str(self.slice(start..self.at)?);
        }
        Ok(Piece::Made(from..arena.len()))
    }

    /// Anything but a text, an object or an array.
    pub(crate) fn scalar(&mut self) -> Result<Scalar<'p>, Fault> {
        const WORDS: [(&[u8], Scalar<'_>); 6] = [
            (b"true", Scalar::Boolean(true)),
            (b"false", Scalar::Boolean(false)),
            (b"null", Scalar::Null),
            (b"NaN", Scalar::NotFinite),
            (b"Infinity", Scalar::NotFinite),
            (b"-Infinity", Scalar::NotFinite),
        ];
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !matches!(rest, [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..]) {
            for (word, value) in WORDS {
                if rest.starts_with(word) {
                    self.at += word.len();
                    return Ok(value);
                }
            }
            return self.fault("expected a value");
        }
        self.number().map(|text| Scalar::Number(Piece::Plain(text)))
    }

    fn number(&mut self) -> Result<&'p str, Fault> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        self.slice(start..self.at)
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fault("expected a digit") } else { Ok(()) }
    }

    /// Up to a quote or a backslash.
    fn plain_part(&mut self) -> Result<(), Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..=0x1F));
        self.at += len.unwrap_or(rest.len());
        match self.peek() {
            Some(b'"' | b'\\') => Ok(()),
            Some(_) => self.fault("a control character in a text"),
            None => self.fault("a text without its closing quote"),
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.at;
        self.at += 2;
        let escaped = match self.bytes.get(start + 1) {
            Some(b'u') => self.unicode_escape(),
            Some(b'"') => Some('"'),
            Some(b'\\') => Some('\\'),
            Some(b'/') => Some('/'),
            Some(b'b') => Some('\u{8}'),
            Some(b'f') => Some('\u{c}'),
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            Some(b't') => Some('\t'),
            _ => None,
        };
        escaped.map_or_else(
            || {
                Err(Fault {
                    at: start,
                    kind: Kind::Undecodable,
                    what: "an escape that JSON has not",
                })
            },
            Ok,
        )
    }

    /// Four digits, and four more if they are the first half of a pair.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first);
        }
        if !(self.take(b'\\') && self.take(b'u')) {
            return None;
        }
        let second = self.hex4()?.checked_sub(0xDC00).filter(|second| *second < 0x400)?;
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + second)
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        let digit = |value: u32, byte: &u8| Some(value * 16 + char::from(*byte).to_digit(16)?);
        digits.iter().try_fold(0, digit)
    }

    fn slice(&self, range: Range<usize>) -> Result<&'p str, Fault> {
        let at = range.start;
        let known = self.text.and_then(|text| text.get(range.clone()));
        let found = known.or_else(|| std::str::from_utf8(self.bytes.get(range)?).ok());
        found.ok_or(Fault { at, kind: Kind::Undecodable, what: "a text that is not UTF-8" })
    }
}
