//! The five types a field can have, as InfluxDB knows them.

use std::fmt;

/// A field's value, borrowed from the payload or frame it was read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
    Boolean(bool),
    Text(&'a str),
}

/// A field's value, owned: for tests, rules and window state.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
    Boolean(bool),
    Text(String),
}

impl ValueRef<'_> {
    pub fn to_value(self) -> Value {
        match self {
            Self::Float(value) => Value::Float(value),
            Self::Signed(value) => Value::Signed(value),
            Self::Unsigned(value) => Value::Unsigned(value),
            Self::Boolean(value) => Value::Boolean(value),
            Self::Text(value) => Value::Text(value.to_owned()),
        }
    }

    /// As a number, for windows and deadbands: booleans and texts are none. Integers beyond 2^53
    /// are rounded.
    #[expect(clippy::cast_precision_loss, reason = "rounding is what the caller asks for")]
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(value),
            Self::Signed(value) => Some(value as f64),
            Self::Unsigned(value) => Some(value as f64),
            Self::Boolean(_) | Self::Text(_) => None,
        }
    }
}

impl Value {
    pub fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::Float(value) => ValueRef::Float(*value),
            Self::Signed(value) => ValueRef::Signed(*value),
            Self::Unsigned(value) => ValueRef::Unsigned(*value),
            Self::Boolean(value) => ValueRef::Boolean(*value),
            Self::Text(value) => ValueRef::Text(value),
        }
    }
}

impl From<ValueRef<'_>> for Value {
    fn from(value: ValueRef<'_>) -> Self {
        value.to_value()
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        value.borrow()
    }
}

/// For a person to read: text without quotes, floats as their shortest decimal.
impl fmt::Display for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// The `f64` whose decimal is the shortest decimal of `value`: 0.1 stays 0.1 and does not become
/// 0.10000000149011612. Not finite values stay what they are.
pub fn float_from_f32(value: f32) -> f64 {
    if !value.is_finite() {
        return f64::from(value);
    }
    let mut buffer = zmij::Buffer::new();
    // Its own output always parses; the plain conversion is only for the type's sake.
    buffer.format_finite(value).parse().unwrap_or_else(|_| f64::from(value))
}

/// Words that devices send for "no value": null, unavailable, unknown, nan, none and nothing at all,
/// in any case and with blanks around. One of them arriving first would make a text field for ever.
pub fn is_empty_word(text: &str) -> bool {
    let text = text.trim();
    text.len() <= "unavailable".len()
        && ["", "null", "unavailable", "unknown", "nan", "none"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_single_keeps_its_own_decimal() {
        assert_eq!(float_from_f32(0.1).to_string(), "0.1");
        assert_eq!(float_from_f32(-0.0).to_bits(), (-0.0_f64).to_bits());
        assert_eq!(float_from_f32(16_777_216.0).to_string(), "16777216");
        assert!(float_from_f32(f32::NAN).is_nan());
        assert!(float_from_f32(f32::NEG_INFINITY).is_infinite());
    }

    #[test]
    fn words_for_nothing_are_known_in_any_case() {
        for word in ["", " ", "null", "NULL", "Unavailable", "unknown", "NaN", "None", " nan\n"] {
            assert!(is_empty_word(word), "{word:?}");
        }
        for word in ["0", "nul", "nothing", "unavailable.", "-", "no"] {
            assert!(!is_empty_word(word), "{word:?}");
        }
    }

    proptest! {
        #[test]
        fn a_single_comes_back_from_its_decimal(value in any::<f32>()) {
            #[expect(clippy::cast_possible_truncation, reason = "that it is lossless is the claim")]
            let back = float_from_f32(value) as f32;
            prop_assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
        }
    }
}
