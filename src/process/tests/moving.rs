//! Windows while time goes on, against a model that keeps every reading: devices that come and fall
//! silent, late and early readings, any length and lateness, local days where clocks change, stops,
//! and crashes after which readings come again.
//!
//! After every event what came out must be what the model closes then, value by value. Everything
//! happens at whole quarters of a second, so that a walk over all series is due at each of them.

use proptest::prelude::*;

use super::model::{close, naive};
use super::*;

const QUARTER: i64 = S / 4;
const HOUR: i64 = 3600 * S;
/// 12:00 in Berlin, the day before clocks go back, and the day before they go on.
const OCTOBER: i64 = 1_792_836_000 * S;
const MARCH: i64 = 1_774_695_600 * S;

/// How time is divided, by hand.
#[derive(Clone, Debug)]
enum Division {
    Seconds(i64),
    /// So many days of Berlin.
    Days(i64),
}

impl Division {
    fn every(&self) -> Every {
        match self {
            Self::Seconds(seconds) => Every::Duration(Duration::from_secs(seconds.unsigned_abs())),
            Self::Days(days) => Every::LocalDays {
                days: u32::try_from(*days).unwrap(),
                zone: jiff::tz::TimeZone::get("Europe/Berlin").unwrap(),
            },
        }
    }

    fn around(&self, at: i64) -> (i64, i64) {
        match self {
            Self::Seconds(seconds) => {
                let start = at.div_euclid(seconds * S) * seconds * S;
                (start, start + seconds * S)
            }
            Self::Days(days) => {
                let guess = at.div_euclid(24 * HOUR);
                let begins = (guess - days..=guess + 2 * days).filter(|day| day % days == 0);
                let spans = begins.map(|day| (midnight(day), midnight(day + days)));
                spans.into_iter().find(|(start, end)| (*start..*end).contains(&at)).unwrap()
            }
        }
    }

    /// At most, as far as being early is concerned.
    fn length(&self) -> i64 {
        match self {
            Self::Seconds(seconds) => seconds * S,
            Self::Days(days) => days * 24 * HOUR + 2 * HOUR,
        }
    }
}

/// When a day of 2026 begins in Berlin: summer is from the 30th of March to the 25th of October, as
/// far as midnights are concerned.
fn midnight(day: i64) -> i64 {
    let is_summer = (20_542..=20_751).contains(&day);
    (day * 24 - if is_summer { 2 } else { 1 }) * HOUR
}

/// Device, start and end, and the readings in the order in which they came.
type Closed = (String, (i64, i64), Vec<Reading>);

#[derive(Clone)]
struct Model {
    division: Division,
    lateness: i64,
    /// A clock that never goes on by more than a second, and what the wall clock said last.
    run: i64,
    wall: Option<i64>,
    /// Silence counts from here on; not yet before the journal's head is reached.
    listening_since: Option<i64>,
    series: BTreeMap<String, Series>,
    closed: Vec<Closed>,
}

#[derive(Clone)]
struct Series {
    watermark: i64,
    heard: i64,
    open: BTreeMap<(i64, i64), Vec<Reading>>,
}

impl Model {
    fn new(division: Division, lateness: i64) -> Self {
        Self {
            division,
            lateness,
            run: 0,
            wall: None,
            listening_since: None,
            series: BTreeMap::new(),
            closed: Vec::new(),
        }
    }

    fn restart(&mut self) {
        (self.wall, self.listening_since) = (None, None);
    }

    fn tick(&mut self, now: i64) {
        self.listening_since.get_or_insert(self.run);
        self.time_is(now);
    }

    /// Whether it goes into a window.
    fn take(&mut self, reading: &Reading, arrival: i64) -> bool {
        self.time_is(arrival);
        let at = reading.time.timestamp().unwrap().nanos();
        if at - arrival > self.division.length() + self.lateness + 60 * S {
            return false;
        }
        let span = self.division.around(at);
        let device = &reading.tags[0].1;
        let unknown = Series { watermark: i64::MIN, heard: 0, open: BTreeMap::new() };
        let series = self.series.entry(device.clone()).or_insert(unknown);
        let is_late = span.1 + self.lateness <= series.watermark;
        if !is_late {
            series.open.entry(span).or_default().push(reading.clone());
        }
        series.heard = self.run;
        series.watermark = series.watermark.max(at.min(arrival));
        let watermark = series.watermark;
        series.close(device, watermark, self.lateness, &mut self.closed);
        !is_late
    }

