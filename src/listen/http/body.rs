//! A request's body, read in time and within limits, inflated as it comes.
//!
//! Promises: at most `STEP_BYTES` are inflated at a time; a body that exceeds a limit, pauses too
//! long, comes too slowly or is not what its encoding says is refused with what is wrong with it.
//! The time that we need ourselves (a full journal) is never counted against the sender.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    extract::Request,
};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::time::{Instant, sleep_until};

use super::{
    DRAIN_MAX, Limits, Port,
    connection::Link,
    inflate::{self, Inflated, Inflater},
    refusal::{Refusal, Why},
};
use crate::intake::pieces::STEP_BYTES;

#[derive(Debug)]
pub(super) struct Reading<'p> {
    port: &'p Port,
    link: Option<Link>,
    body: Body,
    inflater: Option<Inflater>,
    /// Bytes over the wire, and plain ones.
    raw: usize,
    plain: usize,
    pace: Pace,
    /// Until when a body may come in, once we are shutting down.
    drained_by: Option<Instant>,
}

impl<'p> Reading<'p> {
    /// Looks at the headers only; a body that says that it is too large is refused unread.
    pub(super) fn open(port: &'p Port, request: Request) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let inflater = is_gzip(&parts.headers)?.then(Inflater::new);
        let said = body.size_hint().lower();
        if said > port.limits.body_bytes_max as u64 {
            return Err(too_large(port.limits.body_bytes_max, "over the wire"));
        }
        Ok(Self {
            port,
            link: parts.extensions.get::<Link>().cloned(),
            body,
            inflater,
            raw: 0,
            plain: 0,
            pace: Pace::new(&port.limits),
            drained_by: None,
        })
    }

    /// What reading costs beside what it appends.
    pub(super) fn memory(&self) -> usize {
        if self.inflater.is_some() { inflate::STATE_BYTES } else { 0 }
    }

    /// No byte has come so far.
    pub(super) fn is_empty(&self) -> bool {
        self.plain == 0
    }

    /// Appends what comes next to `into`; false at the end. Not cancel safe: a cancelled request is
    /// never answered, so nobody asks.
    pub(super) async fn next(&mut self, into: &mut Vec<u8>) -> Result<bool, Refusal> {
        let before = into.len();
        let more = match &self.inflater {
            Some(_) => self.inflate(into).await?,
            None => self.copy(into).await?,
        };
        self.plain += into.len() - before;
        if self.plain > self.port.limits.inflated_bytes_max {
            return Err(too_large(self.port.limits.inflated_bytes_max, "inflated"));
        }
        Ok(more)
    }

    async fn copy(&mut self, into: &mut Vec<u8>) -> Result<bool, Refusal> {
        let Some(chunk) = self.chunk().await? else { return Ok(false) };
        into.extend_from_slice(&chunk);
        Ok(true)
    }

    async fn inflate(&mut self, into: &mut Vec<u8>) -> Result<bool, Refusal> {
        let before = into.len();
        into.resize(before + STEP_BYTES, 0);
        let room = into.get_mut(before..).unwrap_or_default();
        let inflated = self.fill(room).await;
        into.truncate(before + *inflated.as_ref().unwrap_or(&0));
        // A bomb is all work and no waiting: let others have their turn.
        tokio::task::yield_now().await;
        inflated.map(|bytes| bytes > 0)
    }

    /// Bytes put into `room`; 0 at the end.
    async fn fill(&mut self, room: &mut [u8]) -> Result<usize, Refusal> {
        while let Some(inflater) = &mut self.inflater {
            let got = inflater.read(room).map_err(|error| {
                Refusal::new(Why::Body, format!("the body is not what gzip makes: {error}"))
            })?;
            match got {
                Inflated::Bytes(bytes) => return Ok(bytes),
                Inflated::End => return Ok(0),
                Inflated::Hungry => {}
            }
            let chunk = self.chunk().await?;
            match (&mut self.inflater, chunk) {
                (Some(inflater), Some(chunk)) => inflater.feed(chunk),
                (Some(inflater), None) => inflater.end(),
                (None, _) => {}
            }
        }
        Ok(0)
    }

