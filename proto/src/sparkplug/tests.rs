//! Sparkplug B in: what Tahu's encoder writes, data types, broken payloads.

mod sessions;

use super::*;
use crate::{
    Timestamp,
    testing::{context, decoded, hex, line},
};

const FIXTURES: &str = include_str!("../../tests/fixtures/sparkplug-b.json");
/// The examples in the order of the file.
const NDEATH: usize = 0;
const NBIRTH: usize = 1;
const DBIRTH: usize = 2;
const DDATA: usize = 3;
const HISTORICAL: usize = 4;
const DEVICE: &str = "sparkplug,device=Emulated\\ Device,group=Sparkplug\\ B\\ Devices,node=Python\\ Edge\\ Node\\ 1";
const NODE: &str = "sparkplug,group=Sparkplug\\ B\\ Devices,node=Python\\ Edge\\ Node\\ 1";

fn example(at: usize) -> (String, Vec<u8>) {
    let fixtures: serde_json::Value = serde_json::from_str(FIXTURES).unwrap();
    let example = &fixtures["examples"][at];
    (example["topic"].as_str().unwrap().to_owned(), hex(example["hex"].as_str().unwrap()))
}

fn context_of_sparkplug() -> Context<'static> {
    Context { measurement: "sparkplug", ..context() }
}

/// Points as line protocol, what was refused, and what the message meant.
fn hear_example(at: usize, sessions: &mut Sessions) -> (Vec<String>, Vec<String>, Heard) {
    let (topic, payload) = example(at);
    let topic = Topic::parse(&topic).unwrap();
    let mut heard = Heard::default();
    let (readings, bad) = decoded(|out, bad| {
        let now = Duration::from_secs(at as u64);
        heard = hear((&topic, &payload), sessions, now, &context_of_sparkplug(), out, bad);
    });
    let refused = bad.listed().iter().map(|r| format!("{:?}: {}", r.field, r.reason)).collect();
    (readings.iter().map(line).collect(), refused, heard)
}

/// REFERENCE P1, and `online`, which a death makes false: without it a node would stay dead.
#[test]
fn p1_a_device_birth_is_a_point_for_each_time() {
    let mut sessions = Sessions::new(SessionLimits::default());
    hear_example(NBIRTH, &mut sessions);
    let (lines, refused, heard) = hear_example(DBIRTH, &mut sessions);
    let fields = [
        ("online=t", 0),
        ("input/Device\\ Metric0=\"hello device\"", 0),
        ("input/temperature=21.5", 1),
        ("output/Device\\ Metric2=-16i", 2),
        ("input/double=-0.125", 3),
        ("input/when=1790000000000i", 4),
        ("i8=-8i", 5),
        ("u32=4294967295i", 6),
        ("i64=-9007199254740993i", 7),
    ];
    let expected: Vec<_> = fields
        .iter()
        .map(|(field, at)| {
            format!("{DEVICE} {field} {}", 1_790_000_000_000_000_000_i64 + at * 1_000_000)
        })
        .collect();
    assert_eq!(lines, expected);
    let skipped = "a data set, template, array or bytes, which no field can hold";
    assert_eq!(refused, [format!("Some(\"bytes\"): {skipped}")]);
    assert_eq!(heard, Heard { born: true, ..Heard::default() });
}

/// REFERENCE P2 and P3.
#[test]
fn p2_and_p3_data_by_alias_and_by_name_and_from_the_past() {
    let mut sessions = Sessions::new(SessionLimits::default());
    hear_example(NBIRTH, &mut sessions);
    hear_example(DBIRTH, &mut sessions);
    let (lines, refused, heard) = hear_example(DDATA, &mut sessions);
    assert_eq!(
        lines,
        [
            format!("{DEVICE} input/temperature=21.75 1790000000000000000"),
            format!("{DEVICE} u8=200i 1790000000001000000"),
        ]
    );
    assert_eq!((refused.len(), heard), (0, Heard::default()));
    let (lines, _, heard) = hear_example(HISTORICAL, &mut sessions);
    assert_eq!(lines, [format!("{DEVICE} input/temperature=20.0 1790000000000000000")]);
    assert_eq!(heard, Heard::default());
}

