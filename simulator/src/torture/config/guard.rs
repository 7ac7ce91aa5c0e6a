//! The last look: no place of the operator's is left, also none under a key that is not known here.

use toml::{Table, Value};

use super::{Places, Unreadable};

/// Keys that name places, whatever table they stand in.
const KEYS: [&str; 9] =
    ["listen", "address", "host", "url", "socket", "dir", "path", "file", "ca_file"];
const ENDINGS: [&str; 5] = ["_file", "_dir", "_path", "_url", "_socket"];

/// `[[rule]]` and `[tags]` hold topics and names, however they are spelled.
const NO_PLACES: [&str; 2] = ["rule", "tags"];

pub(super) fn check(root: &Table, places: &Places) -> Result<(), Unreadable> {
    for (key, value) in root {
        if !NO_PLACES.contains(&key.as_str()) {
            look(key, key, value, places)?;
        }
    }
    Ok(())
}

fn look(path: &str, key: &str, value: &Value, places: &Places) -> Result<(), Unreadable> {
    match value {
        Value::Table(table) => table
            .iter()
            .try_for_each(|(key, value)| look(&format!("{path}.{key}"), key, value, places)),
        Value::Array(list) => list.iter().try_for_each(|value| look(path, key, value, places)),
        Value::String(text) if is_place(key) && !is_ours(text, places) => Err(Unreadable(format!(
            "{path} = \"{text}\": a place that torture does not know how to replace; take it out of a \
             copy of the configuration, and try that"
        ))),
        _ => Ok(()),
    }
}

fn is_place(key: &str) -> bool {
    KEYS.contains(&key) || ENDINGS.iter().any(|ending| key.ends_with(ending))
}

fn is_ours(text: &str, places: &Places) -> bool {
    std::path::Path::new(text).starts_with(&places.dir)
        || text == places.mqtt.to_string()
        || text == places.http.to_string()
        || places.databases.iter().any(|url| url == text)
}
