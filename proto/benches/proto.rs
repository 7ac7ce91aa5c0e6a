//! What a reading costs in each step of its journey. Guides (DESIGN section 13, per reading): JSON
//! decode 0.36 us, frame encode 0.08, frame decode (borrowed) 0.16, line protocol write 0.13.

use std::time::Duration;

use divan::{Bencher, counter::ItemsCount};
use proto::{
    Context, Limits, Reading, Readings, Rejects, Time, Timestamp, Value, cbor, frame, json, line,
    msgpack, plain, senml, sparkplug,
};

const ARRIVAL: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);
/// Readings in a frame, lines in a body.
const MANY: u32 = 100;
/// What a device of the benches measures.
const MEASURED: [(&str, f64); 3] = [("temperature", 21.53), ("humidity", 48.2), ("battery", 3.714)];

fn main() {
    divan::main();
}

#[divan::bench]
fn json_decode(bencher: Bencher<'_, '_>) {
    // 100 bytes, as a device of the benches sends them.
    let payload = br#"{"device":"greenhouse-17","temperature":21.53,"humidity":48.2,"battery":3.714,"ts":1700000000123}"#;
    decode(bencher, payload, 1, json::decode);
}

#[divan::bench]
fn json_decode_explicit(bencher: Bencher<'_, '_>) {
    let payload = br#"{"device":"d1","measurement":"climate","tags":{"room":"a"},"fields":{"t":21.5},"ts":1700000000000}"#;
    decode(bencher, payload, 1, json::decode);
}

#[divan::bench]
fn cbor_decode(bencher: Bencher<'_, '_>) {
    // The object of `json_decode`, its numbers as doubles.
    let mut payload = b"\xA5\x66device\x6Dgreenhouse-17".to_vec();
    for (name, value) in MEASURED {
        payload.push(0x60 + u8::try_from(name.len()).expect("a short name"));
        payload.extend_from_slice(name.as_bytes());
        payload.push(0xFB);
        payload.extend_from_slice(&value.to_be_bytes());
    }
    payload.extend_from_slice(b"\x62ts\x1B");
    payload.extend_from_slice(&1_700_000_000_123_u64.to_be_bytes());
    decode(bencher, &payload, 1, cbor::decode);
}

#[divan::bench]
fn msgpack_decode(bencher: Bencher<'_, '_>) {
    let mut payload = b"\x85\xA6device\xADgreenhouse-17".to_vec();
    for (name, value) in MEASURED {
        payload.push(0xA0 + u8::try_from(name.len()).expect("a short name"));
        payload.extend_from_slice(name.as_bytes());
        payload.push(0xCB);
        payload.extend_from_slice(&value.to_be_bytes());
    }
    payload.extend_from_slice(b"\xA2ts\xCF");
    payload.extend_from_slice(&1_700_000_000_123_u64.to_be_bytes());
    decode(bencher, &payload, 1, msgpack::decode);
}

#[divan::bench]
fn senml_decode(bencher: Bencher<'_, '_>) {
    let mut pack =
        br#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1700000000.001,"bu":"A","n":"current","v":1.2}"#
            .to_vec();
    for at in 1..MANY {
        pack.extend_from_slice(format!(r#",{{"n":"current","t":-{at},"v":1.{at}}}"#).as_bytes());
    }
    pack.push(b']');
    decode(bencher, &pack, MANY, senml::decode);
}

#[divan::bench]
fn senml_cbor_decode(bencher: Bencher<'_, '_>) {
    let mut pack =
        b"\x98\x64\xA5\x21\x78\x1Burn:dev:ow:10e2073a0108006:\x22\x1A\x65\x53\xF1\x00".to_vec();
    pack.extend_from_slice(b"\x23\x61A\x00\x67current\x02\xFA\x3F\x99\x99\x9A");
    for at in 1..MANY {
        pack.extend_from_slice(b"\xA3\x00\x67current\x06\x38");
        pack.push(u8::try_from(at).expect("no more than a hundred"));
        pack.extend_from_slice(b"\x02\xFA\x3F\x99\x99\x9A");
    }
    decode(bencher, &pack, MANY, senml::decode);
}

/// One metric, told apart by its bytes of name or alias, each with its own millisecond.
fn metric(named: &[u8], at: u32, payload: &mut Vec<u8>) {
    let timestamp = [0x18, 0x80 + u8::try_from(at).expect("a byte"), 0xD8, 0xC1, 0xA2, 0x8C, 0x34];
    let float = b"\x20\x09\x65\x00\x00\xAC\x41"; // 21.5
    let metric = [named, &timestamp, float].concat();
    payload.extend_from_slice(&[0x12, u8::try_from(metric.len()).expect("short")]);
    payload.extend_from_slice(&metric);
}

#[divan::bench]
fn sparkplug_by_name(bencher: Bencher<'_, '_>) {
    let mut payload = Vec::new();
    for at in 0..MANY {
        metric(b"\x0A\x11input/temperature", at, &mut payload);
    }
    decode(bencher, &payload, MANY, sparkplug::decode);
}

#[divan::bench]
fn sparkplug_by_alias(bencher: Bencher<'_, '_>) {
    let parse = |topic| sparkplug::Topic::parse(topic).expect("a topic of Sparkplug's");
    let mut birth = b"\x18\x00".to_vec();
    metric(b"\x0A\x11input/temperature\x10\x0B", 0, &mut birth);
    let mut payload = b"\x18\x01".to_vec();
    for at in 0..MANY {
        metric(b"\x10\x0B", at, &mut payload);
    }
    let context = Context { tags: &[("site", "greenhouse")], ..Context::bare(ARRIVAL) };
    let (mut out, mut bad) = (Readings::new(Limits::default()), Rejects::default());
    let mut sessions = sparkplug::Sessions::new(sparkplug::SessionLimits::default());
    let born = (&parse("spBv1.0/plant/NBIRTH/node"), birth.as_slice());
    sparkplug::hear(born, &mut sessions, Duration::ZERO, &context, &mut out, &mut bad);
    let data = parse("spBv1.0/plant/NDATA/node");
    let told = sessions.told(&data);
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        out.clear();
        out.begin();
        let message = (&data, divan::black_box(payload.as_slice()));
        let unresolved = sparkplug::resolve(message, &told, &context, &mut out, &mut bad);
        out.stamp(ARRIVAL);
        assert_eq!((out.count(), unresolved), (MANY, 0));
    });
}

