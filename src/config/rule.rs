//! `[[rule]]`: topic to measurement, tags, fields.

use std::time::Duration;

use proto::{Precision, TimeLimits, WhenBeyond};

use super::mapping;
use super::table::Table;
use crate::intake::Format;
use crate::intake::presets::Below;
use crate::intake::route::{Part, Routes, Rule};

const FORMATS: &[(&str, Format)] = &[
    ("auto", Format::Auto),
    ("json", Format::Json),
    ("cbor", Format::Cbor),
    ("msgpack", Format::MessagePack),
    ("senml", Format::Senml),
    ("sparkplug", Format::Sparkplug),
    ("plain", Format::Plain),
    ("line", Format::Line),
    ("frame", Format::Frame),
];
const TIMES: &[&str] = &["past_max", "past", "future_max", "future"];
const PRECISIONS: &[(&str, Precision)] = &[
    ("s", Precision::Seconds),
    ("ms", Precision::Milliseconds),
    ("us", Precision::Microseconds),
    ("ns", Precision::Nanoseconds),
];

pub(super) fn routes(tables: Vec<Table<'_>>, times: TimeLimits, presets: &[Below]) -> Routes {
    let rules = tables.iter().map(|table| rule(table, times)).collect();
    let routes = Routes::with_presets_below(rules, presets).unwrap_or_else(|errors| {
        for error in errors {
            let Some(table) = tables.get(error.rule) else { continue };
            match error.part {
                // That it is missing was said already.
                Part::Topic(_) if !table.has("topic") => {}
                Part::Topic(at) => table.wrong_inside("topic", at, error.what),
                Part::Measurement => table.wrong("measurement", error.what),
                Part::Tag(name) => table.table("tags").wrong(&name, error.what),
                Part::TagFrom(name) => table.table("tags_from").wrong(&name, error.what),
                Part::Split => table.wrong("split", error.what),
            }
        }
        Routes::default()
    });
    tables.into_iter().for_each(Table::done);
    routes
}

/// What a table says of `TimeLimits`; what it does not say stays.
pub(super) fn time_limits(table: &Table<'_>, times: &mut TimeLimits) {
    const CENTURY: Duration = Duration::from_hours(24 * 36_525);
    let words =
        [("keep", WhenBeyond::Keep), ("stamp", WhenBeyond::Stamp), ("reject", WhenBeyond::Reject)];
    table.duration("past_max", Duration::from_secs(1)..=CENTURY, &mut times.past_max);
    times.past = table.choice("past", &words).unwrap_or(times.past);
    table.duration("future_max", Duration::from_secs(1)..=CENTURY, &mut times.future_max);
    times.future = table.choice("future", &words).unwrap_or(times.future);
}

fn rule(table: &Table<'_>, mut times: TimeLimits) -> Rule {
    let topic = table.opt_text("topic");
    table.missing("topic", "write for example topic = \"garden/{device}/{field}\"");
    let mut drop = false;
    if !mapping::is_list(table, "drop") {
        table.flag("drop", &mut drop);
    }
    time_limits(table, &mut times);
    let has_own = TIMES.iter().any(|key| table.has(key));
    let rule = Rule {
        times: has_own.then_some(times),
        topic: topic.unwrap_or_default(),
        measurement: table.opt_text("measurement"),
        tags: table.table("tags").pairs(),
        format: table.choice("format", FORMATS).unwrap_or_default(),
        precision: table.choice("precision", PRECISIONS),
        drop,
        mapping: mapping::mapping(table),
        preset: None,
    };
    if drop {
        let own = ["measurement", "tags", "format", "precision"];
        for key in own.iter().chain(TIMES).chain(&mapping::KEYS) {
            if table.has(key) && *key != "drop" {
                table.wrong(
                    key,
                    format!("a rule with `drop = true` stores nothing, so `{key}` has no use"),
                );
            }
        }
    }
    rule
}
