//! The example files: they parse, the defaults they document are the defaults, and no key is left
//! out.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const ALL: &str = include_str!("../../../config/tidegate.toml");

/// Takes the comment sign from lines `<sign>key = value` and `<sign>[table]`.
fn uncomment(text: &str, sign: &str) -> String {
    let is_toml = |rest: &str| {
        let name = rest.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
        rest.starts_with('[') || (name.len() < rest.len() && name.starts_with(" = "))
    };
    let lines = text.lines().map(|line| match line.strip_prefix(sign) {
        Some(rest) if is_toml(rest) => rest,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect::<Vec<_>>().concat()
}

#[test]
fn every_example_file_is_a_good_config() {
    for text in
        [ALL, include_str!("../../../config/dev.toml"), include_str!("../../../config/pi.toml")]
    {
        good(text);
    }
}

#[test]
fn the_defaults_that_are_documented_are_the_defaults() {
    let with_examples = uncomment(ALL, "# ");
    let with_defaults = uncomment(&with_examples, "#");
    assert!(with_defaults.lines().count() == ALL.lines().count());
    let (left_out, spelled_out) = (good(&with_examples), good(&with_defaults));
    assert_eq!(spelled_out.brokers.len() + spelled_out.outputs.len(), 4, "examples are included");
    assert_eq!(format!("{left_out:#?}"), format!("{spelled_out:#?}"));
}

/// What every table takes: it says so when it meets a key that nobody knows.
fn all_keys() -> BTreeMap<String, BTreeSet<String>> {
    let asked: Vec<_> = everything()
        .lines()
        .flat_map(
            |line| if line.starts_with('[') { vec![line, "qqqqqqqq = 1"] } else { vec![line] },
        )
        .map(str::to_owned)
        .collect();
    let mut keys: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for problem in parse(&asked.join("\n")).unwrap_err().problems() {
        // In `[tags]` it is a tag whose value is no text.
        let told = problem.text.strip_prefix("unknown key `qqqqqqqq`; ");
        let Some((table, names)) = told.and_then(|told| told.split_once(" takes ")) else {
            continue;
        };
        let names = names.split(", ").map(|name| name.trim_matches('`').to_owned());
        keys.entry(table.to_owned()).or_default().extend(names);
    }
    keys
}

fn everything() -> String {
    uncomment(&uncomment(ALL, "# "), "#")
}

#[test]
fn every_key_that_there_is_is_in_the_example_file() {
    let mut is_shown = BTreeSet::new();
    let mut table = String::new();
    for line in everything().lines() {
        if line.starts_with('[') {
            line.clone_into(&mut table);
        } else if let Some((key, _)) = line.split_once(" = ") {
            is_shown.insert((table.clone(), key.to_owned()));
        }
    }
    let keys = all_keys();
    assert!(keys.len() >= 11, "{:?}", keys.keys());
    for (table, keys) in keys {
        // Tables of their own, and what prose says of InfluxDB 1.x.
        let is_table = |key: &str| {
            let header = format!("[{}.{key}]", table.trim_matches(['[', ']']));
            everything().lines().any(|line| line == header)
        };
        let steps = ["select", "dedup", "deadband", "window"];
        let elsewhere = ["limits", "retention_policy", "username", "password"];
        for key in keys
            .into_iter()
            .filter(|key| ![&elsewhere[..], &steps].concat().contains(&key.as_str()))
        {
            let is_there = is_shown.contains(&(table.clone(), key.clone())) || is_table(&key);
            assert!(is_there, "`{key}` of {table} is not in config/tidegate.toml");
        }
    }
}

/// The names in a struct's debug form.
fn fields(limits: &impl std::fmt::Debug) -> Vec<String> {
    let text = format!("{limits:#?}");
    let leaf = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        (!value.ends_with('{')).then(|| name.to_owned())
    };
    text.lines().filter_map(leaf).collect()
}

#[test]
fn every_limit_of_a_stage_has_a_key() {
    let keys = all_keys();
    let mqtt = fields(&crate::listen::mqtt::Limits::default());
    let http = fields(&crate::listen::http::Limits::default());
    let ports = fields(&crate::listen::accept::Limits::default());
    for (table, limits) in [
        ("[mqtt.limits]", [mqtt, ports.clone()].concat()),
        ("[http.limits]", [http, ports].concat()),
        ("[output.limits]", fields(&crate::output::Limits::default())),
        ("[limits]", fields(&intake::Limits::default())),
        ("[broker.limits]", fields(&broker_stage::Limits::default())),
    ] {
        assert!(!limits.is_empty());
        for limit in limits {
            assert!(keys[table].contains(&limit), "`{limit}` has no key in {table}");
        }
    }
}