/// REFERENCE P4, and `online`, as in P1; the device dies with its node.
#[test]
fn p4_a_node_is_born_and_dies() {
    let mut sessions = Sessions::new(SessionLimits::default());
    let (lines, refused, heard) = hear_example(NBIRTH, &mut sessions);
    assert_eq!(
        lines,
        [
            format!("{NODE} online=t 1790000000000000000"),
            format!("{NODE} Node\\ Metric0=\"hello node\" 1790000000003000000"),
            format!("{NODE} bdSeqX=9223372036854775813u 1790000000004000000"),
        ]
    );
    assert!(refused.is_empty() && heard.born && !heard.ask_rebirth);
    hear_example(DBIRTH, &mut sessions);
    let (lines, refused, heard) = hear_example(NDEATH, &mut sessions);
    assert_eq!(lines, [format!("{NODE} online=f"), format!("{DEVICE} online=f")]);
    assert!(refused.is_empty());
    assert_eq!(heard, Heard { died: vec!["Emulated Device".to_owned()], ..Heard::default() });
}

#[test]
fn without_births_names_are_taken_and_aliases_refused() {
    let (_, payload) = example(DDATA);
    let (readings, bad) = decoded(|out, bad| decode(&payload, &context_of_sparkplug(), out, bad));
    assert_eq!(
        readings.iter().map(line).collect::<Vec<_>>(),
        ["sparkplug u8=200i 1790000000001000000"]
    );
    assert_eq!(bad.readings(), 1);
    assert_eq!(
        bad.listed()[0].reason.to_string(),
        "1 metrics by alias, which only the node's birth explains"
    );
}

/// A payload of one metric `m` of this type, its value being a field as protobuf has it.
fn metric(data_type: u8, value: &str) -> Vec<u8> {
    let value = hex(value);
    let mut payload =
        vec![0x12, u8::try_from(5 + value.len()).unwrap(), 0x0A, 1, b'm', 0x20, data_type];
    payload.extend_from_slice(&value);
    payload
}

fn shown(payload: &[u8]) -> String {
    let (readings, bad) = decoded(|out, bad| decode(payload, &context_of_sparkplug(), out, bad));
    let refused = bad.listed().iter().map(|reject| reject.reason.to_string());
    readings.iter().map(line).chain(refused).collect::<Vec<_>>().join(" | ")
}

#[test]
fn the_data_type_says_what_the_bytes_mean() {
    const ROOM: &str = "a number that its data type has no room for";
    const TYPE: &str = "a value that is not of its data type";
    const OTHER: &str = "a data set, template, array or bytes, which no field can hold";
    for (data_type, value, expected) in [
        (1, "50f801", "sparkplug m=-8i"),
        (1, "50f8ffffff0f", "sparkplug m=-8i"),
        (1, "58f8ffffffffffffffff01", "sparkplug m=-8i"),
        (2, "508080fcff0f", "sparkplug m=0i"),
        (2, "5080fc03", "sparkplug m=-512i"),
        (3, "50ffffffff0f", "sparkplug m=-1i"),
        (4, "58ffffffffffffffffff01", "sparkplug m=-1i"),
        (5, "50ff01", "sparkplug m=255i"),
        (5, "508002", ROOM),
        (6, "50ffff03", "sparkplug m=65535i"),
        (6, "50808004", ROOM),
        (7, "58ffffffff0f", "sparkplug m=4294967295i"),
        (7, "588080808010", ROOM),
        (8, "58ffffffffffffffffff01", "sparkplug m=18446744073709551615u"),
        (13, "58ffffffffffffffffff01", ROOM),
        (9, "65cdcccc3d", "sparkplug m=0.1"),
        (10, "699a9999999999b93f", "sparkplug m=0.1"),
        (9, "650000c07f", "not a finite number"),
        (11, "7001", "sparkplug m=t"),
        (11, "5001", TYPE),
        (12, "7a024f4e", "sparkplug m=\"ON\""),
        (14, "7a00", ""),
        (15, "7a024f4e", "sparkplug m=\"ON\""),
        (12, "7a01ff", "a text that is not UTF-8"),
        (12, "5001", TYPE),
        (3, "7a0131", TYPE),
        (16, "8a0100", OTHER),
        (19, "920100", OTHER),
        (22, "820102ff01", OTHER),
        (0, "50c801", "a number whose type no birth has told"),
        (0, "699a9999999999b93f", "sparkplug m=0.1"),
        (3, "3801", ""),
        (3, "38015001", ""),
    ] {
        assert_eq!(shown(&metric(data_type, value)), expected, "type {data_type}, {value}");
    }
}

