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
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Config, Stats,
    answer::{self, Body, Dialect, Outcome},
    audit::Audit,
    behaviour::{Answer, Behaviour},
    line::Point,
    read::{Read, told},
    store::{Refusal, Store},
};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) config: Config,
    /// What `acknowledge_every_ms` counts from.
    pub(super) started: Instant,
    pub(super) behaviour: watch::Sender<Behaviour>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    /// Once it is there, points go to it and not to the store.
    pub(super) audit: Option<Audit>,
    pub(super) stats: Stats,
    /// The acknowledgement that is waited for, and by how many requests.
    pub(super) beat: (u128, u64),
}

/// The answer is this error: hyper closes the connection without one.
#[derive(Debug, thiserror::Error)]
#[error("closed on purpose")]
pub(super) struct Closed;

impl State {
    /// One more request is acknowledged then.
    fn wait_for_beat(&mut self, beat: u128) {
        let waiting = if self.beat.0 == beat { self.beat.1 + 1 } else { 1 };
        self.beat = (beat, waiting);
        let most = &mut self.stats.acknowledged_together_max;
        *most = waiting.max(*most);
    }
}

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
        if let Answer::Page { code } = behaviour.answer {
            if request.method() == Method::POST {
                self.begin();
            }
            return Ok(answer::page(code));
        }
        let dialect = match request.uri().path() {
            "/write" => Dialect::V1,
            "/api/v2/write" => Dialect::V2,
            "/api/v3/write_lp" => Dialect::V3,
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
        self.write(dialect, request).await
    }

    async fn write(
        &self,
        dialect: Dialect,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Closed> {
        let (number, behaviour) = self.begin();
        if let Some(refused) = self.unauthorized(dialect, &request) {
            return Ok(refused);
        }
        let is_gzip = request.headers().get(header::CONTENT_ENCODING).is_some_and(|v| v == "gzip");
        let unit = match &behaviour.unit {
            Some(name) => nanoseconds(name),
            None => unit(request.uri().query().unwrap_or_default()),
        };
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
        match behaviour.answer.clone() {
            Answer::Close | Answer::Refuse | Answer::Hang | Answer::Page { .. } => {
                return Err(Closed);
            }
            Answer::Busy { retry_after_s } => {
                let retry_after = retry_after_s.map(|seconds| seconds.to_string());
                return Ok(busy(dialect, StatusCode::SERVICE_UNAVAILABLE, retry_after));
            }
            Answer::Wait { code, retry_after } => {
                return Ok(busy(dialect, status_of(code), Some(retry_after)));
            }
            Answer::Status { code } => {
                let status = status_of(code);
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
        if behaviour.lines_max.is_some_and(|max| count_lines(&body) > max) {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Ok(answer::error(dialect, status, answer::words(dialect, status)));
        }
        if contains(&body, behaviour.poison_if.as_deref()) {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Ok(answer::error(dialect, status, answer::words(dialect, status)));
        }
        let outcome = self.apply(dialect, &behaviour, number, &body, unit);
        let response = answer::of_outcome(dialect, &outcome);
        self.acknowledge(&behaviour).await;
        match behaviour.answer {
            Answer::ApplyThenClose => Err(Closed),
            Answer::Truncated => truncate(response).await,
            _ => Ok(response),
        }
    }

    /// Waits until an answer may leave.
    async fn acknowledge(&self, behaviour: &Behaviour) {
        sleep(Duration::from_millis(behaviour.late_ms)).await;
        if let Some(every) = behaviour.acknowledge_every_ms.filter(|every| *every > 0) {
            let every = Duration::from_millis(every);
            let beats = self.started.elapsed().as_nanos() / every.as_nanos() + 1;
            self.state().wait_for_beat(beats);
            sleep_until(self.started + every * u32::try_from(beats).unwrap_or(u32::MAX)).await;
        }
    }

    /// Counts the request, and ends a spell after its last one; how this one is to be treated.
    fn begin(&self) -> (u64, Behaviour) {
        let mut its = Behaviour::default();
        self.behaviour.send_if_modified(|now| {
            its = now.clone();
            let Some(left) = &mut now.requests else { return false };
            *left = left.saturating_sub(1);
            let is_over = *left == 0;
            if is_over {
                *now = now.then.take().map_or_else(Behaviour::default, |then| *then);
            }
            is_over
        });
        let mut state = self.state();
        state.stats.requests += 1;
        (state.stats.requests, its)
    }

    fn unauthorized(
        &self,
        dialect: Dialect,
        request: &Request<Incoming>,
    ) -> Option<Response<Body>> {
        let token = self.config.token.as_ref()?;
        let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let scheme = if dialect == Dialect::V3 { "Bearer " } else { "Token " };
        if given.and_then(|v| v.strip_prefix(scheme)) == Some(token) {
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
            self.state().stats.lines += count_lines(body) as u64;
            return Outcome::Stored;
        }
        // Read outside the lock: other requests go on meanwhile.
        let read = Read::new(behaviour, body, unit);
        let mut state = self.state();
        if behaviour.unit.is_none() {
            state.stats.malformed(read.malformed.iter().filter(|bad| bad.is_theirs));
        }
        let why = read.why();
        if dialect == Dialect::V2 && !read.malformed.is_empty() && behaviour.partly.is_none() {
            return Outcome::Malformed { why, good: 0 };
        }
        state.stats.lines += read.lines as u64;
        let refused = state.store_all(behaviour, number, &read.good);
        let is_whole = refused.is_empty() && read.malformed.is_empty();
        if let Some(code) = behaviour.partly.filter(|_| !is_whole) {
            let why = refused.first().map_or(why, |(_, why)| why.to_string());
            let why = format!("partial write: {why}");
            return Outcome::Partly { status: status_of(code), why };
        }
        match (dialect, refused.first()) {
            (_, None) if read.malformed.is_empty() => Outcome::Stored,
            (Dialect::V3, _) => Outcome::Told(told(&read, refused)),
            (_, Some((_, why))) => {
                Outcome::Partial { why: why.to_string(), dropped: refused.len() as u64 }
            }
            (_, None) => Outcome::Malformed { why, good: read.good.len() },
        }
    }
}

impl State {
    /// The refusals, with the numbers of their lines.
    fn store_all(
        &mut self,
        behaviour: &Behaviour,
        request: u64,
        good: &[(usize, &[u8], Point)],
    ) -> Vec<(usize, Refusal)> {
        let mut refusals = Vec::new();
        for (number, bytes, point) in good {
            let time = point.time.unwrap_or_else(now_ns);
            let refused = refuse_on_purpose(behaviour, bytes, point, time)
                .map_or_else(|| self.take(point, time, request), Err);
            match refused {
                Ok(()) => self.stats.stored += 1,
                Err(refusal) => refusals.push((*number, refusal)),
            }
        }
        self.stats.dropped += refusals.len() as u64;
        refusals
    }

    fn take(&mut self, point: &Point, time: i64, request: u64) -> Result<(), Refusal> {
        match &mut self.audit {
            Some(audit) => audit.point(point, time),
            None => self.store.apply(point, time, request)?,
        }
        Ok(())
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

pub(super) fn contains(bytes: &[u8], text: Option<&str>) -> bool {
    text.is_some_and(|text| {
        !text.is_empty() && bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

/// Nanoseconds of the unit that the query names, ns if it names none.
fn unit(query: &str) -> Result<i64, String> {
    let named = query.split('&').find_map(|pair| pair.strip_prefix("precision="));
    nanoseconds(named.unwrap_or("ns"))
}

/// All dialects' spellings.
fn nanoseconds(unit: &str) -> Result<i64, String> {
    match unit {
        "n" | "ns" | "nanosecond" => Ok(1),
        "u" | "us" | "microsecond" => Ok(1_000),
        "ms" | "millisecond" => Ok(1_000_000),
        "s" | "second" => Ok(1_000_000_000),
        "m" => Ok(60_000_000_000),
        "h" => Ok(3_600_000_000_000),
        other => {
            Err(format!("invalid precision {other:?}; valid precision units are ns, us, ms, and s"))
        }
    }
}

fn count_lines(body: &[u8]) -> usize {
    body.split(|byte| *byte == b'\n').count() - 1
}

fn inflate(body: &[u8]) -> io::Result<Bytes> {
    let mut plain = Vec::with_capacity(body.len() * 4);
    let limit = BODY_BYTES_MAX as u64;
    MultiGzDecoder::new(body).take(limit).read_to_end(&mut plain)?;
    Ok(Bytes::from(plain))
}

fn busy(dialect: Dialect, status: StatusCode, retry_after: Option<String>) -> Response<Body> {
    let mut response = answer::error(dialect, status, answer::words(dialect, status));
    if let Some(Ok(when)) = retry_after.map(|when| when.parse()) {
        response.headers_mut().insert(header::RETRY_AFTER, when);
    }
    response
}

fn status_of(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT)
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
