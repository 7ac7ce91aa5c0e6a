//! Line protocol out: one reading, one line, timestamps in nanoseconds.
//!
//! What is written is read back the same by InfluxDB and by [`super::decode`], or it is refused:
//! a name that ends in a backslash would swallow what separates it from the next, a line feed in a
//! name would end the line, and a measurement that begins with `#` would be a comment. The encoder
//! never lets such names in; here they are refused again, because a line that says something else
//! than its reading is worse than none.

use crate::{
    Kind, ReadingRef, Reason, Time, ValueRef,
    names::{loses_backslash, short, swallows_separator},
};

/// What the database at the other end can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// InfluxDB 1.x has no `u` type: an unsigned value is written as `i`, and left out above its
    /// maximum.
    pub unsigned: bool,
}

impl Dialect {
    pub const V1: Self = Self { unsigned: false };
    pub const V2: Self = Self { unsigned: true };
}

impl Default for Dialect {
    fn default() -> Self {
        Self::V2
    }
}

/// Appends one line with its newline, as InfluxDB 2 takes it. On error nothing was appended.
pub fn write(reading: &ReadingRef<'_>, out: &mut Vec<u8>) -> Result<(), Reason> {
    let mut fault = None;
    let start = out.len();
    write_as(reading, Dialect::V2, out, |_, reason| fault = Some(reason))?;
    match fault {
        None => Ok(()),
        Some(reason) => {
            out.truncate(start);
            Err(reason)
        }
    }
}

/// Appends one line with its newline. A field that the dialect cannot say is told to `left_out` and
/// costs itself only. On error (a name that cannot be written, no field left) nothing was appended.
/// A reading without a time becomes a line without one.
pub fn write_as(
    reading: &ReadingRef<'_>,
    dialect: Dialect,
    out: &mut Vec<u8>,
    left_out: impl FnMut(&str, Reason),
) -> Result<(), Reason> {
    let start = out.len();
    let written = line(reading, dialect, out, left_out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn line(
    reading: &ReadingRef<'_>,
    dialect: Dialect,
    out: &mut Vec<u8>,
    mut left_out: impl FnMut(&str, Reason),
) -> Result<(), Reason> {
    let line_start = out.len();
    let mut is_risky = false;
    put_measurement(reading.measurement, out)?;
    for (key, value) in reading.tags {
        out.push(b',');
        put_name(key, out)?;
        out.push(b'=');
        put_name(value, out)?;
        is_risky |= swallows_separator(key) || swallows_separator(value);
    }
    let mut separator = b' ';
    for &(name, value) in reading.fields {
        let start = out.len();
        out.push(separator);
        put_field_name(name, out)?;
        out.push(b'=');
        match put_value(value, dialect, out) {
            Ok(()) => separator = b',',
            Err(reason) => {
                out.truncate(start);
                left_out(name, reason);
            }
        }
    }
    if separator == b' ' {
        return Err(Reason::new(Kind::NoFields, "no field that this database can take"));
    }
    if is_risky && out.iter().skip(line_start).any(|byte| *byte == b'"') {
        // InfluxDB finds the end of a line by another rule than its parts: there two backslashes are
        // a pair, the separator behind them counts, and then it mistakes which quotes begin a text.
        let text =
            "a backslash before a separator in a tag, and quotes: its end would not be found";
        return Err(Reason::new(Kind::Name, text));
    }
    put_time(reading.time, out)?;
    out.push(b'\n');
    Ok(())
}

fn put_measurement(name: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    if is_plain(name) {
        out.extend_from_slice(name.as_bytes());
        return Ok(());
    }
    if name.starts_with('#') || loses_backslash(name) {
        return Err(unwritable(name));
    }
    put_escaped(name, |_, byte| matches!(byte, b',' | b' '), out)
}

/// Tag names and tag values.
fn put_name(name: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    if is_plain(name) {
        out.extend_from_slice(name.as_bytes());
        return Ok(());
    }
    put_escaped(name, |_, byte| is_separator(byte), out)
}

/// Of field names InfluxDB takes a backslash away from a quote as well, so a quote behind one gets
/// one of its own.
fn put_field_name(name: &str, out: &mut Vec<u8>) -> Result<(), Reason> {
    if is_plain(name) {
        out.extend_from_slice(name.as_bytes());
        return Ok(());
    }
    if swallows_separator(name) {
        return Err(unwritable(name));
    }
    put_escaped(name, |before, byte| is_separator(byte) || before == b'\\' && byte == b'"', out)
}

/// Without anything that might need a second look: most names.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte > b',' && byte != b'=' && byte != b'\\')
}

fn put_escaped(
    name: &str,
    is_escaped: impl Fn(u8, u8) -> bool,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    if name.is_empty() || name.ends_with('\\') || name.bytes().any(|byte| byte < b' ') {
        return Err(unwritable(name));
    }
    let mut before = 0;
    for byte in name.bytes() {
        if is_escaped(before, byte) {
            out.push(b'\\');
        }
        out.push(byte);
        before = byte;
    }
    Ok(())
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b',' | b'=' | b' ')
}

