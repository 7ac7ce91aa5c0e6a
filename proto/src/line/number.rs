//! Field values without quotes, and timestamps.

use crate::{Kind, Reason, ValueRef};

/// What is wrong with a value.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// It is a number, but none that can be kept: costs its field.
    Field(Reason),
    /// It is no value: costs its line.
    Line(&'static str),
}

/// `1.5`, `1i`, `1u`, `t`: floats as influxd 1.x reads them (also `1.` and `.1`), integers with any
/// number of leading zeros, five spellings of each boolean.
pub(super) fn parse(token: &[u8]) -> Result<ValueRef<'static>, Fault> {
    match token {
        [] => Err(Fault::Line("missing field value")),
        b"t" | b"T" | b"true" | b"True" | b"TRUE" => Ok(ValueRef::Boolean(true)),
        b"f" | b"F" | b"false" | b"False" | b"FALSE" => Ok(ValueRef::Boolean(false)),
        [digits @ .., b'i'] if is_integer(digits) => parse_text(digits)
            .map(ValueRef::Signed)
            .ok_or_else(|| beyond("an integer beyond 64 bits")),
        [digits @ .., b'u'] if is_integer(digits) => parse_text(digits)
            .map(ValueRef::Unsigned)
            .ok_or_else(|| beyond("an unsigned integer below zero or beyond 64 bits")),
        [b'0'..=b'9' | b'-' | b'.', ..] => parse_float(token),
        _ if is_not_finite(token) => Err(beyond("not a finite number")),
        _ => Err(Fault::Line("invalid value: neither a number, a boolean nor a quoted text")),
    }
}

/// Digits, a minus before them allowed. `None` if it is anything else, or beyond 64 bits.
pub(super) fn parse_timestamp(token: &[u8]) -> Option<i64> {
    if is_integer(token) { parse_text(token) } else { None }
}

fn parse_float(token: &[u8]) -> Result<ValueRef<'static>, Fault> {
    let allowed = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E');
    let number = if token.iter().all(allowed) { parse_text::<f64>(token) } else { None };
    match number {
        Some(number) if number.is_finite() => Ok(ValueRef::Float(number)),
        Some(_) => Err(beyond("a number beyond what a float can hold")),
        None if is_not_finite(token) => Err(beyond("not a finite number")),
        None => Err(Fault::Line("invalid number")),
    }
}

fn is_integer(token: &[u8]) -> bool {
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

fn is_not_finite(token: &[u8]) -> bool {
    let word = token.strip_prefix(b"-").or(token.strip_prefix(b"+")).unwrap_or(token);
    [&b"nan"[..], b"inf", b"infinity"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn parse_text<T: std::str::FromStr>(token: &[u8]) -> Option<T> {
    std::str::from_utf8(token).ok()?.parse().ok()
}

fn beyond(what: &'static str) -> Fault {
    Fault::Field(Reason::new(Kind::Value, what))
}
