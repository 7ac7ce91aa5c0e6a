//! `POST /v1/readings`: JSON, NDJSON, CBOR, `MessagePack`, `SenML` and frames.
//!
//! | what came | answer |
//! |---|---|
//! | good readings only | 204 |
//! | good and bad ones | 207 `[{"index":3,"reason":"..."}]`, durable |
//! | bad ones only, or nothing | 400 `{"error":"...","refused":[...]}` |
//!
//! A document and a frame have to be held whole (`document_bytes_max`); NDJSON is cut into
//! pieces as line protocol is. Readings are numbered from 0 over the whole body; where only a field
//! was left out, the entry has a `field` and the reading was taken.

use std::sync::Arc;

use axum::{
    extract::{Query, Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    Port,
    body::Reading,
    delivery::{Delivery, busy},
    key::Key,
    refusal::{Dialect, Refusal, Why, json_body},
    report::{Refused, Report},
};
use crate::intake::Body;
use crate::intake::Format;
use crate::intake::pieces::Pieces;
use crate::listen::memory::Held;

const PATH: &str = "/v1/readings";

pub(super) async fn post(State(port): State<Arc<Port>>, request: Request) -> Response {
    match take(&port, request).await {
        Ok(report) => answer(&report),
        Err(refusal) => refusal.answer(Dialect::Own),
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    pub(super) device: Option<String>,
    /// Of `/v1/stream` only.
    pub(super) stream: Option<String>,
    pub(super) from: Option<u64>,
}

/// How a body is taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Document(Format),
    Ndjson,
}

async fn take(port: &Port, request: Request) -> Result<Report, Refusal> {
    let content = content(request.headers())?;
    let parameters = parameters(&request)?;
    let body = Body {
        bytes: &[],
        format: Format::Json,
        precision: None,
        device: parameters.device.as_deref(),
        device_required: true,
        path: PATH,
    };
    let key = Key::of(&request)?;
    let mut delivery = Delivery::begin(port, key.as_ref()).await?;
    let mut reading = Reading::open(port, request)?;
    match content {
        Content::Ndjson => delivery.take_lines(&mut reading, Pieces::of_ndjson(), &body).await?,
        Content::Document(format) => {
            let (mut bytes, mut held) = (Vec::new(), port.memory.hold_nothing());
            if !delivery.pass_stored(&mut reading, &mut bytes, &mut held).await? {
                let bytes_max = port.limits.document_bytes_max;
                whole(&mut reading, &mut bytes, &mut held, bytes_max).await?;
                delivery.take(&Body { bytes: &bytes, format, ..body }).await?;
            }
        }
    }
    if reading.is_empty() {
        return Err(Refusal::new(Why::Body, "the body is empty"));
    }
    delivery.durable(Instant::now()).await
}

pub(super) fn parameters(request: &Request) -> Result<Parameters, Refusal> {
    let parameters = Query::<Parameters>::try_from_uri(request.uri())
        .map_err(|error| Refusal::new(Why::Query, format!("the query: {}", error.body_text())))?;
    Ok(parameters.0)
}

/// A body without a `Content-Type` is recognised by its first bytes.
fn content(headers: &HeaderMap) -> Result<Content, Refusal> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Content::Document(Format::Auto));
    };
    let given = String::from_utf8_lossy(given.as_bytes());
    let media_type = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "" => Ok(Content::Document(Format::Auto)),
        "application/json" => Ok(Content::Document(Format::Json)),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Content::Ndjson),
        "application/cbor" => Ok(Content::Document(Format::Cbor)),
        "application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack" => {
            Ok(Content::Document(Format::MessagePack))
        }
        "application/senml+json" | "application/senml+cbor" => Ok(Content::Document(Format::Senml)),
        "application/vnd.tidegate.frame" | "application/octet-stream" => {
            Ok(Content::Document(Format::Frame))
        }
        _ => {
            let media_type: String = media_type.chars().take(64).collect();
            let text = format!(
                "content type `{media_type}` is not taken: send application/json, \
                 application/x-ndjson, application/cbor, application/msgpack, \
                 application/senml+json, application/senml+cbor, or application/vnd.tidegate.frame"
            );
            Err(Refusal::new(Why::ContentType, text))
        }
    }
}

async fn whole(
    reading: &mut Reading<'_>,
    bytes: &mut Vec<u8>,
    held: &mut Held,
    bytes_max: usize,
) -> Result<(), Refusal> {
    while reading.next(bytes).await? {
        if bytes.len() > bytes_max {
            let text = format!(
                "a document or frame may have {bytes_max} bytes: \
                 send several, or NDJSON, which has no such limit"
            );
            return Err(Refusal::new(Why::TooLarge, text));
        }
        if !held.grow_to(bytes.capacity() + reading.memory()) {
            return Err(busy());
        }
    }
    Ok(())
}

fn answer(report: &Report) -> Response {
    if report.is_clean() {
        return StatusCode::NO_CONTENT.into_response();
    }
    let listed = listed(report);
    if report.taken > 0 {
        return (StatusCode::MULTI_STATUS, json_body(&Value::Array(listed))).into_response();
    }
    let why = report.listed.first().map(|first| first.reason.clone()).unwrap_or_default();
    let text = format!("no reading was taken: {why}");
    let more = Map::from_iter([("refused".to_owned(), Value::Array(listed))]);
    let mut answer = Dialect::Own.error(StatusCode::BAD_REQUEST, "invalid", &text, more);
    answer.extensions_mut().insert(Why::NothingTaken);
    answer
}

/// One object each, and a last one that counts what is not listed.
fn listed(report: &Report) -> Vec<Value> {
    let one = |refused: &Refused| {
        let Refused { index, field, reason } = refused;
        match field {
            Some(field) => json!({"index": index, "field": field, "reason": reason}),
            None => json!({"index": index, "reason": reason}),
        }
    };
    let mut listed: Vec<Value> = report.listed.iter().map(one).collect();
    if report.unlisted() > 0 {
        listed.push(json!({"unlisted": report.unlisted()}));
    }
    listed
}
