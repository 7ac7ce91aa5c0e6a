//! One request at a time over kept connections: compression, deadline, and where it goes (`target.rs`
//! says that: found at the first request, and anew at every probe).
//!
//! Failed before any of the body was handed to the connection: certainly not stored. Failed later:
//! unknown. The body itself tells which, because the connection pulls it.

use std::{
    error::Error,
    io::{self, Write},
    ops::Range,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use tokio::time::timeout;

use super::target::{self, Generation, Target};
use super::{Auto, Settings, SettingsError, Version, text};
use crate::sink::{Answer, Body};
use crate::tls;
use crate::tls::TlsError;

const GZIP_LEVEL: u32 = 3;
/// Smaller bodies are sent as they are.
const GZIP_BYTES_MIN: usize = 1024;
/// Larger bodies are compressed off the reactor: above a millisecond or so.
const BLOCKING_BYTES_MIN: usize = 32 * 1024;
const ANSWER_BYTES_MAX: usize = 256 * 1024;
const CONNECT_MAX: Duration = Duration::from_secs(10);
const IDLE_MAX: Duration = Duration::from_secs(30);

pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    /// As the database tells it with every answer.
    version: Option<String>,
    pub(super) body: Vec<u8>,
}

/// How a request ended: an HTTP response, or the answer that stands for none.
pub(super) struct Outcome {
    pub(super) result: Result<Response, Answer>,
    /// Bytes of the body that was offered.
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Pulled>,
    url: String,
    version: Version,
    /// Where the last probe, or else the first request, found that data goes.
    target: Mutex<Option<Target>>,
    gzip: bool,
    request_max: Duration,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_MAX.min(settings.request_max)));
        let uri = target::check(settings)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust(&uri, settings.ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        Ok(Self {
            http,
            url: settings.url.clone(),
            version: settings.version.clone(),
            target: Mutex::new(None),
            gzip: settings.gzip,
            request_max: settings.request_max,
        })
    }

    pub(super) async fn send(&self, body: &Arc<Body>, lines: &[Range<u32>]) -> Outcome {
        let known = self.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let gzip = self.gzip && body.len_of(lines) >= GZIP_BYTES_MIN;
        self.request(body, lines, gzip, known).await
    }

    /// Finds its way anew, and compresses whenever data would be: it must fail where data would.
    pub(super) async fn probe(&self, body: &Arc<Body>) -> Outcome {
        let all = 0..body.lines();
        self.request(body, &[all], self.gzip, None).await
    }

    async fn request(
        &self,
        body: &Arc<Body>,
        lines: &[Range<u32>],
        gzip: bool,
        target: Option<Target>,
    ) -> Outcome {
        let target = match target {
            Some(known) => known,
            None => match self.find().await {
                Ok(target) => target,
                Err(answer) => return Outcome { result: Err(answer), bytes: 0 },
            },
        };
        let chunks = match chunks(body, lines, gzip).await {
            Ok(chunks) => chunks,
            Err(text) => return Outcome { result: Err(Answer::Failed(text.into())), bytes: 0 },
        };
        let pulled = Arc::new(AtomicBool::new(false));
        let payload = Pulled::new(chunks, Arc::clone(&pulled));
        let bytes = payload.left;
        let request = assemble(payload, gzip, target);
        let result = match timeout(self.request_max, self.exchange(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(no_answer(&pulled, &chain(error.as_ref()))),
            Err(_) => Err(no_answer(&pulled, &self.too_late())),
        };
        Outcome { result, bytes }
    }

    /// Reads the secrets, asks the database which one it is if nobody said, and remembers both.
    async fn find(&self) -> Result<Target, Answer> {
        let target = match &self.version {
            Version::Auto(auto) => {
                let generation = self.ask(auto).await?;
                target::of(&self.url, &auto.resolve(generation).map_err(misconfigured)?).await
            }
            version => target::of(&self.url, version).await,
        };
        let target = target.map_err(misconfigured)?;
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        Ok(target)
    }

    /// Which InfluxDB it is, by the header or the text of its `/ping`, or by its `/health`.
    async fn ask(&self, auto: &Auto) -> Result<Generation, Answer> {
        for path in ["/ping", "/health"] {
            let target = target::of_path(&self.url, path, auto).await.map_err(misconfigured)?;
            let mut request = assemble(Pulled::new(Vec::new(), Arc::default()), false, target);
            *request.method_mut() = Method::GET;
            let failed = |text: &str| Answer::Failed(text::cut(text, 512).into());
            let response = match timeout(self.request_max, self.exchange(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(failed(&chain(error.as_ref()))),
                Err(_) => return Err(failed(&self.too_late())),
            };
            if let Some(generation) = Generation::told(response.version.as_deref(), &response.body)
            {
                return Ok(generation);
            }
            if response.status >= 500 {
                return Err(failed(&format!("HTTP {} from {path}", response.status)));
            }
        }
        Err(misconfigured(
            "neither /ping nor /health tells which InfluxDB this is; name it with `version`".into(),
        ))
    }

    fn too_late(&self) -> String {
        format!("no answer within {} s", self.request_max.as_secs_f32())
    }

    async fn exchange(
        &self,
        request: Request<Pulled>,
    ) -> Result<Response, Box<dyn Error + Send + Sync>> {
        let response = self.http.request(request).await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let version = response.headers().get("x-influxdb-version");
        let version = version.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let length = response.headers().get(header::CONTENT_LENGTH);
        // The one status whose body is not read: HTTP says there is none.
        let odd = status == 204 && length.is_some_and(|length| length != "0");
        let mut body = read(response.into_body()).await?;
        if odd && body.is_empty() {
            body.extend_from_slice(b"with a body");
        }
        Ok(Response { status, retry_after, version, body })
    }
}

fn assemble(payload: Pulled, gzip: bool, target: Target) -> Request<Pulled> {
    let mut request = Request::new(payload);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.uri;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let agent = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if !target.authorization.is_empty() {
        headers.insert(header::AUTHORIZATION, target.authorization);
    }
    request
}

fn misconfigured(text: String) -> Answer {
    Answer::Misconfigured(text.into())
}

/// The beginning of an answer; a longer one is cut.
async fn read(mut incoming: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut body = Vec::new();
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = ANSWER_BYTES_MAX - body.len();
            body.extend_from_slice(data.get(..room).unwrap_or(&data));
        }
        if body.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(body)
}

