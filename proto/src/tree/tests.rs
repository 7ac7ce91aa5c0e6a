//! The same JSON in other bytes means the same: encoders that are not ours write it as CBOR and as
//! `MessagePack`, and the same readings must come out, and the same must be refused.

use proptest::prelude::*;
use serde::Serialize as _;
use serde_json::json;

use crate::{
    Context, Kind, Precision, Reading, Readings, Rejects, cbor, json, msgpack,
    testing::{any_json, context, decoded},
};

type Decode = fn(&[u8], &Context<'_>, &mut Readings, &mut Rejects);

fn cbor_of(value: &serde_json::Value) -> Vec<u8> {
    let mut serializer = minicbor_serde::Serializer::new(Vec::new());
    serializer.serialize_unit_as_null(true);
    value.serialize(&mut serializer).unwrap();
    serializer.into_encoder().into_writer()
}

fn msgpack_of(value: &serde_json::Value) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap()
}

fn both(value: &serde_json::Value) -> [(&'static str, Decode, Vec<u8>); 2] {
    [("cbor", cbor::decode, cbor_of(value)), ("msgpack", msgpack::decode, msgpack_of(value))]
}

/// What was taken, and what was refused: which, why, which field.
type Verdict = (Vec<Reading>, Vec<(u32, Option<String>, Kind)>, u64);

fn verdict(decode: Decode, payload: &[u8], context: &Context<'_>) -> Verdict {
    let (readings, bad) = decoded(|out, bad| decode(payload, context, out, bad));
    let refused = bad.listed().iter();
    let refused = refused.map(|r| (r.index, r.field.clone(), r.reason.kind)).collect();
    (readings, refused, bad.nothings())
}

fn agrees(value: &serde_json::Value, context: &Context<'_>) -> Result<(), TestCaseError> {
    let expected = verdict(json::decode, value.to_string().as_bytes(), context);
    for (format, decode, payload) in both(value) {
        prop_assert_eq!(&verdict(decode, &payload, context), &expected, "{} {}", format, value);
    }
    Ok(())
}

#[test]
fn what_an_object_means_does_not_depend_on_its_bytes() {
    let deep = |depth| (0..depth).fold(json!({"t": 1}), |inner, _| json!({"a": inner}));
    let wide: serde_json::Map<_, _> = (0..1024).map(|n| (format!("k{n}"), json!(null))).collect();
    for value in [
        json!({"t": 21.5, "on": true, "n": {"a": {"b": 1}}, "s": "x", "l": [1, false, null, {"z": 2}], "e": {}}),
        json!({"device": "d1", "t": 1, "ts": 1_624_348_482.25}),
        json!({"t": 1, "ts": 1_700_000_000_123_456_789_i64}),
        json!({"t": 1, "ts": 18_446_744_073_709_551_615_u64}),
        json!({"t": -1, "Time": "2021-06-27T15:03:44+02:00"}),
        json!({"t": 1, "time": "12:30"}),
        json!({"t": 1, "age_ms": 1500}),
        json!({"t": 1, "age_ms": 0.5}),
        json!({"t": 1, "age_ms": -1}),
        json!({"fields": {"t": 1}, "age_ms": "old"}),
        json!({"device": 17, "t": 1}),
        json!({"device": 17, "fields": {"t": 1}}),
        json!({"device": {"name": "d1"}, "t": 1}),
        json!({"device": "d1", "measurement": "m", "tags": {"room": "a", "n": 5, "f": 5.25, "big": u64::MAX, "b": true, "x": null}, "fields": {"t": 21.5, "ts": 7, "tags": {"n": 1}}, "ts": 1_700_000_000_000_i64}),
        json!({"fields": {"t": 1}, "measurement": 5}),
        json!({"fields": {"t": 1}, "seq": 7, "more": {"x": 1}}),
        json!({"fields": 5}),
        json!({"device": "d1", "ts": 1_700_000_000, "readings": [{"fields": {"t": 1}}, {"fields": {"t": 2}, "device": "d2", "age_ms": 0}, 5, {"t": 3}], "odd": 1}),
        json!({"readings": [1, 2]}),
        json!({"readings": [], "device": "d"}),
        json!({"readings": [{"t": 1}], "measurement": 5}),
        json!([{"t": 1}, {"t": "unavailable"}, 7, {}, [[1]], {"t": {}}, {"t": 2}]),
        json!([]),
        json!({}),
        json!(21.5),
        json!("ON"),
        json!("none"),
        json!([1, 2, [3]]),
        json!([deep(31), deep(32), {"t": 2}]),
        deep(40),
        json!([wide, {"t": 1}]),
    ] {
        agrees(&value, &context()).unwrap();
        let precise = Context { precision: Some(Precision::Milliseconds), ..context() };
        agrees(&value, &precise).unwrap();
        let strict = Context { tags: &[("site", "x")], device_required: true, ..context() };
        agrees(&value, &strict).unwrap();
    }
}

#[test]
fn bombs_are_defused() {
    for (decode, payload) in [
        (cbor::decode as Decode, [0x81].repeat(1_000_000)),
        (cbor::decode, [0x9F].repeat(1_000_000)),
        (cbor::decode, [0xA1, 0x61, b'a'].repeat(1_000_000)),
        (cbor::decode, [0xC1].repeat(1_000_000)),
        (cbor::decode, [0xC4, 0x82].repeat(1_000_000)),
        (cbor::decode, [0x7F].repeat(1_000_000)),
        (cbor::decode, vec![0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        (cbor::decode, vec![0xBB, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x61, b'a', 1]),
        (cbor::decode, vec![0x7B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, b'a']),
        (msgpack::decode, [0x91].repeat(1_000_000)),
        (msgpack::decode, [0x81, 0xA1, b'a'].repeat(1_000_000)),
        (msgpack::decode, vec![0xDD, 0xFF, 0xFF, 0xFF, 0xFF]),
        (msgpack::decode, vec![0xDF, 0xFF, 0xFF, 0xFF, 0xFF, 0xA1, b'a', 1]),
        (msgpack::decode, vec![0xDB, 0xFF, 0xFF, 0xFF, 0xFF, b'a']),
    ] {
        let (readings, bad) = decoded(|out, bad| decode(&payload, &context(), out, bad));
        assert!(readings.is_empty());
        assert!((1..=2).contains(&bad.readings()), "{bad:?}");
        let greedy = Context { depth_max: usize::MAX, keys_max: usize::MAX, ..context() };
        let (_, bad) = decoded(|out, bad| decode(&payload, &greedy, out, bad));
        assert!(bad.readings() >= 1, "no configuration may use up the stack");
    }
}

#[test]
fn what_is_recognised_is_of_one_format_only() {
    for value in [json!({"t": 21.5, "on": true}), json!({"device": "d1", "fields": {"t": 1}})] {
        let [(_, _, cbor), (_, _, msgpack)] = both(&value);
        assert!(cbor::looks_like(&cbor) && !msgpack::looks_like(&cbor), "{value}");
        assert!(msgpack::looks_like(&msgpack) && !cbor::looks_like(&msgpack), "{value}");
        assert!(!cbor::looks_like(&cbor[..cbor.len() - 1]), "it breaks off");
        assert!(!msgpack::looks_like(&msgpack[..msgpack.len() - 1]), "it breaks off");
    }
    for neither in ["", "{\"t\":1}", "21.5", "ON", "\u{7bd}\u{7a1}", "\u{a1}a"] {
        assert!(!cbor::looks_like(neither.as_bytes()) && !msgpack::looks_like(neither.as_bytes()));
    }
    assert!(!cbor::looks_like(&[0xA1, 1, 2]), "three bytes of a device of its own make");
    assert!(cbor::looks_like(&[0xD9, 0xD9, 0xF7, 0x80]), "it says so itself");
}

proptest! {
    #[test]
    fn any_value_means_what_its_json_means(value in any_json()) {
        agrees(&value, &context())?;
        agrees(&json!({"device": "d1", "tags": value, "fields": {"t": value}}), &context())?;
        agrees(&json!([{"n": value}, value]), &context())?;
    }

    /// A cut keeps the elements before it; flipped and arbitrary bytes never panic, and what they
    /// refuse lies in the payload.
    #[test]
    fn every_cut_costs_only_what_it_cuts(
        values in prop::collection::vec(any_json(), 1..6),
        at: prop::sample::Index,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        noise: Vec<u8>,
    ) {
        let elements: Vec<_> = values.iter().map(|value| json!({"t": 1, "v": value})).collect();
        for (format, decode, payload) in both(&elements.clone().into()) {
            let cut = at.index(payload.len());
            let head = if payload[0] == 0xDC { 3 } else { 1 };
            let mut end = head;
            let mut complete = 0;
            for element in &elements {
                let [(_, _, cbor), (_, _, msgpack)] = both(element);
                end += if format == "cbor" { cbor.len() } else { msgpack.len() };
                complete += usize::from(end <= cut);
            }
            let (readings, bad) =
                decoded(|out, bad| decode(&payload[..cut], &context(), out, bad));
            prop_assert_eq!(readings.len(), complete, "{} {:?}", format, bad);
            prop_assert!(bad.readings() == 1, "{:?}", bad);

            let mut flipped = payload;
            for (at, byte) in &flips {
                let at = at.index(flipped.len());
                flipped[at] = *byte;
            }
            for payload in [&flipped, &noise] {
                let (_, bad) = decoded(|out, bad| decode(payload, &context(), out, bad));
                for reject in bad.listed() {
                    prop_assert!(payload.get(reject.span.clone()).is_some(), "{:?}", reject);
                }
            }
        }
    }
}
