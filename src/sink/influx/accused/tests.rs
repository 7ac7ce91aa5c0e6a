//! Lines as we write them, and what the two databases said about them.
#![expect(clippy::single_range_in_vec_init, reason = "lines are given as ranges")]

use super::*;
use crate::sink::influx::answer::{Verdict, judge};

const LINES: [&str; 7] = [
    "m,t=a g=1 1700000000000000000",
    "m,t=a f=1i 1700000000000000001",
    "m,t=b f=\"x\" 1700000000000000002",
    "m2,t=a f=1i 1700000000000000003",
    "my\\ m\\,x,t=a f\\ x\\=y=1i,s=\"a,b =c\\\" \n\" 1600000000000000000",
    "m,t=c g=2,f=7i 1600000000000000001",
    "q\"m,t=a f\"x=1i,b=true,u=1u 1700000000000000004",
];

fn body() -> Body {
    let mut body = Body::default();
    for line in LINES {
        body.bytes.extend_from_slice(line.as_bytes());
        body.bytes.push(b'\n');
        let (_, time) = line.rsplit_once(' ').unwrap();
        body.end_line(time.parse().unwrap());
    }
    body
}

fn answer(status: u16, answer: &serde_json::Value, lines: &[Range<u32>]) -> Answer {
    let verdict = judge(status, None, answer.to_string().as_bytes(), std::time::UNIX_EPOCH);
    let Verdict::Complaint(complaint) = verdict else { panic!("{verdict:?}") };
    find(complaint, &body(), lines)
}

