//! Line protocol in: types, times, escapes, and broken lines among good ones.

mod any;
mod influxd;

use super::*;
use crate::{
    Kind, Precision, Reading, Time, Timestamp, Value,
    line::{Dialect, write_as},
    testing::{any_reading, context, decoded, reading},
    timestamp::text::out_of_range,
};

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
