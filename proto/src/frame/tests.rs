//! The frame: round trips, every cut, flipped bits, hostile lengths, bad readings among good ones.

use proptest::prelude::*;

use super::*;
use crate::{
    Limits, Time, Timestamp, Value,
    testing::{any_reading, context, decoded, reading},
};

fn encoded(readings: &[Reading]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(readings, &mut bytes);
    bytes
}

fn decode_all(bytes: &[u8]) -> (Vec<Reading>, Rejects) {
    decoded(|out, bad| decode(bytes, &context(), out, bad))
}

fn only_reason(bytes: &[u8]) -> String {
    let (readings, bad) = decode_all(bytes);
    assert!(readings.is_empty());
    assert_eq!(bad.readings(), 1);
    bad.listed()[0].reason.text.clone().into_owned()
}

fn plain() -> Reading {
    reading("m", &[("device", "d1")], ("t", Value::Float(21.5)))
}

#[test]
fn the_bytes_are_these() {
    let mut timed = plain();
    timed.time = Time::At(Timestamp::from_nanos(1_700_000_000_000_000_000));
    #[rustfmt::skip]
    let expected = [
        0xC1, 1, 1,
        1, b'm', 1, 6, b'd', b'e', b'v', b'i', b'c', b'e', 2, b'd', b'1',
        1, 0x00, 0x00, 0x2A, 0x36, 0xFE, 0x9C, 0x97, 0x17,
        1, 1, b't', 0, 0, 0, 0, 0, 0, 0x80, 0x35, 0x40,
    ];
    assert_eq!(encoded(&[timed]), expected);
}

#[test]
fn what_is_not_a_frame_is_refused_by_the_byte() {
    assert_eq!(only_reason(b""), "byte 0: the frame ends 1 bytes too early");
    assert_eq!(only_reason(b"{}"), "byte 0: 0x7b does not begin a frame");
    assert_eq!(only_reason(&[MAGIC, 9, 0]), "byte 1: frame version 9 is not known, only 1 is");
    assert_eq!(only_reason(&[MAGIC, VERSION, 0, 7]), "byte 3: 1 bytes after the last reading");
    assert_eq!(
        only_reason(&[MAGIC, VERSION, 1, 2, 0xFF, 0xFE]),
        "byte 6: a text that is not UTF-8"
    );
}