    fn time_is(&mut self, now: i64) {
        self.run += (now - self.wall.unwrap_or(now)).min(S);
        self.wall = Some(now);
        let Some(since) = self.listening_since else { return };
        for (device, series) in &mut self.series {
            if series.open.is_empty() {
                continue;
            }
            // Its time has gone on as if it had sent something all the while.
            let heard = series.heard.max(since);
            let silence = self.run - heard;
            let now = series.watermark.saturating_add(silence);
            let before = series.watermark;
            series.close(device, now, self.lateness, &mut self.closed);
            if series.watermark > before {
                series.heard = heard + (series.watermark - before);
            }
        }
    }
}

impl Series {
    /// Closes what has ended so long ago; the watermark is that far at least.
    fn close(&mut self, device: &str, now: i64, lateness: i64, closed: &mut Vec<Closed>) {
        let ended = |span: &&(i64, i64)| span.1 + lateness <= now;
        let ended: Vec<_> = self.open.keys().filter(ended).copied().collect();
        for span in ended {
            let readings = self.open.remove(&span).unwrap();
            self.watermark = self.watermark.max(span.1 + lateness);
            closed.push((device.to_owned(), span, readings));
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// Of this device, so long before it arrives, so long after the one before; and the number that
    /// its values are made of.
    Reading {
        device: u8,
        age: i64,
        after: i64,
        seed: i32,
    },
    /// So often the clock is told the time, each so many quarters of a second later.
    Wait {
        ticks: u8,
        quarters: i64,
    },
    Stop,
    /// The state is written, with the position.
    Checkpoint,
    /// Back to the last checkpoint, and so many quarters of a second without power.
    Crash {
        off: i64,
    },
}

/// Ages and pauses are in units: a quarter of a second, or half an hour where windows are days.
fn event(unit: i64) -> impl Strategy<Value = Event> {
    let age = prop_oneof![
        10 => 0_i64..20,
        3 => 0_i64..200,
        1 => -30_i64..0,
        // Around where a reading is too far ahead, and far beyond.
        1 => -600_i64..-100,
        1 => Just(-100_000_i64),
    ];
    let reading = (0_u8..4, age, 0_i64..12, -50_i32..50);
    prop_oneof![
        30 => reading.prop_map(move |(device, age, after, seed)| Event::Reading {
            device,
            age: age * unit,
            after: after * unit,
            seed,
        }),
        6 => (1_u8..60, 1_i64..=4).prop_map(|(ticks, quarters)| Event::Wait { ticks, quarters }),
        1 => Just(Event::Stop),
        2 => Just(Event::Checkpoint),
        1 => (0_i64..400).prop_map(|off| Event::Crash { off }),
    ]
}

/// Numbers of every type, a boolean and a text, each now and then.
fn fields(seed: i32) -> Vec<(&'static str, Value)> {
    let number = i64::from(seed);
    let mut fields = vec![("t", Value::Float(f64::from(seed) + 0.1))];
    match seed.rem_euclid(3) {
        0 => fields.push(("n", Value::Signed(number))),
        1 => fields.push(("n", Value::Unsigned(number.unsigned_abs()))),
        _ => {}
    }
    if seed % 2 == 0 {
        fields.push(("ok", Value::Boolean(seed % 4 == 0)));
        fields.push(("state", Value::Text(format!("s{seed}"))));
    }
    fields
}

struct Run {
    settings: Settings,
    rig: Rig,
    model: Model,
    now: i64,
    journal: Vec<(Reading, i64)>,
    /// How many readings are in the state, the state, and what the model knew then.
    saved: (usize, Vec<u8>, Model),
    came_out: usize,
}

impl Run {
    fn new(window: window::Settings, division: Division, began: i64) -> Self {
        let lateness = i64::try_from(window.lateness.as_nanos()).unwrap();
        let model = Model::new(division, lateness);
        let settings = only_windows(window);
        Self {
            rig: Rig::new(settings.clone()),
            settings,
            saved: (0, Vec::new(), model.clone()),
            model,
            now: began,
            journal: Vec::new(),
            came_out: 0,
        }
    }

    fn happen(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Reading { device, age, after, seed } => {
                self.now += after;
                let device = format!("d{device}");
                let reading = reading(&device, self.now - age, &fields(*seed));
                self.journal.push((reading, self.now));
                self.take(self.journal.len() - 1)
            }
            Event::Wait { ticks, quarters } => (0..*ticks).try_for_each(|_| {
                self.now += quarters * QUARTER;
                self.rig.tick(self.now);
                self.model.tick(self.now);
                self.compare()
            }),
            Event::Stop => {
                let state = self.rig.process.snapshot();
                self.rig.process = Process::restore(self.settings.clone(), &state).unwrap();
                prop_assert_eq!(self.rig.process.snapshot().len(), state.len());
                self.model.restart();
                Ok(())
            }
            Event::Checkpoint => {
                let state = self.rig.process.snapshot();
                self.saved = (self.journal.len(), state, self.model.clone());
                Ok(())
            }
            Event::Crash { off } => {
                self.now += off * QUARTER;
                let (from, state, model) = self.saved.clone();
                self.rig.process = Process::restore(self.settings.clone(), &state).unwrap();
                self.model = model;
                self.model.restart();
                (from..self.journal.len()).try_for_each(|n| self.take(n))
            }
        }
    }

    fn take(&mut self, n: usize) -> Result<(), TestCaseError> {
        let (reading, arrival) = &self.journal[n];
        let verdict = self.rig.apply(reading, *arrival);
        let is_taken = self.model.take(reading, *arrival);
        let expected = if is_taken { Verdict::Absorbed } else { Verdict::Pass };
        prop_assert_eq!(verdict, expected, "{:?} at {}", reading, arrival);
        self.compare()
    }

    /// What came out by now is what the model has closed.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        let stamp = self.settings.windows[0].stamp;
        let mut wanted: BTreeMap<_, _> = std::mem::take(&mut self.model.closed)
            .into_iter()
            .map(|(device, (start, end), readings)| {
                ((device, if stamp == Stamp::Start { start } else { end }), readings)
            })
            .collect();
        for point in self.rig.points.drain(..) {
            let at = point.time.timestamp().unwrap().nanos();
            let readings = wanted.remove(&(point.tags[0].1.clone(), at));
            prop_assert!(readings.is_some(), "{:?} is not closed in the model", point);
            is_the_point_of(&point, &readings.unwrap())?;
            self.came_out += 1;
        }
        prop_assert!(wanted.is_empty(), "did not come out: {:?}", wanted);
        let open: usize = self.model.series.values().map(|series| series.open.len()).sum();
        prop_assert_eq!(self.rig.process.size().1, open);
        let held = self.model.series.values().flat_map(|series| series.open.values());
        prop_assert_eq!(self.rig.process.held(), held.map(Vec::len).sum::<usize>() as u64);
        Ok(())
    }

