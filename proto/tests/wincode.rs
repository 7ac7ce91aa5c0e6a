//! The frame, described once more as one type for another codec: its bytes must be ours, both ways.

use std::time::Duration;

use proptest::prelude::*;
use proto::{Context, Limits, Reading, Readings, Rejects, Time, Timestamp, Value, frame};
use wincode::{SchemaRead, SchemaWrite, config};

#[derive(Debug, PartialEq, SchemaWrite, SchemaRead)]
struct Frame {
    magic: u8,
    version: u8,
    readings: Vec<Described>,
}

#[derive(Debug, PartialEq, SchemaWrite, SchemaRead)]
struct Described {
    measurement: String,
    tags: Vec<(String, String)>,
    time: DescribedTime,
    fields: Vec<(String, DescribedValue)>,
}

#[derive(Debug, PartialEq, SchemaWrite, SchemaRead)]
enum DescribedTime {
    None,
    At([u8; 8]),
    Age(u64),
}

#[derive(Debug, PartialEq, SchemaWrite, SchemaRead)]
enum DescribedValue {
    Float(f64),
    Float32(f32),
    Signed(i64),
    Unsigned(u64),
    Boolean(bool),
    Text(String),
}

fn described(reading: &Reading) -> Described {
    let time = match reading.time {
        Time::At(at) => DescribedTime::At(at.nanos().to_le_bytes()),
        Time::Age(age) => {
            DescribedTime::Age(u64::try_from(age.as_nanos()).expect("at most 2^32 ms"))
        }
        Time::Unknown | Time::Stamped(_) => DescribedTime::None,
    };
    let value = |value: &Value| match value {
        Value::Float(value) => DescribedValue::Float(*value),
        Value::Signed(value) => DescribedValue::Signed(*value),
        Value::Unsigned(value) => DescribedValue::Unsigned(*value),
        Value::Boolean(value) => DescribedValue::Boolean(*value),
        Value::Text(value) => DescribedValue::Text(value.clone()),
    };
    Described {
        measurement: reading.measurement.clone(),
        tags: reading.tags.clone(),
        time,
        fields: reading.fields.iter().map(|(name, v)| (name.clone(), value(v))).collect(),
    }
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let name = || prop_oneof![8 => "[a-zö]{1,8}", 1 => "[a-z]{249,253}"];
    let value = prop_oneof![
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(Value::Float),
        any::<i64>().prop_map(Value::Signed),
        (-300..300_i64).prop_map(Value::Signed),
        any::<u64>().prop_map(Value::Unsigned),
        (0..70_000_u64).prop_map(Value::Unsigned),
        any::<bool>().prop_map(Value::Boolean),
        "[ -~]{0,300}".prop_map(Value::Text),
    ];
    let time = prop_oneof![
        Just(Time::Unknown),
        (i64::MIN + 2..i64::MAX).prop_map(|nanos| Time::At(Timestamp::from_nanos(nanos))),
        (0..=u64::from(u32::MAX)).prop_map(|ms| Time::Age(Duration::from_millis(ms))),
    ];
    let tags = prop::collection::btree_map(name(), name(), 0..4);
    let fields = prop::collection::btree_map(name(), value, 1..4);
    (name(), tags, fields, time).prop_filter_map(
        "no `time`",
        |(measurement, tags, fields, time)| {
            let names = tags.keys().chain(fields.keys());
            names.into_iter().all(|name| name != "time").then_some(())?;
            let (tags, fields) = (tags.into_iter().collect(), fields.into_iter().collect());
            Some(Reading { measurement, tags, fields, time })
        },
    )
}

fn decoded(bytes: &[u8]) -> (Vec<Reading>, Rejects) {
    let context = Context {
        measurement: "readings",
        tags: &[],
        field: "value",
        precision: None,
        arrival: Timestamp::from_nanos(1_700_000_000_000_000_000),
        device_required: false,
        depth_max: 32,
        keys_max: 1024,
    };
    let (mut out, mut bad) = (Readings::new(Limits::default()), Rejects::default());
    out.begin();
    frame::decode(bytes, &context, &mut out, &mut bad);
    out.stamp(context.arrival);
    let mut cursor = frame::Cursor::new(out.bytes());
    let mut readings = Vec::new();
    while let Some(reading) = cursor.next() {
        readings.push(reading.expect("our encoder wrote it").to_reading());
    }
    (readings, bad)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn another_codec_writes_and_reads_the_same_bytes(
        readings in prop::collection::vec(any_reading(), 0..300),
    ) {
        let codec = config::Configuration::default().with_varint_encoding();
        let mut ours = Vec::new();
        frame::encode(&readings, &mut ours);
        let frame = Frame {
            magic: frame::MAGIC,
            version: frame::VERSION,
            readings: readings.iter().map(described).collect(),
        };
        let theirs = config::serialize(&frame, codec).unwrap();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(config::deserialize_exact::<Frame, _>(&ours, codec).unwrap(), frame);

        let (back, bad) = decoded(&theirs);
        prop_assert!(bad.is_empty(), "{:?}", bad);
        prop_assert_eq!(back.len(), readings.len());
        for (back, given) in back.iter().zip(&readings) {
            prop_assert_eq!((&back.tags, &back.fields), (&given.tags, &given.fields));
        }
    }
}

/// What only devices write: a single float keeps its own decimal.
#[test]
fn a_single_float_of_another_codec_is_read() {
    let frame = Frame {
        magic: frame::MAGIC,
        version: frame::VERSION,
        readings: vec![Described {
            measurement: "m".to_owned(),
            tags: Vec::new(),
            time: DescribedTime::None,
            fields: vec![("t".to_owned(), DescribedValue::Float32(21.7))],
        }],
    };
    let codec = config::Configuration::default().with_varint_encoding();
    let (readings, bad) = decoded(&config::serialize(&frame, codec).unwrap());
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(readings[0].fields, [("t".to_owned(), Value::Float(21.7))]);
}
