//! Does a comparison find what was done to a database?

use std::time::Duration;

use proto::Timestamp;

use super::*;
use crate::signals::{Clock, Kind, seed_of};

/// Four devices with 50 readings each: 0..50 sent, 0..45 acknowledged.
fn ledger() -> Ledger {
    let devices = Kind::ALL.map(|kind| Device {
        name: format!("d-{}", kind.measurement()),
        kind,
        seed: seed_of(3, kind.measurement()),
        start: Timestamp::from_nanos(1_790_000_000_000_000_000),
        period: Duration::from_millis(100),
        jitter: 0.4,
        clock: Clock::Nanoseconds,
    });
    let ledger = Ledger::create(devices.to_vec(), None).unwrap();
    for index in 0..4 {
        ledger.sent(index, &(0..50).collect::<Vec<_>>()).unwrap();
        ledger.acknowledged(index, &(0..45).collect::<Vec<_>>()).unwrap();
    }
    ledger
}

fn rows(ledger: &Ledger, seqs: std::ops::Range<u64>) -> Vec<Row> {
    let row = |device: &Device, seq| {
        let reading = device.reading(seq);
        Row {
            measurement: reading.measurement,
            device: device.name.clone(),
            time: device.time(seq).nanos(),
            fields: reading.fields,
        }
    };
    ledger.devices().flat_map(|d| seqs.clone().map(move |seq| row(d, seq))).collect()
}

fn verdict(change: impl FnOnce(&mut Vec<Row>)) -> Verdict {
    let ledger = ledger();
    let mut rows = rows(&ledger, 0..50);
    change(&mut rows);
    compare(&ledger, rows, &Allowed::default())
}

#[test]
fn an_honest_database_is_clean() {
    let verdict = verdict(|_| ());
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.sent, verdict.acknowledged, verdict.stored), (200, 180, 200));
}

#[test]
fn what_was_never_acknowledged_may_be_missing() {
    let verdict = verdict(|rows| rows.retain(|row| seq_of(row).unwrap() < 45));
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.missing, 0);
}

#[test]
fn finds_what_was_lost() {
    let verdict = verdict(|rows| drop(rows.remove(7)));
    assert_eq!((verdict.lost, verdict.missing), (1, 1), "{verdict}");
    assert_eq!(verdict.lost_examples[0].device, "d-greenhouse");
    assert_eq!(verdict.lost_examples[0].seq, Some(7));
    assert!(!verdict.is_clean());
}

#[test]
fn what_is_accounted_for_is_not_lost() {
    let ledger = ledger();
    let mut rows = rows(&ledger, 0..50);
    rows.drain(3..6); // 3, 4, 5 of the first device.
    let allow = |named: &[u64], count| Allowed {
        named: [("d-greenhouse".to_owned(), named.iter().copied().collect())].into(),
        count,
    };
    let lost = |allowed| compare(&ledger, rows.clone(), &allowed).lost;
    assert_eq!(lost(allow(&[], 0)), 3);
    assert_eq!(lost(allow(&[4], 0)), 2);
    assert_eq!(lost(allow(&[4], 1)), 1);
    assert_eq!(lost(allow(&[4], 2)), 0);
    assert_eq!(lost(allow(&[8], 2)), 1, "naming another one does not help");
}

#[test]
fn finds_what_nobody_sent() {
    let unknown = verdict(|rows| rows[3].device = "stranger".to_owned());
    assert_eq!((unknown.phantom, unknown.lost), (1, 1), "{unknown}");
    let beyond = verdict(|rows| rows[3].fields[0].1 = Value::Float(50.0));
    assert_eq!((beyond.phantom, beyond.lost), (1, 1), "{beyond}");
    assert_eq!(beyond.phantom_examples[0].seq, Some(50));
}

#[test]
fn finds_what_was_changed() {
    type Change = fn(&mut Row);
    let changes: [(&str, Change); 7] = [
        ("value", |row| row.fields[1].1 = Value::Float(-7.25)),
        ("type", |row| row.fields[1].1 = Value::Text("21".to_owned())),
        ("missing", |row| drop(row.fields.remove(1))),
        ("never sent", |row| row.fields.push(("more".to_owned(), Value::Boolean(true)))),
        ("time", |row| row.time += 1),
        ("measurement", |row| row.measurement = "readings".to_owned()),
        ("sequence number", |row| row.fields[0].1 = Value::Text("5".to_owned())),
    ];
    for (what, change) in changes {
        let verdict = verdict(|rows| change(&mut rows[60]));
        assert_eq!(verdict.wrong, 1, "{what}: {verdict}");
        assert_eq!(verdict.phantom, 0, "{what}: {verdict}");
        assert!(!verdict.is_clean(), "{what}");
        assert_eq!(verdict.wrong_examples.len(), 1, "{what}");
    }
}

#[test]
fn finds_what_is_there_twice() {
    let verdict = verdict(|rows| rows.push(rows[11].clone()));
    assert_eq!((verdict.duplicates, verdict.wrong, verdict.lost), (1, 0, 0), "{verdict}");
    assert!(!verdict.is_clean() && verdict.is_clean_but_for_duplicates());
}

#[test]
fn counts_all_and_shows_a_few() {
    let verdict = verdict(Vec::clear);
    assert_eq!(verdict.lost, 180);
    assert_eq!(verdict.lost_examples.len(), EXAMPLES_MAX);
    let text = verdict.to_string();
    assert!(text.contains("LOST       180") && text.contains("d-greenhouse seq 0 at "), "{text}");
}