    /// Until silence has closed everything.
    fn fall_silent(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..1_000 {
            if self.rig.process.size().1 == 0 {
                return Ok(());
            }
            self.happen(&Event::Wait { ticks: 1, quarters: 4 })?;
        }
        prop_assert!(false, "windows stay open");
        Ok(())
    }
}

/// All fields of all functions, no more and no less.
fn is_the_point_of(point: &Reading, readings: &[Reading]) -> Result<(), TestCaseError> {
    let mut values: BTreeMap<&str, Vec<(i64, Value)>> = BTreeMap::new();
    for reading in readings {
        let at = reading.time.timestamp().unwrap().nanos();
        for (name, value) in &reading.fields {
            values.entry(name).or_default().push((at, value.clone()));
        }
    }
    let mut found: BTreeMap<_, _> = point.fields.iter().cloned().collect();
    prop_assert_eq!(found.len(), point.fields.len(), "a field twice in {:?}", point);
    for (name, values) in values {
        for function in Function::ALL {
            let field = format!("{name}_{}", function.name());
            let (found, wanted) = (found.remove(&field), said(&values, function));
            if let (Some(Value::Float(found)), Some(Value::Float(wanted))) = (&found, &wanted) {
                prop_assert!(close(*found, *wanted), "{}: {} {}", field, found, wanted);
            } else {
                prop_assert_eq!(&found, &wanted, "{} of {:?}", field, point);
            }
        }
    }
    prop_assert!(found.is_empty(), "nobody asked for {:?}", found);
    Ok(())
}

