//! A strict reader of line protocol, written against the description of the format and sharing no
//! code with the gateway's own, so that each can convict the other.
//!
//! ```text
//! measurement[,tag=value]... field=value[,field=value]... [timestamp]\n
//! ```
//! Stricter than the real databases where they accept what a careful writer would not send: names
//! with control characters, duplicate tags or fields, empty tag values, numbers that are not
//! finite. Source: docs.influxdata.com, "Line protocol".

use std::iter;

use proto::Value;

/// One line, unescaped, its tags as they stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub measurement: String,
    pub tags: Vec<(String, String)>,
    pub fields: Vec<(String, Value)>,
    /// Nanoseconds; none if the line had no timestamp.
    pub time: Option<i64>,
}

impl Point {
    /// The series' name with sorted tags: equal text, same series.
    pub fn series(&self) -> String {
        let mut tags: Vec<_> = self.tags.iter().collect();
        tags.sort_unstable();
        let mut key = self.measurement.replace(',', "\\,");
        for (name, value) in tags {
            key.push(',');
            key.push_str(&name.replace(',', "\\,").replace('=', "\\="));
            key.push('=');
            key.push_str(&value.replace(',', "\\,").replace('=', "\\="));
        }
        key
    }
}

/// The points of a body with the bytes of each line; `unit` is the timestamps' in nanoseconds. A
/// broken line costs itself: reading goes on after the next newline.
pub fn points(body: &[u8], unit: i64) -> impl Iterator<Item = (&[u8], Result<Point, String>)> {
    let mut rest = body;
    iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let (line, point, after) = one(rest, unit);
            rest = after;
            if !line.is_empty() && !line.starts_with(b"#") {
                return Some((line, point));
            }
        }
    })
}

/// The first line of `body`, what it says, and what comes after it.
fn one(body: &[u8], unit: i64) -> (&[u8], Result<Point, String>, &[u8]) {
    let mut reader = Reader { rest: body };
    let point = reader.point(unit);
    // A good line may hold newlines inside its strings; a bad one ends at the first.
    let taken = if point.is_ok() { body.len() - reader.rest.len() } else { 0 };
    let (seen, ahead) = body.split_at(taken);
    let end = ahead.iter().position(|&b| b == b'\n').unwrap_or(ahead.len());
    let line = body.get(..seen.len() + end).unwrap_or(body);
    let after = body.get(line.len() + 1..).unwrap_or_default();
    (line, point, after)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn point(&mut self, unit: i64) -> Result<Point, String> {
        let measurement = self.name("measurement", b", ")?;
        let mut tags: Vec<(String, String)> = Vec::new();
        while self.take(b',') {
            let key = self.name("tag key", b",= ")?;
            self.expect(b'=', "after a tag key")?;
            let value = self.name("tag value", b",= ")?;
            if tags.iter().any(|(known, _)| *known == key) {
                return Err(format!("duplicate tag {key:?}"));
            }
            tags.push((key, value));
        }
        self.expect(b' ', "before the fields")?;
        let mut fields: Vec<(String, Value)> = Vec::new();
        loop {
            let key = self.name("field key", b",= ")?;
            self.expect(b'=', "after a field key")?;
            let value = self.value().map_err(|why| format!("field {key:?}: {why}"))?;
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(format!("duplicate field {key:?}"));
            }
            fields.push((key, value));
            if !self.take(b',') {
                break;
            }
        }
        let time = if self.take(b' ') { Some(self.time(unit)?) } else { None };
        match self.rest.first() {
            None | Some(b'\n') => Ok(Point { measurement, tags, fields, time }),
            Some(&byte) => Err(format!("{:?} where the line should end", char::from(byte))),
        }
    }

    /// A name up to the first of `ends` that is not escaped.
    fn name(&mut self, what: &str, ends: &[u8]) -> Result<String, String> {
        let mut name = Vec::new();
        while let Some((&byte, after)) = self.rest.split_first() {
            match (byte, after.first()) {
                (b'\\', Some(next)) if ends.contains(next) => {
                    name.push(*next);
                    self.rest = after.get(1..).unwrap_or_default();
                    continue;
                }
                (b'\n', _) => break,
                (byte, _) if ends.contains(&byte) => break,
                (byte, _) if byte.is_ascii_control() => {
                    return Err(format!("control character {byte:#04x} in a {what}"));
                }
                (byte, _) => name.push(byte),
            }
            self.rest = after;
        }
        if name.is_empty() {
            return Err(format!("missing {what}"));
        }
        String::from_utf8(name).map_err(|_| format!("{what} is not UTF-8"))
    }

    fn value(&mut self) -> Result<Value, String> {
        if self.take(b'"') {
            return self.text();
        }
        let end = self.rest.iter().position(|b| b", \n".contains(b)).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        let value = scalar(word)?;
        self.rest = after;
        Ok(value)
    }

    fn text(&mut self) -> Result<Value, String> {
        let mut text = Vec::new();
        while let Some((&byte, after)) = self.rest.split_first() {
            self.rest = after;
            match (byte, after.split_first()) {
                (b'"', _) => {
                    let text = String::from_utf8(text).map_err(|_| "text is not UTF-8")?;
                    return Ok(Value::Text(text));
                }
                (b'\\', Some((&next, later))) if next == b'"' || next == b'\\' => {
                    text.push(next);
                    self.rest = later;
                }
                (byte, _) => text.push(byte),
            }
        }
        Err("text without a closing quote".to_owned())
    }

    fn time(&mut self, unit: i64) -> Result<i64, String> {
        let end = self.rest.iter().position(|&b| b == b'\n').unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        let word = str::from_utf8(word).map_err(|_| "timestamp is not UTF-8")?;
        let digits = word.strip_prefix('-').unwrap_or(word);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("timestamp {word:?} is not an integer"));
        }
        let time = word.parse::<i64>().ok().and_then(|time| time.checked_mul(unit));
        self.rest = after;
        time.filter(|time| (TIME_MIN..=TIME_MAX).contains(time))
            .ok_or_else(|| format!("timestamp {word} is out of range"))
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, after)) if first == byte => {
                self.rest = after;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, byte: u8, place: &str) -> Result<(), String> {
        if self.take(byte) {
            return Ok(());
        }
        Err(format!("missing {:?} {place}", char::from(byte)))
    }
}

