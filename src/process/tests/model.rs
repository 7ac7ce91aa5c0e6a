//! Windows against a model that keeps every reading and computes everything anew.

use proptest::prelude::*;

use super::*;

/// What devices do, in whatever order: of which device, when (seconds around noon), which value.
#[derive(Clone, Debug)]
struct Sent {
    device: usize,
    at: i64,
    value: f64,
}

fn sent() -> impl Strategy<Value = Sent> {
    let at = prop_oneof![
        8 => 0_i64..120,
        1 => -4000_i64..0,
        // From the future, and from a clock that is just ahead.
        1 => prop_oneof![Just(1_450_000_000_i64), 120..400_i64],
    ];
    (0_usize..4, at, -50_i32..50, any::<bool>()).prop_map(|(device, at, value, odd)| Sent {
        device,
        at,
        value: f64::from(value) + if odd { 0.1 } else { 0.0 },
    })
}

/// Sent in about the order of time, shuffled a little, some twice.
fn traffic() -> impl Strategy<Value = Vec<Sent>> {
    (prop::collection::vec(sent(), 1..200), 0_i64..30).prop_map(|(mut all, disorder)| {
        let mut n = 0_i64;
        all.sort_by_cached_key(|sent| {
            n += 1;
            sent.at + (n * 7919) % (disorder + 1)
        });
        let twice: Vec<_> = all.iter().step_by(17).cloned().collect();
        all.extend(twice);
        all
    })
}

const LATENESS: i64 = 7;
const EVERY: i64 = 10;
const ARRIVAL: i64 = NOON + 130 * S;

#[derive(Default)]
struct Model {
    watermarks: BTreeMap<usize, i64>,
    windows: BTreeMap<(usize, i64), Vec<(i64, f64)>>,
}

impl Model {
    /// Whether it goes into a window.
    fn take(&mut self, sent: &Sent) -> bool {
        let at = NOON + sent.at * S;
        let start = at.div_euclid(EVERY * S) * EVERY * S;
        let watermark = self.watermarks.entry(sent.device).or_insert(i64::MIN);
        let is_early = at > ARRIVAL + (EVERY + LATENESS + 60) * S;
        if is_early {
            return false;
        }
        let is_late = start + (EVERY + LATENESS) * S <= *watermark;
        *watermark = (*watermark).max(at.min(ARRIVAL));
        if !is_late {
            self.windows.entry((sent.device, start)).or_default().push((at, sent.value));
        }
        !is_late
    }
}

pub(super) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

pub(super) fn naive(values: &[(i64, f64)], function: Function) -> Option<f64> {
    let numbers: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    let count = f64::from(u32::try_from(numbers.len()).unwrap());
    let sum: f64 = numbers.iter().sum();
    let mean = sum / count;
    let min = numbers.iter().copied().fold(f64::MAX, f64::min);
    let max = numbers.iter().copied().fold(f64::MIN, f64::max);
    Some(match function {
        Function::Count => count,
        Function::Sum => sum,
        Function::Mean => mean,
        Function::Min => min,
        Function::Max => max,
        Function::Spread => max - min,
        Function::First => values.iter().min_by_key(|(at, _)| *at)?.1,
        // The last of the latest.
        Function::Last => values.iter().max_by_key(|(at, _)| *at)?.1,
        Function::Stddev if numbers.len() < 2 => return None,
        Function::Stddev => {
            let squares: f64 = numbers.iter().map(|it| (it - mean).powi(2)).sum();
            (squares / (count - 1.0)).sqrt()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn windows_are_what_the_model_says(traffic in traffic(), restart_at in any::<prop::sample::Index>()) {
        let settings = only_windows(windows(10, 7, &Function::ALL));
        let mut rig = Rig::new(settings.clone());
        let mut model = Model::default();
        let restart_at = restart_at.index(traffic.len());
        for (n, sent) in traffic.iter().enumerate() {
            if n == restart_at {
                let state = rig.process.snapshot();
                rig.process = Process::restore(settings.clone(), &state).unwrap();
                prop_assert_eq!(rig.process.snapshot().len(), state.len());
            }
            let device = format!("d{}", sent.device);
            // The same arrival for all: nobody is silent.
            let verdict = rig.apply(&number(&device, NOON + sent.at * S, sent.value), ARRIVAL);
            let expected = if model.take(sent) { Verdict::Absorbed } else { Verdict::Pass };
            prop_assert_eq!(verdict, expected, "{:?}", sent);
        }
        rig.wait(ARRIVAL, 200 * S);
        prop_assert_eq!(rig.process.size().1, 0, "all windows are closed");
        prop_assert_eq!(rig.points.len(), model.windows.len());
        for function in Function::ALL {
            let table = rig.table(&format!("t_{}", function.name()));
            for ((device, start), values) in &model.windows {
                let found = table.get(&(format!("d{device}"), *start));
                let found = found.map(|value| value.borrow().as_f64().unwrap());
                match (found, naive(values, function)) {
                    (Some(found), Some(wanted)) => {
                        prop_assert!(close(found, wanted), "{:?}: {} {}", function, found, wanted);
                    }
                    (found, wanted) => prop_assert_eq!(found, wanted),
                }
            }
        }
    }
}
