//! Windows in time: silence, late and early readings, clocks that jump, what stays raw.

use super::*;

const COUNT: &[Function] = &[Function::Count];

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

#[test]
fn a_silent_device_s_last_window_comes_in_time() {
    let mut rig = Rig::new(only_windows(windows(10, 30, COUNT)));
    rig.tick(NOON);
    rig.apply(&number("a", NOON + S, 1.0), NOON + S);
    let closes_at = NOON + 40 * S;
    let mut now = NOON + S;
    while rig.points.is_empty() {
        let due = rig.process.due_in().unwrap();
        assert!(due <= Duration::from_secs(1));
        now += i64::try_from(due.as_nanos()).unwrap().max(1);
        rig.tick(now);
        assert!(now < NOON + 60 * S);
    }
    assert!((closes_at..closes_at + S / 2).contains(&now), "{}", (now - closes_at) / 1_000_000);
    assert_eq!(rig.process.due_in(), None);
}

#[test]
fn a_device_whose_clock_is_behind_has_windows_too() {
    let mut rig = Rig::new(only_windows(windows(10, 2, COUNT)));
    let hour = 3600 * S;
    let mut now = NOON;
    for n in 0..30 {
        now = rig.wait(now, S);
        assert_eq!(rig.apply(&number("a", NOON + n * S - hour, 1.0), now), Verdict::Absorbed);
    }
    rig.wait(now, 15 * S);
    assert_eq!(rig.table("t_count").values().collect::<Vec<_>>(), [&Value::Signed(10); 3]);
}

#[test]
fn a_reading_from_2070_does_no_harm() {
    let mut rig = Rig::new(only_windows(windows(10, 2, COUNT)));
    rig.apply(&number("a", NOON, 1.0), NOON);
    assert_eq!(rig.apply(&number("a", 3_155_760_000 * S, 1.0), NOON + S), Verdict::Pass);
    assert_eq!(rig.apply(&number("a", NOON + 2 * S, 1.0), NOON + 2 * S), Verdict::Absorbed);
    assert_eq!((rig.out.counts.early, rig.process.size().1), (1, 1));
}

#[test]
fn a_clock_that_was_in_2070_for_a_moment_does_no_lasting_harm() {
    let mut rig = Rig::new(only_windows(windows(10, 2, COUNT)));
    rig.apply(&number("a", NOON, 1.0), NOON);
    let future = 3_155_760_000 * S;
    rig.apply(&number("a", future, 1.0), future);
    assert_eq!(rig.table("t_count").len(), 1, "the window of noon is closed");
    // What is left of it is late: it must not be written over with less.
    assert_eq!(rig.apply(&number("a", NOON + 2 * S, 1.0), NOON + 2 * S), Verdict::Pass);
    for n in 10..40 {
        let verdict = rig.apply(&number("a", NOON + n * S, 1.0), NOON + n * S);
        assert_eq!(verdict, Verdict::Absorbed, "{n}");
    }
    let counts = rig.table("t_count");
    assert_eq!(counts[&("a".to_owned(), NOON + 10 * S)], Value::Signed(10));
}

#[test]
fn what_comes_after_its_window_goes_on_as_it_is() {
    let mut rig = Rig::new(only_windows(windows(10, 5, COUNT)));
    rig.apply(&number("a", NOON + 9 * S, 1.0), NOON + 9 * S);
    rig.apply(&number("a", NOON + 14 * S, 1.0), NOON + 14 * S);
    assert_eq!(rig.apply(&number("a", NOON + S, 1.0), NOON + 14 * S), Verdict::Absorbed);
    rig.apply(&number("a", NOON + 15 * S, 1.0), NOON + 15 * S);
    assert_eq!(rig.apply(&number("a", NOON + 2 * S, 1.0), NOON + 15 * S), Verdict::Pass);
    assert_eq!(rig.out.counts.late, 1);
    assert_eq!(rig.lines(), ["m,device=a t_count=2i 1700006400000000000"]);
}

#[test]
fn texts_and_booleans_have_count_first_and_last() {
    let mut rig = Rig::new(only_windows(windows(10, 0, &Function::ALL)));
    let fields = |state: &str| [("state", text(state)), ("ok", Value::Boolean(state == "on"))];
    rig.apply(&reading("a", NOON, &fields("off")), NOON);
    rig.apply(&reading("a", NOON + S, &fields("on")), NOON + S);
    rig.apply(&number("a", NOON + 20 * S, 1.0), NOON + 20 * S);
    let wanted = "m,device=a state_count=2i,state_first=\"off\",state_last=\"on\",ok_count=2i,\
                  ok_first=f,ok_last=t 1700006400000000000";
    assert_eq!(rig.lines(), [wanted]);
}

#[test]
fn what_no_function_speaks_of_is_left_out_or_goes_on() {
    let mut rig = Rig::new(only_windows(windows(10, 0, &[Function::Mean])));
    let mixed = [("t", Value::Float(1.0)), ("state", text("on"))];
    assert_eq!(rig.apply(&reading("a", NOON, &mixed), NOON), Verdict::Absorbed);
    assert_eq!(rig.out.counts.fields_left_out, 1);
    assert_eq!(rig.apply(&reading("a", NOON, &mixed[1..]), NOON), Verdict::Pass);
    // A long text goes into no window.
    let mut rig = Rig::new(only_windows(windows(10, 0, &[Function::Last])));
    let long = [("t", Value::Float(1.0)), ("log", text(&"x".repeat(1000)))];
    let verdict = rig.apply(&reading("a", NOON, &long), NOON);
    assert_eq!(rig.left(verdict), ["log"]);
    assert_eq!(rig.apply(&reading("a", NOON, &long[1..]), NOON), Verdict::Pass);
    assert_eq!(rig.apply(&number("a", NOON, 1.0), NOON), Verdict::Absorbed);
}

