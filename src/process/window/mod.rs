//! `window`: readings of one series and one stretch of event time become one point.
//!
//! ```text
//!            lateness
//!  start        end |<---->|
//!   |-- window ---->|      | watermark of the series = max of min(event time, arrival)
//!   r  r    r   r   r  r   ^ here the window closes: one point, fields `<field>_<function>`
//! ```
//! A window closes when the watermark of its series passes `end + lateness`, or when the series has
//! been silent for as long as that would have taken (`clock.rs`). Each series has a watermark of its
//! own: a device whose clock is an hour behind, or that fills in yesterday, is as good as any other.
//!
//! Silence counts from when the output has come to the journal's head: after a crash devices may still
//! come back with what they kept, and a window that is made again is closed by silence no earlier than
//! the first time, so it holds no less.
//!
//! **A window is whole or it is not there.** What comes after its window closed (late), what is
//! further ahead of its arrival than a window and its lateness (early), and what finds no room in the
//! state goes on as it came, counted. When there was no room for one window, no window that begins
//! before that one's end is opened any more: none is begun half way. For the same reason a series
//! that was forgotten to make room leaves its watermark to all that are not known.
//!
//! Memory: `Budget`. Time per reading: one look-up, and a walk over all series at most four times a
//! second of the gateway's clock.

pub(super) mod cell;
mod clock;
mod emit;
pub(super) mod grid;
mod saved;
mod series;

use std::{collections::HashMap, time::Duration};

use proto::{ReadingRef, ValueRef};

pub use self::cell::Function;
use self::clock::Clock;
pub use self::grid::{Every, Span};
use self::series::{Added, Into, Names, Series};
use super::Kept;
use super::budget::Budget;
use super::glob::Globs;
use super::hash::Seeded;

/// The walk over all series comes no more often.
const WALK_EVERY: i64 = 250_000_000;
/// While windows are open the clock must be told the time this often.
const TICK_EVERY: i64 = 1_000_000_000;
/// What a device's clock may be ahead, beside a window and its lateness.
const AHEAD: i64 = 60_000_000_000;
/// Measurements of which it is remembered which window is theirs.
const MATCHED_MAX: usize = 1024;

/// Which point of a window's time is the point's: InfluxQL's `GROUP BY time()` takes the start,
/// Flux's `aggregateWindow` the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamp {
    #[default]
    Start,
    End,
}

/// Of the windows of an output a reading goes into the first whose measurement fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub measurements: Globs,
    pub every: Every,
    pub lateness: Duration,
    pub functions: Vec<Function>,
    /// Whether readings go on as well.
    pub keep_raw: bool,
    pub stamp: Stamp,
    /// The measurement of the points; `{measurement}` stands for the readings'.
    pub into: Option<String>,
}

impl Settings {
    fn lateness(&self) -> i64 {
        i64::try_from(self.lateness.as_nanos()).unwrap_or(i64::MAX)
    }

    fn says_of(&self, value: ValueRef<'_>) -> bool {
        self.functions.iter().any(|function| function.takes(value))
    }

    /// When the watermark is here, the window is closed.
    fn closes_at(&self, end: i64) -> i64 {
        end.saturating_add(self.lateness())
    }

    /// No series' watermark, and no reading, is further ahead of an arrival than this.
    fn ahead_max(&self) -> i64 {
        self.every.length().saturating_add(self.lateness()).saturating_add(AHEAD)
    }
}

#[derive(Debug)]
pub(super) struct Windows {
    settings: Vec<Settings>,
    series: HashMap<Box<[u8]>, Series, Seeded>,
    /// Of windows that are no longer configured: no reading comes to them any more.
    retired: Vec<(Settings, Box<[u8]>, Series)>,
    matched: HashMap<Box<str>, Option<u16>, Seeded>,
    names: Names,
    clock: Clock,
    /// Silence before this does not count.
    since: i64,
    /// The output was not at the journal's head yet.
    is_new: bool,
    /// On the clock: the last walk, and before when no series is due.
    walked: i64,
    due: i64,
    purged: i64,
    /// Where the watermark of an unknown series stands at least.
    floor: i64,
    /// No window that begins before is opened.
    no_room_until: i64,
    /// So many windows are open.
    open: usize,
}

/// What is left to do with a reading's fields: those still in `kept` go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing of it went into a window.
    Nothing,
    /// `keep_raw`: the whole reading is to go on all the same.
    Some { keep_raw: bool },
}

