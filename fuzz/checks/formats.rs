//! What must hold of every decoder on every payload:
//!
//! - it returns, and what it refused lies in the payload;
//! - what it took can be walked, is finite, sorted and unique, and can be stored;
//! - as line protocol it is read back the same, and as a device's frame too.

use std::time::Duration;

use proto::{
    Context, Limits, Reading, ReadingRef, Readings, Rejects, Time, Timestamp, ValueRef, cbor, csv,
    frame, json, line, msgpack, plain, senml, sparkplug,
};

const ARRIVAL: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

pub(crate) fn json(payload: &[u8]) {
    check(payload, json::decode);
}

pub(crate) fn line(payload: &[u8]) {
    check(payload, line::decode);
    line::looks_like(payload);
}

pub(crate) fn frame(payload: &[u8]) {
    check(payload, frame::decode);
    walk_without_panic(payload);
}

pub(crate) fn cbor(payload: &[u8]) {
    check(payload, cbor::decode);
    cbor::looks_like(payload);
}

pub(crate) fn msgpack(payload: &[u8]) {
    check(payload, msgpack::decode);
    assert!(!(msgpack::looks_like(payload) && cbor::looks_like(payload)), "it cannot be both");
}

pub(crate) fn senml(payload: &[u8]) {
    check(payload, senml::decode);
    senml::looks_like(payload);
}

/// Without a session, and as the births and the data of one.
pub(crate) fn sparkplug(payload: &[u8]) {
    check(payload, sparkplug::decode);
    check(payload, |payload, context, out, bad| {
        let limits = sparkplug::SessionLimits { bytes_max: 4096, ..Default::default() };
        let mut sessions = sparkplug::Sessions::new(limits);
        for topic in ["NBIRTH/n", "DBIRTH/n/d", "DDATA/n/d", "NDATA/n", "DDEATH/n/d", "NDEATH/n"] {
            let topic = format!("spBv1.0/g/{topic}");
            let topic = sparkplug::Topic::parse(&topic).expect("a topic of a node");
            let now = Duration::from_secs(1);
            sparkplug::hear((&topic, payload), &mut sessions, now, context, out, bad);
            assert!(sessions.bytes() <= limits.bytes_max);
        }
    });
}

/// A table with its header.
pub(crate) fn csv(payload: &[u8]) {
    check(payload, |payload, context, out, bad| {
        let Ok(columns) = csv::Columns::of(payload, &csv::Layout::default()) else { return };
        let header = columns.header().0;
        let rows = payload.get(header..).expect("the header lies in the payload");
        csv::decode(rows, &columns, context, out, bad);
        assert!(csv::whole(rows, b',') <= rows.len());
    });
}

pub(crate) fn plain(payload: &[u8]) {
    check(payload, plain::decode);
    plain::is_scalar(payload);
}

type Decode = fn(&[u8], &Context<'_>, &mut Readings, &mut Rejects);

fn check(payload: &[u8], decode: Decode) {
    let (readings, bad) = decoded(payload, &context(), decode);
    for reject in bad.listed() {
        assert!(
            payload.get(reject.span.clone()).is_some(),
            "{reject:?} of {} bytes",
            payload.len()
        );
    }
    let mut lines = Vec::new();
    let mut frames = frame::Encoder::default();
    let mut written = Vec::new();
    for reading in &readings {
        reading.with_ref(|whole| {
            check_reading(&whole);
            frames.push(&whole);
            match line::write(&whole, &mut lines) {
                Ok(()) => written.push(reading.clone()),
                Err(reason) => assert!(may_be_unwritable(&whole), "{reason}: {reading:?}"),
            }
        });
    }
    let mut bytes = Vec::new();
    frames.finish(&mut bytes);
    let bare = Context { tags: &[], ..context() };
    let decodes = [(&lines, line::decode as Decode, written), (&bytes, frame::decode, readings)];
    for (payload, decode, expected) in decodes {
        let (back, bad) = decoded(payload, &bare, decode);
        assert!(bad.is_empty(), "{bad:?}");
        assert_eq!(back, expected);
    }
}

/// The one thing that is stored and cannot be written as line protocol: a backslash before a
/// separator in a tag, and quotes.
fn may_be_unwritable(reading: &ReadingRef<'_>) -> bool {
    let pair = |text: &&str| ["\\,", "\\ ", "\\="].iter().any(|pair| text.contains(pair));
    reading.tags.iter().any(|(key, value)| pair(key) || pair(value))
}

fn context() -> Context<'static> {
    Context { tags: &[("site", "home")], ..Context::bare(ARRIVAL) }
}

/// What was taken; stamped readings as if they had said their time.
fn decoded(payload: &[u8], context: &Context<'_>, decode: Decode) -> (Vec<Reading>, Rejects) {
    let (mut out, mut bad) = (Readings::new(Limits::default()), Rejects::default());
    out.begin();
    decode(payload, context, &mut out, &mut bad);
    assert!(out.stamps_wanted() <= out.count());
    out.stamp(ARRIVAL);
    let (bytes, count) = out.take();
    let mut cursor = frame::Cursor::new(&bytes);
    let mut readings = Vec::new();
    while let Some(reading) = cursor.next() {
        let mut reading = reading.expect("our own encoder wrote it").to_reading();
        reading.time = Time::At(reading.time.timestamp().expect("all are stamped"));
        readings.push(reading);
    }
    assert_eq!(readings.len(), count as usize);
    (readings, bad)
}

fn check_reading(reading: &ReadingRef<'_>) {
    let limits = Limits::default();
    assert!(reading.tags.is_sorted_by(|a, b| a.0 < b.0), "{reading:?}");
    assert!(reading.tags.len() <= limits.tags_max && reading.fields.len() <= limits.fields_max);
    assert!(!reading.fields.is_empty(), "{reading:?}");
    for (at, (name, value)) in reading.fields.iter().enumerate() {
        assert!(reading.fields.iter().skip(at + 1).all(|(other, _)| other != name), "{reading:?}");
        assert!(!matches!(value, ValueRef::Float(value) if !value.is_finite()), "{reading:?}");
    }
    let names = reading.tags.iter().map(|(key, _)| *key).chain(reading.fields.iter().map(|f| f.0));
    for name in names.chain([reading.measurement]) {
        assert!(!name.is_empty() && name.len() <= limits.name_bytes_max, "{reading:?}");
        assert!(!name.contains(char::is_control) && !name.ends_with('\\'), "{reading:?}");
    }
    assert!(reading.time.timestamp().is_none_or(Timestamp::is_storable), "{reading:?}");
}

fn walk_without_panic(bytes: &[u8]) {
    let mut cursor = frame::Cursor::new(bytes);
    while cursor.next().is_some() {}
    assert!(cursor.position() <= bytes.len());
}
