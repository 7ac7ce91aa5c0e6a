//! The database's HTTP: what each path does under each behaviour.

use std::{
    io::{self, Read as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    Config, Stats,
    answer::{self, Body, Dialect, Outcome},
    behaviour::{Answer, Behaviour},
    line::{self, Point},
    store::{Refusal, Store},
};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) config: Config,
    pub(super) behaviour: watch::Sender<Behaviour>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) stats: Stats,
}

/// The answer is this error: hyper closes the connection without one.
#[derive(Debug, thiserror::Error)]
#[error("closed on purpose")]
pub(super) struct Closed;

impl Database {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Closed> {
        let behaviour = self.behaviour.borrow().clone();
        if behaviour.answer == Answer::Hang {
            let mut changes = self.behaviour.subscribe();
            // Ends by a change of behaviour, or with the database.
            drop(changes.wait_for(|now| now.answer != Answer::Hang).await);
            return Err(Closed);
        }
        let dialect = match request.uri().path() {
            "/write" => Dialect::V1,
            "/api/v2/write" => Dialect::V2,
            "/ping" => return Ok(answer::empty(StatusCode::NO_CONTENT)),
            "/health" => return Ok(health()),
            "/ready" => {
                return Ok(answer::json_body(StatusCode::OK, &json!({ "status": "ready" })));
            }
            _ => return Ok(answer::error(Dialect::V2, StatusCode::NOT_FOUND, "path not found")),
        };
        if request.method() != Method::POST {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return Ok(answer::error(dialect, status, "method not allowed"));
        }
        self.write(dialect, &behaviour, request).await
    }

    async fn write(
        &self,
        dialect: Dialect,
        behaviour: &Behaviour,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Closed> {
        let number = self.begin(behaviour);
        if let Some(refused) = self.unauthorized(dialect, &request) {
            return Ok(refused);
        }
        let is_gzip = request.headers().get(header::CONTENT_ENCODING).is_some_and(|v| v == "gzip");
        let unit = unit(request.uri().query().unwrap_or_default());
        let bytes_max = behaviour.body_bytes_max.unwrap_or(BODY_BYTES_MAX);
        let body = Limited::new(request.into_body(), bytes_max).collect();
        let body = match timeout(BODY_MAX, body).await.map_err(|_| Closed)? {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Ok(answer::error(dialect, status, answer::words(dialect, status)));
            }
            Err(_) => return Err(Closed), // The client went away.
        };
        if behaviour.delay_ms > 0 {
            sleep(Duration::from_millis(behaviour.delay_ms)).await;
        }
        match behaviour.answer {
            Answer::Close | Answer::Refuse | Answer::Hang => return Err(Closed),
            Answer::Busy { retry_after_s } => return Ok(busy(dialect, retry_after_s)),
            Answer::Status { code } => {
                let status = StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT);
                return Ok(answer::error(dialect, status, answer::words(dialect, status)));
            }
            Answer::Normal | Answer::ApplyThenClose | Answer::Truncated => {}
        }
        let unit = match unit {
            Ok(unit) => unit,
            Err(why) => return Ok(answer::error(dialect, StatusCode::BAD_REQUEST, &why)),
        };
        let Ok(body) = (if is_gzip { inflate(&body) } else { Ok(body) }) else {
            return Ok(answer::error(dialect, StatusCode::BAD_REQUEST, "gzip: invalid data"));
        };
        let outcome = self.apply(dialect, behaviour, number, &body, unit);
        let response = answer::of_outcome(dialect, &outcome);
        match behaviour.answer {
            Answer::ApplyThenClose => Err(Closed),
            Answer::Truncated => truncate(response).await,
            _ => Ok(response),
        }
    }

    /// Counts the request, and makes the database honest again after the last one of a spell.
    fn begin(&self, behaviour: &Behaviour) -> u64 {
        if behaviour.requests.is_some() {
            self.behaviour.send_modify(|now| {
                if let Some(left) = &mut now.requests {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        *now = Behaviour::default();
                    }
                }
            });
        }
        let mut state = self.state();
        state.stats.requests += 1;
        state.stats.requests
    }

    fn unauthorized(
        &self,
        dialect: Dialect,
        request: &Request<Incoming>,
    ) -> Option<Response<Body>> {
        let token = self.config.token.as_ref()?;
        let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        if given.and_then(|v| v.strip_prefix("Token ")) == Some(token) {
            return None;
        }
        let status = StatusCode::UNAUTHORIZED;
        Some(answer::error(dialect, status, answer::words(dialect, status)))
    }

    fn apply(
        &self,
        dialect: Dialect,
        behaviour: &Behaviour,
        number: u64,
        body: &[u8],
        unit: i64,
    ) -> Outcome {
        if self.config.null {
            let lines = body.iter().map(|&byte| u64::from(byte == b'\n')).sum::<u64>();
            self.state().stats.lines += lines;
            return Outcome::Stored;
        }
        // Read outside the lock: other requests go on meanwhile.
        let mut good = Vec::new();
        let mut malformed = Vec::new();
        let mut examples = Vec::new();
        let mut lines = 0;
        for (bytes, point) in line::points(body, unit) {
            lines += 1;
            let matched = contains(bytes, behaviour.malformed_if.as_deref());
            let text = || String::from_utf8_lossy(bytes);
            match point {
                Ok(point) if !matched => good.push((bytes, point)),
                Ok(_) => {
                    malformed.push(format!("unable to parse '{}': refused on purpose", text()));
                }
                Err(why) => {
                    let why = format!("unable to parse '{}': {why}", text());
                    examples.push(why.clone());
                    malformed.push(why);
                }
            }
        }
        let mut state = self.state();
        state.stats.malformed(examples);
        let why = malformed.join("\n");
        if dialect == Dialect::V2 && !malformed.is_empty() {
            return Outcome::Malformed { why, good: 0 };
        }
        state.stats.lines += lines;
        let refused = state.store_all(behaviour, number, &good);
        match refused {
            Some((why, dropped)) => Outcome::Partial { why: why.to_string(), dropped },
            None if malformed.is_empty() => Outcome::Stored,
            None => Outcome::Malformed { why, good: good.len() },
        }
    }
}

