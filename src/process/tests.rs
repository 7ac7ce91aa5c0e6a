//! The steps in their order, and windows against a naive model.

mod filters;
mod life;
mod model;
mod state;
mod steps;

use std::collections::BTreeMap;

use proto::{Limits, Reading, Readings, Time, Timestamp, Value, frame::Cursor};

use super::glob::Globs;
use super::window::{Every, Function, Stamp};
use super::*;

pub(super) const S: i64 = 1_000_000_000;
/// A round moment for every window in these tests.
pub(super) const NOON: i64 = 1_700_006_400 * S;

pub(super) fn windows(every_s: u64, lateness_s: u64, functions: &[Function]) -> window::Settings {
    window::Settings {
        measurements: Globs::default(),
        every: Every::Duration(Duration::from_secs(every_s)),
        lateness: Duration::from_secs(lateness_s),
        functions: functions.to_vec(),
        keep_raw: false,
        stamp: Stamp::Start,
        into: None,
    }
}

pub(super) fn only_windows(settings: window::Settings) -> Settings {
    Settings { windows: vec![settings], ..Settings::default() }
}

pub(super) fn reading(device: &str, at: i64, fields: &[(&str, Value)]) -> Reading {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    Reading {
        measurement: "m".to_owned(),
        tags: vec![("device".to_owned(), device.to_owned())],
        fields: fields.collect(),
        time: Time::At(Timestamp::from_nanos(at)),
    }
}

pub(super) fn number(device: &str, at: i64, value: f64) -> Reading {
    reading(device, at, &[("t", Value::Float(value))])
}

/// A process, and all that came out of it.
pub(super) struct Rig {
    pub(super) process: Process,
    pub(super) out: Kept,
    pub(super) points: Vec<Reading>,
}

impl Rig {
    pub(super) fn new(settings: Settings) -> Self {
        Self::of(Process::new(settings))
    }

    pub(super) fn of(process: Process) -> Self {
        Self { process, out: Kept::default(), points: Vec::new() }
    }

    pub(super) fn apply(&mut self, reading: &Reading, arrival: i64) -> Verdict {
        let mut encoder = Readings::new(Limits::default());
        encoder.begin();
        let arrival = Timestamp::from_nanos(arrival);
        reading.with_ref(|it| encoder.push(&it, arrival)).unwrap();
        let mut cursor = Cursor::new(encoder.bytes());
        let verdict = self.process.apply(&cursor.next().unwrap().unwrap(), arrival, &mut self.out);
        self.collect();
        verdict
    }

    /// What is left of a reading that was changed.
    pub(super) fn left(&self, verdict: Verdict) -> Vec<String> {
        let Verdict::Changed { at } = verdict else { panic!("{verdict:?}") };
        let mut cursor = Cursor::new(&self.out.bytes[at..]);
        let reading = cursor.next().unwrap().unwrap();
        reading.fields.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    pub(super) fn tick(&mut self, now: i64) {
        self.process.tick(Timestamp::from_nanos(now), &mut self.out);
        self.collect();
    }

    /// Lets so much time pass at the journal's head.
    pub(super) fn wait(&mut self, from: i64, length: i64) -> i64 {
        let mut now = from;
        while now < from + length {
            let step = self.process.due_in().unwrap_or(Duration::from_secs(1));
            now += i64::try_from(step.as_nanos()).unwrap().clamp(1_000_000, S);
            self.tick(now);
        }
        now
    }

    fn collect(&mut self) {
        for at in std::mem::take(&mut self.out.emitted) {
            let mut cursor = Cursor::new(&self.out.bytes[at..]);
            self.points.push(cursor.next().unwrap().unwrap().to_reading());
        }
    }

    /// The points as line protocol, in order of their text.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.points.iter().map(line).collect();
        lines.sort();
        lines
    }

    /// Of each (device, window) one field, the last that was written.
    pub(super) fn table(&self, field: &str) -> BTreeMap<(String, i64), Value> {
        let cell = |point: &Reading| {
            let at = point.time.timestamp().unwrap().nanos();
            let value = point.fields.iter().find(|(name, _)| name == field)?.1.clone();
            Some(((point.tags[0].1.clone(), at), value))
        };
        self.points.iter().filter_map(cell).collect()
    }
}

pub(super) fn line(reading: &Reading) -> String {
    let mut line = Vec::new();
    reading.with_ref(|it| proto::line::write(&it, &mut line)).unwrap();
    String::from_utf8(line).unwrap().trim().to_owned()
}
