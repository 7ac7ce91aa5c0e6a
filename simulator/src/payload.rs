//! A device's readings as the bytes it sends: JSON in its explicit form, line protocol, or frames.
//!
//! Every payload names device, measurement and time, so a resend is the same point in the
//! database whichever way it travels. Several readings in one payload are NDJSON, lines, or one
//! frame.

use std::io::Write as _;

use proto::{Value, frame};

use crate::signals::{Clock, Device};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `{"device":..,"measurement":..,"tags":{..},"fields":{..},"ts":..}`
    Json,
    /// `measurement,device=.. field=..,.. timestamp`, nanoseconds.
    Line,
    /// The binary frame, see `docs/frame.md`.
    Frame,
}

impl Encoding {
    pub const ALL: [Self; 3] = [Self::Json, Self::Line, Self::Frame];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Line => "line",
            Self::Frame => "frame",
        }
    }
}

/// Appends readings `seqs` of `device` to `out`.
pub fn encode(device: &Device, seqs: &[u64], encoding: Encoding, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => {
            for (index, &seq) in seqs.iter().enumerate() {
                if index > 0 {
                    out.push(b'\n');
                }
                json(device, seq, out);
            }
        }
        Encoding::Line => {
            for &seq in seqs {
                line(device, seq, out);
            }
        }
        Encoding::Frame => {
            let readings: Vec<_> = seqs.iter().map(|&seq| device.reading(seq)).collect();
            frame::encode(&readings, out);
        }
    }
}

fn json(device: &Device, seq: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"device\":");
    quoted(&device.name, out);
    out.extend_from_slice(b",\"measurement\":");
    quoted(device.kind.measurement(), out);
    out.extend_from_slice(b",\"tags\":{");
    let mut comma = "";
    for (key, value) in device.tags().iter().filter(|(key, _)| *key != "device") {
        text(comma, out);
        quoted(key, out);
        out.push(b':');
        quoted(value, out);
        comma = ",";
    }
    out.extend_from_slice(b"},\"fields\":{");
    comma = "";
    for (key, value) in device.fields(seq) {
        text(comma, out);
        quoted(key, out);
        out.push(b':');
        match value {
            Value::Text(text) => quoted(&text, out),
            other => number(&other, out),
        }
        comma = ",";
    }
    let time = device.time(seq).nanos();
    let time = match device.clock {
        Clock::Nanoseconds => time,
        Clock::Milliseconds => time / 1_000_000,
    };
    append(format_args!("}},\"ts\":{time}}}"), out);
}

fn line(device: &Device, seq: u64, out: &mut Vec<u8>) {
    escaped(device.kind.measurement(), b", ", out);
    for (key, value) in device.tags() {
        out.push(b',');
        escaped(key, b",= ", out);
        out.push(b'=');
        escaped(&value, b",= ", out);
    }
    let mut before = " ";
    for (key, value) in device.fields(seq) {
        text(before, out);
        escaped(key, b",= ", out);
        out.push(b'=');
        match value {
            Value::Text(text) => {
                out.push(b'"');
                escaped(&text, b"\"\\", out);
                out.push(b'"');
            }
            other => number(&other, out),
        }
        before = ",";
    }
    append(format_args!(" {}\n", device.time(seq).nanos()), out);
}

/// A number or boolean; the same text in JSON and in line protocol, for the signals send floats only.
fn number(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Float(value) => append(format_args!("{value}"), out),
        Value::Boolean(value) => append(format_args!("{value}"), out),
        Value::Signed(value) => append(format_args!("{value}i"), out),
        Value::Unsigned(value) => append(format_args!("{value}u"), out),
        Value::Text(value) => text(value, out),
    }
}

fn quoted(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for char in value.chars() {
        match char {
            '"' | '\\' => {
                out.push(b'\\');
                append(format_args!("{char}"), out);
            }
            c if c < ' ' => append(format_args!("\\u{:04x}", u32::from(c)), out),
            c => append(format_args!("{c}"), out),
        }
    }
    out.push(b'"');
}

