//! The answers of InfluxDB 1.8, 2.7 and 3, word for word where the gateway reads the words.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use serde_json::json;

/// Which database's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `/write`
    V1,
    /// `/api/v2/write`
    V2,
    /// `/api/v3/write_lp`
    V3,
}

/// A refused line as version 3 names it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// From 1.
    pub(super) number: usize,
    pub(super) line: String,
    pub(super) why: String,
}

/// So many lines are named at most; how many there are it does not say.
const TOLD_MAX: usize = 100;

/// A body that can break off with an error, which makes the server close the connection.
pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// How a write went.
#[derive(Debug)]
pub(super) enum Outcome {
    Stored,
    /// v2: nothing was stored. v1: the good lines were, if there were any. Every bad one is named.
    Malformed {
        why: String,
        good: usize,
    },
    /// Some were not stored; the first reason is named.
    Partial {
        why: String,
        dropped: u64,
    },
    /// Some were not stored, as this status says; the first reason is named.
    Partly {
        status: StatusCode,
        why: String,
    },
    /// v3: the good lines were stored, if there were any; these were not.
    Told(Vec<Told>),
}

pub(super) fn of_outcome(dialect: Dialect, outcome: &Outcome) -> Response<Body> {
    let (status, text) = match (dialect, outcome) {
        (_, Outcome::Stored) => return empty(StatusCode::NO_CONTENT),
        (Dialect::V1, Outcome::Malformed { why, good: 1.. }) => {
            (StatusCode::BAD_REQUEST, format!("partial write: {why} dropped=0"))
        }
        (Dialect::V1, Outcome::Partial { why, dropped }) => {
            (StatusCode::BAD_REQUEST, format!("partial write: {why} dropped={dropped}"))
        }
        (_, Outcome::Told(told)) => return of_told(told),
        (_, Outcome::Partly { status, why }) => (*status, why.clone()),
        (_, Outcome::Malformed { why, .. }) => (StatusCode::BAD_REQUEST, why.clone()),
        (Dialect::V2 | Dialect::V3, Outcome::Partial { why, dropped }) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("failure writing points to database: partial write: {why} dropped={dropped}"),
        ),
    };
    error(dialect, status, &text)
}

fn of_told(told: &[Told]) -> Response<Body> {
    let data: Vec<_> = told
        .iter()
        .take(TOLD_MAX)
        .map(|Told { number, line, why }| {
            json!({ "original_line": line, "line_number": number, "error_message": why })
        })
        .collect();
    let body = json!({ "error": "partial write of line protocol occurred", "data": data });
    json_body(StatusCode::BAD_REQUEST, &body)
}

/// An error with the code word that v2 gives it.
pub(super) fn error(dialect: Dialect, status: StatusCode, text: &str) -> Response<Body> {
    let body = match dialect {
        Dialect::V1 | Dialect::V3 => json!({ "error": text }),
        Dialect::V2 => json!({ "code": code_word(status), "message": text }),
    };
    let mut response = json_body(status, &body);
    // A header is one line of visible text; the body has it all.
    if let (Dialect::V1, Ok(text)) = (dialect, text.replace('\n', " ").parse()) {
        response.headers_mut().insert("x-influxdb-error", text);
    }
    response
}

fn code_word(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "invalid",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not found",
        413 => "request too large",
        422 => "unprocessable entity",
        429 => "too many requests",
        503 => "unavailable",
        _ => "internal error",
    }
}

/// What each status says when nothing more is known.
pub(super) fn words(dialect: Dialect, status: StatusCode) -> &'static str {
    match (dialect, status.as_u16()) {
        (Dialect::V1, 401) => "authorization failed",
        (Dialect::V1, 404) => "database not found: \"iot\"",
        (Dialect::V1, 413) => "Request Entity Too Large",
        (Dialect::V1, 503) => "timeout",
        (_, 401) => "unauthorized access",
        (_, 403) => "insufficient permissions for write",
        (_, 404) => "bucket \"iot\" not found",
        (_, 413) => "unable to read data: request body too large",
        (_, 429) => "too many requests",
        (_, 503) => "unexpected error writing points to database: timeout",
        _ => "internal error",
    }
}

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed();
    finish(status, body)
}

pub(super) fn json_body(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    text_body(status, "application/json", body.to_string())
}

pub(super) fn text_body(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
    let mut response = finish(status, body);
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

fn finish(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("x-influxdb-version", http::HeaderValue::from_static(VERSION));
    headers.insert("x-influxdb-build", http::HeaderValue::from_static("OSS"));
    response
}

/// What stands in front of a database, and is none.
pub(super) fn page(code: u16) -> Response<Body> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT);
    let text = "<html><body><h1>Please log in</h1></body></html>".to_owned();
    let mut response = text_body(status, "text/html", text);
    for name in ["x-influxdb-version", "x-influxdb-build"] {
        response.headers_mut().remove(name);
    }
    response
}

/// Both write paths are spoken, as 1.8 and 2.x do; the version says 2.
pub(super) const VERSION: &str = "v2.7.12";