impl Windows {
    pub(super) fn new(settings: Vec<Settings>) -> Self {
        Self {
            settings,
            series: HashMap::default(),
            retired: Vec::new(),
            matched: HashMap::default(),
            names: Names::default(),
            clock: Clock::default(),
            since: 0,
            is_new: true,
            walked: 0,
            due: i64::MAX,
            purged: i64::MIN,
            floor: i64::MIN,
            no_room_until: i64::MIN,
            open: 0,
        }
    }

    /// Without the state of what was done before: windows that may have been closed then are.
    pub(super) fn forget_before(&mut self, arrival: i64) {
        self.floor = self.floor.max(arrival);
        self.no_room_until = self.no_room_until.max(arrival);
    }

    /// Takes the fields of a reading that go into a window out of `kept`.
    pub(super) fn apply(
        &mut self,
        reading: &ReadingRef<'_>,
        timestamp: i64,
        arrival: i64,
        kept: &mut [bool],
        budget: &mut Budget,
        out: &mut Kept,
    ) -> Taken {
        self.advance(arrival, budget, out);
        let Some((rule, settings)) = self.rule(reading.measurement) else { return Taken::Nothing };
        let takes = |(kept, (_, value)): (&bool, &(&str, ValueRef<'_>))| {
            *kept && settings.says_of(*value) && series::is_short(*value)
        };
        if !kept.iter().zip(reading.fields).any(takes) {
            return Taken::Nothing;
        }
        let ahead = timestamp.saturating_sub(arrival);
        let span = settings.every.around(timestamp).filter(|_| ahead <= settings.ahead_max());
        let Some(span) = span else {
            out.counts.early += 1;
            return Taken::Nothing;
        };
        let entry = Entry { rule, span, timestamp, arrival };
        self.enter(&entry, reading, kept, budget, out)
    }

    fn enter(
        &mut self,
        entry: &Entry,
        reading: &ReadingRef<'_>,
        kept: &mut [bool],
        budget: &mut Budget,
        out: &mut Kept,
    ) -> Taken {
        if budget.is_tight() {
            self.purge(budget);
        }
        let Some(settings) = self.settings.get(usize::from(entry.rule)) else {
            return Taken::Nothing;
        };
        let lateness = settings.lateness();
        if self.no_room_until > entry.arrival.saturating_add(settings.ahead_max()) {
            self.no_room_until = entry.span.end; // The gateway's clock was ahead when it was set.
        }
        let may_open = entry.span.start >= self.no_room_until;
        let run = self.clock.run();
        let series = match self.series.get_mut(reading.series) {
            Some(series) => series,
            None if budget.take(series::bytes_of(reading.series)) => {
                let series = Series::new(entry.rule, self.floor, run);
                self.series.entry(reading.series.into()).or_insert(series)
            }
            None => {
                self.refuse(entry.span, out);
                return Taken::Nothing;
            }
        };
        if series.watermark > entry.arrival.saturating_add(settings.ahead_max()) {
            series.set_back(entry, settings);
        }
        series.heard = run;
        let before = series.open.len();
        let added = if settings.closes_at(entry.span.end) <= series.watermark {
            Added::Late
        } else {
            let to = Into { settings, may_open, names: &mut self.names };
            series.add(entry, reading, kept, to, budget)
        };
        series.watermark = series.watermark.max(entry.timestamp.min(entry.arrival));
        if series.open.len() > before {
            self.open += 1;
        }
        while let Some(window) = series.pop_closed(lateness, budget) {
            self.open -= 1;
            emit::emit(settings, reading.series, series, &window, out);
        }
        if let Some(due) = series.due(lateness, self.since) {
            self.due = self.due.min(due);
        }
        let keep_raw = settings.keep_raw;
        self.note(added, entry.span, keep_raw, out)
    }

    fn note(&mut self, added: Added, span: Span, keep_raw: bool, out: &mut Kept) -> Taken {
        match added {
            Added::Late => out.counts.late += 1,
            Added::NoRoom => self.refuse(span, out),
            Added::Partly => out.counts.no_room += 1,
            Added::Whole { left_out } => out.counts.fields_left_out += left_out,
        }
        match added {
            Added::Late | Added::NoRoom => Taken::Nothing,
            Added::Partly | Added::Whole { .. } => Taken::Some { keep_raw },
        }
    }

    /// There was no room for the first reading of a window.
    fn refuse(&mut self, span: Span, out: &mut Kept) {
        out.counts.no_room += 1;
        self.no_room_until = self.no_room_until.max(span.end);
    }

    /// Forgets series that have no window open and have been silent for two windows.
    fn purge(&mut self, budget: &mut Budget) {
        let run = self.clock.run();
        if run.saturating_sub(self.purged) < TICK_EVERY && self.purged != i64::MIN {
            return; // A walk over all of them, not for every reading.
        }
        self.purged = run;
        let (settings, floor) = (&self.settings, &mut self.floor);
        self.series.retain(|key, series| {
            let settings = settings.get(usize::from(series.rule));
            let idle = settings.map_or(0, |it| it.every.length().saturating_add(it.lateness()));
            let silent = run.saturating_sub(series.heard);
            let stays = !series.open.is_empty() || silent < idle.saturating_mul(2);
            if !stays {
                *floor = (*floor).max(series.watermark);
                budget.give_back(series.bytes(key));
            }
            stays
        });
        self.series.shrink_to_fit();
        self.names.purge();
    }

    /// Which windows a measurement's readings go into.
    fn rule(&mut self, measurement: &str) -> Option<(u16, &Settings)> {
        let rule = if let Some(rule) = self.matched.get(measurement) {
            *rule
        } else {
            let mut rules = (0..).zip(&self.settings);
            let rule = rules.find(|(_, it)| it.measurements.fits(measurement));
            let rule = rule.map(|(rule, _)| rule);
            if self.matched.len() >= MATCHED_MAX {
                self.matched.clear();
            }
            self.matched.insert(measurement.into(), rule);
            rule
        }?;
        self.settings.get(usize::from(rule)).map(|settings| (rule, settings))
    }

    /// The output is at the journal's head, and it is so late. Windows of silent series close.
    pub(super) fn tick(&mut self, now: i64, budget: &mut Budget, out: &mut Kept) {
        if std::mem::take(&mut self.is_new) {
            // Nobody listened before: devices may still come back with what they kept.
            self.since = self.clock.run();
            self.due = self.clock.run();
        }
        self.advance(now, budget, out);
    }

    fn advance(&mut self, now: i64, budget: &mut Budget, out: &mut Kept) {
        self.clock.advance(now);
        let run = self.clock.run();
        if !self.is_new && run >= self.due && run.saturating_sub(self.walked) >= WALK_EVERY {
            self.walked = run;
            self.walk(budget, out);
        }
    }

    /// In how much time there is something to do, or the clock wants to be told the time: at once
    /// at first, then `None` while no window is open.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let due = self.due.max(self.walked.saturating_add(WALK_EVERY));
        let wait = due.saturating_sub(self.clock.run()).clamp(0, TICK_EVERY);
        if self.is_new {
            return Some(Duration::ZERO);
        }
        (self.open > 0).then(|| Duration::from_nanos(wait.unsigned_abs()))
    }

