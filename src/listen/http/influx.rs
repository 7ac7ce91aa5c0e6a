//! `/write` and `/api/v2/write`: line protocol as InfluxDB 1.x and 2 take it, answered in their own
//! words. Databases, organisations, buckets and tokens are accepted and mean nothing here: where
//! readings go is the outputs' affair.
//!
//! | what came | `/write` | `/api/v2/write` |
//! |---|---|---|
//! | good lines only | 204 | 204 |
//! | good and bad ones | 400 `partial write: ... dropped=N` | 422 the same |
//! | bad ones only | 400 `unable to parse ...` | 400 the same, `line` |
//! | nothing at all | 204 | 400 `writing requires points` |

use std::sync::Arc;

use axum::{
    extract::{Query, Request, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, Uri};
use proto::Precision;
use serde::Deserialize;
use serde_json::{Map, json};
use tokio::time::Instant;

use super::{
    Port,
    body::Reading,
    delivery::Delivery,
    key::Key,
    refusal::{Dialect, Refusal, Why},
    report::{Refused, Report},
};
use crate::intake::Body;
use crate::intake::Format;
use crate::intake::pieces::Pieces;

/// Refused lines that an answer names; the rest is counted.
const NAMED_MAX: usize = 5;

pub(super) async fn write_v1(State(port): State<Arc<Port>>, request: Request) -> Response {
    match write(&port, Dialect::V1, "/write", request).await {
        Ok(report) => answer(&report, Dialect::V1),
        Err(refusal) => refusal.answer(Dialect::V1),
    }
}

pub(super) async fn write_v2(State(port): State<Arc<Port>>, request: Request) -> Response {
    match write(&port, Dialect::V2, "/api/v2/write", request).await {
        Ok(report) => answer(&report, Dialect::V2),
        Err(refusal) => refusal.answer(Dialect::V2),
    }
}

/// The parameters that mean something here.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    precision: Option<String>,
}

async fn write(
    port: &Port,
    dialect: Dialect,
    path: &str,
    request: Request,
) -> Result<Report, Refusal> {
    let precision = precision(request.uri(), dialect)?;
    let key = Key::of(&request)?;
    let mut delivery = Delivery::begin(port, key.as_ref()).await?;
    let mut reading = Reading::open(port, request)?;
    let body = Body {
        bytes: &[],
        format: Format::Line,
        precision: Some(precision),
        device: None,
        device_required: false,
        path,
    };
    delivery.take_lines(&mut reading, Pieces::of_line_protocol(), &body).await?;
    if dialect == Dialect::V2 && reading.is_empty() {
        return Err(Refusal::new(Why::Body, "writing requires points"));
    }
    delivery.durable(Instant::now()).await
}

fn precision(uri: &Uri, dialect: Dialect) -> Result<Precision, Refusal> {
    let parameters = Query::<Parameters>::try_from_uri(uri)
        .map_err(|error| Refusal::new(Why::Query, format!("the query: {}", error.body_text())))?;
    let Some(asked) = parameters.0.precision else { return Ok(Precision::Nanoseconds) };
    match asked.as_str() {
        "" | "n" | "ns" => Ok(Precision::Nanoseconds),
        "u" | "us" => Ok(Precision::Microseconds),
        "ms" => Ok(Precision::Milliseconds),
        "s" => Ok(Precision::Seconds),
        unknown => {
            let known = match dialect {
                Dialect::V1 => "n, u, ms or s",
                Dialect::V2 | Dialect::Own => "ns, us, ms or s",
            };
            let unknown: String = unknown.chars().take(32).collect();
            let text = format!("invalid precision `{unknown}`: use {known}");
            Err(Refusal::new(Why::Query, text))
        }
    }
}

fn answer(report: &Report, dialect: Dialect) -> Response {
    if report.is_clean() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let why = named(report);
    let mut more = Map::new();
    let (status, code, text) = if report.taken == 0 {
        (StatusCode::BAD_REQUEST, "invalid", format!("unable to parse: {why}"))
    } else {
        let status = match dialect {
            Dialect::V2 => StatusCode::UNPROCESSABLE_ENTITY,
            Dialect::V1 | Dialect::Own => StatusCode::BAD_REQUEST,
        };
        let text = format!("partial write: {why} dropped={}", report.refused);
        (status, "unprocessable entity", text)
    };
    if let (Dialect::V2, Some(first)) = (dialect, report.listed.first()) {
        more.insert("line".into(), json!(first.index + 1));
    }
    let mut answer = dialect.error(status, code, &text, more);
    if report.taken == 0 {
        answer.extensions_mut().insert(Why::NothingTaken);
    }
    answer
}

/// `line 3: missing fields; line 7, field "t": ...`; lines are numbered from 1, as editors do.
fn named(report: &Report) -> String {
    let one = |refused: &Refused| match &refused.field {
        Some(field) => format!("line {}, field {field:?}: {}", refused.index + 1, refused.reason),
        None => format!("line {}: {}", refused.index + 1, refused.reason),
    };
    let named: Vec<String> = report.listed.iter().take(NAMED_MAX).map(one).collect();
    let others = report.refused + report.fields - named.len() as u64;
    match others {
        0 => named.join("; "),
        others => format!("{}; and {others} more", named.join("; ")),
    }
}
