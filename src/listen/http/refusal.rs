//! A request that was not served as a whole: why, and how each endpoint says so.

use std::borrow::Cow;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

/// Closed, so that it can be a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Why {
    /// More bytes than a limit allows.
    TooLarge,
    /// A `Content-Encoding` that is not known here.
    Encoding,
    ContentType,
    /// The URL's parameters.
    Query,
    /// An `Idempotency-Key` that is none.
    Key,
    /// An `Idempotency-Key` that another body had.
    KeyReused,
    /// Another request with the same `Idempotency-Key` has come.
    Superseded,
    /// The body broke off, or is not what its encoding says.
    Body,
    /// The sender took too long.
    Slow,
    /// Nothing in the body could be taken.
    NothingTaken,
    /// The journal has been full for too long.
    Full,
    /// The journal took too long.
    Stalled,
    /// The journal is closed, or a submission failed.
    Closed,
    /// Too much under way over all connections.
    Busy,
    ShuttingDown,
    NotFound,
    Method,
    /// `/v1/stream` without a proper upgrade.
    Upgrade,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: Why,
    /// For whoever sent the request.
    pub(super) text: Cow<'static, str>,
}

/// Whose words are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// InfluxDB 1.x: `{"error": text}`, and the text in a header.
    V1,
    /// InfluxDB 2: `{"code": ..., "message": text}`.
    V2,
    /// Our own: `{"error": text}`.
    Own,
}

impl Why {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Encoding => "encoding",
            Self::ContentType => "content_type",
            Self::Query => "query",
            Self::Key => "key",
            Self::KeyReused => "key_reused",
            Self::Superseded => "superseded",
            Self::Body => "body",
            Self::Slow => "slow",
            Self::NothingTaken => "nothing_taken",
            Self::Full => "full",
            Self::Stalled => "stalled",
            Self::Closed => "closed",
            Self::Busy => "busy",
            Self::ShuttingDown => "shutting_down",
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::Upgrade => "upgrade",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding | Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Query | Self::Key | Self::Body | Self::NothingTaken => StatusCode::BAD_REQUEST,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Superseded => StatusCode::CONFLICT,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Full | Self::Stalled | Self::Closed | Self::Busy | Self::ShuttingDown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade => StatusCode::UPGRADE_REQUIRED,
        }
    }

    /// InfluxDB 2's names of error codes.
    const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "request too large",
            Self::Encoding
            | Self::ContentType
            | Self::Query
            | Self::Key
            | Self::Body
            | Self::NothingTaken
            | Self::Upgrade => "invalid",
            Self::Slow
            | Self::Full
            | Self::Stalled
            | Self::Closed
            | Self::Busy
            | Self::ShuttingDown => "unavailable",
            Self::KeyReused => "unprocessable entity",
            Self::Superseded => "conflict",
            Self::NotFound => "not found",
            Self::Method => "method not allowed",
        }
    }

    /// When to come again, in seconds. Spread, so that a fleet does not come back as one.
    fn retry_after(self) -> Option<u64> {
        match self {
            Self::Full | Self::Stalled | Self::ShuttingDown => Some(fastrand::u64(5..=15)),
            Self::Busy | Self::Closed | Self::Slow | Self::Superseded => Some(fastrand::u64(1..=5)),
            _ => None,
        }
    }
}

impl Refusal {
    pub(super) fn new(why: Why, text: impl Into<Cow<'static, str>>) -> Self {
        Self { why, text: text.into() }
    }

    pub(super) fn answer(&self, dialect: Dialect) -> Response {
        let mut answer = dialect.error(self.why.status(), self.why.code(), &self.text, Map::new());
        let headers = answer.headers_mut();
        if let Some(seconds) = self.why.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.why == Why::Upgrade {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        answer.extensions_mut().insert(self.why);
        answer
    }
}

impl Dialect {
    /// `more`: what an object of this dialect says besides.
    pub(super) fn error(
        self,
        status: StatusCode,
        code: &str,
        text: &str,
        more: Map<String, Value>,
    ) -> Response {
        let mut object = more;
        let mut headers = HeaderMap::new();
        match self {
            Self::V1 => {
                object.insert("error".into(), json!(text));
                if let Ok(text) = HeaderValue::from_str(&one_line(text)) {
                    headers.insert("x-influxdb-error", text);
                }
            }
            Self::V2 => {
                object.insert("code".into(), json!(code));
                object.insert("message".into(), json!(text));
            }
            Self::Own => {
                object.insert("error".into(), json!(text));
            }
        }
        (status, headers, json_body(&Value::Object(object))).into_response()
    }
}

pub(super) fn json_body(value: &Value) -> Response {
    let text = format!("{value}\n");
    ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

/// What may stand in a header: visible ASCII, and not too much of it.
fn one_line(text: &str) -> String {
    text.chars().take(256).map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn said(answer: Response) -> (StatusCode, HeaderMap, Value) {
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn each_endpoint_speaks_its_own_dialect() {
        let refusal = Refusal::new(Why::Query, "invalid precision `ü`");
        let (status, headers, body) = said(refusal.answer(Dialect::V1)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(headers["x-influxdb-error"], "invalid precision `?`");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(body, json!({"error": "invalid precision `ü`"}));

        let (_, headers, body) = said(refusal.answer(Dialect::V2)).await;
        assert_eq!(body, json!({"code": "invalid", "message": "invalid precision `ü`"}));
        assert!(!headers.contains_key("x-influxdb-error"));

        let (_, _, body) = said(refusal.answer(Dialect::Own)).await;
        assert_eq!(body, json!({"error": "invalid precision `ü`"}));
    }

    #[tokio::test]
    async fn who_may_come_again_is_told_when() {
        for why in [Why::Full, Why::Stalled, Why::Busy, Why::ShuttingDown, Why::Closed] {
            let (status, headers, _) = said(Refusal::new(why, "later").answer(Dialect::V2)).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            let seconds: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=15).contains(&seconds));
        }
        let (_, headers, _) = said(Refusal::new(Why::Query, "no").answer(Dialect::V2)).await;
        assert!(!headers.contains_key("retry-after"));
    }
}
