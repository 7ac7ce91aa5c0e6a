//! Line protocol in: the verdicts of a real influxd, round trips, broken lines among good ones.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::{
    Kind, Precision, Reading, Time, Timestamp, Value,
    line::{Dialect, write_as},
    testing::{any_reading, context, decoded, reading},
    timestamp::text::out_of_range,
};

const INFLUXD: &str = include_str!("../../../tests/fixtures/line-protocol/influxd-1.6.7.jsonl");

fn decode_all(body: &[u8]) -> (Vec<Reading>, Rejects) {
    decoded(|out, bad| decode(body, &context(), out, bad))
}

/// One reading comes of it, whole.
fn one(body: &str) -> Reading {
    let (mut readings, bad) = decode_all(body.as_bytes());
    assert!(bad.is_empty(), "{body:?}: {bad:?}");
    assert_eq!(readings.len(), 1, "{body:?}");
    readings.remove(0)
}

/// Nothing comes of it, for this reason.
fn refusal(body: &str) -> String {
    let (readings, bad) = decode_all(body.as_bytes());
    assert!(readings.is_empty(), "{body:?}: {readings:?}");
    assert_eq!(bad.readings(), 1, "{body:?}: {bad:?}");
    bad.listed()[0].reason.to_string()
}

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

#[test]
fn a_real_influxd_sees_it_the_same_way() {
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

#[test]
fn all_types_and_escapes_are_read() {
    let line = "a\\ b\\,c,k\\ 1\\,\\==v\\ 1\\\\ f=1.5,i=-1i,u=18446744073709551615u,t=True,\
                s=\"a \\\"b\\\\ \\n,=\n#c\" 1700000000000000000\r\n";
    let mut expected = reading("a b,c", &[("k 1,=", "v 1\\\\")], ("f", Value::Float(1.5)));
    expected.tags[0].1 = "v 1\\ f=1.5".to_owned();
    let got = decode_all(line.as_bytes());
    assert!(got.0.is_empty(), "the blank after a backslash belongs to the tag value");

    let line = line.replace("v\\ 1\\\\ ", "v\\ 1 ");
    expected.tags[0].1 = "v 1".to_owned();
    expected.time = Time::At(Timestamp::from_nanos(1_700_000_000_000_000_000));
    for (name, value) in [
        ("i", Value::Signed(-1)),
        ("u", Value::Unsigned(u64::MAX)),
        ("t", Value::Boolean(true)),
        ("s", Value::Text("a \"b\\ \\n,=\n#c".to_owned())),
    ] {
        expected.fields.push((name.to_owned(), value));
    }
    assert_eq!(one(&line), expected);
}

#[test]
fn every_precision_is_scaled() {
    for (precision, text) in [
        (None, "1700000000123456789"),
        (Some(Precision::Nanoseconds), "1700000000123456789"),
        (Some(Precision::Microseconds), "1700000000123456"),
        (Some(Precision::Milliseconds), "1700000000123"),
        (Some(Precision::Seconds), "1700000000"),
    ] {
        let context = Context { precision, ..context() };
        let body = format!("m f=1 {text}");
        let (readings, _) = decoded(|out, bad| decode(body.as_bytes(), &context, out, bad));
        let unit = precision.unwrap_or_default().nanos();
        let at = 1_700_000_000_123_456_789 / unit * unit;
        assert_eq!(readings[0].time, Time::At(Timestamp::from_nanos(at)), "{text}");
    }
    let context = Context { precision: Some(Precision::Seconds), ..context() };
    let body = b"m f=1 1700000000000000000\nm f=1";
    let (readings, bad) = decoded(|out, bad| decode(body, &context, out, bad));
    assert_eq!((readings.len(), bad.readings()), (1, 1));
    assert_eq!(bad.listed()[0].reason.kind, Kind::Timestamp);
    assert_eq!(readings[0].time, Time::Unknown);
}

#[test]
fn a_broken_line_costs_itself_and_says_where_it_lies() {
    let body = "a f=1 1\n\n# b\nb f=\r\nc f=\"x\ny\" 2\nd f=1,g\n  e f=1i 3 x\nf f=\"\n\n\",g=2 5";
    let (readings, bad) = decode_all(body.as_bytes());
    let names: Vec<_> = readings.iter().map(|reading| reading.measurement.as_str()).collect();
    assert_eq!(names, ["a", "c", "f"]);
    let refused: Vec<_> = bad
        .listed()
        .iter()
        .map(|reject| {
            (reject.index, body.get(reject.span.clone()).unwrap(), reject.reason.to_string())
        })
        .collect();
    assert_eq!(
        refused,
        [
            (3, "b f=", "column 5: missing field value".to_owned()),
            (6, "d f=1,g", "column 8: invalid field format: no = after the field key".to_owned()),
            (7, "e f=1i 3 x", "column 10: something follows the timestamp".to_owned()),
        ]
    );
}

#[test]
fn an_open_quote_costs_the_line_on_which_it_opens() {
    let (readings, bad) = decode_all(b"a f=\"open 1\nb f=2 2\nc f=3 3");
    assert_eq!((readings.len(), bad.readings()), (2, 1));
    assert_eq!(
        bad.listed()[0].reason.to_string(),
        "column 5: unbalanced quotes, or something behind the closing one"
    );

    let (readings, bad) = decode_all(b"a f=\"open 1\nb f=\"shut\" 2\nc f=3 3");
    assert_eq!((readings.len(), bad.readings()), (2, 1), "{bad:?}");
}

#[test]
fn a_text_that_holds_lines_never_becomes_lines() {
    let body = b"a f=\"x\nphantom f=1 1\n\",g=broken 1\nb f=1 2";
    let (readings, bad) = decode_all(body);
    assert_eq!((readings.len(), bad.readings()), (1, 1));
    assert_eq!(readings[0].measurement, "b");
    assert_eq!(bad.listed()[0].span, 0..33);
}

#[test]
fn a_value_that_cannot_be_kept_costs_its_field() {
    let body = b"a f=1,x=NaN,y=1e999,z=9223372036854775808i,u=-1u,v=-inf 1\nb f=nan 2";
    let (readings, bad) = decode_all(body);
    assert_eq!(readings.len(), 1);
    assert_eq!(readings[0].fields, [("f".to_owned(), Value::Float(1.0))]);
    assert_eq!((bad.fields(), bad.readings()), (5, 1));
    assert!(bad.listed().iter().all(|reject| reject.reason.kind == Kind::Value), "{bad:?}");
    assert_eq!((bad.listed()[5].index, bad.listed()[5].span.clone()), (1, 58..67));
}

#[test]
fn what_no_database_would_keep_is_refused_by_name() {
    assert_eq!(refusal("m,time=a f=1"), "tag name `time` is a name that InfluxDB keeps for itself");
    assert_eq!(refusal("m,a=b,a=c f=1"), "tag `a` is given twice");
    assert_eq!(refusal("m f=1 9223372036854775807"), format!("column 7: {}", out_of_range().text));
    let crowded: Vec<_> = (0..300).map(|i| format!("f{i}=1")).collect();
    assert_eq!(refusal(&format!("m {}", crowded.join(","))), "column 1992: more than 256 fields");
    let crowded: Vec<_> = (0..70).map(|i| format!("t{i}=1")).collect();
    assert_eq!(
        refusal(&format!("m,{} f=1", crowded.join(","))),
        "more than 64 tags, the most allowed"
    );
}

#[test]
fn bytes_that_are_not_utf8_cost_their_line() {
    let (readings, bad) = decode_all(b"a f=1 1\nb,k=\xff f=1 2\nc f=\"\xc3\n\xa4\" 3\nd f=1 4");
    let names: Vec<_> = readings.iter().map(|reading| reading.measurement.as_str()).collect();
    assert_eq!((names, bad.readings()), (vec!["a", "d"], 2));
    assert_eq!(bad.listed()[0].reason.to_string(), "column 5: a text that is not UTF-8");
}

#[test]
fn the_context_tags_win() {
    let context = Context { tags: &[("site", "home"), ("host", "ours")], ..context() };
    let (readings, bad) = decoded(|out, bad| decode(b"m,host=theirs,a=b f=1", &context, out, bad));
    assert!(bad.is_empty());
    let tags: Vec<_> = readings[0].tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(tags, [("a", "b"), ("host", "ours"), ("site", "home")]);
}

#[test]
fn line_protocol_is_told_from_text() {
    for line in ["m f=1", "# first a comment\n\n m,a=b f=1 1700000000\nrubbish", "m f=1\r\n"] {
        assert!(looks_like(line.as_bytes()), "{line:?}");
    }
    for text in
        ["", "#", "21.5", "ON", "temperature=21.5", "hello world", "a b c=1", "m f=high", "m f="]
    {
        assert!(!looks_like(text.as_bytes()), "{text:?}");
    }
}

#[test]
fn many_carriage_returns_and_quotes_take_no_longer_than_others() {
    let returns = [b"m,a=b".to_vec(), vec![b'\r'; 1 << 20]].concat();
    let (readings, bad) = decode_all(&returns);
    assert_eq!((readings.len(), bad.readings()), (0, 1));
    let quotes = "m f=\"\n".repeat(100_000);
    let (readings, bad) = decode_all(quotes.as_bytes());
    assert!(readings.len() as u64 + bad.readings() >= 50_000);
}

proptest! {
    #[test]
    fn what_we_write_is_read_back(mut given in prop::collection::vec(any_reading(), 1..5)) {
        let mut body = Vec::new();
        for reading in &mut given {
            if matches!(reading.time, Time::Age(_)) {
                reading.time = Time::Unknown;
            }
            let written = reading.with_ref(|reading| {
                write_as(&reading, Dialect::V2, &mut body, |name, reason| panic!("{name}: {reason}"))
            });
            prop_assert_eq!(written, Ok(()));
        }
        let (readings, bad) = decode_all(&body);
        prop_assert!(bad.is_empty(), "{:?}", bad);
        prop_assert_eq!(readings, given);
    }

    /// A cut costs at most the reading that it cuts (what is left of it may still be a line).
    #[test]
    fn every_cut_costs_only_what_it_cuts(
        given in prop::collection::vec(any_reading(), 1..4),
        at: prop::sample::Index,
    ) {
        let mut body = Vec::new();
        let mut ends = Vec::new();
        for reading in &given {
            let timeless = Reading { time: Time::Unknown, ..reading.clone() };
            timeless.with_ref(|reading| write_as(&reading, Dialect::V2, &mut body, |_, _| {})).unwrap();
            ends.push(body.len());
        }
        let at = at.index(body.len());
        let (readings, bad) = decode_all(&body[..at]);
        let whole = ends.iter().filter(|end| **end <= at).count();
        prop_assert!(readings.len() >= whole);
        prop_assert!(readings.len() as u64 + bad.readings() >= whole as u64);
        for (back, given) in readings.iter().zip(&given).take(whole) {
            prop_assert_eq!(&back.fields, &given.fields);
        }
    }

    #[test]
    fn flipped_bits_and_arbitrary_bytes_never_panic(
        given in any_reading(),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        noise: Vec<u8>,
        like in "([a-c,= \\\\\"\n\r0-9.eiut#-]{0,40}\n){0,4}",
    ) {
        let mut body = Vec::new();
        let timeless = Reading { time: Time::Unknown, ..given };
        timeless.with_ref(|reading| write_as(&reading, Dialect::V2, &mut body, |_, _| {})).unwrap();
        for flip in flips {
            let bit = flip.index(body.len() * 8);
            body[bit / 8] ^= 1 << (bit % 8);
        }
        for body in [&body[..], &noise, like.as_bytes()] {
            let (_, bad) = decode_all(body);
            for reject in bad.listed() {
                prop_assert!(body.get(reject.span.clone()).is_some(), "{:?}", reject);
            }
        }
    }
}

/// Bytes of lines, whole and broken, in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let scraps = [
        "m f=1 7",
        "m,t=a f=1",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "\r",
        " ",
        ",",
        "=",
        "\"",
        "\"",
        "\\",
        "f=\"",
        "\"a\"",
        "#",
        "# \"x\"",
        "1x",
        "x=1i",
        "\u{e4}",
        "m t=\"a\nb\",u=1",
        "m f=2 8\n",
    ];
    prop::collection::vec(prop::sample::select(scraps.to_vec()), 0..30)
        .prop_map(|scraps| scraps.concat().into_bytes())
}