fn named(answer: Answer) -> Vec<(u32, Fault)> {
    match answer {
        Answer::Bad(bad) => bad.into_iter().map(|(line, r)| (line, r.fault)).collect(),
        Answer::Amend { changes, bad } => {
            let changed = changes.into_iter().map(|(line, change)| (line, change.refusal.fault));
            changed.chain(bad.into_iter().map(|(line, r)| (line, r.fault))).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn conflict(field: &str, measurement: &str, dropped: u32) -> serde_json::Value {
    let text = format!(
        "partial write: field type conflict: input field \"{field}\" on measurement \
         \"{measurement}\" is type integer, already exists as type float dropped={dropped}"
    );
    serde_json::json!({ "error": text })
}

#[test]
fn a_conflict_is_found_by_measurement_field_and_type() {
    let found = answer(400, &conflict("f", "m", 2), &[0..7]);
    assert_eq!(named(found), [(1, Fault::TypeConflict), (5, Fault::TypeConflict)]);
    let found = answer(400, &conflict("f x=y", "my m,x", 1), &[0..7]);
    assert_eq!(named(found), [(4, Fault::TypeConflict)]);
    // 1.x tells names as they are, 2.x as Go quotes them.
    for (field, measurement) in [("f\"x", "q\"m"), ("f\\\"x", "q\\\"m")] {
        let found = answer(400, &conflict(field, measurement, 1), &[0..7]);
        assert_eq!(named(found), [(6, Fault::TypeConflict)]);
    }
}

#[test]
fn only_lines_that_were_sent_are_accused() {
    let found = answer(400, &conflict("f", "m", 1), &[0..1, 5..7]);
    assert_eq!(named(found), [(5, Fault::TypeConflict)]);
}

#[test]
fn a_count_that_does_not_fit_is_a_suspicion() {
    let found = answer(400, &conflict("f", "m", 3), &[0..7]);
    let Answer::Suspect { among, .. } = found else { panic!("{found:?}") };
    assert_eq!(among, [1, 5]);
    let found = answer(400, &conflict("nobody's", "m", 3), &[0..7]);
    let Answer::Suspect { among, .. } = found else { panic!("{found:?}") };
    assert_eq!(among, [0; 0]);
}

#[test]
fn if_all_were_dropped_all_are_named() {
    let text = "partial write: max-series-per-database limit exceeded: (1) dropped=3";
    let found = answer(400, &serde_json::json!({ "error": text }), &[0..3]);
    assert_eq!(named(found).len(), 3);
    let found = answer(400, &serde_json::json!({ "error": text }), &[0..4]);
    assert!(matches!(found, Answer::Suspect { .. }), "{found:?}");
}

#[test]
fn quoted_lines_are_found_whole() {
    let text = format!(
        "partial write: unable to parse '{}': missing field value\nunable to parse '{}': invalid \
         number\nunable to parse 'nobody sent this': bad dropped=0",
        LINES[1], LINES[4]
    );
    let found = answer(400, &serde_json::json!({ "error": text }), &[0..7]);
    let Answer::Bad(bad) = found else { panic!("{found:?}") };
    assert_eq!(bad.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 4]);
    let told = "unable to parse 'm,t=a f=1i 1700000000000000001': missing field value";
    assert_eq!(&*bad[0].1.text, told);
    assert!(bad[1].1.text.ends_with("': invalid number"));
}

/// A device must not get another one's line accused by quoting it.
#[test]
fn a_quote_inside_a_quoted_line_accuses_nobody() {
    let mut body = Body::default();
    let victim = "m,t=v g=1 1";
    let bad = format!("m,t=a s=\"\nunable to parse '{victim}': x\" 99999999999999999999");
    for line in [victim, &bad] {
        body.bytes.extend_from_slice(line.as_bytes());
        body.bytes.push(b'\n');
        body.end_line(1);
    }
    let text = format!("unable to parse '{bad}': value out of range");
    let found = find(Complaint::Unparsable { text }, &body, &[0..2]);
    assert_eq!(named(found), [(1, Fault::Malformed)]);
}

#[test]
fn the_oldest_are_beyond_retention() {
    let text = "partial write: points beyond retention policy dropped=2";
    let found = answer(400, &serde_json::json!({ "error": text }), &[0..7]);
    assert_eq!(named(found), [(4, Fault::BeyondRetention), (5, Fault::BeyondRetention)]);
}

#[test]
fn where_nobody_counts_the_older_half_is_looked_at_first() {
    let told = serde_json::json!({ "message": "outside of the bucket's retention period" });
    let Answer::Suspect { refusal, among } = answer(403, &told, &[0..7]) else { panic!() };
    assert_eq!((refusal.fault, among), (Fault::BeyondRetention, vec![0, 4, 5]));
}

fn told_by_3(number: u32, begins: &str, text: &str) -> serde_json::Value {
    let told = [("original_line", begins), ("error_message", text)];
    let mut line: serde_json::Map<_, _> =
        told.into_iter().map(|(key, text)| (key.to_owned(), text.into())).collect();
    line.insert("line_number".to_owned(), number.into());
    serde_json::json!({ "error": "partial write of line protocol occurred", "data": [line] })
}

#[test]
fn a_line_told_by_its_number_is_counted_among_those_sent() {
    let conflict = "invalid column type for column 'f', expected iox::column_type::field::float, \
                    got iox::column_type::field::integer";
    let found = answer(400, &told_by_3(2, "m,t=c g=2,f=7i 1600", conflict), &[0..1, 5..7]);
    let Answer::Amend { changes, bad } = found else { panic!("{found:?}") };
    assert_eq!(changes[0].0, 5);
    assert_eq!(changes[0].1.line, b"m,t=c g=2,f=7 1600000000000000001\n");
    assert_eq!((changes.len(), bad.len()), (1, 0));
    let found = answer(400, &told_by_3(1, "m,t=a g=1", "No fields were provided"), &[0..7]);
    assert_eq!(named(found), [(0, Fault::Malformed)]);
    // A tag cannot be left out: it is part of what the series is called.
    let tag = "invalid column type for column 't', expected iox::column_type::field::float, got \
               iox::column_type::tag";
    assert_eq!(named(answer(400, &told_by_3(1, "m", tag), &[0..7])), [(0, Fault::TypeConflict)]);
    for (number, begins) in [(0, "m"), (8, "m"), (1, "other,t=a")] {
        let found = answer(400, &told_by_3(number, begins, "bad"), &[0..7]);
        assert!(matches!(found, Answer::Suspect { .. }), "{found:?}");
    }
}

#[test]
fn a_number_in_a_text_is_a_hint() {
    let told = serde_json::json!({ "message": "errors on line(s): line 2: bad, line 99: bad" });
    let Answer::Suspect { among, .. } = answer(400, &told, &[3..7]) else { panic!() };
    assert_eq!(among, [4]);
}

#[test]
fn a_line_is_taken_apart_as_it_was_put_together() {
    let parts = scan::line(LINES[4].as_bytes()).unwrap();
    assert_eq!(parts.measurement, b"my\\ m\\,x");
    let fields: Vec<_> = parts.fields().map(|field| (field.name, field.kind)).collect();
    assert_eq!(fields, [(&b"f\\ x\\=y"[..], "integer"), (&b"s"[..], "string")]);
    let parts = scan::line(LINES[6].as_bytes()).unwrap();
    let kinds: Vec<_> = parts.fields().map(|field| field.kind).collect();
    assert_eq!(kinds, ["integer", "boolean", "unsigned"]);
    for odd in ["", " ", "m", "m f", "m f=", "m f=\"", "m,", "m f=1", "\\"] {
        let _ = scan::line(odd.as_bytes()).map(|parts| parts.fields().count());
    }
}
