//! A line whose field has another type in the database: written as that type if no part of the value
//! is lost by it, else left out.
//!
//! ```text
//!   exists   found      20i -> 20    7u -> 7      if a float holds the number exactly
//!   float    integer
//!   integer  float      20.0 -> 20i  7u -> 7i     if it is a whole number in range
//!   anything else       the field goes
//! ```

use super::answer::Conflict;
use super::scan::{self, Field};
use crate::sink::{Amendment, Refusal};

/// Whole numbers up to this one are floats too, each its own.
const EXACT_MAX: i128 = 1 << 53;

/// `None`: this line has no such field.
pub(super) fn line(line: &[u8], conflict: &Conflict, refusal: &Refusal) -> Option<Amendment> {
    let parts = scan::line(line)?;
    // InfluxDB 3 names the line, and not the measurement.
    let measurement = &conflict.measurement;
    if !measurement.is_empty() && !scan::is_name(parts.measurement, measurement) {
        return None;
    }
    let mut fields = parts.fields();
    let is_meant = |field: &Field<'_>| {
        field.kind == conflict.found && scan::is_name(field.name, &conflict.field)
    };
    let field = fields.find(is_meant)?;
    let value = line.get(field.value.clone())?;
    if let Some(value) = coerced(value, field.kind, &conflict.exists) {
        let line = [line.get(..field.value.start)?, &value, line.get(field.value.end..)?].concat();
        return Some(Amendment { line, refusal: refusal.clone(), lost: None });
    }
    let line = without(line, &field).unwrap_or_default();
    Some(Amendment { line, refusal: refusal.clone(), lost: Some(conflict.field.clone()) })
}

/// The same number as a value of another type.
fn coerced(value: &[u8], found: &str, exists: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(value).ok()?;
    let whole: i128 = match found {
        "integer" => text.strip_suffix('i')?.parse().ok()?,
        "unsigned" => text.strip_suffix('u')?.parse().ok()?,
        "float" => whole(text.parse().ok()?)?,
        _ => return None,
    };
    let written = match exists {
        "float" if whole.abs() <= EXACT_MAX => whole.to_string(),
        "integer" => format!("{}i", i64::try_from(whole).ok()?),
        "unsigned" => format!("{}u", u64::try_from(whole).ok()?),
        _ => return None,
    };
    Some(written.into_bytes())
}

#[expect(clippy::cast_possible_truncation, reason = "a whole number in range")]
fn whole(value: f64) -> Option<i128> {
    let is_whole = value.fract() == 0.0 && value.abs() < 1.9e19;
    is_whole.then_some(value as i128)
}

/// The line without that field; `None` if it is the only one.
fn without(line: &[u8], field: &Field<'_>) -> Option<Vec<u8>> {
    let (before, after) = (line.get(..field.span.start)?, line.get(field.span.end..)?);
    match (before.strip_suffix(b","), after.strip_prefix(b",")) {
        // The comma behind it, unless it is the last; the tags' last comma is no field's.
        (_, Some(after)) => Some([before, after].concat()),
        (Some(before), None) => Some([before, after].concat()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Fault;

    fn amended(text: &str, field: &str, found: &str, exists: &str) -> Option<(String, bool)> {
        let conflict = Conflict {
            measurement: "m x".to_owned(),
            field: field.to_owned(),
            found: found.to_owned(),
            exists: exists.to_owned(),
        };
        let refusal = Refusal::new(Fault::TypeConflict, "no");
        let change = line(text.as_bytes(), &conflict, &refusal)?;
        Some((String::from_utf8(change.line).unwrap(), change.lost.is_some()))
    }

    #[test]
    fn a_number_keeps_its_value_under_another_type() {
        for (value, found, exists, expected) in [
            ("20i", "integer", "float", Some("20")),
            ("-9007199254740992i", "integer", "float", Some("-9007199254740992")),
            ("9007199254740993i", "integer", "float", None),
            ("7u", "unsigned", "float", Some("7")),
            ("20.0", "float", "integer", Some("20i")),
            ("-3e2", "float", "integer", Some("-300i")),
            ("20.1", "float", "integer", None),
            ("1e19", "float", "integer", None),
            ("1e19", "float", "unsigned", Some("10000000000000000000u")),
            ("-1i", "integer", "unsigned", None),
            ("7u", "unsigned", "integer", Some("7i")),
            ("18446744073709551615u", "unsigned", "integer", None),
            ("true", "boolean", "float", None),
            ("1i", "integer", "string", None),
            ("\"1\"", "string", "float", None),
        ] {
            let sent = format!("m\\ x,t=a a=1,f={value},b=t 5\n");
            let (line, lost) = amended(&sent, "f", found, exists).unwrap();
            let rest = expected.map_or_else(String::new, |value| format!("f={value},"));
            assert_eq!(line, format!("m\\ x,t=a a=1,{rest}b=t 5\n"), "{value} as {exists}");
            assert_eq!(lost, expected.is_none());
        }
    }

    #[test]
    fn a_field_goes_from_anywhere_in_the_line() {
        let lost = |text| amended(text, "f=", "string", "float").unwrap();
        assert_eq!(lost("m\\ x f\\==\"a,b =\\\"c\",b=1 5\n").0, "m\\ x b=1 5\n");
        assert_eq!(lost("m\\ x,t=, b=1,f\\==\"a\" 5\n").0, "m\\ x,t=, b=1 5\n");
        assert_eq!(lost("m\\ x f\\==\"a\" 5\n").0, "");
    }

    #[test]
    fn other_lines_are_not_touched() {
        assert_eq!(amended("other f=1i 5\n", "f", "integer", "float"), None);
        assert_eq!(amended("m\\ x g=1i 5\n", "f", "integer", "float"), None);
        assert_eq!(amended("m\\ x f=1 5\n", "f", "integer", "float"), None);
        for odd in ["", " ", "m\\ x", "m\\ x f", "m\\ x f=", "m\\ x f=\"", "m\\ x f=1i"] {
            let _ = amended(odd, "f", "integer", "float");
        }
    }
}