    /// Closes the windows of series that have been silent for long enough.
    fn walk(&mut self, budget: &mut Budget, out: &mut Kept) {
        let (run, since) = (self.clock.run(), self.since);
        self.due = i64::MAX;
        let known = self.series.iter_mut().filter_map(|(key, series)| {
            let settings = self.settings.get(usize::from(series.rule))?;
            Some((settings, key, series))
        });
        let retired =
            self.retired.iter_mut().map(|(settings, key, series)| (&*settings, &*key, series));
        for (settings, key, series) in known.chain(retired) {
            let lateness = settings.lateness();
            while series.due(lateness, since).is_some_and(|due| due <= run) {
                series.let_time_pass(settings, since);
                while let Some(window) = series.pop_closed(lateness, budget) {
                    self.open -= 1;
                    emit::emit(settings, key, series, &window, out);
                }
            }
            if let Some(due) = series.due(lateness, since) {
                self.due = self.due.min(due);
            }
        }
        self.retired.retain(|(_, key, series)| {
            let stays = !series.open.is_empty();
            if !stays {
                budget.give_back(series.bytes(key));
            }
            stays
        });
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Readings that ended in windows which are open.
    pub(super) fn held(&self) -> u64 {
        let all = self.series.values().chain(self.retired.iter().map(|(.., series)| series));
        all.flat_map(|series| &series.open).map(|window| window.absorbed).sum()
    }
}

/// A reading on its way into a window.
#[derive(Clone, Copy, Debug)]
struct Entry {
    rule: u16,
    span: Span,
    timestamp: i64,
    arrival: i64,
}
