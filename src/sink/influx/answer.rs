//! What an answer means: a pure function of status, headers and body.
//!
//! | answer | means |
//! |---|---|
//! | 204 without a body | stored |
//! | 201, 204 with a body | partly stored (cloud dialects): a complaint |
//! | 400, 422, a 500 that says `partial write`, a 403 about retention | a complaint about lines: see below |
//! | 413 | too large |
//! | 429 503 | busy; `Retry-After` in seconds or as a date |
//! | 408 425, other 5xx | failed |
//! | 500 `retention policy not found`; 401 403 404 405 406 415 451; 200, 3xx, the rest | misconfigured, a proxy, a portal |
//!
//! Complaints, in the words of InfluxDB 1.6, 2.7 and 3 (`tests.rs` has them verbatim):
//! - `unable to parse '<line>': <reason>`, one for each bad line. 2.x stores nothing, 1.x the rest.
//! - `partial write: field type conflict: input field "f" on measurement "m" is type integer, already
//!   exists as type float dropped=3`: names the first conflict, and how many lines were dropped in all.
//! - `partial write: points beyond retention policy dropped=2` (1.x), `... dropped 2 points outside
//!   retention policy of duration ... dropped=2` (2.x): the oldest ones.
//! - `... outside of the bucket's retention period` (3, cloud): some old ones, and not how many.
//! - `partial write: <else> dropped=7`: a limit on series, a reserved name.
//! - `{"error":"partial write of line protocol occurred","data":[{"line_number":2, ...}]}` (3): at most
//!   a hundred, by number from 1. `line 2: ...` in a text (cloud) is but a hint.
//!
//! Which lines are meant is for `accused.rs` to find, which has the lines.

use std::time::{Duration, SystemTime};

use crate::sink::influx::text;

/// What an answer says, before it is known which lines it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Stored,
    Complaint(Complaint),
    TooLarge(String),
    Busy { retry_after: Option<Duration>, text: String },
    Failed(String),
    Misconfigured(String),
}

/// Something is wrong with some lines. The text is the other end's, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The bad lines stand in the text.
    Unparsable {
        text: String,
    },
    Conflict {
        conflict: Conflict,
        dropped: Option<u64>,
        text: String,
    },
    /// The oldest lines were dropped, this many.
    TooOld {
        dropped: Option<u64>,
        text: String,
    },
    /// Some lines were dropped, this many if it says so.
    Partial {
        dropped: Option<u64>,
        text: String,
    },
    /// These lines of the request; there may be more.
    Named {
        told: Vec<Told>,
        text: String,
    },
    /// It may be a line and it may be the request.
    Vague {
        text: String,
    },
}

/// A field that has another type in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub measurement: String,
    pub field: String,
    /// The type of the refused value, in the database's word; and the one that it has there.
    pub found: String,
    pub exists: String,
}

/// A line that an answer tells by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// In the request, from 1.
    pub number: u32,
    /// How it begins, without its escapes.
    pub begins: String,
    pub text: String,
    /// Field, type found, type expected; of the measurement of that line.
    pub conflict: Option<Conflict>,
}

/// `now` is for a `Retry-After` that is a date.
pub fn judge(status: u16, retry_after: Option<&str>, body: &[u8], now: SystemTime) -> Verdict {
    let text = text::message(body);
    match status {
        204 if body.is_empty() => Verdict::Stored,
        201 | 204 | 400 | 422 => Verdict::Complaint(complaint(status, text, body)),
        403 if is_too_old(&text) => Verdict::Complaint(complaint(status, text, body)),
        413 => Verdict::TooLarge(text),
        429 | 503 => {
            let retry_after = retry_after.and_then(|value| wait(value, now));
            Verdict::Busy { retry_after, text: with_status(status, &text) }
        }
        500 if text.contains("retention policy not found") => Verdict::Misconfigured(text),
        500 if text.contains("partial write") => Verdict::Complaint(complaint(status, text, body)),
        408 | 425 | 500..=599 => Verdict::Failed(with_status(status, &text)),
        _ => Verdict::Misconfigured(with_status(status, &text)),
    }
}

