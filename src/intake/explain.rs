//! What becomes of one payload, told without a gateway: for `tidegate check --topic --payload` and
//! `tidegate frame decode`.
//!
//! The same routes and the same decoders as a device's message meets; the journal is left out.

use journal::Source;
use proto::{
    Beyond, Readings, Rejects, TimeLimits, Timestamp, Untrusted, WhenBeyond, frame::Cursor, line,
};

use super::described::{self, Described};
use super::meaning::Meaning;
use super::presets::{self, Below};
use super::route::{Route, Routes};
use super::sparkplug::Nodes;
use super::{Body, Format, Limits};

/// The points that a payload becomes, or why not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Which rule took the message, in words.
    pub rule: String,
    /// Line protocol, one point a line.
    pub lines: Vec<String>,
    /// Times that are beyond a limit or count for nothing; what a setting could make of it; what it says of other topics.
    pub notes: Vec<String>,
    /// What was refused, and why.
    pub problems: Vec<String>,
    /// Taken note of, nothing stored, not a refusal.
    pub is_filtered: bool,
}

/// A message on a topic, arriving `now`.
pub fn message(
    routes: &Routes,
    site_tags: &[(String, String)],
    limits: &Limits,
    (topic, payload): (&str, &[u8]),
    now: Timestamp,
) -> Explained {
    let route = routes.route(topic, payload);
    let rule = rule(&route);
    let matched = match route {
        Route::Take(matched) => matched,
        Route::Ignore(taken) => {
            let is_discovery = presets::is_discovery(taken, topic);
            let notes = if is_discovery { described::explained(payload) } else { Vec::new() };
            return Explained { rule, notes, is_filtered: true, ..Explained::default() };
        }
    };
    let prefix = matched.rule.is_none().then(|| other_prefix(routes, topic)).flatten();
    let meaning = Meaning {
        routes,
        limits,
        site_tags,
        nodes: &Nodes::default(),
        described: &Described::default(),
        source: &Source::from("check"),
        judges_times: true,
    };
    let times = matched.times.unwrap_or(limits.times);
    let limits = Limits { times, ..*limits };
    let mut held = 0;
    let mut decoded = told(&limits, now, |out, bad| {
        let told = meaning.matched(matched, payload, now, out, bad);
        held = told.map_or(0, |told| told.held);
    });
    if held > 0 {
        decoded.is_filtered = false;
        decoded.notes.push(format!(
            "{held} metrics by an alias, which only the node's birth explains: kept until it comes"
        ));
    }
    decoded.notes.extend(prefix);
    Explained { rule, ..decoded }
}

/// Nobody knows the topic, but it looks like that of a preset below another prefix.
fn other_prefix(routes: &Routes, topic: &str) -> Option<String> {
    let Below { preset, prefix } = presets::meant(topic).filter(|it| routes.has(it.preset))?;
    let name = preset.name();
    Some(format!("if this comes from {name}: `[presets.{name}]` with `prefix = {prefix:?}`"))
}

/// A body whose format is known, without a topic.
pub fn body(format: Format, payload: &[u8], limits: &Limits, now: Timestamp) -> Explained {
    let meaning = Meaning {
        routes: &Routes::default(),
        limits,
        site_tags: &[],
        nodes: &Nodes::default(),
        described: &Described::default(),
        source: &Source::from("check"),
        judges_times: true,
    };
    let body = Body {
        bytes: payload,
        format,
        precision: None,
        device: None,
        device_required: false,
        path: "",
    };
    told(limits, now, |out, bad| meaning.body(&body, now, out, bad))
}

/// What gives a message its meaning, in words.
pub(super) fn rule(route: &Route<'_>) -> String {
    match route {
        Route::Ignore(rule) => format!("{rule} filters this"),
        Route::Take(matched) => matched
            .rule
            .map_or_else(|| "no rule matches: the default route".to_owned(), ToString::to_string),
    }
}

/// Readings in frame form as line protocol, and what cannot be written so.
pub(super) fn points(readings: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    let mut cursor = Cursor::new(readings);
    while let Some(reading) = cursor.next() {
        let mut line = Vec::new();
        let written = reading.map_err(proto::Reason::from).and_then(|r| line::write(&r, &mut line));
        match written {
            Ok(()) => lines.push(String::from_utf8_lossy(line.trim_ascii_end()).into()),
            Err(reason) => problems.push(reason.to_string()),
        }
    }
    (lines, problems)
}

/// What was refused and why, each in a line.
pub(super) fn refusals(rejects: &Rejects) -> impl Iterator<Item = String> {
    rejects.listed().iter().map(|reject| match &reject.field {
        Some(field) => format!("reading {}: field `{field}`: {}", reject.index, reject.reason),
        None => format!("reading {}: {}", reject.index, reject.reason),
    })
}

fn told(
    limits: &Limits,
    now: Timestamp,
    decode: impl FnOnce(&mut Readings, &mut Rejects),
) -> Explained {
    let mut readings = Readings::new(limits.reading);
    let mut rejects = Rejects::default();
    decode(&mut readings, &mut rejects);
    readings.stamp(now);
    let (lines, mut problems) = points(readings.bytes());
    let notes = notes(&rejects, &limits.times);
    problems.extend(refusals(&rejects));
    let is_filtered = lines.is_empty() && problems.is_empty();
    Explained { lines, notes, problems, is_filtered, ..Explained::default() }
}