#[test]
fn hostile_lengths_cost_no_memory() {
    let endless = [253, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    let text = [&[MAGIC, VERSION, 1][..], &endless].concat();
    assert_eq!(only_reason(&text), "byte 12: a length that no reading can have");
    let tags = [&[MAGIC, VERSION, 1, 1, b'm'][..], &endless].concat();
    assert_eq!(only_reason(&tags), "byte 14: the frame ends 1 bytes too early");
    let fields = [&[MAGIC, VERSION, 1, 1, b'm', 0, 0][..], &endless].concat();
    assert_eq!(only_reason(&fields), "byte 16: the frame ends 1 bytes too early");
    let readings = [MAGIC, VERSION, 252, 0xFF, 0xFF, 0xFF, 0xFF];
    assert_eq!(only_reason(&readings), "byte 7: the frame ends 1 bytes too early");
}

#[test]
fn ten_thousand_tags_cost_their_own_reading() {
    let mut crowded = plain();
    crowded.tags = (0..10_000).map(|i| (format!("k{i}"), "v".to_owned())).collect();
    let (readings, bad) = decode_all(&encoded(&[plain(), crowded, plain()]));
    assert_eq!(readings, [plain(), plain()]);
    assert_eq!(bad.readings(), 1);
    assert_eq!((bad.listed()[0].index, bad.listed()[0].reason.kind), (1, Kind::Limit));
}

#[test]
fn a_bad_reading_costs_itself_and_says_where_it_lies() {
    let mut nameless = plain();
    nameless.tags[0].0.clear();
    let bytes = encoded(&[plain(), nameless, plain()]);
    let (readings, bad) = decode_all(&bytes);
    assert_eq!(readings, [plain(), plain()]);
    let reject = &bad.listed()[0];
    assert_eq!((reject.index, reject.reason.kind), (1, Kind::Name));
    let mut cursor = Cursor::new(&bytes[reject.span.clone()]);
    assert_eq!(cursor.next().unwrap().unwrap().tags, [("", "d1")]);
    assert!(cursor.next().is_none());
}

#[test]
fn a_bad_field_costs_itself() {
    let mut half = plain();
    half.fields.push(("u".to_owned(), Value::Float(f64::NAN)));
    let (readings, bad) = decode_all(&encoded(&[half]));
    assert_eq!(readings, [plain()]);
    assert_eq!((bad.readings(), bad.fields()), (0, 1));
}

#[test]
fn damage_costs_the_rest_and_keeps_what_came_before() {
    let mut bytes = encoded(&[plain(), plain(), plain()]);
    let len = (bytes.len() - 3) / 3;
    bytes[3 + len] = 250; // The length of the second measurement.
    let (readings, bad) = decode_all(&bytes);
    assert_eq!(readings, [plain()]);
    let reject = &bad.listed()[0];
    assert_eq!((bad.readings(), reject.index), (1, 1));
    assert_eq!(reject.span.end, bytes.len());
    assert!(reject.reason.text.starts_with(&format!("byte {}: ", 3 + len + 1)), "{reject:?}");
}

#[test]
fn a_stamp_of_the_gateway_is_refused_on_the_wire() {
    let mut bytes = encoded(&[plain(), plain()]);
    let first_time = 3 + 13;
    assert_eq!(bytes[first_time], 0);
    bytes.splice(first_time..=first_time, [3, 0, 0, 0, 0, 0, 0, 0, 0]);
    let (readings, bad) = decode_all(&bytes);
    assert_eq!(readings, [plain()]);
    assert_eq!(
        (bad.listed()[0].index, bad.listed()[0].reason.to_string()),
        (0, "byte 3: a time of kind 3, which only the gateway gives".to_owned())
    );
}

#[test]
fn the_context_fills_in_and_wins() {
    let mut bare = plain();
    bare.measurement.clear();
    let mut context = context();
    context.tags = &[("site", "home"), ("device", "from-the-url")];
    let (readings, _) = decoded(|out, bad| decode(&encoded(&[bare]), &context, out, bad));
    assert_eq!(readings[0].measurement, "readings");
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(readings[0].tags, [tag("device", "from-the-url"), tag("site", "home")]);
}

#[test]
fn a_device_is_asked_for_where_it_is_required() {
    let mut anonymous = plain();
    anonymous.tags.clear();
    let mut context = context();
    context.device_required = true;
    let bytes = encoded(&[anonymous, plain()]);
    let (readings, bad) = decoded(|out, bad| decode(&bytes, &context, out, bad));
    assert_eq!(readings.len(), 1);
    assert_eq!(bad.listed()[0].reason.kind, Kind::NoDevice);
}

#[test]
fn a_tag_of_a_device_may_not_come_twice() {
    let mut twice = plain();
    twice.tags.push(("device".to_owned(), "d2".to_owned()));
    let (readings, bad) = decode_all(&encoded(&[twice]));
    assert!(readings.is_empty());
    assert_eq!(bad.listed()[0].reason.to_string(), "tag `device` is given twice");
}

#[test]
fn a_single_float_keeps_its_own_decimal() {
    let tenth = 0.1_f32.to_le_bytes();
    let bytes = [&[MAGIC, VERSION, 1, 1, b'm', 0, 0, 1, 1, b't', 1][..], &tenth].concat();
    let (readings, bad) = decode_all(&bytes);
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(readings[0].fields[0].1, Value::Float(0.1));
}

#[test]
fn longer_numbers_than_needed_are_read_and_written_anew() {
    let bytes = [MAGIC, VERSION, 251, 1, 0, 251, 1, 0, b'm', 251, 0, 0, 0, 1, 1, b't', 4, 1];
    let (readings, bad) = decode_all(&bytes);
    assert!(bad.is_empty(), "{bad:?}");
    let mut out = Readings::new(Limits::default());
    out.begin();
    decode(&bytes, &context(), &mut out, &mut Rejects::default());
    out.stamp(Timestamp::from_nanos(0));
    assert_eq!(readings[0], reading("m", &[], ("t", Value::Boolean(true))));
    assert_eq!(out.bytes(), [1, b'm', 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, b't', 4, 1]);
}

#[test]
fn a_cursor_stops_at_the_first_error() {
    let mut out = Readings::new(Limits::default());
    out.begin();
    plain().with_ref(|reading| out.push(&reading, context().arrival)).unwrap();
    out.stamp(Timestamp::from_nanos(0));
    let (mut bytes, _) = out.take();
    let whole = bytes.len();
    bytes.push(200);
    let mut cursor = Cursor::new(&bytes);
    assert!(cursor.next().unwrap().is_ok());
    assert_eq!(cursor.position(), whole);
    let error = cursor.next().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("byte {}: the frame ends 200 bytes too early", whole + 1)
    );
    assert!(cursor.next().is_none());
}