    /// What the wire brings next.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let Some(frame) = self.frame().await? else {
                if let Some(link) = &self.link {
                    link.control.set_linger(false); // Nothing of this request is still to come.
                }
                return Ok(None);
            };
            let Ok(chunk) = frame.into_data() else { continue }; // Trailers.
            self.raw += chunk.len();
            if self.raw > self.port.limits.body_bytes_max {
                return Err(too_large(self.port.limits.body_bytes_max, "over the wire"));
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    async fn frame(&mut self) -> Result<Option<Frame<Bytes>>, Refusal> {
        let asked = Instant::now();
        let late_at = asked + self.pace.may_wait(self.raw);
        let happened = loop {
            let drained_by = self.drained_by;
            let happened = tokio::select! {
                biased;
                frame = self.body.frame() => Happened::Frame(frame),
                () = sleep_until(late_at) => Happened::Late,
                () = sleep_until(drained_by.unwrap_or(late_at)), if drained_by.is_some() => Happened::Drained,
                () = self.port.shutdown.cancelled(), if drained_by.is_none() => Happened::Shutdown,
            };
            match happened {
                Happened::Shutdown => self.drained_by = Some(Instant::now() + DRAIN_MAX),
                other => break other,
            }
        };
        self.pace.waited += asked.elapsed();
        match happened {
            Happened::Frame(None) => Ok(None),
            Happened::Frame(Some(Ok(frame))) => Ok(Some(frame)),
            Happened::Frame(Some(Err(error))) => {
                let text = format!("the body broke off after {} bytes: {error}", self.raw);
                Err(Refusal::new(Why::Body, text))
            }
            Happened::Late => Err(Refusal::new(Why::Slow, self.pace.complaint(self.raw))),
            Happened::Drained | Happened::Shutdown => {
                Err(Refusal::new(Why::ShuttingDown, "the gateway is shutting down; send again"))
            }
        }
    }
}

/// What a wait for the body ended with.
enum Happened {
    Frame(Option<Result<Frame<Bytes>, axum::Error>>),
    Late,
    Drained,
    Shutdown,
}

/// How long a sender may still be waited for: a pause at a time, `body_max` in all, and never so
/// long that the body as a whole is slower than the least rate.
#[derive(Clone, Copy, Debug)]
struct Pace {
    pause_max: Duration,
    wait_max: Duration,
    bytes_per_second_min: u32,
    waited: Duration,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        Self {
            pause_max: limits.body_pause_max,
            wait_max: limits.body_max,
            bytes_per_second_min: limits.body_bytes_per_second_min.max(1),
            waited: Duration::ZERO,
        }
    }

    fn may_wait(&self, bytes: usize) -> Duration {
        let earned = Duration::from_secs(bytes as u64 / u64::from(self.bytes_per_second_min));
        let in_all = self.pause_max.saturating_add(earned).min(self.wait_max);
        in_all.saturating_sub(self.waited).min(self.pause_max)
    }

    fn complaint(&self, bytes: usize) -> String {
        let seconds = self.waited.as_secs();
        format!("the body came too slowly: {bytes} bytes after {seconds} s of waiting for it")
    }
}

fn too_large(bytes_max: usize, how: &str) -> Refusal {
    let text = format!("the body is larger than {bytes_max} bytes {how}: send it in parts");
    Refusal::new(Why::TooLarge, text)
}

/// Whether the body is gzip; what is neither that nor plain is refused.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut gzip = false;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = value.as_bytes().trim_ascii().to_ascii_lowercase();
        match value.as_slice() {
            b"" | b"identity" => {}
            b"gzip" | b"x-gzip" if !gzip => gzip = true,
            other => {
                let other = String::from_utf8_lossy(other);
                let text =
                    format!("content encoding `{other}` is not taken, only gzip and identity");
                return Err(Refusal::new(Why::Encoding, text));
            }
        }
    }
    Ok(gzip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        body_pause_max: Duration::from_secs(10),
        body_max: Duration::from_mins(1),
        body_bytes_per_second_min: 1000,
        ..Limits::DEFAULT
    };

    #[test]
    fn a_sender_earns_time_by_sending() {
        let mut pace = Pace::new(&LIMITS);
        assert_eq!(pace.may_wait(0), Duration::from_secs(10));
        pace.waited = Duration::from_secs(10);
        assert_eq!(pace.may_wait(999), Duration::ZERO, "not a second's worth");
        assert_eq!(pace.may_wait(3000), Duration::from_secs(3));
        assert_eq!(pace.may_wait(50_000), Duration::from_secs(10), "never a longer pause");
        pace.waited = Duration::from_secs(59);
        assert_eq!(pace.may_wait(1 << 30), Duration::from_secs(1), "nor more in all");
    }

    #[test]
    fn encodings_that_nobody_knows_are_refused_by_name() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, http::HeaderValue::from_static(value));
            }
            is_gzip(&headers)
        };
        assert_eq!(with(&[]), Ok(false));
        assert_eq!(with(&["identity"]), Ok(false));
        assert_eq!(with(&["GZIP"]), Ok(true));
        for bad in [&["br"][..], &["deflate"], &["gzip, br"], &["gzip", "gzip"]] {
            let refusal = with(bad).unwrap_err();
            assert_eq!(refusal.why, Why::Encoding);
            assert!(refusal.text.contains(bad[0]), "{}", refusal.text);
        }
    }
}
