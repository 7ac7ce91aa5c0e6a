//! What becomes of single fields, whatever format they came in: left out, scaled, given another type
//! or another name.
//!
//! Patterns mean the names that the payload has (nested ones joined with `_`); a new name is given
//! last. A field that cannot have the type that a rule asks for costs itself.

use super::{glob::Glob, path::Path};
use crate::{Kind, Reason, ValueRef, decimal::Decimal};

#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub drop: Vec<Glob>,
    /// Parts of the payload that are left out, with all that is in them.
    pub drop_paths: Vec<Path>,
    /// `None`: all.
    pub only: Option<Vec<Glob>>,
    /// The first pattern that fits counts; so with `offset` and `types`.
    pub scale: Vec<(Glob, Scale)>,
    pub offset: Vec<(Glob, f64)>,
    pub types: Vec<(Glob, FieldType)>,
    /// From, to.
    pub rename: Vec<(String, String)>,
    /// The texts `ON` and `OFF`, in any case, are booleans.
    pub on_off: bool,
}

/// The type that a rule gives a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    Float,
    /// Rounded to the nearest.
    Integer,
    Unsigned,
    /// From a number (0 is false) or a word: on, true, yes, online, and their opposites.
    Boolean,
    Text,
}

/// A factor. 3 times 0.1 is 0.3: where the factor is one over a whole number, that divides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    factor: f64,
    divisor: Option<f64>,
}

impl Scale {
    pub fn new(factor: f64) -> Self {
        let divisor = (1.0 / factor).round();
        // The very number: anything else would be another factor.
        let is_exact = divisor.abs() > 1.0 && (1.0 / divisor).to_bits() == factor.to_bits();
        Self { factor, divisor: is_exact.then_some(divisor) }
    }

    fn of(self, value: f64) -> f64 {
        self.divisor.map_or(value * self.factor, |divisor| value / divisor)
    }
}

/// A value as its payload has it: a number with its digits, where the format writes digits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raw<'r> {
    Number(&'r str),
    Value(ValueRef<'r>),
}

/// A value as it is stored.
#[derive(Debug)]
pub(crate) enum Kept<'r> {
    Value(ValueRef<'r>),
    /// A text that had to be written.
    Written(String),
}

impl Kept<'_> {
    pub(crate) fn value(&self) -> ValueRef<'_> {
        match self {
            Self::Value(value) => *value,
            Self::Written(text) => ValueRef::Text(text),
        }
    }
}

impl<'r> Raw<'r> {
    /// As it is without a rule. What is too large for a float is infinite, and left to the encoder.
    fn value(self) -> ValueRef<'r> {
        match self {
            Self::Number(text) => ValueRef::Float(text.parse().unwrap_or(f64::NAN)),
            Self::Value(value) => value,
        }
    }

    fn as_number(self) -> Option<f64> {
        match self {
            Self::Value(ValueRef::Text(text)) => number(text)?.parse().ok(),
            Self::Value(ValueRef::Boolean(_)) => None,
            raw => raw.value().as_f64(),
        }
    }
}

impl Fields {
    pub(crate) fn is_empty(&self) -> bool {
        let Self { drop, drop_paths, only, scale, offset, types, rename, on_off } = self;
        drop.is_empty()
            && drop_paths.is_empty()
            && only.is_none()
            && scale.is_empty()
            && offset.is_empty()
            && types.is_empty()
            && rename.is_empty()
            && !on_off
    }

    /// Whether a type asks for digits that a float may have lost.
    pub(super) fn is_exact(&self) -> bool {
        let exact =
            |kind| matches!(kind, FieldType::Integer | FieldType::Unsigned | FieldType::Text);
        self.types.iter().any(|(_, kind)| exact(*kind))
    }

