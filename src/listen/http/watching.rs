//! For those who watch: is it alive, can it take readings, what does it count.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::{
    Port,
    exposition::{Exposition, classic},
    refusal::json_body,
};

/// InfluxDB clients look at the digits before the first dot to know what they may say; we take what
/// version 2 takes. What stands after the `+` is who we are.
const INFLUXDB_VERSION: &str = concat!("2.7.0+tidegate.", env!("CARGO_PKG_VERSION"));

/// As InfluxDB's: 204, or 200 with the version for `?verbose=true`.
pub(super) async fn ping(RawQuery(query): RawQuery) -> Response {
    let headers = [("x-influxdb-version", INFLUXDB_VERSION), ("x-influxdb-build", "OSS")];
    match query.as_deref() {
        Some("verbose=true") => {
            (headers, json_body(&json!({"version": INFLUXDB_VERSION}))).into_response()
        }
        _ => (StatusCode::NO_CONTENT, headers).into_response(),
    }
}

/// As InfluxDB 2 answers, for its clients.
pub(super) async fn health(State(port): State<Arc<Port>>) -> Response {
    let (status, state, message) = match (port.house.ready)() {
        Ok(()) => (StatusCode::OK, "pass", "ready to take readings".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, "fail", reason),
    };
    let body = json!({
        "name": "tidegate",
        "message": message,
        "status": state,
        "checks": [],
        "version": INFLUXDB_VERSION,
        "commit": "",
    });
    (status, json_body(&body)).into_response()
}

/// Alive: it answers.
pub(super) async fn alive() -> Response {
    (StatusCode::OK, "ok\n").into_response()
}

/// Able to take readings. A database that is away is no reason not to be.
pub(super) async fn ready(State(port): State<Arc<Port>>) -> Response {
    match (port.house.ready)() {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// In the text format that the scraper asks for.
pub(super) async fn metrics(State(port): State<Arc<Port>>, headers: HeaderMap) -> Response {
    let text = (port.house.metrics)();
    let exposition = Exposition::asked_for(&headers);
    let page = match exposition {
        Exposition::OpenMetrics => text,
        Exposition::Classic => classic(&text),
    };
    ([(header::CONTENT_TYPE, exposition.content_type())], Body::from(page)).into_response()
}
