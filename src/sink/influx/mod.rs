//! InfluxDB over HTTP, versions 1, 2 and 3 (and what speaks their protocol).
//!
//! ```text
//!  ReadingRef --line.rs--> Body --request.rs--> status, headers, body --answer.rs--> Verdict --accused.rs--> Answer
//!                                  target.rs                                                amend.rs
//! ```
//!
//! The timestamp is always in nanoseconds and the request always says so. A base path in the URL is
//! kept. Secrets from files are read again at each probe, and are never shown. Version 3 acknowledges
//! once a second: that is no trouble as long as several requests are under way.

mod accused;
mod amend;
pub mod answer;
mod line;
mod request;
mod scan;
mod target;
mod text;

use std::{
    ops::Range,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proto::{ReadingRef, line::write::Dialect};
use secrecy::SecretString;

use self::answer::Verdict;
use self::request::{Client, Outcome};
use crate::sink::{Answer, Body, Fault, LostField, Refusal, Sink, Written};
use crate::tls::TlsError;

/// Where and how to write.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://` or `https://`, a base path is kept.
    pub url: String,
    pub version: Version,
    /// PEM file with the authorities to trust; the system's own where there is none.
    pub ca_file: Option<PathBuf>,
    pub gzip: bool,
    /// A request that takes longer is given up: what it carried may or may not be stored.
    pub request_max: Duration,
}

#[derive(Clone, Debug)]
pub enum Version {
    V1 { database: String, retention_policy: Option<String>, user: Option<(String, Secret)> },
    V2 { org: String, bucket: String, token: Secret },
    V3 { database: String, token: Option<Secret> },
    Auto(Auto),
}

/// For a database that is asked which one it is, at the first request and at each probe. What it
/// does not need is not used. Unsigned values go as `i`, which all of them take.
#[derive(Clone, Debug, Default)]
pub struct Auto {
    /// The bucket, for version 2.
    pub database: String,
    pub retention_policy: Option<String>,
    pub user: Option<(String, Secret)>,
    pub org: Option<String>,
    pub token: Option<Secret>,
}

/// Read anew at every probe, unless it is given.
#[derive(Clone, Debug)]
pub enum Secret {
    Given(SecretString),
    File(PathBuf),
    /// Of the environment.
    Variable(String),
}

/// Settings that no database could make sense of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("not an http:// or https:// URL: {reason}")]
    Url { reason: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

#[derive(Debug)]
pub struct Influx {
    client: Client,
    dialect: Dialect,
}

impl Influx {
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let dialect = match settings.version {
            Version::V1 { .. } | Version::Auto(_) => Dialect::V1,
            Version::V2 { .. } | Version::V3 { .. } => Dialect::V2,
        };
        Ok(Self { client: Client::new(settings)?, dialect })
    }
}

impl Sink for Influx {
    fn encode(
        &self,
        reading: &ReadingRef<'_>,
        body: &mut Body,
        lost: &mut Vec<LostField>,
    ) -> Result<(), Refusal> {
        line::encode(reading, self.dialect, body, lost)
    }

    async fn write(&self, body: &Arc<Body>, lines: &[Range<u32>]) -> Written {
        let outcome = self.client.send(body, lines).await;
        written(outcome, body, lines)
    }

    async fn probe(&self) -> Written {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let mut body = Body::default();
        body.bytes.extend_from_slice(format!("tidegate_probe value=1 {now}\n").as_bytes());
        body.end_line(now);
        let body = Arc::new(body);
        let lines = 0..1;
        let outcome = self.client.probe(&body).await;
        written(outcome, &body, std::slice::from_ref(&lines))
    }
}

fn written(outcome: Outcome, body: &Body, lines: &[Range<u32>]) -> Written {
    let (answer, status) = match outcome.result {
        Ok(response) => {
            let verdict = answer::judge(
                response.status,
                response.retry_after.as_deref(),
                &response.body,
                SystemTime::now(),
            );
            (answer_for(verdict, body, lines), Some(response.status))
        }
        Err(answer) => (answer, None),
    };
    Written { answer, status, bytes: outcome.bytes }
}

fn answer_for(verdict: Verdict, body: &Body, lines: &[Range<u32>]) -> Answer {
    const TEXT_MAX: usize = 512;
    let cut = |text: String| -> Arc<str> { text::cut(&text, TEXT_MAX).into() };
    match verdict {
        Verdict::Stored => Answer::Stored,
        Verdict::Complaint(complaint) => accused::find(complaint, body, lines),
        Verdict::TooLarge(text) => Answer::TooLarge(Refusal::new(Fault::TooLarge, cut(text))),
        Verdict::Busy { retry_after, text } => Answer::Busy { retry_after, text: cut(text) },
        Verdict::Failed(text) => Answer::Failed(cut(text)),
        Verdict::Misconfigured(text) => Answer::Misconfigured(cut(text)),
    }
}
