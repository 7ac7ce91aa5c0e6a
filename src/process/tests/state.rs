//! Snapshots: what comes back, what another configuration makes of it, and replays after a crash.

use proptest::prelude::*;

use super::*;

fn everything() -> Settings {
    Settings {
        dedup: Some(dedup::Settings::default()),
        deadbands: vec![deadband::Settings {
            fields: Globs::new(["band*"]),
            absolute: 1.0,
            ..deadband::Settings::default()
        }],
        windows: vec![windows(10, 5, &Function::ALL)],
        ..Settings::default()
    }
}

fn mixed(n: i64) -> Reading {
    let device = format!("d{}", n % 3);
    let fields = [
        ("t", Value::Float(0.1 * f64::from(i32::try_from(n).unwrap()))),
        ("n", Value::Signed(n)),
        ("u", Value::Unsigned(7)),
        ("band_x", Value::Float(1.0)),
        ("state", Value::Text(format!("s{}", n % 4))),
        ("ok", Value::Boolean(n % 2 == 0)),
    ];
    reading(&device, NOON + n * S / 3, &fields)
}

#[test]
fn a_state_comes_back_to_the_bit() {
    let mut rig = Rig::new(everything());
    for n in 0..100 {
        rig.apply(&mixed(n), NOON);
    }
    let state = rig.process.snapshot();
    let mut other = Rig::of(Process::restore(everything(), &state).unwrap());
    assert_eq!(rig.process.size(), other.process.size());
    assert_eq!(rig.process.held(), other.process.held());
    rig.points.clear();
    for n in 90..200 {
        let now = NOON + n * S / 3;
        assert_eq!(rig.apply(&mixed(n), now), other.apply(&mixed(n), now), "{n}");
    }
    rig.wait(NOON + 67 * S, 30 * S);
    other.wait(NOON + 67 * S, 30 * S);
    assert_eq!(rig.lines(), other.lines());
    assert!(rig.points.len() > 10);
}

#[test]
fn another_configuration_keeps_what_was_begun() {
    let mut rig = Rig::new(everything());
    for n in 0..10 {
        rig.apply(&mixed(n), NOON);
    }
    let state = rig.process.snapshot();

    // Other functions: the window goes on.
    let more = only_windows(windows(10, 5, &[Function::Count]));
    let mut same = Rig::of(Process::restore(more, &state).unwrap());
    for n in 10..30 {
        same.apply(&mixed(n), NOON);
    }
    same.wait(NOON, 30 * S);
    let counts: Vec<_> = same.table("n_count").into_values().collect();
    assert_eq!(counts, vec![Value::Signed(10); 3]);

    // Another length: the old window closes by itself, new readings go into new ones.
    let longer = only_windows(windows(60, 5, &[Function::Count]));
    let mut longer = Rig::of(Process::restore(longer, &state).unwrap());
    for n in 10..30 {
        longer.apply(&mixed(n), NOON);
    }
    assert_eq!(longer.process.size().1, 6);
    let again = longer.process.snapshot();
    longer.process =
        Process::restore(only_windows(windows(60, 5, &[Function::Count])), &again).unwrap();
    assert_eq!(longer.process.size().1, 6);
    longer.wait(NOON, 30 * S);
    assert_eq!(longer.process.size().1, 3);
    let sums = longer.table("n_sum");
    let wanted = [18.0, 12.0, 15.0].map(Value::Float);
    assert_eq!(sums.into_values().collect::<Vec<_>>(), wanted);

    // None at all.
    let mut none = Rig::of(Process::restore(Settings::default(), &state).unwrap());
    assert_eq!(none.apply(&mixed(11), NOON), Verdict::Pass);
    none.wait(NOON, 30 * S);
    assert_eq!((none.points.len(), none.process.size()), (3, (0, 0)));
}

#[test]
fn more_lateness_does_not_open_what_was_closed() {
    let mut rig = Rig::new(only_windows(windows(10, 5, &[Function::Count])));
    for at in [0, 5, 15] {
        rig.apply(&number("a", NOON + at * S, 1.0), NOON + at * S);
    }
    assert_eq!(rig.points.len(), 1);
    let state = rig.process.snapshot();
    let later = only_windows(windows(10, 3600, &[Function::Count]));
    let mut rig = Rig::of(Process::restore(later, &state).unwrap());
    assert_eq!(rig.apply(&number("a", NOON + 6 * S, 1.0), NOON + 16 * S), Verdict::Pass);
    assert_eq!(rig.apply(&number("a", NOON + 16 * S, 1.0), NOON + 16 * S), Verdict::Absorbed);
}

