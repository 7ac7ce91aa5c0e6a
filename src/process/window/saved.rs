//! Windows as bytes, and back, also when the configuration is another by then.
//!
//! ```text
//! clock z   floor z   no room until z
//! settings v, for each:  patterns v, each s   every s   lateness v   functions v, each a byte
//!                        stamp byte   into 0 | 1 s
//! series v, for each:    settings v   key s   watermark z   silent v
//!                        fields v, each s
//!                        windows v, each: start z  end z  closed to fields byte  absorbed v
//!                                           cells v, each: field v  cell
//! ```
//! Windows whose measurements and division of time are configured as before go on, under what else is
//! configured now. Others are retired: no reading comes to them, and they close by silence as they
//! would have.

use std::time::Duration;

use jiff::tz::TimeZone;
use proto::frame;

use super::cell::Cell;
use super::series::{Names, Series, Window};
use super::{Clock, Every, Function, Globs, Settings, Span, Stamp, Windows};
use crate::process::budget::Budget;
use crate::process::bytes::{Input, StateError, put_len, put_s, put_v, put_z};

impl Windows {
    pub(in crate::process) fn put(&self, out: &mut Vec<u8>) {
        let run = self.clock.run();
        for number in [run, self.floor, self.no_room_until] {
            put_z(number, out);
        }
        put_len(self.settings.len() + self.retired.len(), out);
        for settings in self.settings.iter().chain(self.retired.iter().map(|(it, ..)| it)) {
            put_settings(settings, out);
        }
        put_len(self.series.len() + self.retired.len(), out);
        for (key, series) in &self.series {
            put_series(usize::from(series.rule), key, series, run, out);
        }
        for (rule, (_, key, series)) in (self.settings.len()..).zip(&self.retired) {
            put_series(rule, key, series, run, out);
        }
    }

    pub(in crate::process) fn get(
        settings: Vec<Settings>,
        input: &mut Input<'_>,
        budget: &mut Budget,
    ) -> Result<Self, StateError> {
        let mut windows = Self::new(settings);
        windows.clock = Clock::at(input.z()?);
        (windows.floor, windows.no_room_until) = (input.z()?, input.z()?);
        (windows.since, windows.due) = (windows.clock.run(), windows.clock.run());
        let mut stored = Vec::new();
        for _ in 0..input.len()? {
            stored.push(get_settings(input)?);
        }
        for _ in 0..input.len()? {
            let former = stored.get(input.small::<usize>()?).ok_or(StateError::Damaged)?;
            let key: Box<[u8]> = input.s()?.into();
            let run = windows.clock.run();
            let series = get_series(input, run, &mut windows.names)?;
            windows.put_back(former, key, series, budget)?;
        }
        Ok(windows)
    }

    fn put_back(
        &mut self,
        former: &Settings,
        key: Box<[u8]>,
        mut series: Series,
        budget: &mut Budget,
    ) -> Result<(), StateError> {
        self.open += series.open.len();
        let measurement = frame::measurement_of(&key).map_err(|_| StateError::Damaged)?;
        let is_free = !self.series.contains_key(&key);
        let follows = |(_, now): &(u16, &Settings)| is_free && now.follows(former);
        if let Some((rule, settings)) = self.rule(measurement).filter(follows) {
            series.rule = rule;
            // What was closed stays closed.
            let more = settings.lateness().saturating_sub(former.lateness());
            series.watermark = series.watermark.saturating_add(more);
            budget.take_anyway(series.bytes(&key));
            self.series.insert(key, series);
        } else if !series.open.is_empty() {
            budget.take_anyway(series.bytes(&key));
            self.retired.push((former.clone(), key, series));
        }
        Ok(())
    }
}

impl Settings {
    /// Whether windows that were begun under other settings can go on under these.
    fn follows(&self, former: &Self) -> bool {
        self.measurements == former.measurements && self.every == former.every
    }
}

fn put_settings(settings: &Settings, out: &mut Vec<u8>) {
    let patterns: Vec<String> = settings.measurements.patterns().collect();
    put_len(patterns.len(), out);
    for pattern in &patterns {
        put_s(pattern.as_bytes(), out);
    }
    put_s(every_text(&settings.every).as_bytes(), out);
    put_v(settings.lateness().unsigned_abs(), out);
    put_len(settings.functions.len(), out);
    for function in &settings.functions {
        put_s(function.name().as_bytes(), out);
    }
    out.push(u8::from(settings.stamp == Stamp::End));
    out.push(u8::from(settings.into.is_some()));
    if let Some(into) = &settings.into {
        put_s(into.as_bytes(), out);
    }
}

