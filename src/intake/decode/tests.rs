//! What `auto` takes a payload for, and what becomes of it.

use proto::{Limits, Reading, Time, Timestamp, Value};

use super::*;
use crate::intake::tests::show;

const ARRIVAL: Timestamp = Timestamp::from_nanos(1_000);

/// The readings, one each, and then the kinds of what was refused.
fn decoded(format: Format, payload: &[u8]) -> Vec<String> {
    decoded_as(format, payload, None)
}

fn decoded_as(format: Format, payload: &[u8], field: Option<&str>) -> Vec<String> {
    let context = Context { measurement: "m", ..Context::bare(ARRIVAL) };
    let mut out = Readings::new(Limits::default());
    let mut bad = Rejects::default();
    let named = Named { measurement: None, field };
    decode(format, payload, &context, named, &mut out, &mut bad);
    out.stamp(ARRIVAL);
    let mut lines = Vec::new();
    let mut cursor = frame::Cursor::new(out.bytes());
    while let Some(reading) = cursor.next() {
        lines.push(show(&reading.unwrap()));
    }
    assert_eq!(lines.len(), out.count() as usize);
    lines.extend(
        bad.listed().iter().map(|reject| format!("refused: {}", reject.reason.kind.label())),
    );
    lines
}

fn a_frame() -> Vec<u8> {
    let reading = Reading {
        measurement: "f".into(),
        tags: Vec::new(),
        fields: vec![("x".into(), Value::Signed(7))],
        time: Time::Unknown,
    };
    let mut bytes = Vec::new();
    frame::encode(&[reading], &mut bytes);
    bytes
}

#[test]
fn auto_takes_a_payload_for_what_it_looks_like() {
    let frame = a_frame();
    for (payload, line) in [
        (&frame[..], "f x=7i 1000*"),
        (b"{\"t\":1}", "m t=1 1000*"),
        (b" \r\n[{\"t\":1}]", "m t=1 1000*"),
        (b"21.5", "m value=21.5 1000*"),
        (b" -3e2\n", "m value=-300 1000*"),
        (b"true", "m value=true 1000*"),
        (b"cpu,host=a load=1i 5", "cpu,host=a load=1i 5"),
        (b"# comment\n\ncpu load=1\n", "cpu load=1 1000*"),
        // Nearly a line of line protocol: a text.
        (b"a=b", "m value=\"a=b\" 1000*"),
        (b"state is=on", "m value=\"state is=on\" 1000*"),
        (b"open", "m value=\"open\" 1000*"),
        (b"[{\"bn\":\"dev\",\"n\":\"t\",\"v\":1}]", "senml,device=dev t=1 1000*"),
        (b"[{\"n\":\"dev\",\"t\":1}]", "m n=\"dev\",t=1 1000*"),
        (b"\xA1\x61t\x01", "m t=1 1000*"),
        (b"\xD9\xD9\xF7\x81\xA1\x61t\x01", "m t=1 1000*"),
        (b"\x81\xA1t\x01", "m t=1 1000*"),
        // What both could mean is not guessed.
        (b"\x81\xA1\x61t\x01", "refused: undecodable"),
        (b"\x91\x81\xA1t\x01", "refused: undecodable"),
        (b"{broken", "refused: undecodable"),
        (b"\xC1\x01", "refused: undecodable"),
        (b"\xFF\xFE", "refused: undecodable"),
    ] {
        let text = String::from_utf8_lossy(payload);
        assert_eq!(decoded(Format::Auto, payload), [line], "{text}");
    }
    assert!(decoded(Format::Auto, b"unavailable").is_empty());
}

/// Once a payload looks like line protocol, a broken line costs itself only.
#[test]
fn a_broken_line_among_good_ones_does_not_turn_a_body_into_a_text() {
    assert_eq!(
        decoded(Format::Auto, b"a x=1 1\nthis is broken\nb x=2 2\n"),
        ["a x=1 1", "b x=2 2", "refused: undecodable"]
    );
}

#[test]
fn a_format_that_was_named_is_not_guessed() {
    assert_eq!(decoded(Format::Plain, b"a x=1 1"), ["m value=\"a x=1 1\" 1000*"]);
    assert_eq!(decoded(Format::Line, b"{\"t\":1}"), ["refused: undecodable"]);
    assert_eq!(decoded(Format::Json, b"a x=1 1"), ["refused: undecodable"]);
    assert_eq!(decoded(Format::Frame, b"21.5"), ["refused: undecodable"]);
    let metric = b"\x12\x07\x0A\x01m\x20\x03\x50\x01";
    assert_eq!(decoded(Format::Sparkplug, metric), ["sparkplug m=1i 1000*"]);
    assert_eq!(decoded(Format::Cbor, b"\x81\xA1\x61t\x01"), ["m t=1 1000*"]);
    assert_eq!(decoded(Format::MessagePack, b"\x91\x81\xA1t\x01"), ["m t=1 1000*"]);
    assert_eq!(decoded(Format::Json, b"[{\"n\":\"d\",\"v\":1}]"), ["m n=\"d\",v=1 1000*"]);
    assert_eq!(
        decoded(Format::Senml, b"[{\"n\":\"d\",\"v\":1}]"),
        ["senml,device=d value=1 1000*"]
    );
    assert_eq!(
        decoded(Format::Senml, b"\x81\xA2\x00\x61d\x02\x01"),
        ["senml,device=d value=1 1000*"]
    );
}

#[test]
fn a_captured_field_names_a_plain_value_and_keeps_other_payloads_apart() {
    for (payload, line) in [
        (&b"21.5"[..], "m soil=21.5 1000*"),
        (b"wet", "m soil=\"wet\" 1000*"),
        (b"{\"value\":21.5}", "m,field=soil value=21.5 1000*"),
        (b"climate t=1", "climate,field=soil t=1 1000*"),
    ] {
        assert_eq!(decoded_as(Format::Auto, payload, Some("soil")), [line]);
    }
}

#[test]
fn a_panic_is_one_refused_reading_and_leaves_no_trace() {
    let mut out = Readings::new(Limits::default());
    let mut bad = Rejects::default();
    guarded(&mut out, &mut bad, |_, bad| {
        bad.reading(3, 0..1, Reason::new(Kind::Limit, "before the panic"));
        panic!("on purpose");
    });
    assert_eq!((out.count(), bad.readings()), (0, 1));
    assert_eq!(bad.listed()[0].reason.kind, Kind::Internal);
}

#[test]
fn a_measurement_of_the_rule_wins_over_the_formats_own() {
    let (mut out, mut bad) = (Readings::new(Limits::default()), Rejects::default());
    let named = Named { measurement: Some("climate"), field: None };
    let pack = b"[{\"n\":\"d\",\"v\":1}]";
    decode(Format::Auto, pack, &Context::bare(ARRIVAL), named, &mut out, &mut bad);
    out.stamp(ARRIVAL);
    let mut cursor = frame::Cursor::new(out.bytes());
    assert_eq!(show(&cursor.next().unwrap().unwrap()), "climate,device=d value=1 1000*");
}