#[test]
fn raw_readings_can_be_kept_and_points_named_and_stamped() {
    let settings = window::Settings {
        keep_raw: true,
        stamp: Stamp::End,
        into: Some("{measurement}_10s".to_owned()),
        ..windows(10, 0, COUNT)
    };
    let mut rig = Rig::new(only_windows(settings));
    assert_eq!(rig.apply(&number("a", NOON, 1.0), NOON), Verdict::Pass);
    assert_eq!(rig.apply(&number("a", NOON + 10 * S, 1.0), NOON + 10 * S), Verdict::Pass);
    assert_eq!(rig.lines(), ["m_10s,device=a t_count=1i 1700006410000000000"]);
    assert_eq!(rig.out.counts.windowed, 2);
}

#[test]
fn a_reading_goes_into_the_first_window_that_fits() {
    let mut settings = only_windows(windows(10, 0, COUNT));
    settings.windows[0].measurements = Globs::new(["other"]);
    settings
        .windows
        .push(window::Settings { measurements: Globs::new(["m"]), ..windows(60, 0, COUNT) });
    let mut rig = Rig::new(settings);
    for n in 0..60 {
        rig.apply(&number("a", NOON + n * S, 1.0), NOON + n * S);
    }
    let unknown = Reading { measurement: "unknown".to_owned(), ..number("a", NOON, 1.0) };
    assert_eq!(rig.apply(&unknown, NOON + 60 * S), Verdict::Pass);
    rig.apply(&number("a", NOON + 60 * S, 1.0), NOON + 60 * S);
    assert_eq!(rig.lines(), ["m,device=a t_count=60i 1700006400000000000"]);
}

#[test]
fn a_window_is_whole_or_raw_when_the_state_is_full() {
    let limit = 64 * 1024;
    let settings = Settings { state_bytes_max: limit, ..only_windows(windows(10, 5, COUNT)) };
    let mut rig = Rig::new(settings);
    let mut taken: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
    // More and more devices, and then fewer; each sends once a second.
    for n in 0..300_i64 {
        let devices = if n < 150 { n * 3 } else { (300 - n) * 2 };
        for device in 0..devices {
            let name = format!("device-{device}");
            let verdict = rig.apply(&number(&name, NOON + n * S, 1.0), NOON + n * S);
            let window = (name, NOON + n.div_euclid(10) * 10 * S);
            let (absorbed, raw) = taken.entry(window).or_default();
            *(if verdict == Verdict::Absorbed { absorbed } else { raw }) += 1;
            assert!(rig.process.size().0 <= limit);
        }
    }
    rig.wait(NOON + 300 * S, 40 * S);
    let counts = rig.table("t_count");
    assert_eq!(counts.len(), rig.points.len(), "no window comes twice");
    let mut both = [0, 0];
    for (window, (absorbed, raw)) in &taken {
        assert!(*absorbed == 0 || *raw == 0, "{window:?}: {absorbed} absorbed, {raw} raw");
        both[usize::from(*raw > 0)] += 1;
        let counted = counts.get(window).cloned();
        assert_eq!(counted, (*absorbed > 0).then_some(Value::Signed(*absorbed)), "{window:?}");
    }
    assert!(both.iter().all(|windows| *windows > 500), "{both:?}");
    assert!(rig.out.counts.no_room > 0);
}

#[test]
fn a_new_field_without_room_goes_on_and_the_others_stay_whole() {
    let settings = Settings { state_bytes_max: 2000, ..only_windows(windows(10, 5, COUNT)) };
    let mut rig = Rig::new(settings);
    let names: Vec<String> = (0..40).map(|n| format!("field-{n:02}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), Value::Float(1.0))).collect();
    for n in 0..10 {
        let verdict = rig.apply(&reading("a", NOON + n * S, &fields), NOON);
        assert!(rig.left(verdict).len() > 10);
    }
    rig.apply(&number("b", NOON + 90 * S, 1.0), NOON + 90 * S);
    rig.wait(NOON + 90 * S, 30 * S);
    let point = rig.points.iter().find(|point| point.tags[0].1 == "a").unwrap();
    assert!(point.fields.len() > 3);
    for (name, count) in &point.fields {
        assert_eq!(*count, Value::Signed(10), "{name}");
    }
}

#[test]
fn what_is_held_are_readings_that_ended_in_windows_which_are_open() {
    let mut rig = Rig::new(Settings {
        windows: vec![windows(10, 5, &[Function::Mean, Function::Last])],
        ..Settings::default()
    });
    let mut absorbed = 0;
    for n in 0..25 {
        // Some have a text too, and one too long for a window, which goes on: they are not held.
        let mut fields = vec![("v", Value::Float(1.0))];
        if n % 5 == 0 {
            fields.push(("t", text(&"x".repeat(1000))));
        }
        let verdict = rig.apply(&reading("a", NOON + n * S, &fields), NOON + n * S);
        absorbed += u64::from(verdict == Verdict::Absorbed);
    }
    // At 24 s the window of 0 to 10 s is closed; 10 to 20 and 20 to 25 are open.
    assert_eq!(rig.process.held(), 12);
    assert_eq!(absorbed, 20);
    rig.wait(NOON + 25 * S, 60 * S);
    assert_eq!(rig.process.held(), 0);
}