fn get_settings(input: &mut Input<'_>) -> Result<Settings, StateError> {
    let mut patterns = Vec::new();
    for _ in 0..input.len()? {
        patterns.push(input.text()?);
    }
    let every = get_every(input.text()?)?;
    let lateness = Duration::from_nanos(input.v()?);
    let mut functions = Vec::new();
    for _ in 0..input.len()? {
        let name = input.text()?;
        let function = Function::ALL.into_iter().find(|function| function.name() == name);
        functions.push(function.ok_or(StateError::Damaged)?);
    }
    let stamp = if input.byte()? == 0 { Stamp::Start } else { Stamp::End };
    let into = if input.byte()? == 0 { None } else { Some(input.text()?.to_owned()) };
    let measurements = Globs::new(patterns);
    Ok(Settings { measurements, every, lateness, functions, keep_raw: false, stamp, into })
}

fn every_text(every: &Every) -> String {
    match every {
        Every::Duration(every) => format!("{}ns", every.as_nanos()),
        Every::LocalDays { days, zone } => {
            format!("{days}d {}", zone.iana_name().unwrap_or("UTC"))
        }
    }
}

fn get_every(text: &str) -> Result<Every, StateError> {
    if let Some(nanos) = text.strip_suffix("ns") {
        let nanos = nanos.parse().map_err(|_| StateError::Damaged)?;
        return Ok(Every::Duration(Duration::from_nanos(nanos)));
    }
    let (days, zone) = text.split_once("d ").ok_or(StateError::Damaged)?;
    let days = days.parse().map_err(|_| StateError::Damaged)?;
    // Retired windows know where they end. A zone that is gone is not the one that is configured.
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::unknown());
    Ok(Every::LocalDays { days, zone })
}

fn put_series(rule: usize, key: &[u8], series: &Series, run: i64, out: &mut Vec<u8>) {
    put_len(rule, out);
    put_s(key, out);
    put_z(series.watermark, out);
    put_v(run.saturating_sub(series.heard).max(0).unsigned_abs(), out);
    put_len(series.fields.len(), out);
    for field in &series.fields {
        put_s(field.as_bytes(), out);
    }
    put_len(series.open.len(), out);
    for window in &series.open {
        put_z(window.span.start, out);
        put_z(window.span.end, out);
        out.push(u8::from(window.is_closed_to_fields));
        put_v(window.absorbed, out);
        put_len(window.cells.len(), out);
        for (field, cell) in &window.cells {
            put_v(u64::from(*field), out);
            cell.put(out);
        }
    }
}

fn get_series(input: &mut Input<'_>, run: i64, names: &mut Names) -> Result<Series, StateError> {
    let watermark = input.z()?;
    let silent = i64::try_from(input.v()?).map_err(|_| StateError::Damaged)?;
    let mut series = Series::new(0, watermark, run.saturating_sub(silent));
    for _ in 0..input.len()? {
        series.fields.push(names.get(input.text()?));
    }
    for _ in 0..input.len()? {
        let window = get_window(input, series.fields.len())?;
        let follows = |last: &Window| last.span.end <= window.span.start;
        if !series.open.last().is_none_or(follows) || window.cells.is_empty() {
            return Err(StateError::Damaged);
        }
        series.open.push(window);
    }
    series.fields.shrink_to_fit();
    series.open.shrink_to_fit();
    Ok(series)
}

fn get_window(input: &mut Input<'_>, fields: usize) -> Result<Window, StateError> {
    let span = Span { start: input.z()?, end: input.z()? };
    let is_closed_to_fields = input.byte()? != 0;
    let absorbed = input.v()?;
    let cells = (0..input.len()?).map(|_| {
        let field: u16 = input.small()?;
        let known = usize::from(field) < fields;
        Ok((field, known.then(|| Cell::get(input)).ok_or(StateError::Damaged)??))
    });
    let cells: Vec<_> = cells.collect::<Result<_, StateError>>()?;
    if span.start < span.end {
        Ok(Window { span, cells, is_closed_to_fields, absorbed })
    } else {
        Err(StateError::Damaged)
    }
}
