//! `[[broker]]`: MQTT brokers to subscribe to.

use std::{num::NonZeroUsize, time::Duration};

use http::Uri;

use super::secret::secret;
use super::table::Table;
use crate::collect::broker::{Limits, Settings};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

pub(super) fn brokers(tables: Vec<Table<'_>>) -> Vec<Settings> {
    let several = tables.len() > 1;
    let mut brokers: Vec<Settings> = Vec::new();
    for table in tables {
        let settings = broker(&table, several);
        if brokers.iter().any(|earlier| earlier.id == settings.id) && table.has("id") {
            table.wrong("id", format!("another broker has the id `{}` already", settings.id));
        }
        table.done();
        brokers.push(settings);
    }
    brokers
}

fn broker(table: &Table<'_>, several: bool) -> Settings {
    let (host, port, tls) = url(table).unwrap_or_default();
    let id = id(table, several);
    let mut settings = Settings {
        client_id: client_id(table, &id),
        id,
        host,
        port,
        tls,
        username: table.opt_text("username"),
        password: secret(table, "password").map(|found| found.value),
        topics: topics(table),
        keep_alive: Duration::from_mins(1),
        retained: false,
        packet_bytes_max: 1024 * 1024,
        receive_max: 1024,
        session_expiry: Duration::from_hours(7 * 24),
        ca_file: table.opt_path("ca_file"),
        limits: limits(table.table("limits")),
    };
    if !settings.tls && settings.ca_file.is_some() {
        table.wrong("ca_file", "`ca_file` has no use without TLS; write mqtts:// in `url`");
    }
    if settings.password.is_some() && settings.username.is_none() {
        table.wrong("password", "`password` without `username`");
    }
    let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
    table.duration("keep_alive", 5 * second..=600 * minute, &mut settings.keep_alive);
    table.flag("retained", &mut settings.retained);
    table.bytes("packet_bytes_max", KIB..=16 * MIB, &mut settings.packet_bytes_max);
    table.count("receive_max", 1..=u16::MAX, &mut settings.receive_max);
    let ten_years = 3_650 * Duration::from_hours(24);
    table.duration("session_expiry", minute..=ten_years, &mut settings.session_expiry);
    settings
}

fn limits(table: Table<'_>) -> Limits {
    let mut limits = Limits::default();
    let bytes = table.opt_bytes("unkept_bytes_max", 64 * KIB..=1024 * MIB);
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).and_then(NonZeroUsize::new);
    limits.unkept_bytes_max = bytes.unwrap_or(limits.unkept_bytes_max);
    let (moment, hour) = (Duration::from_millis(100), Duration::from_hours(1));
    table.duration("full_wait", moment..=hour, &mut limits.full_wait);
    table.duration("leave_max", moment..=hour, &mut limits.leave_max);
    table.done();
    limits
}

/// Names the source in the books and in metrics of its own: `broker:<id>`.
fn id(table: &Table<'_>, several: bool) -> String {
    if several {
        table.missing("id", "with several brokers each needs its own");
    }
    let id = table.read("id", |value| {
        let id = value.as_str().unwrap_or_default();
        let legal = journal::OutputId::new(id).is_some();
        legal.then(|| id.to_owned()).ok_or_else(|| "1 to 32 of a-z, 0-9 and `-`".to_owned())
    });
    id.unwrap_or_else(|| "broker".to_owned())
}

/// The name of our session there: two gateways with the same one would push each other out.
fn client_id(table: &Table<'_>, id: &str) -> String {
    let given = table.opt_text("client_id").filter(|given| !given.is_empty());
    given.unwrap_or_else(|| format!("tidegate-{}-{id}", table.around().hostname))
}

fn url(table: &Table<'_>) -> Option<(String, u16, bool)> {
    let advice = "write for example url = \"mqtt://localhost\"";
    table.missing("url", advice);
    table.read("url", |value| {
        let text = value.as_str().ok_or_else(|| format!("expected a text; {advice}"))?;
        let uri: Uri = text.parse().map_err(|error| format!("`{text}`: {error}; {advice}"))?;
        let (tls, port) = match uri.scheme_str() {
            Some("mqtt" | "tcp") => (false, 1883),
            Some("mqtts" | "ssl" | "tls") => (true, 8883),
            Some(other) => return Err(format!("`{other}` is neither mqtt nor mqtts; {advice}")),
            None => return Err(format!("`{text}` does not start with mqtt:// or mqtts://")),
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("put the user into `username` and `password`, not into the URL".into());
        }
        if !matches!(uri.path(), "" | "/") {
            return Err(
                "a broker's URL ends after the port; what to subscribe to goes into `topics`"
                    .into(),
            );
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        Ok((host.to_owned(), uri.port_u16().unwrap_or(port), tls))
    })
}

fn topics(table: &Table<'_>) -> Vec<String> {
    table.missing("topics", "write for example topics = [\"tele/#\", \"zigbee2mqtt/#\"]");
    let topics = table.texts("topics").unwrap_or_default();
    for (filter, at) in &topics {
        if let Some(problem) = filter_problem(filter) {
            table.problem_at(*at, format!("`{filter}`: {problem}"));
        }
    }
    if topics.is_empty() && table.span_of("topics").is_some() {
        table.wrong("topics", "`topics` is empty: nothing would come in");
    }
    topics.into_iter().map(|(filter, _)| filter).collect()
}

/// MQTT 4.7: what makes a text no topic filter.
fn filter_problem(filter: &str) -> Option<&'static str> {
    let levels = match filter.strip_prefix("$share/") {
        Some(shared) => shared.split_once('/').map_or("", |(_, filter)| filter),
        None => filter,
    };
    if levels.is_empty() {
        return Some("an empty topic filter");
    }
    if filter.len() > 65_535 || filter.contains('\0') {
        return Some("too long, or with a NUL in it");
    }
    let mut levels = levels.split('/').peekable();
    while let Some(level) = levels.next() {
        if level == "#" && levels.peek().is_some() {
            return Some("nothing may come after `#`");
        }
        if level.contains(['+', '#']) && level.len() > 1 {
            return Some("`+` and `#` stand for whole levels, between slashes");
        }
        if level.contains(['{', '}']) {
            return Some("captures belong into a `[[rule]]`; here `+` and `#` are wildcards");
        }
    }
    None
}