proptest! {
    #[test]
    fn round_trips(given in prop::collection::vec(any_reading(), 0..6)) {
        let (readings, bad) = decode_all(&encoded(&given));
        prop_assert!(bad.is_empty(), "{:?}", bad);
        prop_assert_eq!(readings.len(), given.len());
        for (back, given) in readings.iter().zip(&given) {
            prop_assert_eq!(&back.measurement, &given.measurement);
            prop_assert_eq!(&back.tags, &given.tags);
            prop_assert_eq!(&back.fields, &given.fields);
        }
    }

    /// A cut is noticed, and what lies whole before it is kept.
    #[test]
    fn every_cut_costs_only_what_it_cuts(
        given in prop::collection::vec(any_reading(), 1..4),
        at: prop::sample::Index,
    ) {
        let bytes = encoded(&given);
        let at = at.index(bytes.len());
        let (readings, bad) = decode_all(&bytes[..at]);
        let mut whole = 0;
        while whole < given.len() && encoded(&given[..=whole]).len() <= at {
            whole += 1;
        }
        prop_assert_eq!((readings.len(), bad.readings()), (whole, 1));
    }

    #[test]
    fn flipped_bits_and_arbitrary_bytes_never_panic(
        given in prop::collection::vec(any_reading(), 1..3),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        noise: Vec<u8>,
    ) {
        let mut bytes = encoded(&given);
        for flip in flips {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        decode_all(&bytes);
        decode_all(&noise);
        decode_all(&[&[MAGIC, VERSION][..], &noise].concat());
        let mut cursor = Cursor::new(&noise);
        while cursor.next().is_some() {}
        prop_assert!(cursor.position() <= noise.len());
    }
}

#[test]
fn a_reading_is_put_together_from_its_series_and_may_get_another_measurement() {
    let reading = plain();
    let mut encoder = Readings::new(Limits::default());
    reading.with_ref(|it| encoder.push(&it, Timestamp::UNIX_EPOCH)).unwrap();
    let mut cursor = Cursor::new(encoder.bytes());
    let known = cursor.next().unwrap().unwrap();
    assert_eq!(measurement_of(known.series).unwrap(), known.measurement);

    let mut again = Vec::new();
    put(known.series, known.time, known.fields, &mut again);
    assert_eq!(again, encoder.bytes());

    let other = renamed(known.series, "other").unwrap();
    let mut bytes = Vec::new();
    put(&other, known.time, known.fields, &mut bytes);
    let mut cursor = Cursor::new(&bytes);
    let named = cursor.next().unwrap().unwrap();
    assert_eq!((named.measurement, named.tags), ("other", known.tags));
    assert!(renamed(&[9, b'x'], "other").is_err());
}