fn unwritable(name: &str) -> Reason {
    Reason::new(Kind::Name, format!("line protocol cannot write the name `{}`", short(name)))
}

fn put_value(value: ValueRef<'_>, dialect: Dialect, out: &mut Vec<u8>) -> Result<(), Reason> {
    match value {
        ValueRef::Float(value) if value.is_finite() => {
            out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
        }
        ValueRef::Float(_) => return Err(Reason::new(Kind::Value, "not a finite number")),
        ValueRef::Signed(value) => put_integer(value, b'i', out),
        ValueRef::Unsigned(value) if dialect.unsigned => put_integer(value, b'u', out),
        ValueRef::Unsigned(value) => match i64::try_from(value) {
            Ok(value) => put_integer(value, b'i', out),
            Err(_) => {
                return Err(Reason::new(Kind::Value, "an unsigned value above the largest i"));
            }
        },
        ValueRef::Boolean(true) => out.push(b't'),
        ValueRef::Boolean(false) => out.push(b'f'),
        ValueRef::Text(text) => put_text(text, out),
    }
    Ok(())
}

fn put_integer(value: impl itoa::Integer, suffix: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(suffix);
}

/// Line feeds stay as they are: between quotes they do not end a line.
fn put_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        out.push(b'\\');
        out.extend(after.first());
        rest = after.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn put_time(time: Time, out: &mut Vec<u8>) -> Result<(), Reason> {
    match time {
        Time::Unknown => Ok(()),
        Time::At(at) | Time::Stamped(at) => {
            out.push(b' ');
            out.extend_from_slice(itoa::Buffer::new().format(at.nanos()).as_bytes());
            Ok(())
        }
        Time::Age(_) => Err(Reason::new(Kind::Timestamp, "an age has to be counted back first")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reading, Timestamp, Value, testing::reading};

    fn written(reading: &Reading, dialect: Dialect) -> (Result<String, Kind>, Vec<String>) {
        let mut out = b"before\n".to_vec();
        let mut left_out = Vec::new();
        let result = reading.with_ref(|reading| {
            write_as(&reading, dialect, &mut out, |name, _| left_out.push(name.to_owned()))
        });
        let line = String::from_utf8(out).unwrap().strip_prefix("before\n").unwrap().to_owned();
        match result {
            Ok(()) => (Ok(line), left_out),
            Err(reason) => {
                assert_eq!(line, "", "something was left behind");
                (Err(reason.kind), left_out)
            }
        }
    }

    fn field(value: Value) -> Reading {
        reading("m", &[], ("f", value))
    }

    #[test]
    fn all_five_types_are_written() {
        let cases = [
            (Value::Float(21.5), "m f=21.5\n"),
            (Value::Float(20.0), "m f=20.0\n"),
            (Value::Float(-0.0), "m f=-0.0\n"),
            (Value::Float(1e300), "m f=1e+300\n"),
            (Value::Float(5e-324), "m f=5e-324\n"),
            (Value::Float(f64::MAX), "m f=1.7976931348623157e+308\n"),
            (Value::Float(0.1), "m f=0.1\n"),
            (Value::Signed(i64::MIN), "m f=-9223372036854775808i\n"),
            (Value::Unsigned(u64::MAX), "m f=18446744073709551615u\n"),
            (Value::Boolean(true), "m f=t\n"),
            (Value::Boolean(false), "m f=f\n"),
            (Value::Text(String::new()), "m f=\"\"\n"),
            (Value::Text("a\"b\\c\nd, e=f".to_owned()), "m f=\"a\\\"b\\\\c\nd, e=f\"\n"),
        ];
        for (value, line) in cases {
            assert_eq!(written(&field(value), Dialect::V2).0.as_deref(), Ok(line));
        }
    }

    #[test]
    fn names_are_escaped_where_they_stand() {
        let mut given =
            reading("a b,c=d\\e", &[("k 1,=", "v 1,=\\\"")], ("f 1,=", Value::Signed(1)));
        given.time = Time::At(Timestamp::from_nanos(-7));
        let line = "a\\ b\\,c=d\\e,k\\ 1\\,\\==v\\ 1\\,\\=\\\" f\\ 1\\,\\==1i -7\n";
        assert_eq!(written(&given, Dialect::V2).0.as_deref(), Ok(line));
    }

    #[test]
    fn a_backslash_before_a_separator_goes_only_where_it_can_be_read() {
        let mut given = reading("m", &[("k\\ ", "v\\=v")], ("f", Value::Signed(1)));
        let line = "m,k\\\\ =v\\\\=v f=1i\n".to_owned();
        assert_eq!(written(&given, Dialect::V2).0, Ok(line));
        given.fields[0].1 = Value::Text("x".to_owned());
        assert_eq!(written(&given, Dialect::V2).0, Err(Kind::Name), "with quotes it has no end");

        let mut given = field(Value::Signed(1));
        for (name, expected) in [
            ("f\\=", Err(Kind::Name)),
            ("f\\\\=", Ok("m f\\\\\\==1i\n".to_owned())),
            ("f\\\"", Ok("m f\\\\\"=1i\n".to_owned())),
            ("f\"", Ok("m f\"=1i\n".to_owned())),
        ] {
            given.fields[0].0 = name.to_owned();
            assert_eq!(written(&given, Dialect::V2).0, expected, "{name:?}");
        }
    }

    #[test]
    fn what_would_be_read_as_something_else_is_refused() {
        let good = || reading("m", &[("k", "v")], ("f", Value::Signed(1)));
        let bad_names = ["", "a\\", "a\nb", "a\tb"];
        for name in bad_names.into_iter().chain(["#m", "a\\,b", "a\\ b", "a\\=b"]) {
            let mut given = good();
            given.measurement = name.to_owned();
            assert_eq!(written(&given, Dialect::V2).0, Err(Kind::Name), "{name:?}");
        }
        for name in bad_names {
            let mut given = good();
            given.tags[0].0 = name.to_owned();
            assert_eq!(written(&given, Dialect::V2).0, Err(Kind::Name), "{name:?}");
            let mut given = good();
            given.tags[0].1 = name.to_owned();
            assert_eq!(written(&given, Dialect::V2).0, Err(Kind::Name), "{name:?}");
            let mut given = good();
            given.fields[0].0 = name.to_owned();
            assert_eq!(written(&given, Dialect::V2).0, Err(Kind::Name), "{name:?}");
        }
        let mut aged = good();
        aged.time = Time::Age(std::time::Duration::ZERO);
        assert_eq!(written(&aged, Dialect::V2).0, Err(Kind::Timestamp));
    }

    #[test]
    fn without_unsigned_a_value_goes_as_signed_or_costs_its_field() {
        let mut given = field(Value::Unsigned(9_223_372_036_854_775_807));
        let (line, left_out) = written(&given, Dialect::V1);
        assert_eq!((line.as_deref(), left_out.len()), (Ok("m f=9223372036854775807i\n"), 0));

        given.fields.insert(0, ("big".to_owned(), Value::Unsigned(9_223_372_036_854_775_808)));
        let (line, left_out) = written(&given, Dialect::V1);
        assert_eq!(line.as_deref(), Ok("m f=9223372036854775807i\n"));
        assert_eq!(left_out, ["big"]);

        given.fields.truncate(1);
        let (line, left_out) = written(&given, Dialect::V1);
        assert_eq!((line, left_out.len()), (Err(Kind::NoFields), 1));
        assert_eq!(written(&given, Dialect::V2).0.as_deref(), Ok("m big=9223372036854775808u\n"));
    }

    #[test]
    fn the_plain_door_refuses_what_it_cannot_write_whole() {
        let mut given = field(Value::Float(1.0));
        given.fields.push(("g".to_owned(), Value::Float(f64::NAN)));
        let mut out = b"x".to_vec();
        let refused = given.with_ref(|reading| write(&reading, &mut out));
        assert_eq!(refused.unwrap_err().kind, Kind::Value);
        assert_eq!(out, b"x");
    }
}
