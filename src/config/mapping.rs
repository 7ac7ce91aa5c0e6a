//! What a `[[rule]]` says about the inside of a payload: paths, fields, time.

use proto::{
    Mapping,
    mapping::{Case, FieldType, Fields, Glob, Path, Scale},
};
use toml::de::DeValue;

use super::nearest::nearest;
use super::table::Table;
use super::value::{article, list, text};
use crate::intake::route::{field_name_problem, zone};

const TYPES: &[(&str, FieldType)] = &[
    ("float", FieldType::Float),
    ("integer", FieldType::Integer),
    ("unsigned", FieldType::Unsigned),
    ("boolean", FieldType::Boolean),
    ("text", FieldType::Text),
];

/// All keys of a rule that are read here.
pub(super) const KEYS: [&str; 13] = [
    "select",
    "split",
    "tags_from",
    "fields_from",
    "time",
    "time_zone",
    "only",
    "rename",
    "scale",
    "offset",
    "type",
    "on_off",
    "drop",
];

/// `None`: the rule says nothing of the kind.
pub(super) fn mapping(table: &Table<'_>) -> Option<Mapping> {
    let select = table.opt_text("select").map(|select| path(table, "select", &select));
    let case = Case {
        select: select.flatten().unwrap_or_default(),
        measurement: None,
        split: table.opt_text("split"),
        tags: paths(&table.table("tags_from")),
        extra: extra(&table.table("fields_from")),
        times: times(table),
        fields: fields(table),
    };
    let zone = table.read("time_zone", |value| {
        let name = text(value)?;
        zone::named(&name).ok_or_else(|| no_zone(&name))
    });
    let is_there = |key: &str| table.has(key) && (key != "drop" || is_list(table, key));
    let mapping = Mapping { cases: vec![case], zone, ..Mapping::default() };
    KEYS.into_iter().any(is_there).then_some(mapping)
}

/// `drop = true` is about messages, `drop = ["*_raw"]` about fields.
pub(super) fn is_list(table: &Table<'_>, key: &str) -> bool {
    matches!(table.peek(key), Some(DeValue::Array(_)))
}

fn fields(table: &Table<'_>) -> Fields {
    let mut fields = Fields {
        only: table
            .texts("only")
            .map(|names| names.iter().map(|(name, _)| Glob::new(name)).collect()),
        scale: by_glob(&table.table("scale"), factor),
        offset: by_glob(&table.table("offset"), number),
        types: by_glob(&table.table("type"), field_type),
        rename: renamed(&table.table("rename")),
        ..Fields::default()
    };
    table.flag("on_off", &mut fields.on_off);
    let dropped = if is_list(table, "drop") { table.texts("drop") } else { None };
    for (name, at) in dropped.unwrap_or_default() {
        if !name.starts_with('/') {
            fields.drop.push(Glob::new(&name));
            continue;
        }
        match Path::parse(&name) {
            Ok(path) => fields.drop_paths.push(path),
            Err(error) => table.problem_at(at, error.what),
        }
    }
    fields
}

type Reads<T> = fn(&DeValue<'_>) -> Result<T, String>;

fn by_glob<T>(table: &Table<'_>, meaning: Reads<T>) -> Vec<(Glob, T)> {
    let entries = table.entries(meaning).into_iter();
    entries.map(|(name, value)| (Glob::new(&name), value)).collect()
}

fn renamed(table: &Table<'_>) -> Vec<(String, String)> {
    let names = table.pairs();
    for (at, (from, to)) in names.iter().enumerate() {
        if let Some(problem) = field_name_problem(to) {
            table.wrong(from, problem);
        } else if names.iter().take(at).any(|(_, earlier)| earlier == to) {
            table.wrong(from, format!("two fields cannot both be called `{to}`"));
        }
    }
    names
}

fn extra(table: &Table<'_>) -> Vec<(String, Path)> {
    let extra = paths(table);
    for (name, _) in &extra {
        if let Some(problem) = field_name_problem(name) {
            table.wrong(name, problem);
        }
    }
    extra
}

fn paths(table: &Table<'_>) -> Vec<(String, Path)> {
    table.entries(|value| Path::parse(&text(value)?).map_err(|error| error.what))
}

/// One place, or several of which the first that says a time counts; `[]`: there is none.
fn times(table: &Table<'_>) -> Option<Vec<Path>> {
    if !is_list(table, "time") {
        let place = table.opt_text("time")?;
        return Some(path(table, "time", &place).into_iter().collect());
    }
    let mut paths = Vec::new();
    for (place, at) in table.texts("time").unwrap_or_default() {
        match Path::parse(&place) {
            Ok(path) => paths.push(path),
            Err(error) => table.problem_at(at + 1 + error.at, error.what),
        }
    }
    Some(paths)
}

fn path(table: &Table<'_>, key: &str, typed: &str) -> Option<Path> {
    Path::parse(typed).map_err(|error| table.wrong_inside(key, error.at, error.what)).ok()
}

fn number(value: &DeValue<'_>) -> Result<f64, String> {
    let written = match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|number| i32::try_from(number).ok())
            .map(f64::from),
        other => return Err(format!("expected a number, found {}", article(other))),
    };
    written
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| "no number to reckon with".into())
}

fn factor(value: &DeValue<'_>) -> Result<Scale, String> {
    match number(value)? {
        0.0 => Err("times 0 every value is 0; to leave a field out write it under `drop`".into()),
        factor => Ok(Scale::new(factor)),
    }
}

fn field_type(value: &DeValue<'_>) -> Result<FieldType, String> {
    let typed = text(value)?;
    let names: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
    let found = TYPES.iter().find(|(name, _)| *name == typed).map(|(_, meant)| *meant);
    found.ok_or_else(|| match nearest(&typed, &names) {
        Some(meant) => format!("`{typed}` is no type; did you mean `{meant}`?"),
        None => format!("`{typed}` is no type; it is one of {}", list(&names)),
    })
}

fn no_zone(typed: &str) -> String {
    let names = zone::names();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    match nearest(typed, &names) {
        Some(meant) => format!("`{typed}` is no time zone; did you mean `{meant}`?"),
        None => format!("`{typed}` is no time zone; write one like `Europe/Berlin` or `UTC`"),
    }
}
