//! Reads back the lines that we wrote, as far as it takes to find one that a database complains
//! about. Not a parser of line protocol: `proto::line` is.

use std::ops::Range;

/// A line taken apart; names still escaped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) measurement: &'a [u8],
    fields: &'a [u8],
    fields_at: usize,
}

/// `measurement[,tags] fields timestamp`.
pub(super) fn line(line: &[u8]) -> Option<Parts<'_>> {
    let (series, rest) = split_at_unescaped(line, b" ")?;
    let measurement = split_at_unescaped(series, b",").map_or(series, |(name, _)| name);
    Some(Parts { measurement, fields: rest, fields_at: series.len() + 1 })
}

/// One field of a line, and where it stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// Still escaped.
    pub(super) name: &'a [u8],
    /// Its type, in the database's word.
    pub(super) kind: &'static str,
    pub(super) value: Range<usize>,
    /// With its name.
    pub(super) span: Range<usize>,
}

impl<'a> Parts<'a> {
    pub(super) fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        let (mut rest, mut at) = (self.fields, self.fields_at);
        std::iter::from_fn(move || {
            let (name, value) = split_at_unescaped(rest, b"=")?;
            let (kind, len) = if let Some(text) = value.strip_prefix(b"\"") {
                ("string", 1 + end_of_text(text)?)
            } else {
                let end = value.iter().position(|b| matches!(b, b',' | b' ' | b'\n'))?;
                (number_kind(value.get(..end)?), end)
            };
            let begin = at + name.len() + 1;
            let field = Field { name, kind, value: begin..begin + len, span: at..begin + len };
            let after = value.get(len..)?;
            rest = after.strip_prefix(b",").unwrap_or_default();
            at = begin + len + 1;
            Some(field)
        })
    }
}

/// Whether a line of ours begins like one that is told without its escapes, up to the first place
/// where that makes a difference.
pub(super) fn begins_alike(line: &[u8], told: &[u8]) -> bool {
    let plain = line.iter().take_while(|b| !matches!(b, b'\\' | b'"' | b' ' | b'\n'));
    plain.zip(told).all(|(a, b)| a == b)
}

/// Whether an escaped name of ours is the name that the database tells: as it is (1.x), or quoted as
/// Go does (2.x).
pub(super) fn is_name(escaped: &[u8], told: &str) -> bool {
    let name = unescaped(escaped, b",= ");
    name == told.as_bytes() || name == unescaped(told.as_bytes(), b"\"\\")
}

/// Past the closing quote.
fn end_of_text(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    let end = text.iter().position(|b| {
        let ends = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        ends
    })?;
    Some(end + 1)
}

fn number_kind(value: &[u8]) -> &'static str {
    match (value.first(), value.last()) {
        (_, Some(b'i')) => "integer",
        (_, Some(b'u')) => "unsigned",
        (Some(b't' | b'T' | b'f' | b'F'), _) => "boolean",
        _ => "float",
    }
}

/// Around the first byte of `at` that no backslash precedes.
fn split_at_unescaped<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut escaped = false;
    let found = bytes.iter().position(|b| {
        let ends = at.contains(b) && !escaped;
        escaped = *b == b'\\' && !escaped;
        ends
    })?;
    Some((bytes.get(..found)?, bytes.get(found + 1..)?))
}

/// Without the backslashes that stand before one of these.
fn unescaped(name: &[u8], of: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte == b'\\' && rest.peek().is_some_and(|next| of.contains(next)) {
            out.extend(rest.next());
        } else {
            out.push(byte);
        }
    }
    out
}