    pub(super) fn drops_by_path(&self) -> bool {
        !self.drop_paths.is_empty()
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        let fits = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(name));
        self.only.as_deref().is_none_or(fits) && !fits(&self.drop)
    }

    pub(crate) fn name<'n>(&'n self, name: &'n str) -> &'n str {
        self.rename.iter().find(|(from, _)| from == name).map_or(name, |(_, to)| to)
    }

    /// The value of the field that the payload calls `name`.
    pub(crate) fn value<'r>(&self, name: &str, raw: Raw<'r>) -> Result<Kept<'r>, Reason> {
        let scale = first(&self.scale, name);
        let offset = first(&self.offset, name);
        let kind = first(&self.types, name);
        let moved = if scale.is_some() || offset.is_some() {
            let number = raw.as_number().ok_or_else(|| no("number", raw))?;
            let scaled = scale.map_or(number, |scale| scale.of(number));
            Raw::Value(ValueRef::Float(offset.map_or(scaled, |offset| scaled + offset)))
        } else {
            raw
        };
        match kind {
            None => Ok(Kept::Value(self.untyped(moved))),
            Some(FieldType::Text) => Ok(as_text(moved)),
            Some(kind) => typed(moved, kind).map(Kept::Value).ok_or_else(|| no(kind.name(), moved)),
        }
    }

    fn untyped<'r>(&self, raw: Raw<'r>) -> ValueRef<'r> {
        match raw.value() {
            ValueRef::Text(text) if self.on_off && text.eq_ignore_ascii_case("on") => {
                ValueRef::Boolean(true)
            }
            ValueRef::Text(text) if self.on_off && text.eq_ignore_ascii_case("off") => {
                ValueRef::Boolean(false)
            }
            value => value,
        }
    }
}

impl FieldType {
    const fn name(self) -> &'static str {
        match self {
            Self::Float => "number",
            Self::Integer => "integer",
            Self::Unsigned => "unsigned integer",
            Self::Boolean => "boolean",
            Self::Text => "text",
        }
    }
}

fn first<T: Copy>(list: &[(Glob, T)], name: &str) -> Option<T> {
    list.iter().find(|(glob, _)| glob.matches(name)).map(|(_, found)| *found)
}

fn typed(raw: Raw<'_>, kind: FieldType) -> Option<ValueRef<'static>> {
    match kind {
        FieldType::Float => match raw {
            Raw::Value(ValueRef::Boolean(value)) => Some(f64::from(u8::from(value))),
            raw => raw.as_number(),
        }
        .map(ValueRef::Float),
        FieldType::Integer => whole(raw)?.try_into().ok().map(ValueRef::Signed),
        FieldType::Unsigned => whole(raw)?.try_into().ok().map(ValueRef::Unsigned),
        FieldType::Boolean => truth(raw).map(ValueRef::Boolean),
        FieldType::Text => None,
    }
}

/// Rounded to the nearest, halves away from zero; exact from digits.
fn whole(raw: Raw<'_>) -> Option<i128> {
    let from_digits = |text: &str| {
        let tenths = Decimal::parse(text)?.scaled(1)?;
        Some((tenths + tenths.signum() * 5) / 10)
    };
    match raw {
        Raw::Number(text) => from_digits(text),
        Raw::Value(ValueRef::Signed(value)) => Some(value.into()),
        Raw::Value(ValueRef::Unsigned(value)) => Some(value.into()),
        Raw::Value(ValueRef::Boolean(value)) => Some(value.into()),
        Raw::Value(ValueRef::Text(text)) => from_digits(number(text)?),
        Raw::Value(ValueRef::Float(value)) => {
            let within = value.is_finite() && value.abs() < 1e19;
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
            within.then(|| value.round() as i128)
        }
    }
}

fn truth(raw: Raw<'_>) -> Option<bool> {
    const WORDS: [(&str, &str); 4] =
        [("on", "off"), ("true", "false"), ("yes", "no"), ("online", "offline")];
    match raw {
        Raw::Value(ValueRef::Boolean(value)) => Some(value),
        Raw::Value(ValueRef::Text(text)) => {
            let text = text.trim();
            let word = |(yes, no): &(&str, &str)| {
                let is = |word| text.eq_ignore_ascii_case(word);
                is(yes).then_some(true).or_else(|| is(no).then_some(false))
            };
            WORDS.iter().find_map(word).or_else(|| Some(raw.as_number()? != 0.0))
        }
        raw => raw.as_number().filter(|number| !number.is_nan()).map(|number| number != 0.0),
    }
}

fn as_text(raw: Raw<'_>) -> Kept<'_> {
    match raw {
        Raw::Number(text) => Kept::Value(ValueRef::Text(text)),
        Raw::Value(value @ ValueRef::Text(_)) => Kept::Value(value),
        Raw::Value(value) => Kept::Written(value.to_string()),
    }
}

/// `inf` and `nan` are no numbers.
fn number(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| Decimal::parse(text).is_some())
}

fn no(wanted: &str, raw: Raw<'_>) -> Reason {
    let article = if matches!(wanted.chars().next(), Some('i' | 'u')) { "an" } else { "a" };
    let shown = match raw {
        Raw::Number(text) => crate::names::short(text),
        Raw::Value(value) => crate::names::short(&value.to_string()),
    };
    Reason::new(Kind::Value, format!("its rule wants {article} {wanted}, and `{shown}` is none"))
}