fn no_answer(pulled: &AtomicBool, text: &str) -> Answer {
    let text = text::cut(text, 512).into();
    if pulled.load(Ordering::Acquire) { Answer::Unknown(text) } else { Answer::Failed(text) }
}

/// An error and its causes, each said once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// What goes out: slices of the body, or the body compressed.
async fn chunks(
    body: &Arc<Body>,
    lines: &[Range<u32>],
    gzip: bool,
) -> Result<Vec<Bytes>, &'static str> {
    let spans: Vec<Range<usize>> = lines.iter().map(|range| body.span(range)).collect();
    let whole = Bytes::from_owner(Shared(Arc::clone(body)));
    let chunks: Vec<Bytes> = spans.into_iter().map(|span| whole.slice(span)).collect();
    if !gzip {
        return Ok(chunks);
    }
    if chunks.iter().map(Bytes::len).sum::<usize>() < BLOCKING_BYTES_MIN {
        return Ok(vec![compress(&chunks)]);
    }
    match tokio::task::spawn_blocking(move || compress(&chunks)).await {
        Ok(bytes) => Ok(vec![bytes]),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err("the runtime is shutting down"),
        },
    }
}

fn compress(chunks: &[Bytes]) -> Bytes {
    let len: usize = chunks.iter().map(Bytes::len).sum();
    let mut gzip = GzEncoder::new(Vec::with_capacity(len / 4), Compression::new(GZIP_LEVEL));
    let mut write = || -> io::Result<()> { chunks.iter().try_for_each(|c| gzip.write_all(c)) };
    let written = write().and_then(|()| gzip.finish());
    written.expect("writing to memory does not fail").into()
}

/// Lends a body's bytes to `Bytes`.
struct Shared(Arc<Body>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

/// A body that says whether any of it was pulled.
#[derive(Debug)]
pub(super) struct Pulled {
    chunks: std::vec::IntoIter<Bytes>,
    left: u64,
    begun: Arc<AtomicBool>,
}

impl Pulled {
    fn new(chunks: Vec<Bytes>, begun: Arc<AtomicBool>) -> Self {
        let left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks: chunks.into_iter(), left, begun }
    }
}

impl hyper::body::Body for Pulled {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.begun.store(true, Ordering::Release);
        let chunk = self.chunks.next();
        self.left -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Whom the other end's certificate must lead to.
fn trust(uri: &Uri, ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    if uri.scheme_str() == Some("https") { tls::client(ca_file) } else { tls::nobody() }
}

#[cfg(test)]
mod tests;