/// `models.MinNanoTime` and `models.MaxNanoTime` of InfluxDB.
const TIME_MIN: i64 = i64::MIN + 2;
const TIME_MAX: i64 = i64::MAX - 1;

fn scalar(word: &[u8]) -> Result<Value, String> {
    let word = str::from_utf8(word).map_err(|_| "value is not UTF-8")?;
    match word {
        "" => return Err("missing value".to_owned()),
        "t" | "T" | "true" | "True" | "TRUE" => return Ok(Value::Boolean(true)),
        "f" | "F" | "false" | "False" | "FALSE" => return Ok(Value::Boolean(false)),
        _ => {}
    }
    let wrong = || format!("{word:?} is not a value");
    if let Some(digits) = word.strip_suffix('i') {
        return integer(digits).and_then(|d| d.parse().ok()).map(Value::Signed).ok_or_else(wrong);
    }
    if let Some(digits) = word.strip_suffix('u') {
        let digits = integer(digits).filter(|d| !d.starts_with('-'));
        return digits.and_then(|d| d.parse().ok()).map(Value::Unsigned).ok_or_else(wrong);
    }
    if !is_decimal(word) {
        return Err(wrong());
    }
    match word.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Value::Float(value)),
        _ => Err(format!("{word} is outside what a float can hold")),
    }
}

fn integer(word: &str) -> Option<&str> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some(word)
}