fn escaped(value: &str, special: &[u8], out: &mut Vec<u8>) {
    for byte in value.bytes() {
        if special.contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

fn text(value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(value.as_bytes());
}

fn append(value: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    out.write_fmt(value).unwrap_or_else(|_| unreachable!("a Vec takes every byte"));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{Context, Limits, Readings, Rejects, Timestamp};

    use super::*;
    use crate::{
        faulty::line::{Point, points},
        signals::{Kind, seed_of},
    };

    fn device(kind: Kind) -> Device {
        Device {
            name: "north 1,a=b\"".to_owned(),
            kind,
            seed: seed_of(1, "north"),
            start: Timestamp::from_nanos(1_790_000_000_000_000_000),
            period: Duration::from_secs(1),
            jitter: 0.3,
            clock: Clock::Nanoseconds,
        }
    }

    #[test]
    fn a_line_says_what_the_device_measured() {
        for kind in Kind::ALL {
            let device = device(kind);
            let seqs: Vec<u64> = (0..400).collect();
            let mut body = Vec::new();
            encode(&device, &seqs, Encoding::Line, &mut body);
            let read: Vec<Point> = points(&body, 1).map(|(_, p)| p.unwrap()).collect();
            assert_eq!(read.len(), 400);
            for (point, seq) in read.into_iter().zip(seqs) {
                let reading = device.reading(seq);
                assert_eq!(point.measurement, reading.measurement);
                assert_eq!(point.tags, reading.tags);
                assert_eq!(point.fields, reading.fields);
                assert_eq!(point.time, Some(device.time(seq).nanos()));
            }
        }
    }

    #[test]
    fn json_says_what_the_device_measured() {
        for kind in Kind::ALL {
            let device = device(kind);
            let seqs: Vec<u64> = (0..400).collect();
            let mut body = Vec::new();
            encode(&device, &seqs, Encoding::Json, &mut body);
            let body = String::from_utf8(body).unwrap();
            assert_eq!(body.lines().count(), 400);
            for (line, seq) in body.lines().zip(seqs) {
                let json: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(json["device"], device.name);
                assert_eq!(json["measurement"], kind.measurement());
                assert_eq!(json["ts"], device.time(seq).nanos());
                for (name, value) in device.fields(seq) {
                    match value {
                        Value::Float(v) => assert_eq!(json["fields"][name].as_f64(), Some(v)),
                        Value::Boolean(v) => assert_eq!(json["fields"][name], v),
                        Value::Text(v) => assert_eq!(json["fields"][name], v),
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }

    /// What the gateway makes of it: one reading a line of line protocol, read by our own checker.
    fn decoded(payload: &[u8], encoding: Encoding) -> Vec<Point> {
        let context = Context {
            measurement: "mqtt",
            tags: &[],
            field: "value",
            precision: None,
            times: None,
            arrival: Timestamp::from_nanos(1_800_000_000_000_000_000),
            device_required: true,
            depth_max: 32,
            keys_max: 1024,
            mapping: None,
        };
        let mut readings = Readings::new(Limits::default());
        let mut bad = Rejects::default();
        readings.begin();
        match encoding {
            Encoding::Json => proto::json::decode(payload, &context, &mut readings, &mut bad),
            Encoding::Line => proto::line::decode(payload, &context, &mut readings, &mut bad),
            Encoding::Frame => frame::decode(payload, &context, &mut readings, &mut bad),
        }
        assert!(bad.is_empty(), "{bad:?}");
        let mut cursor = frame::Cursor::new(readings.bytes());
        let mut text = Vec::new();
        while let Some(reading) = cursor.next() {
            proto::line::write(&reading.unwrap(), &mut text).unwrap();
        }
        points(&text, 1).map(|(_, point)| point.unwrap()).collect()
    }

    #[test]
    fn the_gateway_reads_in_every_encoding_what_the_device_measured() {
        for encoding in Encoding::ALL {
            for kind in Kind::ALL {
                let device = device(kind);
                for seq in 0..200 {
                    let mut payload = Vec::new();
                    encode(&device, &[seq], encoding, &mut payload);
                    let reading = device.reading(seq);
                    let expected = Point {
                        measurement: reading.measurement,
                        tags: reading.tags,
                        fields: reading.fields,
                        time: Some(device.time(seq).nanos()),
                    };
                    assert_eq!(decoded(&payload, encoding), [expected], "{encoding:?}");
                }
            }
        }
    }

    #[test]
    fn a_clock_of_milliseconds_writes_milliseconds() {
        let device = Device { clock: Clock::Milliseconds, ..device(Kind::Energy) };
        let mut body = Vec::new();
        encode(&device, &[5], Encoding::Json, &mut body);
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["ts"], device.time(5).nanos() / 1_000_000);
    }
}