#[test]
fn damage_is_noticed_and_never_panics() {
    let mut rig = Rig::new(everything());
    for n in 0..40 {
        rig.apply(&mixed(n), NOON);
    }
    let state = rig.process.snapshot();
    for len in 1..state.len() {
        assert!(Process::restore(everything(), &state[..len]).is_err(), "{len}");
    }
    let mut newer = state.clone();
    newer[0] = 2;
    assert_eq!(Process::restore(everything(), &newer).unwrap_err(), StateError::Newer);
    for at in 1..state.len() {
        let mut bad = state.clone();
        bad[at] ^= 0x41;
        if let Ok(process) = Process::restore(everything(), &bad) {
            let mut rig = Rig::of(process);
            rig.apply(&mixed(41), NOON);
            rig.wait(NOON, 3 * S);
        }
    }
}

#[test]
fn without_its_state_no_window_is_made_from_the_half() {
    let mut rig = Rig::new(only_windows(windows(10, 5, &[Function::Count])));
    rig.process.forget_before(Timestamp::from_nanos(NOON + 3 * S));
    for at in 0..9 {
        let reading = number("a", NOON + at * S, 1.0);
        assert_eq!(rig.apply(&reading, NOON + (at + 3) * S), Verdict::Pass, "{at}");
    }
    assert_eq!(rig.apply(&number("a", NOON + 10 * S, 1.0), NOON + 10 * S), Verdict::Absorbed);
}

/// What happens to a gateway.
#[derive(Clone, Debug)]
enum Event {
    /// A reading: of this device, so many seconds before it arrives.
    Reading(u8, i64),
    /// So many quarters of a second pass at the journal's head.
    Wait(i64),
    Snapshot,
    /// And so many seconds without power.
    Crash(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (0_u8..3, prop_oneof![5 => 0_i64..4, 1 => 0_i64..40])
            .prop_map(|(device, age)| Event::Reading(device, age)),
        10 => (1_i64..12).prop_map(Event::Wait),
        2 => Just(Event::Snapshot),
        1 => (0_i64..60).prop_map(Event::Crash),
    ]
}

/// A gateway that keeps its journal and its snapshot; the database takes what comes.
struct Gateway {
    rig: Rig,
    journal: Vec<(Reading, i64)>,
    saved: (usize, Vec<u8>),
    /// What it took in, by the last time that it was taken.
    absorbed: BTreeMap<usize, bool>,
    database: BTreeMap<(String, i64), i64>,
}

impl Gateway {
    fn take(&mut self, n: usize) {
        let (reading, arrival) = self.journal[n].clone();
        let verdict = self.rig.apply(&reading, arrival);
        self.absorbed.insert(n, verdict == Verdict::Absorbed);
        self.store();
    }

    fn store(&mut self) {
        for (window, count) in self.rig.table("t_count") {
            let Value::Signed(count) = count else { panic!("{count:?}") };
            let before = self.database.insert(window.clone(), count).unwrap_or(0);
            assert!(count >= before, "{window:?} had {before}, is written over with {count}");
        }
        self.rig.points.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn after_a_crash_windows_are_the_same_or_more(
        events in prop::collection::vec(event(), 1..250),
        limit in prop_oneof![Just(32 << 20_usize), 1500_usize..4000],
    ) {
        let settings = Settings {
            state_bytes_max: limit,
            ..only_windows(windows(10, 3, &[Function::Count]))
        };
        let mut gateway = Gateway {
            rig: Rig::new(settings.clone()),
            journal: Vec::new(),
            saved: (0, Vec::new()),
            absorbed: BTreeMap::new(),
            database: BTreeMap::new(),
        };
        let mut now = NOON;
        for event in events {
            match event {
                Event::Reading(device, age) => {
                    now += 50_000_000;
                    let reading = number(&format!("d{device}"), now - age * S, 1.0);
                    gateway.journal.push((reading, now));
                    gateway.take(gateway.journal.len() - 1);
                }
                Event::Wait(quarters) => {
                    now = gateway.rig.wait(now, quarters * S / 4);
                    gateway.store();
                }
                Event::Snapshot => {
                    gateway.saved = (gateway.journal.len(), gateway.rig.process.snapshot());
                }
                Event::Crash(off) => {
                    let (from, state) = gateway.saved.clone();
                    let process = Process::restore(settings.clone(), &state).unwrap();
                    gateway.rig = Rig::of(process);
                    for n in from..gateway.journal.len() {
                        gateway.take(n);
                    }
                    now += off * S;
                }
            }
        }
        gateway.rig.wait(now, 120 * S);
        gateway.store();
        // Every reading that was absorbed in the end is in its window.
        let mut wanted: BTreeMap<(String, i64), i64> = BTreeMap::new();
        for (n, absorbed) in &gateway.absorbed {
            let reading = &gateway.journal[*n].0;
            let at = reading.time.timestamp().unwrap().nanos();
            let window = (reading.tags[0].1.clone(), at.div_euclid(10 * S) * 10 * S);
            *wanted.entry(window).or_default() += i64::from(*absorbed);
        }
        for (window, count) in wanted {
            let stored = gateway.database.get(&window).copied().unwrap_or(0);
            prop_assert!(stored >= count, "{:?}: {} stored, {} absorbed", window, stored, count);
        }
    }
}
