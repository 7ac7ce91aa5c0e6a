//! The verdicts of a real influxd, line by line.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::*;

const INFLUXD: &str = include_str!("../../../../tests/fixtures/line-protocol/influxd-1.6.7.jsonl");

/// The lines that influxd 1.6.7 and we see differently, each on purpose: `docs/formats.md` tells.
const DIFFERENT: &[&str] = &[
    // It has no `u`.
    "cpu,host=serverA,region=us-west value=0000u",
    "cpu,host=serverA,region=us-west value=00018446744073709551615u",
    "cpu,host=serverA,region=us-west value=0u",
    "cpu,host=serverA,region=us-west value=18446744073709551615u",
    "foo asdf=23u 1234",
    "foo asdf=23u,bar=5u 1234",
    "cpu v=1u 7",
    "cpu v=1u,w=2 7",
    // It refuses a carriage return at the end of a line.
    "cpu v=1 7\r\n",
    "cpu v=1\r\n",
    "cpu v=1 7\r",
    "cpu v=1 7  \r\n",
    "\r\ncpu v=1 7\r\n",
    // It takes texts that go on behind their closing quote.
    "cpu v=\"a\"b 7",
    "cpu v=\"a\"\"b\" 7",
    "cpu v=\"a 7\ncpu w=\"b 8",
    // It takes control characters in names.
    "cpu\0 v=1 7",
    "c\0pu,a\0=b\0 v\0=1 7",
    "cpu,a=b\tc v=1 7",
    "cpu,a=b\rc v=1 7",
    // It refuses the line for one value that cannot be kept.
    "cpu v=1,w=NaN 7",
    "cpu v=1,w=1e999 7",
    "cpu v=1,w=9223372036854775808i 7",
    // It loses `time` without a word.
    "cpu time=1,v=2 7",
    "cpu time=\"x\",v=2 7",
    // It stores them where it cannot find them.
    "cpu\\\\,a=b v=1 7",
    "c\\\\\\,pu v=1 7",
    // It refuses a conflict of types, which is not for a parser to see.
    "cpu v=1,v=2i 7",
    "cpu v=1,v=\"x\" 7",
    "cpu v=1 7\ncpu v=2i 8",
];

/// What was asked, by file, and whether it is written with escapes; the first line says where it is from.
const ASKED: [(&str, bool); 3] = [
    (include_str!("../../../../tests/fixtures/line-protocol/torture.txt"), false),
    (include_str!("../../../../tests/fixtures/line-protocol/iox.txt"), true),
    (include_str!("../../../../tests/fixtures/line-protocol/own.txt"), true),
];

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let meant = match (c, rest.peek()) {
            ('\\', Some(c @ ('"' | '\\'))) => *c,
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('0')) => '\0',
            ('\\', Some('t')) => '\t',
            _ => {
                out.push(c);
                continue;
            }
        };
        out.push(meant);
        rest.next();
    }
    out
}

/// None was left out of the answers.
#[test]
fn l1_influxd_was_asked_about_every_line() {
    let answered: BTreeSet<String> = INFLUXD
        .lines()
        .map(|verdict| serde_json::from_str::<Json>(verdict).unwrap())
        .map(|verdict| verdict["line"].as_str().unwrap().to_owned())
        .collect();
    let mut asked = BTreeSet::new();
    for (file, is_escaped) in ASKED {
        let lines = file.split('\n').skip(1).filter(|line| !line.is_empty());
        asked.extend(lines.map(|line| if is_escaped { unescaped(line) } else { line.to_owned() }));
    }
    assert_eq!(asked, answered);
}

#[test]
fn l1_a_real_influxd_sees_it_the_same_way() {
    let (mut same, mut taken, mut different) = (0, 0, 0);
    for verdict in INFLUXD.lines() {
        let verdict: Json = serde_json::from_str(verdict).unwrap();
        let line = verdict["line"].as_str().unwrap();
        let (readings, bad) = decode_all(line.as_bytes());
        let ours = (points(&readings), bad.is_empty());
        let theirs = (points_of(&verdict), verdict["status"] == 204);
        if DIFFERENT.contains(&line) {
            assert_ne!(ours, theirs, "{line:?} is no longer different");
            different += 1;
            continue;
        }
        assert_eq!(ours, theirs, "{line:?}: {verdict} {bad:?}");
        same += 1;
        taken += usize::from(!readings.is_empty());
    }
    assert!(same > 480 && taken > 200, "only {same} lines were compared, {taken} of them good");
    assert_eq!(different, DIFFERENT.len(), "a line that differs is missing in the fixture");
}

type Point = (String, BTreeMap<String, String>, BTreeMap<String, String>, Option<i64>);

fn points(readings: &[Reading]) -> Vec<Point> {
    let field = |(name, value): &(String, Value)| {
        let text = match value {
            Value::Float(value) => format!("float {:?}", value + 0.0),
            Value::Signed(value) => format!("integer {value}"),
            Value::Unsigned(value) => format!("unsigned {value}"),
            Value::Boolean(value) => format!("boolean {value}"),
            Value::Text(value) => format!("string {value:?}"),
        };
        (name.clone(), text)
    };
    let mut points: Vec<Point> = readings
        .iter()
        .map(|reading| {
            (
                reading.measurement.clone(),
                reading.tags.iter().cloned().collect(),
                reading.fields.iter().map(field).collect(),
                reading.time.timestamp().map(Timestamp::nanos),
            )
        })
        .collect();
    points.sort();
    points
}

fn points_of(verdict: &Json) -> Vec<Point> {
    let field = |(name, value): (&String, &Json)| {
        let text = match value[0].as_str().unwrap() {
            "float" => format!("float {:?}", value[1].as_f64().unwrap() + 0.0),
            "string" => format!("string {:?}", value[1].as_str().unwrap()),
            kind => format!("{kind} {}", value[1]),
        };
        (name.clone(), text)
    };
    let tag = |(key, value): (&String, &Json)| (key.clone(), value.as_str().unwrap().to_owned());
    let mut points: Vec<Point> = verdict["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| {
            (
                point["measurement"].as_str().unwrap().to_owned(),
                point["tags"].as_object().unwrap().iter().map(tag).collect(),
                point["fields"].as_object().unwrap().iter().map(field).collect(),
                point["time"].as_i64(),
            )
        })
        .collect();
    points.sort();
    points
}
