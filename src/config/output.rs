//! `[[output]]`: where readings go.

use std::time::Duration;

use http::Uri;
use journal::{OutputId, Start};

use super::secret::{Found, Place, secret};
use super::steps::steps;
use super::table::Table;
use crate::output as output_stage;
use crate::process;
use crate::sink::file;
use crate::sink::influx;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const MOMENT: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_hours(1);

#[derive(Clone, Debug)]
pub struct Output {
    pub id: OutputId,
    /// Where it begins when it was never seen before.
    pub start: Start,
    pub limits: output_stage::Limits,
    /// What is done to readings before they leave.
    pub process: process::Settings,
    pub to: Destination,
}

#[derive(Clone, Debug)]
pub enum Destination {
    Influx(influx::Settings),
    File(file::Settings),
}

#[derive(Clone, Copy)]
enum Type {
    Influx,
    File,
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    V1,
    V2,
    V3,
    Auto,
}

pub(super) fn outputs(tables: Vec<Table<'_>>) -> Vec<Output> {
    let mut outputs: Vec<Output> = Vec::new();
    for table in tables {
        let Some(output) = output(table, &outputs) else { continue };
        outputs.push(output);
    }
    outputs
}

fn output(table: Table<'_>, earlier: &[Output]) -> Option<Output> {
    let id = id(&table, earlier);
    let start = table.choice("start", &[("oldest", Start::Oldest), ("new", Start::New)]);
    let limits = limits(table.table("limits"));
    let process = steps(&table);
    table.missing("type", "write `type = \"influxdb\"` or `type = \"file\"`");
    // Which other keys there are depends on the type; unless it is known, none is called unknown.
    let to = match table.choice("type", &[("influxdb", Type::Influx), ("file", Type::File)])? {
        Type::Influx => influx(&table).map(Destination::Influx),
        Type::File => file(&table, earlier).map(Destination::File),
    };
    table.done();
    Some(Output { id: id?, start: start.unwrap_or_default(), limits, process, to: to? })
}

fn id(table: &Table<'_>, earlier: &[Output]) -> Option<OutputId> {
    table.missing("id", "its position in the journal is kept under this name, for example `home`");
    table.read("id", |value| {
        let typed = value.as_str().unwrap_or_default();
        let id = OutputId::new(typed).ok_or("write 1 to 32 of a-z, 0-9 and `-`")?;
        // The reader of what intake refused, and the folder of its dead letters.
        if matches!(typed, "intake-dead" | "intake") {
            return Err(format!("`{typed}` is the gateway's own; choose another"));
        }
        if earlier.iter().any(|output| output.id == id) {
            return Err(format!("another output has the id `{typed}` already"));
        }
        Ok(id)
    })
}

fn limits(table: Table<'_>) -> output_stage::Limits {
    let mut limits = output_stage::Limits::default();
    table.count("batch_lines_max", 1..=1_000_000, &mut limits.batch_lines_max);
    table.bytes("batch_bytes_max", 64 * KIB..=64 * MIB, &mut limits.batch_bytes_max);
    table.duration("batch_age_max", MOMENT..=HOUR, &mut limits.batch_age_max);
    table.count("requests_max", 1..=64, &mut limits.requests_max);
    table.duration("backoff_first", MOMENT..=HOUR, &mut limits.backoff_first);
    table.duration("backoff_max", MOMENT..=HOUR, &mut limits.backoff_max);
    table.duration("retry_after_max", MOMENT..=HOUR, &mut limits.retry_after_max);
    table.duration("probe_every", MOMENT..=HOUR, &mut limits.probe_every);
    if limits.backoff_first > limits.backoff_max {
        table.wrong("backoff_first", "`backoff_first` is longer than `backoff_max`");
    }
    table.done();
    limits
}

fn influx(table: &Table<'_>) -> Option<influx::Settings> {
    let mut gzip = true;
    table.flag("gzip", &mut gzip);
    let mut request_max = Duration::from_secs(30);
    table.duration("request_max", Duration::from_secs(1)..=HOUR, &mut request_max);
    let (url, version) = (url(table), version(table));
    let ca_file = table.opt_path("ca_file");
    let is_plain = url.as_ref().is_some_and(|url| url.starts_with("http:"));
    if is_plain && ca_file.is_some() {
        table.wrong("ca_file", "`ca_file` has no use without TLS; write https:// in `url`");
    }
    Some(influx::Settings { url: url?, version: version?, ca_file, gzip, request_max })
}

fn url(table: &Table<'_>) -> Option<String> {
    let advice = "write for example url = \"http://127.0.0.1:8086\"";
    table.missing("url", advice);
    table.read("url", |value| {
        let text = value.as_str().ok_or_else(|| format!("expected a text; {advice}"))?;
        let uri: Uri = text.parse().map_err(|error| format!("`{text}`: {error}; {advice}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(format!("`{text}` does not start with http:// or https://"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(
                "a secret does not belong into a URL; use `token`, or `username` and `password`"
                    .into(),
            );
        }
        match uri.query() {
            Some(_) => {
                Err("a query does not belong here; bucket, database and so on have their own keys"
                    .into())
            }
            None => Ok(text.to_owned()),
        }
    })
}