impl State {
    /// The first refusal, and how many there were.
    fn store_all(
        &mut self,
        behaviour: &Behaviour,
        number: u64,
        good: &[(&[u8], Point)],
    ) -> Option<(Refusal, u64)> {
        let mut first = None;
        let mut dropped = 0;
        for (bytes, point) in good {
            let time = point.time.unwrap_or_else(now_ns);
            let refused = refuse_on_purpose(behaviour, bytes, point, time)
                .map_or_else(|| self.store.apply(point, time, number), Err);
            match refused {
                Ok(()) => self.stats.stored += 1,
                Err(refusal) => {
                    dropped += 1;
                    first.get_or_insert(refusal);
                }
            }
        }
        self.stats.dropped += dropped;
        first.map(|refusal| (refusal, dropped))
    }
}

fn refuse_on_purpose(
    behaviour: &Behaviour,
    bytes: &[u8],
    point: &Point,
    time: i64,
) -> Option<Refusal> {
    if behaviour.retention_from_ns.is_some_and(|from| time < from) {
        return Some(Refusal::BeyondRetention);
    }
    if !contains(bytes, behaviour.conflict_if.as_deref()) {
        return None;
    }
    // The field that holds the text, or else the first.
    let text = behaviour.conflict_if.as_deref().unwrap_or_default();
    let named = point.fields.iter().find(|(name, _)| name.contains(text));
    let (field, value) = named.or(point.fields.first())?;
    let is = super::store::Type::of(value);
    Some(Refusal::Conflict {
        field: field.clone(),
        measurement: point.measurement.clone(),
        is,
        exists: is.another(),
    })
}

/// From the head of a request to the end of its body.
const BODY_MAX: Duration = Duration::from_mins(1);
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

fn contains(bytes: &[u8], text: Option<&str>) -> bool {
    text.is_some_and(|text| {
        !text.is_empty() && bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds of the unit that the query names; both dialects' spellings, ns if it names none.
fn unit(query: &str) -> Result<i64, String> {
    let named = query.split('&').find_map(|pair| pair.strip_prefix("precision="));
    match named.unwrap_or("ns") {
        "n" | "ns" => Ok(1),
        "u" | "us" => Ok(1_000),
        "ms" => Ok(1_000_000),
        "s" => Ok(1_000_000_000),
        "m" => Ok(60_000_000_000),
        "h" => Ok(3_600_000_000_000),
        other => {
            Err(format!("invalid precision {other:?}; valid precision units are ns, us, ms, and s"))
        }
    }
}

fn inflate(body: &[u8]) -> io::Result<Bytes> {
    let mut plain = Vec::with_capacity(body.len() * 4);
    let limit = BODY_BYTES_MAX as u64;
    MultiGzDecoder::new(body).take(limit).read_to_end(&mut plain)?;
    Ok(Bytes::from(plain))
}

fn busy(dialect: Dialect, retry_after_s: Option<u64>) -> Response<Body> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = answer::error(dialect, status, answer::words(dialect, status));
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn health() -> Response<Body> {
    let body = json!({
        "name": "influxdb",
        "message": "ready for queries and writes",
        "status": "pass",
        "checks": [],
        "version": answer::VERSION,
    });
    answer::json_body(StatusCode::OK, &body)
}

/// Announces the whole length, sends half, and closes.
async fn truncate(response: Response<Body>) -> Result<Response<Body>, Closed> {
    let (mut parts, body) = response.into_parts();
    let whole = body.collect().await.map_err(|_| Closed)?.to_bytes();
    if whole.is_empty() {
        return Err(Closed);
    }
    parts.headers.insert(header::CONTENT_LENGTH, whole.len().into());
    let half = whole.slice(..whole.len() / 2);
    let rest = async {
        // The server flushes while it waits; without that the first half would go down as well.
        sleep(Duration::from_millis(50)).await;
        Err(io::Error::other("broken off on purpose"))
    };
    let first = stream::once(async { Ok(Frame::data(half)) });
    let body = StreamBody::new(first.chain(stream::once(rest)));
    Ok(Response::from_parts(parts, BodyExt::boxed(body)))
}
