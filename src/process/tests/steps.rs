//! Each step by itself, and the steps one after another.

use super::*;

fn float(value: f64) -> Value {
    Value::Float(value)
}

#[test]
fn select_chooses_readings_and_fields() {
    let mut rig = Rig::new(Settings {
        select: Some(select::Settings {
            measurements: Globs::new(["m", "climate*"]),
            tags: vec![("device".to_owned(), glob::Glob::new("green*"))],
            fields: Globs::new(["t*", "!t_raw"]),
        }),
        ..Settings::default()
    });
    let both = [("t", float(1.0)), ("x", float(2.0)), ("t_raw", float(3.0))];
    let verdict = rig.apply(&reading("green-1", NOON, &both), NOON);
    assert_eq!(rig.left(verdict), ["t"]);
    assert_eq!(rig.apply(&number("green-1", NOON, 1.0), NOON), Verdict::Pass);
    assert_eq!(rig.apply(&number("red-1", NOON, 1.0), NOON), Verdict::Filtered);
    let other = Reading { measurement: "other".to_owned(), ..number("green-1", NOON, 1.0) };
    assert_eq!(rig.apply(&other, NOON), Verdict::Filtered);
    let bare = Reading { tags: Vec::new(), ..number("", NOON, 1.0) };
    assert_eq!(rig.apply(&bare, NOON), Verdict::Filtered);
    assert_eq!(rig.apply(&reading("green-1", NOON, &both[1..]), NOON), Verdict::Filtered);
    assert_eq!(rig.out.counts.not_selected, 4);
    assert!(rig.process.snapshot().is_empty(), "select has no state");
}

#[test]
fn dedup_knows_a_reading_again_until_it_is_too_long_ago() {
    let settings = dedup::Settings { readings_max: 3 };
    let mut rig = Rig::new(Settings { dedup: Some(settings), ..Settings::default() });
    let known = number("a", NOON, 1.0);
    assert_eq!(rig.apply(&known, NOON), Verdict::Pass);
    assert_eq!(rig.apply(&known, NOON), Verdict::Filtered);
    for other in [
        number("a", NOON + 1, 1.0),
        number("b", NOON, 1.0),
        number("a", NOON, 2.0),
        reading("a", NOON, &[("t", Value::Signed(1))]),
        reading("a", NOON, &[("u", float(1.0))]),
        reading("a", NOON, &[("t", Value::Text("1".to_owned()))]),
        reading("a", NOON, &[("t", Value::Boolean(true))]),
    ] {
        assert_eq!(rig.apply(&other, NOON), Verdict::Pass, "{other:?}");
        assert_eq!(rig.apply(&other, NOON), Verdict::Filtered, "{other:?}");
    }
    assert_eq!(rig.apply(&known, NOON), Verdict::Pass, "forgotten by now");
}

#[test]
fn a_deadband_lets_through_what_has_moved() {
    let band = |absolute, percent| deadband::Settings {
        absolute,
        percent,
        max_silence: Some(Duration::from_mins(10)),
        ..deadband::Settings::default()
    };
    let run = |settings: deadband::Settings, values: &[(i64, Value)]| -> Vec<bool> {
        let mut rig = Rig::new(Settings { deadbands: vec![settings], ..Settings::default() });
        let mut goes = |(at, value): &(i64, Value)| {
            let reading = reading("a", NOON + at * S, &[("t", value.clone())]);
            rig.apply(&reading, NOON) == Verdict::Pass
        };
        values.iter().map(&mut goes).collect()
    };
    let floats = |values: &[f64]| -> Vec<(i64, Value)> {
        (0..).zip(values).map(|(at, value)| (at, float(*value))).collect()
    };
    // A slow drift goes through in steps: it is measured from what went on last.
    let drift = floats(&[20.0, 20.25, 20.5, 20.75, 21.0, 20.5, 19.9]);
    assert_eq!(run(band(0.5, 0.0), &drift), [true, false, false, true, false, false, true]);
    let percents = floats(&[100.0, 109.0, 111.0, -111.0, -105.0, 0.0, 0.0]);
    assert_eq!(run(band(0.0, 10.0), &percents), [true, false, true, true, false, true, false]);
    // The wider of the two.
    assert_eq!(run(band(1.0, 10.0), &floats(&[1.0, 1.9, 2.1])), [true, false, true]);
    // Silence, and what comes late.
    let slow = [(0, float(1.0)), (599, float(1.0)), (600, float(1.0)), (300, float(1.0))];
    assert_eq!(run(band(0.5, 0.0), &slow), [true, false, true, true]);
    let large = i64::MAX - 1;
    let exact =
        [(0, Value::Signed(large)), (1, Value::Signed(large)), (2, Value::Signed(large + 1))];
    assert_eq!(run(band(0.0, 0.0), &exact), [true, false, true]);
    let texts = ["on", "on", "off"].map(|text| Value::Text(text.to_owned()));
    let texts: Vec<_> = (0..).zip(texts).collect();
    assert_eq!(run(band(5.0, 5.0), &texts), [true, false, true]);
    // Another type is another value.
    assert_eq!(run(band(5.0, 5.0), &[(0, float(1.0)), (1, Value::Signed(1))]), [true, true]);
}