#[test]
fn a_broken_metric_costs_itself_and_a_broken_payload_all() {
    let [good, name] = [metric(3, "5001"), hex("1203 0a01ff")];
    let cut = hex("1203 0a05 6d");
    let wrong_type = hex("1202 0d00");
    for broken in [&name, &cut] {
        let payload = [&good[..], broken, &good].concat();
        let (readings, bad) =
            decoded(|out, bad| decode(&payload, &context_of_sparkplug(), out, bad));
        assert_eq!((readings.len(), bad.readings()), (2, 1), "{bad:?}");
        assert_eq!(bad.listed()[0].index, 1);
        assert!(payload.get(bad.listed()[0].span.clone()).is_some());
    }
    assert_eq!(shown(&hex("1204 2003 5001")), "a metric without a name or an alias");
    assert!(shown(&wrong_type).starts_with("byte 3: the payload breaks off"));
    for (payload, reason) in [
        ("12", "byte 1: the payload breaks off"),
        ("1205 00", "byte 2: the payload breaks off"),
        ("12ffffffffffffffffff01", "byte 11: the payload breaks off"),
        ("08ffffffffffffffffffff01", "byte 11: a number of more than ten bytes"),
        ("0b", "byte 1: a field of a type that protobuf has not"),
        ("09 00", "byte 1: the payload breaks off"),
    ] {
        assert_eq!(shown(&hex(payload)), reason, "{payload}");
    }
    assert_eq!(shown(b""), "", "no metrics, nothing wrong");
    let many = metric(3, "5001").repeat(10_001);
    assert!(shown(&many).ends_with("more metrics in one payload than are allowed"));
}

#[test]
fn metrics_of_one_time_are_one_point_as_far_as_there_is_room() {
    let named = |at: u16| {
        let name = format!("m{at:03}");
        [&hex("120a 0a04")[..], name.as_bytes(), &hex("2003 5001")].concat()
    };
    let payload: Vec<u8> = (0..600).flat_map(named).collect();
    let (readings, bad) = decoded(|out, bad| decode(&payload, &context_of_sparkplug(), out, bad));
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!(
        readings.iter().map(|reading| reading.fields.len()).collect::<Vec<_>>(),
        [256, 256, 88]
    );
}

#[test]
fn a_time_that_cannot_be_costs_its_metric() {
    let far = hex("1212 0a016d 18 ffffffffffffffffff01 2003 5001");
    assert!(shown(&far).contains("1677"));
    let (readings, _) = decoded(|out, bad| {
        decode(&[hex("08 80d8c1a28c34"), metric(3, "5001")].concat(), &context(), out, bad);
    });
    assert_eq!(
        readings[0].time,
        Time::At(Timestamp::from_nanos(1_790_000_000_000_000_000)),
        "that of the payload, where a metric has none"
    );
}

/// What is not stored is counted once for the payload, so that the books balance.
#[test]
fn a_payload_that_says_nothing_is_one_nothing() {
    for payload in [Vec::new(), metric(3, "3801"), metric(14, "7a00"), rebirth_command(5)] {
        let (readings, bad) = decoded(|out, bad| decode(&payload, &context(), out, bad));
        assert_eq!((readings.len(), bad.is_empty(), bad.nothings()), (0, true, 1));
    }
    let payload = [metric(14, "7a00"), metric(3, "5001")].concat();
    let (readings, bad) = decoded(|out, bad| decode(&payload, &context(), out, bad));
    assert_eq!((readings.len(), bad.nothings()), (1, 0));
}

#[test]
fn the_command_for_a_rebirth_is_one_that_a_node_reads() {
    let payload = rebirth_command(1_790_000_000_000);
    let parsed = Payload::parse(&payload).unwrap();
    assert_eq!(parsed.timestamp, Some(1_790_000_000_000));
    let metric = parsed.metrics().next().unwrap().unwrap();
    assert_eq!(metric.name, Some("Node Control/Rebirth"));
    assert_eq!(metric.value, Some(payload::Raw::Boolean(true)));
    assert_eq!(metric.data_type, Some(payload::DataType::Boolean));
    assert_eq!(shown(&payload), "", "and nothing to store");
}