#[divan::bench]
fn plain_decode(bencher: Bencher<'_, '_>) {
    decode(bencher, b"21.53", 1, plain::decode);
}

#[divan::bench]
fn line_decode(bencher: Bencher<'_, '_>) {
    let mut body = Vec::new();
    for at in 0..MANY {
        sample(at).with_ref(|reading| line::write(&reading, &mut body)).expect("it can be written");
    }
    decode(bencher, &body, MANY, line::decode);
}

#[divan::bench]
fn frame_decode(bencher: Bencher<'_, '_>) {
    let mut payload = Vec::new();
    frame::encode(&(0..MANY).map(sample).collect::<Vec<_>>(), &mut payload);
    decode(bencher, &payload, MANY, frame::decode);
}

#[divan::bench]
fn frame_encode(bencher: Bencher<'_, '_>) {
    let reading = sample(7);
    let mut encoder = frame::Encoder::default();
    let mut out = Vec::new();
    reading.with_ref(|reading| {
        bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
            out.clear();
            for _ in 0..MANY {
                encoder.push(divan::black_box(&reading));
            }
            encoder.finish(&mut out);
            out.len()
        });
    });
}

#[divan::bench]
fn readings_push(bencher: Bencher<'_, '_>) {
    let reading = sample(7);
    let mut out = Readings::new(Limits::default());
    reading.with_ref(|reading| {
        bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
            out.clear();
            for _ in 0..MANY {
                out.push(divan::black_box(&reading), ARRIVAL).expect("it is taken");
            }
            out.bytes().len()
        });
    });
}

#[divan::bench]
fn cursor_walk(bencher: Bencher<'_, '_>) {
    let bytes = journal_form();
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        let mut cursor = frame::Cursor::new(divan::black_box(&bytes));
        let mut fields = 0;
        while let Some(reading) = cursor.next() {
            fields += reading.expect("our own encoder wrote it").fields.len();
        }
        fields
    });
}

#[divan::bench]
fn line_write(bencher: Bencher<'_, '_>) {
    let reading = sample(7);
    let mut out = Vec::new();
    reading.with_ref(|reading| {
        bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
            out.clear();
            for _ in 0..MANY {
                line::write(divan::black_box(&reading), &mut out).expect("it can be written");
            }
            out.len()
        });
    });
}

fn decode(
    bencher: Bencher<'_, '_>,
    payload: &[u8],
    readings: u32,
    decode: fn(&[u8], &Context<'_>, &mut Readings, &mut Rejects),
) {
    let context = Context { tags: &[("site", "greenhouse")], ..Context::bare(ARRIVAL) };
    let (mut out, mut bad) = (Readings::new(Limits::default()), Rejects::default());
    bencher.counter(ItemsCount::new(readings)).bench_local(|| {
        out.clear();
        out.begin();
        decode(divan::black_box(payload), &context, &mut out, &mut bad);
        out.stamp(ARRIVAL);
        assert_eq!(out.count(), readings);
    });
}

fn journal_form() -> Vec<u8> {
    let mut out = Readings::new(Limits::default());
    for at in 0..MANY {
        sample(at).with_ref(|reading| out.push(&reading, ARRIVAL)).expect("it is taken");
    }
    out.take().0
}

fn sample(at: u32) -> Reading {
    let text = |text: &str| text.to_owned();
    Reading {
        measurement: text("climate"),
        tags: vec![
            (text("device"), format!("greenhouse-{at}")),
            (text("site"), text("greenhouse")),
        ],
        fields: vec![
            (text("temperature"), Value::Float(21.53)),
            (text("humidity"), Value::Float(48.2)),
            (text("battery"), Value::Float(3.714)),
        ],
        time: Time::At(Timestamp::from_nanos(ARRIVAL.nanos() + i64::from(at))),
    }
}
