//! What is done to an output's readings before they leave: `[output.select]`, `[output.dedup]`,
//! `[[output.deadband]]`, `[[output.window]]`.

use std::time::Duration;

use jiff::tz::TimeZone;
use toml::Spanned;
use toml::de::DeValue;

use super::nearest::nearest;
use super::table::Table;
use super::value::{article, list, text};
use crate::process;
use crate::process::deadband;
use crate::process::dedup;
use crate::process::glob::{Glob, Globs};
use crate::process::select;
use crate::process::window;
use crate::process::window::{Every, Function, Stamp};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);
const PATTERNS: &str = "write a pattern such as \"climate*\", or a list of patterns";

pub(super) fn steps(output: &Table<'_>) -> process::Settings {
    let mut settings = process::Settings {
        select: select(output.table("select")),
        dedup: dedup(output.table("dedup")),
        deadbands: output.tables("deadband").into_iter().map(deadband).collect(),
        windows: output.tables("window").into_iter().filter_map(window).collect(),
        ..process::Settings::default()
    };
    // The position's file, which holds it, has a limit.
    output.bytes("state_bytes_max", 64 * KIB..=48 * MIB, &mut settings.state_bytes_max);
    settings
}

fn select(table: Table<'_>) -> Option<select::Settings> {
    let tags = table.table("tags").pairs().into_iter();
    let settings = select::Settings {
        measurements: patterns(&table, "measurement"),
        tags: tags.map(|(tag, pattern)| (tag, Glob::new(&pattern))).collect(),
        fields: patterns(&table, "field"),
    };
    let is_there = table.is_there();
    table.done();
    is_there.then_some(settings)
}

fn dedup(table: Table<'_>) -> Option<dedup::Settings> {
    let mut settings = dedup::Settings::default();
    table.count("readings_max", 1..=1_000_000, &mut settings.readings_max);
    let is_there = table.is_there();
    table.done();
    is_there.then_some(settings)
}

fn deadband(table: Table<'_>) -> deadband::Settings {
    let mut silence = Duration::ZERO;
    table.duration("max_silence", SECOND..=365 * DAY, &mut silence);
    let settings = deadband::Settings {
        measurements: patterns(&table, "measurement"),
        fields: patterns(&table, "field"),
        absolute: number(&table, "absolute").unwrap_or(0.0),
        percent: number(&table, "percent").unwrap_or(0.0),
        max_silence: (!silence.is_zero()).then_some(silence),
    };
    table.done();
    settings
}

fn window(table: Table<'_>) -> Option<window::Settings> {
    table.missing("every", "how long a window is, for example every = \"10s\"");
    let mut length = Duration::ZERO;
    table.duration("every", SECOND..=400 * DAY, &mut length);
    let every = every(&table, length);
    let mut lateness = Duration::from_secs(10);
    table.duration("lateness", Duration::ZERO..=7 * DAY, &mut lateness);
    let functions = functions(&table);
    let raw = table.choice("raw", &[("drop", false), ("keep", true)]);
    let stamp = table.choice("time", &[("start", Stamp::Start), ("end", Stamp::End)]);
    let settings = window::Settings {
        measurements: patterns(&table, "measurement"),
        every: every.unwrap_or(Every::Duration(SECOND)),
        lateness,
        functions: functions.unwrap_or_default(),
        keep_raw: raw.unwrap_or(false),
        stamp: stamp.unwrap_or_default(),
        into: into(&table),
    };
    let is_whole = !length.is_zero() && !settings.functions.is_empty();
    table.done();
    is_whole.then_some(settings)
}

fn every(table: &Table<'_>, length: Duration) -> Option<Every> {
    let zone = table.read("time_zone", |value| {
        let name = text(value)?;
        TimeZone::get(&name).map_err(|_| {
            format!(
                "`{name}` is no time zone that this machine knows; for example \"Europe/Berlin\""
            )
        })
    });
    let days = u32::try_from(length.as_secs() / DAY.as_secs()).ok()?;
    match zone {
        None => Some(Every::Duration(length)),
        Some(zone) if days > 0 && DAY * days == length => Some(Every::LocalDays { days, zone }),
        Some(_) => {
            let text = "`time_zone` is for windows of whole days; write for example every = \"1d\"";
            table.wrong("time_zone", text);
            None
        }
    }
}

fn functions(table: &Table<'_>) -> Option<Vec<Function>> {
    let names = Function::ALL.map(Function::name);
    table.missing("functions", format!("some of {}", list(&names)));
    let mut functions = Vec::new();
    for (typed, at) in table.texts("functions")? {
        let found = Function::ALL.into_iter().find(|function| function.name() == typed);
        match found {
            Some(function) if functions.contains(&function) => {
                table.problem_at(at, format!("`{typed}` is given twice"));
            }
            Some(function) => functions.push(function),
            None => {
                let hint = match nearest(&typed, &names) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("it is one of {}", list(&names)),
                };
                table.problem_at(at, format!("`{typed}` is not known; {hint}"));
            }
        }
    }
    if functions.is_empty() {
        table.wrong("functions", format!("`functions` must have some of {}", list(&names)));
    }
    Some(functions)
}

/// The measurement of a window's points.
fn into(table: &Table<'_>) -> Option<String> {
    table.read("into", |value| {
        let name = text(value)?;
        let is_odd = |c: char| c.is_control() || c == '\\';
        if name.is_empty() || name.starts_with('#') || name.contains(is_odd) {
            let advice = "write a name such as \"{measurement}_10s\"";
            return Err(format!("`{}` is no measurement; {advice}", name.escape_debug()));
        }
        Ok(name)
    })
}

/// One pattern, or several.
fn patterns(table: &Table<'_>, key: &'static str) -> Globs {
    let read = table.read(key, |value| match value {
        DeValue::String(pattern) => Ok(Globs::new([&**pattern])),
        DeValue::Array(items) => {
            let one = |item: &Spanned<DeValue<'_>>| text(item.get_ref());
            let patterns: Vec<_> = items.iter().map(one).collect::<Result<_, _>>()?;
            Ok(Globs::new(patterns.iter().map(String::as_str)))
        }
        other => Err(format!("{PATTERNS}, not {}", article(other))),
    });
    read.unwrap_or_default()
}

/// Not negative, and finite.
fn number(table: &Table<'_>, key: &'static str) -> Option<f64> {
    table.read(key, |value| {
        let number = match value {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            other => return Err(format!("expected a number, found {}", article(other))),
        };
        number
            .filter(|number| number.is_finite() && *number >= 0.0)
            .ok_or_else(|| "expected a number from 0 on".to_owned())
    })
}