fn complaint(status: u16, text: String, body: &[u8]) -> Complaint {
    let dropped = dropped(&text);
    let told = told(body);
    if !told.is_empty() {
        Complaint::Named { told, text }
    } else if text.contains("unable to parse '") {
        Complaint::Unparsable { text }
    } else if let Some(conflict) = conflict(&text) {
        Complaint::Conflict { conflict, dropped, text }
    } else if is_too_old(&text) {
        Complaint::TooOld { dropped, text }
    } else if text.contains("partial write") {
        Complaint::Partial { dropped, text }
    } else if matches!(status, 201 | 204) {
        Complaint::Partial { dropped, text: with_status(status, &text) }
    } else {
        Complaint::Vague { text }
    }
}

/// Beyond what is kept; not outside a window in which writes are allowed at all.
pub(super) fn is_too_old(text: &str) -> bool {
    // By whole phrases: a text may quote names, and those are chosen by devices.
    const PHRASES: [&str; 4] = [
        "points beyond retention policy",
        "points outside retention policy of duration",
        "outside of the bucket's retention period",
        "outside of the database's retention period",
    ];
    PHRASES.iter().any(|phrase| text.contains(phrase)) && !text.contains("Write Window")
}

/// The lines in the `data` of an answer of InfluxDB 3.
fn told(body: &[u8]) -> Vec<Told> {
    #[derive(serde::Deserialize)]
    struct Answer {
        data: OneOrMany,
    }
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Refused),
        Many(Vec<Refused>),
    }
    #[derive(serde::Deserialize)]
    struct Refused {
        line_number: u32,
        error_message: String,
        #[serde(default)]
        original_line: String,
    }
    let lines = match serde_json::from_slice::<Answer>(body) {
        Ok(Answer { data: OneOrMany::Many(lines) }) => lines,
        Ok(Answer { data: OneOrMany::One(line) }) => vec![line],
        Err(_) => return Vec::new(),
    };
    let told = |line: Refused| Told {
        number: line.line_number,
        conflict: column_conflict(&line.error_message),
        begins: line.original_line,
        text: line.error_message,
    };
    lines.into_iter().map(told).collect()
}

/// `invalid column type for column 'temp', expected iox::column_type::field::float, got
/// iox::column_type::field::integer`
fn column_conflict(text: &str) -> Option<Conflict> {
    let (_, rest) = text.split_once("invalid column type for column '")?;
    let (field, rest) = rest.split_once("', expected iox::column_type::")?;
    let (exists, found) = rest.split_once(", got iox::column_type::")?;
    let word = |told: &str| match told.trim().trim_start_matches("field::") {
        "uinteger" => "unsigned".to_owned(),
        word => word.to_owned(),
    };
    Some(Conflict {
        measurement: String::new(),
        field: field.to_owned(),
        found: word(found),
        exists: word(exists),
    })
}

/// `... field type conflict: input field "f" on measurement "m" is type integer, already exists ...`
fn conflict(text: &str) -> Option<Conflict> {
    let (_, rest) = text.split_once("field type conflict: input field \"")?;
    let (field, rest) = rest.split_once("\" on measurement \"")?;
    let (measurement, rest) = rest.split_once("\" is type ")?;
    let (found, rest) = rest.split_once(", already exists as type ")?;
    let exists = rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
    Some(Conflict {
        measurement: measurement.to_owned(),
        field: field.to_owned(),
        found: found.to_owned(),
        exists: exists.to_owned(),
    })
}

/// The number after the last `dropped=`.
fn dropped(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once("dropped=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// `Retry-After`: seconds, or a date.
fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn with_status(status: u16, text: &str) -> String {
    if text.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {text}") }
}

#[cfg(test)]
mod tests;