#[test]
fn a_deadband_is_of_one_field() {
    let band = deadband::Settings {
        fields: Globs::new(["t"]),
        absolute: 1.0,
        ..deadband::Settings::default()
    };
    let mut rig = Rig::new(Settings { deadbands: vec![band], ..Settings::default() });
    let at = |seconds: i64, t: f64| {
        reading("a", NOON + seconds * S, &[("t", float(t)), ("x", float(1.0))])
    };
    assert_eq!(rig.apply(&at(0, 1.0), NOON), Verdict::Pass);
    let verdict = rig.apply(&at(1, 1.5), NOON);
    assert_eq!(rig.left(verdict), ["x"]);
    assert_eq!(rig.apply(&number("a", NOON + 2 * S, 1.5), NOON), Verdict::Filtered);
    assert_eq!(rig.apply(&number("b", NOON + 2 * S, 1.5), NOON), Verdict::Pass);
    assert_eq!(rig.out.counts.unchanged, 1);
}

#[test]
fn a_deadband_without_room_lets_everything_through() {
    let band = deadband::Settings { absolute: 1.0, ..deadband::Settings::default() };
    let settings = Settings { deadbands: vec![band], state_bytes_max: 8192, ..Settings::default() };
    let mut rig = Rig::new(settings);
    for round in 0..50 {
        for device in 0..100 {
            rig.apply(&number(&format!("d{device}"), NOON + round * S, 1.0), NOON);
            assert!(rig.process.size().0 <= 8192);
        }
    }
    assert!(rig.out.counts.no_room > 0);
    // Those that come alone from now on find room: the others are forgotten.
    let mut filtered = 0;
    for round in 50..200 {
        for device in 0..5 {
            let verdict = rig.apply(&number(&format!("e{device}"), NOON + round * S, 1.0), NOON);
            filtered += usize::from(verdict == Verdict::Filtered);
        }
    }
    assert!(filtered > 500, "{filtered}");
}

#[test]
fn the_steps_come_one_after_another() {
    let mut rig = Rig::new(Settings {
        select: Some(select::Settings { fields: Globs::new(["t"]), ..select::Settings::default() }),
        dedup: Some(dedup::Settings::default()),
        deadbands: vec![deadband::Settings { absolute: 0.5, ..deadband::Settings::default() }],
        windows: vec![windows(10, 5, &[Function::Count, Function::Mean])],
        ..Settings::default()
    });
    let at = |seconds: i64, t: f64| {
        reading("a", NOON + seconds * S, &[("t", float(t)), ("x", float(9.0))])
    };
    assert_eq!(rig.apply(&at(0, 1.0), NOON), Verdict::Absorbed);
    assert_eq!(rig.apply(&at(0, 1.0), NOON), Verdict::Filtered);
    assert_eq!(rig.apply(&at(1, 1.2), NOON), Verdict::Filtered);
    assert_eq!(rig.apply(&at(2, 2.0), NOON), Verdict::Absorbed);
    rig.apply(&at(40, 5.0), NOON + 40 * S);
    assert_eq!(rig.lines(), ["m,device=a t_count=2i,t_mean=1.5 1700006400000000000"]);
    let counts = rig.out.counts;
    assert_eq!((counts.duplicate, counts.unchanged, counts.windowed), (1, 1, 3));
}
