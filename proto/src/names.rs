//! Which names and tag values a reading may have. The rules beyond the limits come from what reads
//! them in the end: line protocol cannot write a name that ends in a backslash, takes a measurement
//! that begins with `#` for a comment, and loses its way with some backslashes inside a name;
//! InfluxDB keeps `time` for itself.

use crate::{Kind, Limits, Reason};

pub(crate) fn measurement(name: &str, limits: &Limits) -> Result<(), Reason> {
    sane("measurement", name, limits.name_bytes_max)?;
    if name.starts_with('#') {
        return Err(fault(
            "measurement",
            name,
            "begins with #, which line protocol takes for a comment",
        ));
    }
    if loses_backslash(name) {
        let problem =
            "has a backslash before a comma, space, = or quote, which InfluxDB takes away";
        return Err(fault("measurement", name, problem));
    }
    Ok(())
}

pub(crate) fn tag(key: &str, value: &str, limits: &Limits) -> Result<(), Reason> {
    sane("tag name", key, limits.name_bytes_max)?;
    not_time("tag name", key)?;
    match sane("tag value", value, limits.tag_value_bytes_max) {
        Ok(()) => Ok(()),
        Err(Reason { kind, text }) => {
            Err(Reason::new(kind, format!("tag `{}`: {text}", short(key))))
        }
    }
}

pub(crate) fn field(name: &str, limits: &Limits) -> Result<(), Reason> {
    sane("field name", name, limits.name_bytes_max)?;
    if swallows_separator(name) {
        let problem = "has a backslash before a comma, space or =, which InfluxDB cannot read";
        return Err(fault("field name", name, problem));
    }
    not_time("field name", name)
}

/// Whether a backslash stands before what InfluxDB 1.x and 2.x unescape in a measurement: what they
/// make of it cannot be found again, however it is written.
pub(crate) fn loses_backslash(name: &str) -> bool {
    let pair = |pair: &[u8]| matches!(pair, [b'\\', b',' | b' ' | b'=' | b'"']);
    name.contains('\\') && name.as_bytes().windows(2).any(pair)
}

/// Whether an odd number of backslashes stands before a separator. Where InfluxDB takes two of them
/// for a pair, the separator, escaped, is none of the name any more.
pub(crate) fn swallows_separator(name: &str) -> bool {
    let mut odd = false;
    name.contains('\\')
        && name.bytes().any(|byte| {
            let swallowed = odd && matches!(byte, b',' | b' ' | b'=');
            odd = byte == b'\\' && !odd;
            swallowed
        })
}

/// The beginning of what may be long, fit for a log line and a person.
pub(crate) fn short(text: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

fn sane(what: &'static str, name: &str, bytes_max: usize) -> Result<(), Reason> {
    if name.is_empty() {
        return Err(Reason::new(Kind::Name, format!("{what} is empty")));
    }
    if name.len() > bytes_max {
        let text =
            format!("{what} `{}` is {} bytes, {bytes_max} are allowed", short(name), name.len());
        return Err(Reason::new(Kind::Limit, text));
    }
    if !is_printable(name) {
        return Err(fault(what, name, "has a control character"));
    }
    if name.ends_with('\\') {
        return Err(fault(what, name, "ends in a backslash, which line protocol cannot write"));
    }
    Ok(())
}

fn is_printable(name: &str) -> bool {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte);
    name.bytes().all(plain) || !name.chars().any(char::is_control)
}

fn not_time(what: &'static str, name: &str) -> Result<(), Reason> {
    if name == "time" {
        return Err(fault(what, name, "is a name that InfluxDB keeps for itself"));
    }
    Ok(())
}

fn fault(what: &'static str, name: &str, problem: &'static str) -> Reason {
    Reason::new(Kind::Name, format!("{what} `{}` {problem}", short(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(result: Result<(), Reason>) -> Option<Kind> {
        result.err().map(|reason| reason.kind)
    }

    #[test]
    fn names_that_no_database_would_keep_are_refused() {
        let limits = Limits { name_bytes_max: 8, ..Limits::default() };
        assert_eq!(kind(measurement("m", &limits)), None);
        assert_eq!(kind(measurement("größe", &limits)), None);
        assert_eq!(kind(measurement("a b,c=d", &limits)), None);
        assert_eq!(kind(measurement("", &limits)), Some(Kind::Name));
        assert_eq!(kind(measurement("a\nb", &limits)), Some(Kind::Name));
        assert_eq!(kind(measurement("a\u{85}b", &limits)), Some(Kind::Name));
        assert_eq!(kind(measurement("a\u{7f}", &limits)), Some(Kind::Name));
        assert_eq!(kind(measurement("a\\", &limits)), Some(Kind::Name));
        assert_eq!(kind(measurement("#a", &limits)), Some(Kind::Name));
        assert_eq!(kind(measurement("a\\,b", &limits)), Some(Kind::Name));
        assert_eq!(kind(measurement("a\\\"b", &limits)), Some(Kind::Name));
        assert_eq!(kind(measurement("a\\b", &limits)), None);
        assert_eq!(kind(field("a\\ b", &limits)), Some(Kind::Name));
        assert_eq!(kind(field("a\\\\\\=b", &limits)), Some(Kind::Name));
        assert_eq!(kind(field("a\\\\ b", &limits)), None);
        assert_eq!(kind(field("a\\\"b", &limits)), None);
        assert_eq!(kind(measurement("123456789", &limits)), Some(Kind::Limit));
        assert_eq!(kind(field("time", &limits)), Some(Kind::Name));
        assert_eq!(kind(field("times", &limits)), None);
        assert_eq!(kind(tag("time", "x", &limits)), Some(Kind::Name));
        assert_eq!(kind(tag("k", "a\tb", &limits)), Some(Kind::Name));
    }

    #[test]
    fn a_reason_names_the_tag_and_quotes_no_more_than_a_line() {
        let limits = Limits::default();
        let reason = tag("topic", &"x".repeat(5000), &limits).unwrap_err();
        assert_eq!(
            reason.text,
            format!(
                "tag `topic`: tag value `{}...` is 5000 bytes, 1024 are allowed",
                "x".repeat(40)
            )
        );
        assert_eq!(
            field("a\nb", &limits).unwrap_err().text,
            "field name `a\\nb` has a control character"
        );
    }
}
