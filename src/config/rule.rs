//! `[[rule]]`: topic to measurement, tags, fields.

use proto::Precision;

use super::table::Table;
use crate::intake::Format;
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
const PRECISIONS: &[(&str, Precision)] = &[
    ("s", Precision::Seconds),
    ("ms", Precision::Milliseconds),
    ("us", Precision::Microseconds),
    ("ns", Precision::Nanoseconds),
];

pub(super) fn routes(tables: Vec<Table<'_>>) -> Routes {
    let rules = tables.iter().map(rule).collect();
    let routes = Routes::compile(rules).unwrap_or_else(|errors| {
        for error in errors {
            let Some(table) = tables.get(error.rule) else { continue };
            match error.part {
                // That it is missing was said already.
                Part::Topic(_) if !table.has("topic") => {}
                Part::Topic(at) => table.wrong_inside("topic", at, error.what),
                Part::Measurement => table.wrong("measurement", error.what),
                Part::Tag(name) => table.table("tags").wrong(&name, error.what),
            }
        }
        Routes::default()
    });
    tables.into_iter().for_each(Table::done);
    routes
}

fn rule(table: &Table<'_>) -> Rule {
    let topic = table.opt_text("topic");
    table.missing("topic", "write for example topic = \"garden/{device}/{field}\"");
    let mut drop = false;
    table.flag("drop", &mut drop);
    let rule = Rule {
        topic: topic.unwrap_or_default(),
        measurement: table.opt_text("measurement"),
        tags: table.table("tags").pairs(),
        format: table.choice("format", FORMATS).unwrap_or_default(),
        precision: table.choice("precision", PRECISIONS),
        drop,
    };
    if drop {
        for key in ["measurement", "tags", "format", "precision"] {
            if table.has(key) {
                table.wrong(
                    key,
                    format!("a rule with `drop = true` stores nothing, so `{key}` has no use"),
                );
            }
        }
    }
    rule
}
