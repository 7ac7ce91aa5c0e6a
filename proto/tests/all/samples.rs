//! Readings that a device may send, and what the gateway makes of a frame.

use std::time::Duration;

use proptest::prelude::*;
use proto::{Context, Limits, Reading, Readings, Rejects, Time, Timestamp, Value, frame};

pub(crate) const ARRIVAL: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

pub(crate) fn any_reading() -> impl Strategy<Value = Reading> {
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

pub(crate) fn decoded(bytes: &[u8]) -> (Vec<Reading>, Rejects) {
    let context = Context::bare(ARRIVAL);
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