fn notes(rejects: &Rejects, times: &TimeLimits) -> Vec<String> {
    let each = [(Beyond::Past, "past", times.past), (Beyond::Future, "future", times.future)];
    let beyond = each.into_iter().filter(|(which, ..)| rejects.beyond(*which) > 0);
    let note = |(which, name, then): (Beyond, &str, WhenBeyond)| {
        let readings = rejects.beyond(which);
        let fate = match then {
            WhenBeyond::Keep => "kept",
            WhenBeyond::Stamp => "stamped with the time of arrival",
            WhenBeyond::Reject => "refused",
        };
        format!("{readings} with a time beyond `{name}_max`: {fate} (`{name}`), counted")
    };
    let untrusted = match rejects.untrusted() {
        (_, None) => None,
        (readings, Some(why)) => {
            let why = match why {
                Untrusted::NoTime => "is no time",
                Untrusted::Local => "is local, and nothing says where (`time_zone` in a rule does)",
                Untrusted::Unset => "is from before the device's clock was set",
            };
            Some(format!("{readings} whose time {why}: the time of arrival, counted"))
        }
    };
    beyond.map(note).chain(untrusted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::{presets::Preset, route::Rule};

    const NOW: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

    fn explained(topic: &str, payload: &[u8]) -> Explained {
        let rule = Rule {
            topic: "garden/{device}/{field}".into(),
            measurement: Some("garden".into()),
            ..Rule::default()
        };
        let routes = Routes::compile(vec![rule]).unwrap();
        let site = [("site".to_owned(), "home".to_owned())];
        message(&routes, &site, &Limits::default(), (topic, payload), NOW)
    }

    #[test]
    fn a_rule_shows_its_topic_and_the_points() {
        let shown = explained("garden/bed1/soil", b"21.5");
        assert_eq!(shown.rule, "rule `garden/{device}/{field}`");
        assert_eq!(shown.lines, ["garden,device=bed1,site=home soil=21.5 1700000000000000000"]);
        assert_eq!(shown.problems, [""; 0]);
    }

    #[test]
    fn a_payload_that_makes_no_sense_shows_the_reason() {
        let shown = explained("a/b", b"{\"t\":");
        assert!(shown.lines.is_empty());
        assert_eq!(shown.problems.len(), 1, "{shown:?}");
        assert!(!shown.is_filtered);
    }

    #[test]
    fn a_time_beyond_its_limit_shows_what_becomes_of_it() {
        let shown = explained("a/b", b"{\"t\":1,\"ts\":4000000000}");
        assert_eq!(shown.notes, ["1 with a time beyond `future_max`: kept (`future`), counted"]);
        assert_eq!(shown.lines.len(), 1);

        let future = WhenBeyond::Reject;
        let times = Some(TimeLimits { future, ..TimeLimits::default() });
        let rule = Rule { topic: "a/b".into(), times, ..Rule::default() };
        let routes = Routes::compile(vec![rule]).unwrap();
        let payload = b"m t=1 4000000000000000000";
        let shown = message(&routes, &[], &Limits::default(), ("a/b", payload), NOW);
        assert_eq!(shown.notes, ["1 with a time beyond `future_max`: refused (`future`), counted"]);
        assert!(shown.problems[0].contains("26620 days ahead"), "{shown:?}");
    }

    #[test]
    fn a_time_that_counts_for_nothing_shows_why() {
        let routes = Routes::with_presets(Vec::new(), Preset::ALL).unwrap();
        let note = |topic: &str, payload: &str| {
            message(&routes, &[], &Limits::default(), (topic, payload.as_bytes()), NOW).notes
        };
        let local = "whose time is local, and nothing says where (`time_zone` in a rule does): \
                     the time of arrival, counted";
        let odd = "whose time is no time: the time of arrival, counted";
        let soon = r#"{"t":1,"ts":"soon"}"#;
        assert_eq!(note("a/b", soon), [format!("1 {odd}")]);
        assert_eq!(note("a/b", r#"{"t":1,"time":"2025-05-01T12:00:00"}"#), [format!("1 {local}")]);
        // Both of an array; and of one where the time stands around it.
        assert_eq!(note("a/b", &format!("[{soon},{soon}]")), [format!("2 {odd}")]);
        let around =
            r#"{"readings":[{"fields":{"t":1}},{"fields":{"t":2}}],"ts":"2025-05-01 12:00:00"}"#;
        assert_eq!(note("a/b", around), [format!("2 {local}")]);
        assert_eq!(
            note(
                "tele/plug/SENSOR",
                r#"{"Time":"2025-05-01T12:00:00","SI7021":{"Temperature":21}}"#
            ),
            [format!("1 {local}")]
        );
        let unset =
            "1 whose time is from before the device's clock was set: the time of arrival, counted";
        let shelly = r#"{"src":"shellyplus1-a","dst":"x","method":"NotifyStatus","params":{"ts":12.5,"switch:0":{"id":0,"apower":1}}}"#;
        assert_eq!(note("shellyplus1-a/events/rpc", shelly), [unset]);
        // Nothing is said of what is as it should be.
        for payload in [
            r#"{"t":1}"#,
            r#"{"t":1,"ts":null}"#,
            r#"{"t":1,"ts":""}"#,
            r#"{"t":1,"ts":"soon","time":"2023-05-01T12:00:00Z"}"#,
            r#"{"t":1,"ts":"soon","age_ms":5}"#,
            r#"{"t":"none","ts":"soon"}"#,
        ] {
            assert_eq!(note("a/b", payload), [""; 0], "{payload}");
        }
    }

    #[test]
    fn a_system_topic_is_filtered() {
        assert!(explained("$SYS/uptime", b"1").is_filtered);
    }
}
