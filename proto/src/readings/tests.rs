//! The one encoder: what it keeps, refuses, sorts and stamps.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    Reading, Value,
    testing::{ARRIVAL, any_reading, read_back, reading},
};

fn push(readings: &mut Readings, reading: &Reading) -> Result<(), Reason> {
    reading.with_ref(|reading| readings.push(&reading, ARRIVAL))
}

fn refusal(reading: &Reading) -> Option<Kind> {
    let mut readings = Readings::new(Limits::default());
    readings.begin();
    let refused = push(&mut readings, reading).err().map(|reason| reason.kind);
    if refused.is_some() {
        assert_eq!((readings.bytes().len(), readings.count()), (0, 0), "something was left behind");
        assert_eq!(readings.stamps_wanted(), 0);
    }
    refused
}

fn plain() -> Reading {
    reading("climate", &[("room", "a")], ("t", Value::Float(21.5)))
}

#[test]
fn tags_are_sorted_the_first_of_two_wins_and_empty_ones_are_left_out() {
    let mut given = plain();
    given.tags = [("z", "1"), ("b", ""), ("a", "first"), ("m", "x"), ("a", "second"), ("b", "2")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    let mut readings = Readings::new(Limits::default());
    readings.begin();
    push(&mut readings, &given).unwrap();
    readings.stamp(ARRIVAL);
    let tags = read_back(readings.bytes()).remove(0).tags;
    let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(tags, [("a", "first"), ("b", "2"), ("m", "x"), ("z", "1")]);
}

#[test]
fn of_a_field_given_twice_the_last_counts() {
    let mut given = plain();
    given.fields = vec![
        ("t".to_owned(), Value::Float(1.0)),
        ("u".to_owned(), Value::Float(2.0)),
        ("t".to_owned(), Value::Boolean(true)),
    ];
    let mut readings = Readings::new(Limits::default());
    readings.begin();
    push(&mut readings, &given).unwrap();
    readings.stamp(ARRIVAL);
    let fields = read_back(readings.bytes()).remove(0).fields;
    assert_eq!(
        fields,
        [("t".to_owned(), Value::Boolean(true)), ("u".to_owned(), Value::Float(2.0))]
    );
}

#[test]
fn what_a_limit_forbids_leaves_nothing_behind() {
    assert_eq!(refusal(&plain()), None);
    let with = |change: fn(&mut Reading)| {
        let mut reading = plain();
        change(&mut reading);
        refusal(&reading)
    };
    let many = |n: usize| (0..n).map(|i| format!("n{i:04}")).collect::<Vec<_>>();
    assert_eq!(with(|r| r.measurement.clear()), Some(Kind::Name));
    assert_eq!(with(|r| r.measurement = "x".repeat(257)), Some(Kind::Limit));
    assert_eq!(with(|r| r.fields.clear()), Some(Kind::NoFields));
    assert_eq!(with(|r| r.fields[0].1 = Value::Float(f64::NAN)), Some(Kind::Value));
    assert_eq!(with(|r| r.fields[0].0 = "time".to_owned()), Some(Kind::Name));
    assert_eq!(with(|r| r.fields[0].1 = Value::Text("x".repeat(65_536))), Some(Kind::Limit));
    assert_eq!(with(|r| r.fields[0].1 = Value::Text("x".repeat(65_500))), None);
    assert_eq!(with(|r| r.time = Time::At(Timestamp::MIN)), Some(Kind::Timestamp));
    assert_eq!(with(|r| r.time = Time::Age(Duration::MAX)), Some(Kind::Timestamp));

    let mut reading = plain();
    reading.tags = many(64).into_iter().map(|name| (name, "x".to_owned())).collect();
    reading.fields = many(256).into_iter().map(|name| (name, Value::Boolean(true))).collect();
    assert_eq!(refusal(&reading), None);
    reading.tags.push(("one more".to_owned(), "x".to_owned()));
    assert_eq!(refusal(&reading), Some(Kind::Limit));
    reading.tags.clear();
    reading.fields.push(("one more".to_owned(), Value::Boolean(true)));
    assert_eq!(refusal(&reading), Some(Kind::Limit));
}

#[test]
fn offered_a_bad_field_costs_itself() {
    let mut given = plain();
    given.fields.push(("bad".to_owned(), Value::Float(f64::INFINITY)));
    given.fields.push((String::new(), Value::Float(1.0)));
    let mut readings = Readings::new(Limits::default());
    let mut bad = Rejects::default();
    readings.begin();
    let place = Place { index: 7, span: 3..9 };
    let taken = given.with_ref(|r| readings.offer(&r, ARRIVAL, place.clone(), &mut bad));
    assert!(taken);
    assert_eq!((bad.readings(), bad.fields()), (0, 2));
    assert_eq!(bad.listed()[0].field.as_deref(), Some("bad"));
    assert_eq!(bad.listed()[0].index, 7);

    given.fields.remove(0);
    let taken = given.with_ref(|r| readings.offer(&r, ARRIVAL, place, &mut bad));
    assert!(!taken, "no field was left");
    assert_eq!((bad.readings(), bad.fields()), (1, 2), "fields count only of readings taken");
    assert_eq!(bad.listed()[2].span, 3..9);
    assert_eq!(bad.listed()[2].reason.kind, Kind::Value, "the reason says why none was left");
}

#[test]
fn a_repeated_series_gets_one_nanosecond_more() {
    let mut readings = Readings::new(Limits::default());
    let mut timed = plain();
    timed.time = Time::At(Timestamp::from_nanos(5));
    let other = reading("climate", &[("room", "b")], ("t", Value::Float(1.0)));

    readings.begin();
    push(&mut readings, &timed).unwrap();
    assert_eq!(readings.stamps_wanted(), 0);
    for reading in [&plain(), &other, &plain(), &timed, &plain(), &other] {
        push(&mut readings, reading).unwrap();
    }
    assert_eq!(readings.stamps_wanted(), 3);
    assert_eq!(readings.count_since_begin(), 7);
    readings.stamp(Timestamp::from_nanos(100));

    readings.begin();
    push(&mut readings, &plain()).unwrap();
    assert_eq!(readings.stamps_wanted(), 1);
    readings.stamp(Timestamp::from_nanos(200));

    let at = |nanos| Time::At(Timestamp::from_nanos(nanos));
    let stamped = |nanos| Time::Stamped(Timestamp::from_nanos(nanos));
    let (bytes, count) = readings.take();
    assert_eq!(count, 8);
    assert_eq!(
        read_back(&bytes).iter().map(|reading| reading.time).collect::<Vec<_>>(),
        [
            at(5),
            stamped(100),
            stamped(100),
            stamped(101),
            at(5),
            stamped(102),
            stamped(101),
            stamped(200)
        ]
    );
}

#[test]
fn an_age_counts_back_from_the_arrival() {
    let mut readings = Readings::new(Limits::default());
    let mut aged = plain();
    aged.time = Time::Age(Duration::from_millis(1500));
    readings.begin();
    push(&mut readings, &aged).unwrap();
    assert_eq!(readings.stamps_wanted(), 0);
    let then = Timestamp::from_nanos(ARRIVAL.nanos() - 1_500_000_000);
    assert_eq!(read_back(readings.bytes())[0].time, Time::Stamped(then));
}

#[test]
fn rolling_back_forgets_only_the_last_payload() {
    let mut readings = Readings::new(Limits::default());
    readings.begin();
    push(&mut readings, &plain()).unwrap();
    readings.stamp(ARRIVAL);
    let before = readings.bytes().to_vec();
    readings.begin();
    push(&mut readings, &plain()).unwrap();
    push(&mut readings, &plain()).unwrap();
    assert!(!readings.bytes_since_begin().is_empty());
    readings.roll_back();
    assert_eq!((readings.count(), readings.stamps_wanted()), (1, 0));
    assert_eq!(readings.bytes(), before);
    assert_eq!(readings.take(), (before, 1));
    assert!(readings.is_empty());
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_in_canonical_order(given in prop::collection::vec(any_reading(), 0..6)) {
        let mut readings = Readings::new(Limits::default());
        readings.begin();
        for reading in &given {
            let mut reversed = reading.clone();
            reversed.tags.reverse();
            prop_assert_eq!(push(&mut readings, &reversed), Ok(()));
        }
        readings.stamp(ARRIVAL);
        let back = read_back(readings.bytes());
        prop_assert_eq!(back.len(), given.len());
        for (back, given) in back.iter().zip(&given) {
            prop_assert_eq!(&back.measurement, &given.measurement);
            prop_assert_eq!(&back.tags, &given.tags);
            prop_assert_eq!(&back.fields, &given.fields);
            match given.time {
                Time::Unknown => prop_assert!(matches!(back.time, Time::Stamped(_))),
                Time::Age(age) => prop_assert_eq!(back.time, Time::Stamped(ARRIVAL.checked_sub(age).unwrap())),
                said => prop_assert_eq!(back.time, said),
            }
        }
    }

    /// Equal bytes, same series: whatever order the tags came in, and nothing else.
    #[test]
    fn the_series_is_the_key(a in any_reading(), b in any_reading()) {
        let series = |reading: &Reading| {
            let mut readings = Readings::new(Limits::default());
            readings.begin();
            push(&mut readings, reading).unwrap();
            readings.stamp(ARRIVAL);
            let mut cursor = crate::frame::Cursor::new(readings.bytes());
            cursor.next().unwrap().unwrap().series.to_vec()
        };
        let mut shuffled = a.clone();
        shuffled.tags.reverse();
        shuffled.fields = b.fields.clone();
        prop_assert_eq!(series(&a), series(&shuffled));
        let same = (&a.measurement, &a.tags) == (&b.measurement, &b.tags);
        prop_assert_eq!(series(&a) == series(&b), same);
    }
}
