//! `dedup` and `deadband` against models that keep all that came and compute everything anew; with a
//! crash in the middle, after which the same readings come again.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// What is expected of a reading: the names of the fields that go on.
trait Model: Clone {
    fn goes_on(&mut self, reading: &Reading) -> Vec<String>;
}

fn names(reading: &Reading) -> Vec<String> {
    reading.fields.iter().map(|(name, _)| name.clone()).collect()
}

/// Applies all of them, with a crash: what came after `saved_at` comes once more, to a process that is
/// made from the state of then.
fn follow(
    settings: &Settings,
    mut model: impl Model,
    traffic: &[Reading],
    saved_at: usize,
    crash_at: usize,
) -> Result<(), TestCaseError> {
    let (saved_at, crash_at) = (saved_at.min(crash_at), saved_at.max(crash_at));
    let mut rig = Rig::new(settings.clone());
    let mut saved = None;
    for (n, reading) in traffic.iter().enumerate() {
        if n == saved_at {
            saved = Some((rig.process.snapshot(), model.clone()));
        }
        if n == crash_at {
            let (state, then) = saved.take().unwrap();
            rig.process = Process::restore(settings.clone(), &state).unwrap();
            prop_assert_eq!(rig.process.snapshot().len(), state.len());
            model = then;
            for again in &traffic[saved_at..crash_at] {
                is_as_expected(&mut rig, &mut model, again)?;
            }
        }
        is_as_expected(&mut rig, &mut model, reading)?;
    }
    prop_assert_eq!(rig.out.counts.no_room, 0);
    Ok(())
}

fn is_as_expected(
    rig: &mut Rig,
    model: &mut impl Model,
    reading: &Reading,
) -> Result<(), TestCaseError> {
    let verdict = rig.apply(reading, NOON);
    let found = match verdict {
        Verdict::Pass => names(reading),
        Verdict::Changed { .. } => rig.left(verdict),
        Verdict::Filtered => Vec::new(),
        Verdict::Absorbed => panic!("there are no windows"),
    };
    prop_assert_eq!(found, model.goes_on(reading), "{:?}", reading);
    rig.out.bytes.clear();
    Ok(())
}

/// Of few devices and moments, so that they meet.
fn traffic(value: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Vec<Reading>> {
    let field = |name: &'static str| {
        let value = value.clone();
        prop::option::weighted(0.6, value).prop_map(move |value| value.map(|it| (name, it)))
    };
    let fields = [field("a1"), field("a2"), field("b"), field("free")];
    let one =
        (0_usize..3, 0_i64..12, fields).prop_filter_map("no field", |(device, at, fields)| {
            let fields: Vec<_> = fields.into_iter().flatten().collect();
            let reading = || reading(["x", "y", "z"][device], NOON + at * S, &fields);
            (!fields.is_empty()).then(reading)
        });
    // Their times go on, not without going back.
    prop::collection::vec(one, 2..150).prop_map(|mut all| {
        for (n, reading) in (0..).zip(&mut all) {
            let at = reading.time.timestamp().unwrap().nanos();
            reading.time = Time::At(Timestamp::from_nanos(at + n / 10 * S));
        }
        all
    })
}

/// Every reading that went on and is not too long ago, as a text: type, sign and last digit count.
#[derive(Clone)]
struct Dedup {
    known: VecDeque<String>,
    readings_max: usize,
}

impl Model for Dedup {
    fn goes_on(&mut self, reading: &Reading) -> Vec<String> {
        let text = format!("{reading:?}");
        if self.known.contains(&text) {
            return Vec::new();
        }
        self.known.push_back(text);
        if self.known.len() > self.readings_max {
            self.known.pop_front();
        }
        names(reading)
    }
}

fn few_values() -> impl Strategy<Value = Value> + Clone {
    prop::sample::select(vec![
        Value::Float(0.0),
        Value::Float(-0.0),
        Value::Float(1.0),
        Value::Signed(1),
        Value::Unsigned(1),
        Value::Boolean(true),
        Value::Text("1".to_owned()),
        Value::Text(String::new()),
    ])
}

/// All values that went on, of each series and field.
#[derive(Clone)]
struct Deadband {
    tables: Vec<deadband::Settings>,
    sent: Vec<(String, String, i64, Value)>,
}

impl Model for Deadband {
    fn goes_on(&mut self, reading: &Reading) -> Vec<String> {
        let (device, at) = (&reading.tags[0].1, reading.time.timestamp().unwrap().nanos());
        let mut left = Vec::new();
        for (name, value) in &reading.fields {
            let Some(table) = self.tables.iter().find(|table| table.fields.fits(name)) else {
                left.push(name.clone());
                continue;
            };
            let mut of_field = self.sent.iter().rev();
            let last = of_field.find(|(of, field, ..)| of == device && field == name);
            let last = last.map(|(_, _, at, value)| (*at, value));
            // What is older goes on, and is not what later ones are measured from; unless those are
            // measured from the future.
            if let Some((last, _)) = last
                && at < last
            {
                left.push(name.clone());
                if last > NOON + deadband::AHEAD_MAX {
                    self.sent.push((device.clone(), name.clone(), at, value.clone()));
                }
            } else if last.is_none_or(|(last, sent)| goes_on(table, at - last, sent, value)) {
                left.push(name.clone());
                self.sent.push((device.clone(), name.clone(), at, value.clone()));
            }
        }
        left
    }
}

