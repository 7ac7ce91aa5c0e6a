//! How the database is to behave: a value that can be set while it runs, by a test or over HTTP
//! as JSON, such as `{"answer":{"busy":{"retry_after_s":2}},"requests":5}`.

use serde::{Deserialize, Serialize};

/// The default is an honest database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    pub answer: Answer,
    /// Every write waits this long before it is applied and answered.
    pub delay_ms: u64,
    /// Writes are applied at once, and answered so late: after their sender gave them up.
    pub late_ms: u64,
    /// Answers to writes leave only at every so many milliseconds of the database's clock, all that
    /// are ready together: as InfluxDB 3 does once a second.
    pub acknowledge_every_ms: Option<u64>,
    /// A line that contains this text counts as malformed: v2 answers 400 and stores nothing, v1
    /// stores the other lines.
    pub malformed_if: Option<String>,
    /// A line that contains this text has a field of the wrong type: 422 (v2) or 400 (v1), the
    /// other lines are stored.
    pub conflict_if: Option<String>,
    /// A write with a line that contains this text fails with 500, and nothing of it is stored.
    pub poison_if: Option<String>,
    /// As cloud dialects do: the good lines of a write are stored whatever the others are, and what
    /// was partly stored is answered with this status (201, 403) and the reason.
    pub partly: Option<u16>,
    /// Points older than this (nanoseconds) are beyond retention: partial as well.
    pub retention_from_ns: Option<i64>,
    /// A longer body (as sent) gets 413.
    pub body_bytes_max: Option<usize>,
    /// More lines than this get 413 as well.
    pub lines_max: Option<usize>,
    /// Timestamps are read in this unit (`s`, `ms`, ...) whatever the request says. What is out of
    /// range by it is malformed, and not the writer's fault.
    pub unit: Option<String>,
    /// After so many writes the database is honest again, or behaves as `then` says.
    pub requests: Option<u64>,
    /// Cannot close the port: `Refuse` leaves requests unanswered here.
    pub then: Option<Box<Self>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    #[default]
    Normal,
    /// Takes requests and says nothing, until the behaviour changes: then those are dropped
    /// without having been applied.
    Hang,
    /// No listener, and open connections are reset.
    Refuse,
    /// 503, with a `Retry-After` if it is given.
    Busy { retry_after_s: Option<u64> },
    /// This status (429, 503) with this `Retry-After`: seconds, or a date.
    Wait { code: u16, retry_after: String },
    /// This status with a body in InfluxDB's words; nothing is stored.
    Status { code: u16 },
    /// This status with an HTML page, whatever is asked for: a proxy or a portal in front of it.
    Page { code: u16 },
    /// Stores, then closes the connection without an answer.
    ApplyThenClose,
    /// Closes the connection without having stored.
    Close,
    /// Applies; an answer with a body breaks off in the middle of it, one without is not sent.
    Truncated,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_documentation_shows() {
        let read: Behaviour =
            serde_json::from_str(r#"{"answer":{"busy":{"retry_after_s":2}},"requests":5}"#)
                .unwrap();
        let answer = Answer::Busy { retry_after_s: Some(2) };
        assert_eq!(read, Behaviour { answer, requests: Some(5), ..Behaviour::default() });
        assert!(serde_json::from_str::<Behaviour>(r#"{"awnser":"hang"}"#).is_err());
        let hang: Behaviour = serde_json::from_str(r#"{"answer":"hang"}"#).unwrap();
        assert_eq!(hang.answer, Answer::Hang);
    }
}
