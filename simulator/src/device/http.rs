//! A device that posts its readings: JSON, NDJSON and frames to `/v1/readings`, line protocol to
//! `/write`.
//!
//! What an answer means to the device, as `docs/devices.md` has it for device makers:
//!
//! | answer | the device |
//! |---|---|
//! | 2xx except 207 | forgets what it posted |
//! | 207 | forgets all; what the body names was refused for good |
//! | 408, 409, 425, 429, 5xx, no answer | keeps it and posts it again later |
//! | any other | gives it up: the gateway will never take it |
//!
//! What is posted again is the same body under the same `Idempotency-Key`.

use std::{io, num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Connected, Ended, Runner};
use crate::{
    fleet::Http,
    payload::{self, Encoding},
};

const REQUEST_MAX: Duration = Duration::from_mins(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

pub(super) async fn session(runner: &mut Runner, link: &Http) -> io::Result<Ended> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(10)));
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
    let mut connected = None;
    let leave_at = runner.leave_at();
    while !runner.is_finished() {
        let (seqs, next) = runner.take(runner.posted.unwrap_or(link.batch_max).get())?;
        runner.posted = NonZeroUsize::new(seqs.len());
        if seqs.is_empty() {
            tokio::select! {
                () = runner.due(next) => continue,
                () = sleep_until(leave_at) => return Ok(Ended::Left),
            }
        }
        let request = request(runner, &seqs)?;
        let answered = tokio::select! {
            answered = post(&client, request) => answered,
            () = sleep_until(leave_at) => return Ok(Ended::Left),
        };
        let answer = match answered {
            Ok(answer) => answer,
            Err(why) => return Ok(Ended::Failed(why)),
        };
        connected.get_or_insert_with(|| Connected::new(&runner.shared.watch));
        if let Some(wait) = apply(runner, &seqs, &answer)? {
            sleep_until(Instant::now() + wait).await;
        }
    }
    Ok(Ended::Finished)
}

fn request(runner: &Runner, seqs: &[u64]) -> io::Result<Request<Full<Bytes>>> {
    let encoding = runner.group.encoding;
    let mut body = Vec::with_capacity(seqs.len() * 256);
    payload::encode(&runner.device, seqs, encoding, &mut body);
    let (path, content_type) = match encoding {
        Encoding::Json if seqs.len() == 1 => ("/v1/readings", "application/json"),
        Encoding::Json => ("/v1/readings", "application/x-ndjson"),
        Encoding::Frame => ("/v1/readings", FRAME),
        Encoding::Line => ("/write?precision=ns", "text/plain; charset=utf-8"),
    };
    Request::post(runner.shared.gateway.http_url(path))
        .header(header::CONTENT_TYPE, content_type)
        .header("idempotency-key", key(runner, seqs))
        .body(Full::new(Bytes::from(body)))
        .map_err(io::Error::other)
}

/// The same for the same readings, and for no others of any fleet.
fn key(runner: &Runner, seqs: &[u64]) -> String {
    let (first, last) = (seqs.first().unwrap_or(&0), seqs.last().unwrap_or(&0));
    format!("\"{}-{:016x}-{first}-{last}\"", runner.device.name, runner.run)
}

/// The media type of a binary frame.
pub const FRAME: &str = "application/vnd.tidegate.frame";

struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Bytes,
}

async fn post(
    client: &Client<HttpConnector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let exchange = async {
        let response = client.request(request).await.map_err(|e| e.to_string())?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok(Answer { status, retry_after, body })
    };
    timeout(REQUEST_MAX, exchange).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns how long to wait before the next post.
fn apply(runner: &mut Runner, seqs: &[u64], answer: &Answer) -> io::Result<Option<Duration>> {
    match answer.status {
        StatusCode::MULTI_STATUS => {
            let named = refused_places(&answer.body);
            // Where not all are named, a reading that is not may still have been refused.
            let more = named.iter().find(|entry| entry.index.is_none());
            for (place, &seq) in seqs.iter().enumerate() {
                match named.iter().find(|entry| entry.index == Some(place)).or(more) {
                    Some(refused) => runner.refused(&[seq], &refused.reason)?,
                    None => runner.acknowledged(&[seq])?,
                }
            }
        }
        status if status.is_success() => {
            runner.backoff.reset();
            runner.acknowledged(seqs)?;
        }
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::CONFLICT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => {
            return Ok(Some(defer(runner, seqs, answer.retry_after)));
        }
        status if status.is_server_error() => {
            return Ok(Some(defer(runner, seqs, answer.retry_after)));
        }
        status => {
            let text = String::from_utf8_lossy(&answer.body);
            runner.refused(seqs, &format!("{status}: {text}"))?;
        }
    }
    runner.posted = None;
    Ok(None)
}

fn defer(runner: &mut Runner, seqs: &[u64], retry_after: Option<Duration>) -> Duration {
    runner.shared.watch.deferred();
    for &seq in seqs {
        runner.outbox.retry(seq);
    }
    let wait = runner.backoff.next(runner.random.f64());
    retry_after.map_or(wait, |asked| asked.min(RETRY_AFTER_MAX).max(wait))
}

#[derive(Debug, Deserialize)]
struct Refused {
    /// None in an entry that only counts further ones.
    index: Option<usize>,
    /// Only this field was left out; the reading was taken.
    field: Option<String>,
    #[serde(default)]
    reason: String,
}

/// The readings that a 207 names.
fn refused_places(body: &[u8]) -> Vec<Refused> {
    let mut listed: Vec<Refused> = serde_json::from_slice(body).unwrap_or_default();
    listed.retain(|entry| entry.field.is_none());
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_207_refused() {
        let body = br#"[{"index":1,"reason":"no field"},{"index":2,"field":"x","reason":"no"},
            {"not_listed":7}]"#;
        let refused = refused_places(body);
        assert_eq!((refused[0].index, refused[0].reason.as_str()), (Some(1), "no field"));
        assert!(!refused.iter().any(|entry| entry.index == Some(2)));
        assert!(refused_places(b"not json").is_empty());
    }
}