/// What is not said is told by the keys that only one version has.
fn version(table: &Table<'_>) -> Option<influx::Version> {
    const KEYS_1: [&str; 4] = ["database", "retention_policy", "username", "password"];
    const KEYS_2: [&str; 3] = ["org", "bucket", "token"];
    let words =
        [("v1", Version::V1), ("v2", Version::V2), ("v3", Version::V3), ("auto", Version::Auto)];
    let first = |keys: &[&'static str]| keys.iter().copied().find(|key| table.has(key));
    let (v1, v2) = (first(&KEYS_1), first(&KEYS_2));
    let given = table.choice("version", &words);
    let odd = match given {
        Some(Version::V1) => v2.map(|key| (key, "v2")),
        Some(Version::V2) => v1.map(|key| (key, "v1")),
        Some(Version::V3) => {
            let odd_1 = first(&["retention_policy", "username", "password"]);
            odd_1.map(|key| (key, "v1")).or(first(&["org", "bucket"]).map(|key| (key, "v2")))
        }
        Some(Version::Auto) => None,
        None => v1.and(v2).map(|key| (key, "v2, other keys here to v1; say which with `version`")),
    };
    if let Some((key, belongs)) = odd {
        table.wrong(key, format!("`{key}` belongs to InfluxDB {belongs}"));
    }
    // Nothing said: `bucket` is what a newcomer should be asked for.
    let told = if v1.is_some() { Version::V1 } else { Version::V2 };
    let version = match given.unwrap_or(told) {
        Version::V1 => version_1(table),
        Version::V2 => version_2(table),
        Version::V3 => version_3(table),
        Version::Auto => version_auto(table).map(influx::Version::Auto),
    };
    table.ask(&KEYS_1);
    table.ask(&KEYS_2);
    version.filter(|_| odd.is_none())
}

fn version_1(table: &Table<'_>) -> Option<influx::Version> {
    let database = table.need_text("database", "the database to write to");
    let retention_policy = table.opt_text("retention_policy");
    let user = user(table);
    Some(influx::Version::V1 { database: database?, retention_policy, user })
}

fn user(table: &Table<'_>) -> Option<(String, influx::Secret)> {
    match (table.opt_text("username"), secret(table, "password")) {
        (Some(name), Some(password)) => Some((name, password.into())),
        (None, None) => None,
        (Some(_), None) if table.has("password") => None, // That is a problem already.
        (Some(_), None) => {
            table.wrong("username", "`username` without `password`");
            None
        }
        (None, Some(_)) => {
            table.wrong("password", "`password` without `username`");
            None
        }
    }
}

fn version_2(table: &Table<'_>) -> Option<influx::Version> {
    let org = table.need_text("org", "the organisation that the bucket belongs to");
    let bucket = table.need_text("bucket", "the bucket to write to");
    let advice = "write token = { file = \"influx.token\" } or token = { env = \"INFLUX_TOKEN\" }";
    table.missing("token", advice);
    let token = secret(table, "token");
    Some(influx::Version::V2 { org: org?, bucket: bucket?, token: token?.into() })
}

fn version_3(table: &Table<'_>) -> Option<influx::Version> {
    let database = table.need_text("database", "the database to write to");
    let token = secret(table, "token").map(influx::Secret::from);
    Some(influx::Version::V3 { database: database?, token })
}

/// Whatever the database turns out to be, what it needs must be there then.
fn version_auto(table: &Table<'_>) -> Option<influx::Auto> {
    let (database, bucket) = (table.opt_text("database"), table.opt_text("bucket"));
    let auto = influx::Auto {
        database: String::new(),
        retention_policy: table.opt_text("retention_policy"),
        user: user(table),
        org: table.opt_text("org"),
        token: secret(table, "token").map(influx::Secret::from),
    };
    if database.is_some() && bucket.is_some() {
        table.wrong("bucket", "`bucket` and `database` are two names for one thing; give one");
    }
    let advice = "the database (or bucket) to write to";
    let Some(database) = database.or(bucket) else {
        if !table.has("bucket") {
            table.missing("database", advice);
        }
        return None;
    };
    if database.is_empty() {
        table.nowhere(&format!("an output's `database` must not be empty: {advice}"));
    }
    Some(influx::Auto { database, ..auto })
}

impl From<Found> for influx::Secret {
    fn from(found: Found) -> Self {
        match found.place {
            Place::File(file) => Self::File(file),
            Place::Variable(name) => Self::Variable(name),
        }
    }
}

fn file(table: &Table<'_>, earlier: &[Output]) -> Option<file::Settings> {
    table.missing("path", "the file to write line protocol to");
    let path = table.opt_path("path");
    let (mut file_bytes_max, mut files_max, mut sync) = (64 * MIB, 16, true);
    table.bytes("file_bytes_max", 64 * KIB..=1024 * 1024 * MIB, &mut file_bytes_max);
    table.count("files_max", 0..=1_000_000, &mut files_max);
    table.flag("sync", &mut sync);
    let settings = file::Settings { path: path?, file_bytes_max, files_max, sync };
    let same = |output: &&Output| matches!(&output.to, Destination::File(file) if file.path == settings.path);
    if let Some(other) = earlier.iter().find(same) {
        table.wrong("path", format!("output `{}` writes to this file already", other.id.as_str()));
    }
    Some(settings)
}
