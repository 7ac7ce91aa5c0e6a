//! `deadband` and `dedup` against models that compare every value with all that went on before, with a
//! restart from a snapshot somewhere.

use proptest::prelude::*;

use super::*;

/// Of which device, when (seconds after noon), and its fields.
type Sent = (usize, i64, Vec<(&'static str, Value)>);

/// Numbers in quarters, so that no threshold is missed by a digit.
fn value(name: &'static str) -> BoxedStrategy<(&'static str, Value)> {
    let value = match name {
        "t" => (-40_i32..40).prop_map(|quarters| Value::Float(f64::from(quarters) / 4.0)).boxed(),
        "n" => (-9_i64..9).prop_map(Value::Signed).boxed(),
        "u" => (0_u64..9).prop_map(Value::Unsigned).boxed(),
        "on" => any::<bool>().prop_map(Value::Boolean).boxed(),
        _ => "[ab]".prop_map(Value::Text).boxed(),
    };
    value.prop_map(move |value| (name, value)).boxed()
}

fn sent() -> impl Strategy<Value = Sent> {
    let names = prop::sample::subsequence(vec!["t", "n", "u", "on", "s"], 1..=5);
    let fields = names.prop_flat_map(|names| names.into_iter().map(value).collect::<Vec<_>>());
    (0_usize..3, 0_i64..200, fields)
}

/// In the order of time, but for some.
fn traffic() -> impl Strategy<Value = Vec<Sent>> {
    (prop::collection::vec(sent(), 1..120), 0_i64..20).prop_map(|(mut all, disorder)| {
        let mut n = 0;
        all.sort_by_cached_key(|(_, at, _)| {
            n += 1;
            at + (n * 7919) % (disorder + 1)
        });
        all
    })
}

fn band() -> impl Strategy<Value = deadband::Settings> {
    let thresholds =
        (prop::sample::select(vec![0.0, 0.5, 2.0]), prop::sample::select(vec![0.0, 10.0, 50.0]));
    (thresholds, prop::option::of(1_u64..60)).prop_map(|((absolute, percent), silence)| {
        let max_silence = silence.map(Duration::from_secs);
        deadband::Settings { absolute, percent, max_silence, ..deadband::Settings::default() }
    })
}

/// Whether a value goes on after what went on last: docs/process.md.
fn goes_on(band: &deadband::Settings, last: Option<&(i64, Value)>, at: i64, now: &Value) -> bool {
    let Some((since, last)) = last else { return true };
    let is_silent = band.max_silence.is_some_and(|max| at - since >= max.as_secs().cast_signed());
    let number = |value: &Value| value.borrow().as_f64();
    let has_moved = match (number(last), number(now)) {
        (Some(last), Some(now)) => {
            let distance = (now - last).abs();
            distance > band.absolute && distance > last.abs() * band.percent / 100.0
        }
        _ => last != now,
    };
    at < *since || is_silent || has_moved
}

fn restarted(rig: &Rig, settings: &Settings) -> Rig {
    Rig::of(Process::restore(settings.clone(), &rig.process.snapshot()).unwrap())
}

proptest! {
    #[test]
    fn a_deadband_lets_through_what_its_model_does(
        all in traffic(), band in band(), restart in 0_usize..120,
    ) {
        let settings = Settings { deadbands: vec![band.clone()], ..Settings::default() };
        let mut rig = Rig::new(settings.clone());
        let mut last: BTreeMap<(usize, &str), (i64, Value)> = BTreeMap::new();
        for (n, (device, at, fields)) in all.iter().enumerate() {
            if n == restart {
                rig = restarted(&rig, &settings);
            }
            let mut wanted = Vec::new();
            for (name, value) in fields {
                let key = (*device, *name);
                if goes_on(&band, last.get(&key), *at, value) {
                    wanted.push((*name).to_owned());
                    let is_older = last.get(&key).is_some_and(|(since, _)| at < since);
                    if !is_older {
                        last.insert(key, (*at, value.clone()));
                    }
                }
            }
            let verdict = rig.apply(&reading(&format!("d{device}"), NOON + at * S, fields), NOON);
            let left = match verdict {
                Verdict::Pass => fields.iter().map(|(name, _)| (*name).to_owned()).collect(),
                Verdict::Changed { .. } => rig.left(verdict),
                Verdict::Filtered => Vec::new(),
                Verdict::Absorbed => panic!("there is no window"),
            };
            prop_assert_eq!(left, wanted, "{} of {:?}", n, all);
        }
    }

    #[test]
    fn dedup_lets_through_what_its_model_does(
        all in prop::collection::vec(sent(), 1..200), restart in 0_usize..200, readings_max in 1_usize..12,
    ) {
        // Few enough different ones that many come again.
        let few = |(device, at, fields): &Sent| -> Sent { (*device, at % 3, fields[..1].to_vec()) };
        let dedup = Some(dedup::Settings { readings_max });
        let settings = Settings { dedup, ..Settings::default() };
        let mut rig = Rig::new(settings.clone());
        let mut new: Vec<Sent> = Vec::new();
        for (n, one) in all.iter().map(few).enumerate() {
            if n == restart {
                rig = restarted(&rig, &settings);
            }
            let (device, at, fields) = &one;
            let is_known = new.iter().rev().take(readings_max).any(|known| *known == one);
            let verdict = rig.apply(&reading(&format!("d{device}"), NOON + at * S, fields), NOON);
            let wanted = if is_known { Verdict::Filtered } else { Verdict::Pass };
            prop_assert_eq!(verdict, wanted, "{} of {:?}", n, all);
            if !is_known {
                new.push(one);
            }
        }
    }
}

/// One reading of each of 5,000 devices in every second of three windows: each window is whole.
#[test]
fn thousands_of_series_have_their_windows() {
    const DEVICES: i64 = 5_000;
    let settings = windows(10, 5, &[Function::Count, Function::Sum]);
    let mut rig = Rig::new(only_windows(settings));
    for second in 0..36_i64 {
        for device in 0..DEVICES {
            let at = NOON + second * S + device * 1_000;
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let value = (device + second) as f64;
            rig.apply(&number(&format!("d{device}"), at, value), at);
        }
    }
    let (counts, sums) = (rig.table("t_count"), rig.table("t_sum"));
    assert_eq!(counts.len(), 3 * 5_000);
    assert!(counts.values().all(|count| *count == Value::Signed(10)));
    for ((device, at), sum) in sums {
        let (device, first) =
            (device.trim_start_matches('d').parse::<i64>().unwrap(), (at - NOON) / S);
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let wanted = (first..first + 10).map(|second| (device + second) as f64).sum();
        assert_eq!(sum, Value::Float(wanted));
    }
}
