//! `[[output]]`: databases become the simulator's own, files lie in the directory of the run.

use std::{path::PathBuf, time::Duration};

use toml::{Table, Value};

use super::{Places, Unreadable, quantity, set, table, tables, text};

/// What would make other points of readings, or none.
const STEPS: [&str; 4] = ["select", "dedup", "deadband", "window"];

/// An output of the gateway, and where its readings end up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Output {
    pub(in super::super) id: String,
    pub(in super::super) to: Destination,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Destination {
    /// Its place in [`Places::databases`].
    Database(usize),
    /// Files of this directory, which must be made.
    Files(PathBuf),
}

/// Waits that a run of minutes cannot sit out, and the longest that it can.
const WAITS: [(&str, Duration); 4] = [
    ("batch_age_max", Duration::from_secs(10)),
    ("backoff_first", Duration::from_secs(5)),
    ("backoff_max", Duration::from_secs(30)),
    ("probe_every", Duration::from_secs(30)),
];

pub(in super::super) const SECRET: &str = "secret";

pub(super) fn replace(
    root: &mut Table,
    places: &Places,
    remarks: &mut Vec<String>,
) -> Result<Vec<Output>, Unreadable> {
    let mut urls = places.databases.iter().enumerate();
    let mut outputs = Vec::new();
    for output in tables(root, "output")? {
        let told = |key| output.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, kind) = (told("id"), told("type"));
        let to = match kind.as_str() {
            "influxdb" => {
                let Some((place, url)) = urls.next() else {
                    return Err(Unreadable(format!("output `{id}`: no database for it")));
                };
                database(output, url, places, remarks)?;
                Destination::Database(place)
            }
            "file" => Destination::Files(files(output, &id, places, remarks)?),
            other => {
                return Err(Unreadable(format!("output `{id}`: type `{other}` cannot be tried")));
            }
        };
        for step in STEPS {
            if output.remove(step).is_some() {
                remarks.push(format!(
                    "[[output]] `{id}` {step}: left out, so that each reading can be looked for"
                ));
            }
        }
        shorten(table(output, "limits")?, &id, remarks);
        outputs.push(Output { id, to });
    }
    Ok(outputs)
}

fn database(
    output: &mut Table,
    url: &str,
    places: &Places,
    remarks: &mut Vec<String>,
) -> Result<(), Unreadable> {
    set(output, "url", url);
    output.remove("ca_file");
    let secret = text(&places.dir.join(SECRET))?;
    for key in ["token", "password"] {
        if output.contains_key(key) {
            set(table(output, key)?, "file", secret.clone());
            table(output, key)?.remove("env");
        }
    }
    if output.get("version").and_then(Value::as_str) == Some("auto") {
        let version = settle(output);
        remarks.push(format!("[[output]] version: \"{version}\", told by its keys, not \"auto\""));
    }
    Ok(())
}

/// The simulator's database speaks every version at once; which one is meant must be told.
fn settle(output: &mut Table) -> &'static str {
    let version = match (output.contains_key("org"), output.contains_key("token")) {
        (true, true) => "v2",
        (false, true) => "v3",
        _ => "v1",
    };
    let (name, other, foreign): (_, _, &[&str]) = match version {
        "v2" => ("bucket", "database", &["retention_policy", "username", "password"]),
        "v3" => ("database", "bucket", &["org", "retention_policy", "username", "password"]),
        _ => ("database", "bucket", &["org", "token"]),
    };
    if let Some(value) = output.remove(other) {
        set(output, name, value);
    }
    for key in foreign {
        output.remove(*key);
    }
    set(output, "version", version);
    version
}

/// All of them are kept, or what was rotated away would pass for lost.
fn files(
    output: &mut Table,
    id: &str,
    places: &Places,
    remarks: &mut Vec<String>,
) -> Result<PathBuf, Unreadable> {
    // An id that is no id is the gateway's to complain of; it must not lead out of our directory.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let dir = places.dir.join(format!("files-{}", id.replace(|c| !plain(c), "-")));
    set(output, "path", text(&dir.join("readings.lp"))?);
    if output.insert("files_max".to_owned(), Value::Integer(0)) != Some(Value::Integer(0)) {
        remarks
            .push(format!("[[output]] `{id}` files_max: 0, so that every file can be looked at"));
    }
    Ok(dir)
}

fn shorten(limits: &mut Table, id: &str, remarks: &mut Vec<String>) {
    for (key, longest) in WAITS {
        let asked = limits.get(key).and_then(Value::as_str).and_then(quantity::duration);
        if asked.is_some_and(|asked| asked > longest) {
            let longest = format!("{}s", longest.as_secs());
            remarks.push(format!("[[output]] `{id}` {key}: {longest}, a run cannot wait longer"));
            set(limits, key, longest);
        }
    }
}
