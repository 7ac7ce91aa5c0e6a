//! `[presets]`: which of the known families of devices are off; and `[presets.tasmota]` and its like:
//! the prefix below which one lies.

use super::mapping::is_list;
use super::nearest::nearest;
use super::table::Table;
use super::value::list;
use crate::intake::presets::{Below, Preset};

/// A topic has 64 levels at most that rules can tell apart, and a prefix leaves room for the rest.
const LEVELS_MAX: usize = 32;

/// All of them below their prefixes, but for those that are off.
pub(super) fn presets(table: Table<'_>) -> Vec<Below> {
    let off = off(&table);
    let mut on: Vec<Below> = Vec::new();
    for preset in Preset::ALL {
        let Some(usual) = preset.prefix() else {
            on.extend(Some(preset.usually()).filter(|_| !off.contains(preset)));
            continue;
        };
        let own = table.table(preset.name());
        if !own.has("prefix") {
            on.push(Below { preset: *preset, prefix: usual.to_owned() });
        } else if off.contains(preset) {
            let text = format!("`{}` is off, so its prefix has no use", preset.name());
            own.ask(&["prefix"]);
            own.wrong("prefix", text);
        } else {
            read(&own, *preset, &mut on);
        }
        own.ask(&["prefix"]);
        own.done();
    }
    table.done();
    on.retain(|below| !off.contains(&below.preset));
    on
}

fn off(table: &Table<'_>) -> Vec<Preset> {
    let names: Vec<_> = Preset::ALL.iter().map(|preset| preset.name()).collect();
    let mut off = Vec::new();
    for (typed, at) in table.texts("off").unwrap_or_default() {
        if let Some(preset) = Preset::ALL.iter().find(|preset| preset.name() == typed) {
            off.push(*preset);
            continue;
        }
        let hint = match nearest(&typed, &names) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", list(&names)),
        };
        table.problem_at(at, format!("`{typed}` is no preset; {hint}"));
    }
    off
}

/// One prefix, or a list of them.
fn read(table: &Table<'_>, preset: Preset, on: &mut Vec<Below>) {
    if !is_list(table, "prefix") {
        let Some(prefix) = table.opt_text("prefix") else { return };
        match add(preset, prefix, on) {
            Ok(()) => {}
            Err((at, what)) => table.wrong_inside("prefix", at, what),
        }
        return;
    }
    let prefixes = table.texts("prefix").unwrap_or_default();
    if prefixes.is_empty() {
        let text =
            format!("no prefix at all; to have it off write `off = [\"{}\"]`", preset.name());
        table.wrong("prefix", text);
    }
    for (prefix, place) in prefixes {
        if let Err((at, what)) = add(preset, prefix, on) {
            // Behind the quote.
            table.problem_at(place + 1 + at, what);
        }
    }
}

fn add(preset: Preset, prefix: String, on: &mut Vec<Below>) -> Result<(), (usize, String)> {
    if let Some(problem) = problem(preset, &prefix) {
        return Err(problem);
    }
    let same = on.iter().filter(|below| below.prefix == prefix);
    for Below { preset: other, .. } in same {
        if *other == preset {
            return Err((0, format!("`{prefix}` is there twice")));
        }
        if preset.takes_all() && other.takes_all() {
            let (name, other) = (preset.name(), other.name());
            let text = format!(
                "`{prefix}` is the prefix of `{other}` already, and `{name}` takes all below its own too"
            );
            return Err((0, text));
        }
    }
    on.push(Below { preset, prefix });
    Ok(())
}

/// What is wrong with a prefix, and at which byte of it.
fn problem(preset: Preset, prefix: &str) -> Option<(usize, String)> {
    let usual = preset.prefix().unwrap_or_default();
    if prefix.is_empty() {
        let text = format!("must not be empty; the usual one is `{usual}`");
        return (!usual.is_empty()).then_some((0, text));
    }
    if let Some((before, _)) = prefix.split_once('%') {
        let before = before.trim_end_matches('/');
        let text = format!("only what stands before `%prefix%` and `%topic%`, here \"{before}\"");
        return Some((before.len(), text));
    }
    if let Some((at, found)) = prefix.char_indices().find(|(_, c)| "+#{}*".contains(*c)) {
        let text = format!(
            "`{found}` in a prefix, which is the beginning of topics as they are sent; several are a list"
        );
        return Some((at, text));
    }
    if let Some((at, _)) = prefix.char_indices().find(|(_, c)| c.is_control()) {
        return Some((at, "a control character".into()));
    }
    if prefix.starts_with('$') {
        return Some((0, "topics that begin with `$` are a broker's own".into()));
    }
    if prefix.ends_with('/') {
        return Some((prefix.len() - 1, "without the slash at its end".into()));
    }
    let too_deep = prefix.match_indices('/').nth(LEVELS_MAX - 1);
    too_deep.map(|(at, _)| (at, format!("more than {LEVELS_MAX} levels")))
}
