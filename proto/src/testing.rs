//! For the tests of this crate: arbitrary readings, a context, and what a decoder made of bytes.

use std::time::Duration;

use proptest::prelude::*;

use crate::names::{loses_backslash, swallows_separator};
use crate::{Context, Limits, Reading, Readings, Rejects, Time, Timestamp, Value, frame::Cursor};

pub(crate) const ARRIVAL: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

pub(crate) fn context() -> Context<'static> {
    Context::bare(ARRIVAL)
}

/// Names with what line protocol must escape, and beyond ASCII.
pub(crate) fn any_name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_ ,=\"'/#.:äß°€\\\\]{0,12}[a-z0-9 ,=\"#ö]"
        .prop_filter("a name of ours", |name| name != "time" && !name.starts_with('#'))
}

pub(crate) fn any_measurement() -> impl Strategy<Value = String> {
    any_name().prop_filter("to be found again", |name| !loses_backslash(name))
}

/// One that can be written beside any other.
pub(crate) fn any_plain_name() -> impl Strategy<Value = String> {
    any_name().prop_filter("to be read again", |name| !swallows_separator(name))
}

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Value::Float),
        any::<i64>().prop_map(Value::Signed),
        any::<u64>().prop_map(Value::Unsigned),
        any::<bool>().prop_map(Value::Boolean),
        "[a-z \"\\\\,=\n\r\u{0}äß€#]{0,20}".prop_map(Value::Text),
    ]
}

pub(crate) fn any_time() -> impl Strategy<Value = Time> {
    let storable = Timestamp::STORABLE_MIN.nanos()..=Timestamp::STORABLE_MAX.nanos();
    prop_oneof![
        Just(Time::Unknown),
        storable.prop_map(|nanos| Time::At(Timestamp::from_nanos(nanos))),
        (0..=u64::from(u32::MAX)).prop_map(|ms| Time::Age(Duration::from_millis(ms))),
    ]
}

/// A reading that every stage takes: its tags sorted and unique, its fields unique.
pub(crate) fn any_reading() -> impl Strategy<Value = Reading> {
    let tags = prop::collection::btree_map(any_plain_name(), any_plain_name(), 0..5);
    let fields = prop::collection::btree_map(any_plain_name(), any_value(), 1..5);
    (any_measurement(), tags, fields, any_time()).prop_map(|(measurement, tags, fields, time)| {
        Reading {
            measurement,
            tags: tags.into_iter().collect(),
            fields: fields.into_iter().collect(),
            time,
        }
    })
}

/// Objects are what devices send most, but any JSON is JSON.
pub(crate) fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let scalar = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "[ -~äß€\n\t\"\\\\]{0,8}".prop_map(serde_json::Value::from),
    ];
    scalar.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z_ \"\\\\ö]{1,6}", inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// What was taken, unstamped readings as `Time::Unknown` again; and what was refused.
pub(crate) fn decoded(decode: impl FnOnce(&mut Readings, &mut Rejects)) -> (Vec<Reading>, Rejects) {
    let mut out = Readings::new(Limits::default());
    let mut bad = Rejects::default();
    out.begin();
    decode(&mut out, &mut bad);
    out.stamp(Timestamp::MIN);
    let mut readings = read_back(out.bytes());
    assert_eq!(readings.len() as u64, u64::from(out.count()));
    for reading in &mut readings {
        // An age is storable, so it is not among these.
        if matches!(reading.time, Time::Stamped(at) if at < Timestamp::from_nanos(i64::MIN + 1_000_000))
        {
            reading.time = Time::Unknown;
        }
    }
    (readings, bad)
}

/// The bytes that hexadecimal digits stand for; blanks between them do not count.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<_> = digits.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// As line protocol, without the end of the line.
pub(crate) fn line(reading: &Reading) -> String {
    let mut out = Vec::new();
    reading.with_ref(|reading| crate::line::write(&reading, &mut out)).unwrap();
    String::from_utf8(out).unwrap().trim_end().to_owned()
}

pub(crate) fn read_back(bytes: &[u8]) -> Vec<Reading> {
    let mut cursor = Cursor::new(bytes);
    let mut readings = Vec::new();
    while let Some(reading) = cursor.next() {
        readings.push(reading.expect("our own encoder wrote it").to_reading());
    }
    readings
}

/// A reading for tests that do not care which.
pub(crate) fn reading(measurement: &str, tags: &[(&str, &str)], field: (&str, Value)) -> Reading {
    Reading {
        measurement: measurement.to_owned(),
        tags: tags.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
        fields: vec![(field.0.to_owned(), field.1)],
        time: Time::Unknown,
    }
}