fn goes_on(table: &deadband::Settings, silence: i64, last: &Value, now: &Value) -> bool {
    let silence = u128::from(silence.unsigned_abs());
    if table.max_silence.is_some_and(|max| silence >= max.as_nanos()) {
        return true;
    }
    let further = |distance: f64, last: f64| {
        distance > table.absolute && distance * 100.0 > last.abs() * table.percent
    };
    #[expect(clippy::cast_precision_loss, reason = "far from any limit where it is not exact")]
    match (last, now) {
        (Value::Float(last), Value::Float(now)) => further((now - last).abs(), *last),
        (Value::Signed(last), Value::Signed(now)) => {
            further((i128::from(*now) - i128::from(*last)).abs() as f64, *last as f64)
        }
        (Value::Unsigned(last), Value::Unsigned(now)) => {
            further((i128::from(*now) - i128::from(*last)).abs() as f64, *last as f64)
        }
        (Value::Boolean(last), Value::Boolean(now)) => last != now,
        (Value::Text(last), Value::Text(now)) => last != now,
        _ => true, // Of another type.
    }
}

/// Halves, so that every distance and every percentage is exact.
fn moving_values() -> impl Strategy<Value = Value> + Clone {
    prop_oneof![
        6 => (-20_i32..20).prop_map(|half| Value::Float(f64::from(half) / 2.0)),
        3 => (-10_i64..10).prop_map(Value::Signed),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX - 1, i64::MAX]).prop_map(Value::Signed),
        2 => (0_u64..10).prop_map(Value::Unsigned),
        1 => prop::sample::select(vec![u64::MAX - 1, u64::MAX]).prop_map(Value::Unsigned),
        2 => any::<bool>().prop_map(Value::Boolean),
        2 => prop::sample::select(vec!["on", "off", ""]).prop_map(|it| Value::Text(it.to_owned())),
    ]
}

/// Values of one kind, as a sensor sends them: several in a row within the band.
fn steady_values() -> impl Strategy<Value = Value> + Clone {
    (18_i32..24).prop_map(|half| Value::Float(f64::from(half) / 2.0))
}

fn table(patterns: &'static [&'static str]) -> impl Strategy<Value = deadband::Settings> {
    let absolute = prop::sample::select(vec![0.0, 0.5, 1.0, 3.0]);
    let percent = prop::sample::select(vec![0.0, 5.0, 10.0, 50.0, 200.0]);
    let silences = [None, Some(0), Some(3), Some(8)].map(|it| it.map(Duration::from_secs));
    let max_silence = prop::sample::select(silences.to_vec());
    (absolute, percent, max_silence).prop_map(|(absolute, percent, max_silence)| {
        let fields = Globs::new(patterns.iter().copied());
        let measurements = Globs::default();
        deadband::Settings { measurements, fields, absolute, percent, max_silence }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn dedup_does_what_the_model_does(
        traffic in traffic(few_values()),
        readings_max in 1_usize..40,
        saved_at in any::<prop::sample::Index>(),
        crash_at in any::<prop::sample::Index>(),
    ) {
        let dedup = Some(dedup::Settings { readings_max });
        let settings = Settings { dedup, ..Settings::default() };
        let model = Dedup { known: VecDeque::new(), readings_max };
        let (saved_at, crash_at) = (saved_at.index(traffic.len()), crash_at.index(traffic.len()));
        follow(&settings, model, &traffic, saved_at, crash_at)?;
    }

    #[test]
    fn a_deadband_does_what_the_model_does(
        traffic in prop_oneof![
            traffic(moving_values()).boxed(),
            traffic(steady_values()).boxed(),
        ],
        tables in (table(&["a1"]), table(&["!free"])),
        ahead in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        saved_at in any::<prop::sample::Index>(),
        crash_at in any::<prop::sample::Index>(),
    ) {
        let mut traffic = traffic;
        for one in ahead {
            let reading = one.get_mut(&mut traffic);
            let at = reading.time.timestamp().unwrap().nanos();
            reading.time = Time::At(Timestamp::from_nanos(at + 2 * deadband::AHEAD_MAX));
        }
        let tables = vec![tables.0, tables.1];
        let settings = Settings { deadbands: tables.clone(), ..Settings::default() };
        let model = Deadband { tables, sent: Vec::new() };
        let (saved_at, crash_at) = (saved_at.index(traffic.len()), crash_at.index(traffic.len()));
        follow(&settings, model, &traffic, saved_at, crash_at)?;
    }
}
