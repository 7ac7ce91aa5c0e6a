//! The frame, described once more as one type for another codec: its bytes must be ours, both ways.

use proptest::prelude::*;
use proto::{Reading, Time, Value, frame};
use wincode::{SchemaRead, SchemaWrite, config};

use crate::samples::{any_reading, decoded};

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
