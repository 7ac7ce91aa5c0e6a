//! As many series as a large site has, and a state at its limit that comes back after a restart.

use super::*;

const SERIES: usize = 5_000;

fn device(n: usize) -> String {
    format!("site-{}/device-{n}", n % 40)
}

#[test]
fn five_thousand_series_have_each_their_windows_through_a_restart() {
    let functions = [Function::Count, Function::Sum, Function::Last];
    let settings = only_windows(windows(10, 5, &functions));
    let mut rig = Rig::new(settings.clone());
    rig.tick(NOON);
    for second in (0..40_i64).step_by(4) {
        let now = NOON + second * S;
        for n in 0..SERIES {
            // Every seventh falls silent for good.
            if n % 7 == 0 && second >= 12 {
                continue;
            }
            let whole = i64::try_from(n).unwrap();
            let fields = [
                ("t", Value::Float(0.5)),
                ("n", Value::Signed(whole + second)),
                ("u", Value::Unsigned(7)),
            ];
            let verdict = rig.apply(&reading(&device(n), now, &fields), now);
            assert_eq!(verdict, Verdict::Absorbed);
        }
        if second == 16 {
            let (bytes, open) = rig.process.size();
            assert!(open >= SERIES, "{open} windows are open");
            // What docs/process.md promises: 14 MB for twice as many.
            assert!(bytes < 7_500_000, "{bytes} bytes");
            let state = rig.process.snapshot();
            assert!(state.len() < 4_000_000, "{} bytes on the disk", state.len());
            rig.process = Process::restore(settings.clone(), &state).unwrap();
            assert_eq!(rig.process.size(), (bytes, open));
        }
        rig.out.bytes.clear();
    }
    rig.wait(NOON + 40 * S, 60 * S);
    assert_eq!(rig.process.size().1, 0);
    let tables = ["t_count", "t_sum", "n_sum", "n_last"].map(|field| rig.table(field));
    let mut points = 0;
    for n in 0..SERIES {
        for (start, seconds) in [(0, [0, 4, 8].as_slice()), (10, &[12, 16]), (20, &[20, 24, 28])] {
            if n % 7 == 0 && start > 0 {
                continue;
            }
            let key = (device(n), NOON + start * S);
            let count = i64::try_from(seconds.len()).unwrap();
            let whole = i64::try_from(n).unwrap();
            let last = whole + seconds.last().unwrap();
            let sum = |values: i64| f64::from(i32::try_from(values).unwrap());
            let sums = sum(seconds.iter().sum::<i64>() + whole * count);
            let wanted = [
                Value::Signed(count),
                Value::Float(0.5 * sum(count)),
                Value::Float(sums),
                Value::Signed(last),
            ];
            for (table, wanted) in tables.iter().zip(wanted) {
                assert_eq!(table.get(&key), Some(&wanted), "{key:?}");
            }
            points += 1;
        }
        points += usize::from(n % 7 != 0); // That of 30 to 40 s.
    }
    assert_eq!(rig.points.len(), points);
}

/// Restarts while there is no room: what is counted against the limit comes back, and still no window
/// is made of a half.
#[test]
fn a_state_at_its_limit_comes_back_and_windows_stay_whole() {
    let limit = 100_000;
    let settings = Settings {
        deadbands: vec![deadband::Settings {
            fields: Globs::new(["band"]),
            absolute: 1.0,
            ..deadband::Settings::default()
        }],
        state_bytes_max: limit,
        ..only_windows(windows(10, 5, &[Function::Count]))
    };
    let mut rig = Rig::new(settings.clone());
    let mut absorbed: BTreeMap<(String, i64), (i64, i64)> = BTreeMap::new();
    let mut fullest = 0;
    for second in 0..120_i64 {
        let now = NOON + second * S;
        for n in 0..300 {
            // Other devices each half minute; those before are forgotten when room is needed.
            let name = format!("device-{n}-{}", second / 30);
            let fields = [("t", Value::Float(1.0)), ("band", Value::Float(1.0))];
            let verdict = rig.apply(&reading(&name, now, &fields), now);
            let is_raw = match verdict {
                Verdict::Absorbed => false,
                Verdict::Pass => true,
                other => rig.left(other).contains(&"t".to_owned()),
            };
            let window = (name, NOON + second.div_euclid(10) * 10 * S);
            let (taken, raw) = absorbed.entry(window).or_default();
            *(if is_raw { raw } else { taken }) += 1;
            assert!(rig.process.size().0 <= limit);
        }
        fullest = fullest.max(rig.process.size().0);
        if second % 13 == 12 {
            let before = rig.process.size();
            let state = rig.process.snapshot();
            rig.process = Process::restore(settings.clone(), &state).unwrap();
            assert_eq!(rig.process.size(), before);
        }
        rig.tick(now);
        rig.out.bytes.clear();
    }
    assert!(fullest > limit * 9 / 10, "{fullest}");
    rig.wait(NOON + 120 * S, 60 * S);
    let counts = rig.table("t_count");
    assert_eq!(counts.len(), rig.points.iter().filter(|it| it.fields[0].0 == "t_count").count());
    let (mut whole, mut all_raw) = (0, 0);
    for (window, (taken, raw)) in &absorbed {
        assert!(*taken == 0 || *raw == 0, "{window:?}: {taken} taken, {raw} raw");
        let counted = counts.get(window).cloned();
        assert_eq!(counted, (*taken > 0).then_some(Value::Signed(*taken)), "{window:?}");
        *(if *raw > 0 { &mut all_raw } else { &mut whole }) += 1;
    }
    assert!(whole > 100 && all_raw > 100, "{whole} whole, {all_raw} raw");
    assert!(rig.out.counts.no_room > 0);
}