proptest! {
    /// Wherever a body happens to be interrupted, its whole lines and the rest make the same
    /// readings and the same refusals as the body in one piece.
    #[test]
    fn a_body_can_be_cut_behind_its_whole_lines(body in soup(), at: prop::sample::Index) {
        let at = at.index(body.len() + 1);
        let whole = whole(&body[..at]);
        prop_assert!(whole <= at);
        let (head, rest) = body.split_at(whole);
        let ((all, bad), (first, bad_first), (then, bad_then)) =
            (decode_all(&body), decode_all(head), decode_all(rest));
        prop_assert_eq!([first, then].concat(), all);
        let lines = head.iter().fold(0, |lines, byte| lines + u32::from(*byte == b'\n'));
        let listed = |bad: &Rejects, lines| -> Vec<(u32, Reason)> {
            bad.listed().iter().map(|one| (one.index + lines, one.reason.clone())).collect()
        };
        prop_assert_eq!([listed(&bad_first, 0), listed(&bad_then, lines)].concat(), listed(&bad, 0));
    }
}

#[test]
fn only_what_nothing_after_it_can_change_is_whole() {
    for (body, expected) in [
        ("", 0),
        ("m f=1", 0),
        ("m f=1\n", 6),
        ("m f=1\nm f=2", 6),
        ("m f=1\n# half a com", 6),
        ("m f=1\r", 0),
        ("m f=1\r\n", 7),
        ("m f=\"a\nb\nm f=1\n", 0),
        ("m f=\"a\nb\"\nm f=1", 10),
        ("broken\nm f=1\n", 13),
    ] {
        assert_eq!(whole(body.as_bytes()), expected, "{body:?}");
    }
}
