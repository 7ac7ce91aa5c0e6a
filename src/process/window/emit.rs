//! A closed window becomes a point.

use proto::{Time, Timestamp, ValueRef, frame};

use super::series::{Series, Window};
use super::{Settings, Stamp};
use crate::process::Kept;

/// Most fields' names, with that of the function, are no longer.
const NAME: usize = 20;

/// Nothing comes out if no function has anything to say.
pub(super) fn emit(
    settings: &Settings,
    key: &[u8],
    series: &Series,
    window: &Window,
    out: &mut Kept,
) {
    let results_max = window.cells.len() * settings.functions.len();
    let mut names = String::with_capacity(results_max * NAME);
    let mut results: Vec<(usize, ValueRef<'_>)> = Vec::with_capacity(results_max);
    for (field, cell) in &window.cells {
        let Some(field) = series.fields.get(usize::from(*field)) else { continue };
        for function in &settings.functions {
            if let Some(value) = cell.result(*function) {
                names.push_str(field);
                names.push('_');
                names.push_str(function.name());
                results.push((names.len(), value));
            }
        }
    }
    let mut fields: Vec<(&str, ValueRef<'_>)> = Vec::with_capacity(results.len());
    let mut start = 0;
    for (end, value) in results {
        fields.push((names.get(start..end).unwrap_or_default(), value));
        start = end;
    }
    if fields.is_empty() {
        return;
    }
    let at = match settings.stamp {
        Stamp::Start => window.span.start,
        Stamp::End => window.span.end,
    };
    let time = Time::At(Timestamp::from_nanos(at));
    match renamed(settings, key) {
        None => out.emit(key, time, &fields),
        Some(series) => out.emit(&series, time, &fields),
    }
}

fn renamed(settings: &Settings, key: &[u8]) -> Option<Vec<u8>> {
    let into = settings.into.as_ref()?;
    let measurement = frame::measurement_of(key).ok()?;
    frame::renamed(key, &into.replace("{measurement}", measurement)).ok()
}