/// What a function says of values in the order in which they came.
fn said(values: &[(i64, Value)], function: Function) -> Option<Value> {
    match function {
        Function::Count => i64::try_from(values.len()).ok().map(Value::Signed),
        Function::First => values.iter().min_by_key(|(at, _)| *at).map(|(_, it)| it.clone()),
        Function::Last => values.iter().max_by_key(|(at, _)| *at).map(|(_, it)| it.clone()),
        _ => {
            let numbers = values.iter().filter_map(|(at, it)| Some((*at, it.borrow().as_f64()?)));
            let numbers: Vec<_> = numbers.collect();
            if numbers.is_empty() { None } else { naive(&numbers, function).map(Value::Float) }
        }
    }
}

fn any_stamp() -> impl Strategy<Value = Stamp> {
    prop::sample::select(vec![Stamp::Start, Stamp::End])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_out_is_what_the_model_closes(
        every in prop_oneof![1_i64..15, prop::sample::select(vec![20_i64, 60])],
        lateness in prop_oneof![0_u64..12, 0_u64..90],
        stamp in any_stamp(),
        events in prop::collection::vec(event(QUARTER), 1..150),
    ) {
        let every_s = every.unsigned_abs();
        let window = window::Settings { stamp, ..windows(every_s, lateness, &Function::ALL) };
        let mut run = Run::new(window, Division::Seconds(every), NOON);
        events.iter().try_for_each(|event| run.happen(event))?;
        run.fall_silent()?;
    }

    #[test]
    fn local_days_come_out_where_clocks_change(
        began in prop::sample::select(vec![MARCH, OCTOBER]),
        days in 1_i64..3,
        lateness_h in 0_u64..30,
        stamp in any_stamp(),
        events in prop::collection::vec(event(HOUR / 2), 1..150),
    ) {
        let division = Division::Days(days);
        let lateness = Duration::from_hours(lateness_h);
        let every = division.every();
        let window = window::Settings { every, lateness, stamp, ..windows(1, 0, &Function::ALL) };
        let mut run = Run::new(window, division, began);
        events.iter().try_for_each(|event| run.happen(event))?;
        // A week later everything has its point, but for the last window of each device.
        for device in 0..4 {
            let after = if device == 0 { 7 * 24 * HOUR } else { 0 };
            run.happen(&Event::Reading { device, age: 0, after, seed: 1 })?;
        }
        prop_assert_eq!(run.rig.process.size().1, 4, "of {} that came out", run.came_out);
    }
}

/// The 23 and the 25 hours, reading by reading: one in each hour of four days.
#[test]
fn the_days_when_clocks_change_have_23_and_25_readings() {
    for (began, counts) in [(MARCH, [12, 23, 24]), (OCTOBER, [12, 25, 24])] {
        let every = Division::Days(1).every();
        let window = window::Settings { every, ..windows(1, 0, &[Function::Count]) };
        let mut rig = Rig::new(only_windows(window));
        for hour in 0..4 * 24 {
            let at = began + hour * HOUR;
            assert_eq!(rig.apply(&number("a", at, 1.0), at), Verdict::Absorbed);
        }
        let table: Vec<_> = rig.table("t_count").into_values().take(3).collect();
        assert_eq!(table, counts.map(Value::Signed));
    }
}