/// `-?digits[.digits][e[+-]digits]`, with digits on both sides of the point.
fn is_decimal(word: &str) -> bool {
    let (mantissa, exponent) = match word.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (word, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    integer(whole).is_some()
        && fraction.is_none_or(all_digits)
        && exponent.is_none_or(|e| all_digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Point, String> {
        let mut all = points(line.as_bytes(), 1);
        let first = all.next().expect("a line").1;
        assert!(all.next().is_none(), "more than one line in {line:?}");
        first
    }

    #[test]
    fn takes_every_type_and_every_escape() {
        let point = read(
            r#"my\ weather,pl\,ace=hall\ 3,k\=ey=v\=1,x=a\b a=1,b=-2i,c=3u,d=t,e="q\"u\\o, te",f=1e-3,g=-0.5E+2 17"#,
        )
        .unwrap();
        assert_eq!(point.measurement, "my weather");
        let tags: Vec<_> = point.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(tags, [("pl,ace", "hall 3"), ("k=ey", "v=1"), ("x", "a\\b")]);
        let values: Vec<_> = point.fields.into_iter().map(|(_, v)| v).collect();
        assert_eq!(
            values,
            [
                Value::Float(1.0),
                Value::Signed(-2),
                Value::Unsigned(3),
                Value::Boolean(true),
                Value::Text("q\"u\\o, te".to_owned()),
                Value::Float(0.001),
                Value::Float(-50.0),
            ]
        );
        assert_eq!(point.time, Some(17));
    }

    #[test]
    fn refuses_what_a_careful_writer_never_sends() {
        for bad in [
            "m",
            "m ",
            " f=1",
            ",t=1 f=1",
            "m,t f=1",
            "m,t= f=1",
            "m,=v f=1",
            "m,t=1,t=2 f=1",
            "m f=1,f=2",
            "m f=",
            "m f",
            "m =1",
            "m f=1,",
            "m f=1.",
            "m f=.5",
            "m f=+1",
            "m f=0x1",
            "m f=NaN",
            "m f=inf",
            "m f=1e999",
            "m f=1i2",
            "m f=9223372036854775808i",
            "m f=-1u",
            "m f=yes",
            "m f=\"open",
            "m f=\"a\"b",
            "m f=1 1.5",
            "m f=1 9223372036854775807",
            "m f=1 17 18",
            "m f=1 ",
            "m  f=1",
            "m\tx f=1",
            "m,t=a\u{7}b f=1",
        ] {
            assert!(read(bad).is_err(), "took {bad:?}");
        }
        assert!(points(b"m\xff f=1", 1).next().unwrap().1.is_err());
        assert!(points(b"m f=\"\xff\"", 1).next().unwrap().1.is_err());
    }

    #[test]
    fn a_broken_line_costs_itself_only() {
        let body = b"m f=1 1\nm f=\"open 2\n\n# a remark\nm f=\"two\nlines\" 3\nm f=x 4\nm f=5 5";
        let read: Vec<_> = points(body, 1).map(|(line, p)| (line, p.is_ok())).collect();
        // The open quote runs on to the next quote, as in the real databases' scanners it may;
        // here the line is refused up to its own newline and the rest is read.
        assert_eq!(
            read,
            [
                (&b"m f=1 1"[..], true),
                (&b"m f=\"open 2"[..], false),
                (&b"m f=\"two\nlines\" 3"[..], true),
                (&b"m f=x 4"[..], false),
                (&b"m f=5 5"[..], true),
            ]
        );
    }

    #[test]
    fn timestamps_are_scaled_to_nanoseconds() {
        let time = |line: &'static str, unit| points(line.as_bytes(), unit).next().unwrap().1;
        assert_eq!(time("m f=1 17", 1_000_000_000).unwrap().time, Some(17_000_000_000));
        assert!(time("m f=1 9223372036854775806", 1_000).is_err());
        assert_eq!(time("m f=1 9223372036854775806", 1).unwrap().time, Some(i64::MAX - 1));
        assert_eq!(time("m f=1", 1).unwrap().time, None);
    }

    #[test]
    fn the_order_of_tags_does_not_make_another_series() {
        let one = read("m,b=2,a=1 f=1").unwrap();
        let two = read("m,a=1,b=2 f=1").unwrap();
        assert_eq!(one.series(), two.series());
        assert_ne!(one.series(), read("m,a=1 f=1").unwrap().series());
    }
}
