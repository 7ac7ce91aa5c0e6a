//! One request at a time over kept connections: address, credentials, compression, deadline.
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
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::{Secret, Settings, SettingsError, Version, text};
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
    uri: Uri,
    credentials: Credentials,
    /// The header last built from `credentials`; `None` before the first request.
    authorization: Mutex<Option<HeaderValue>>,
    gzip: bool,
    request_max: Duration,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_MAX.min(settings.request_max)));
        let uri = write_uri(settings)?;
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
            uri,
            credentials: Credentials::of(&settings.version),
            authorization: Mutex::new(None),
            gzip: settings.gzip,
            request_max: settings.request_max,
        })
    }

    pub(super) async fn send(&self, body: &Arc<Body>, lines: &[Range<u32>]) -> Outcome {
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let gzip = self.gzip && body.len_of(lines) >= GZIP_BYTES_MIN;
        self.request(body, lines, gzip, known).await
    }

    /// Reads secrets anew, and compresses whenever data would be: it must fail where data would.
    pub(super) async fn probe(&self, body: &Arc<Body>) -> Outcome {
        let all = 0..body.lines();
        self.request(body, &[all], self.gzip, None).await
    }

    async fn request(
        &self,
        body: &Arc<Body>,
        lines: &[Range<u32>],
        gzip: bool,
        authorization: Option<HeaderValue>,
    ) -> Outcome {
        let authorization = match authorization {
            Some(known) => known,
            None => match self.authorize().await {
                Ok(header) => header,
                Err(problem) => {
                    let result = Err(Answer::Misconfigured(problem.into()));
                    return Outcome { result, bytes: 0 };
                }
            },
        };
        let chunks = match chunks(body, lines, gzip).await {
            Ok(chunks) => chunks,
            Err(text) => return Outcome { result: Err(Answer::Failed(text.into())), bytes: 0 },
        };
        let pulled = Arc::new(AtomicBool::new(false));
        let payload = Pulled::new(chunks, Arc::clone(&pulled));
        let bytes = payload.left;
        let request = self.assemble(payload, gzip, authorization);
        let result = match timeout(self.request_max, self.exchange(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(no_answer(&pulled, &chain(error.as_ref()))),
            Err(_) => {
                let seconds = self.request_max.as_secs_f32();
                Err(no_answer(&pulled, &format!("no answer within {seconds} s")))
            }
        };
        Outcome { result, bytes }
    }

    /// Reads the credentials and remembers the header made of them.
    async fn authorize(&self) -> Result<HeaderValue, String> {
        let header = self.credentials.header().await?;
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(header.clone());
        Ok(header)
    }

    fn assemble(&self, payload: Pulled, gzip: bool, authorization: HeaderValue) -> Request<Pulled> {
        let mut request = Request::new(payload);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let agent = concat!("tidegate/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        if gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if !authorization.is_empty() {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        request
    }

    async fn exchange(
        &self,
        request: Request<Pulled>,
    ) -> Result<Response, Box<dyn Error + Send + Sync>> {
        let response = self.http.request(request).await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = read(response.into_body()).await?;
        Ok(Response { status, retry_after, body })
    }
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

/// How a request proves who we are. `Debug` shows no secret: `SecretString` does not.
#[derive(Clone, Debug)]
enum Credentials {
    Nobody,
    Token(Secret),
    Basic { user: String, password: Secret },
}

impl Credentials {
    fn of(version: &Version) -> Self {
        match version {
            Version::V1 { user: None, .. } => Self::Nobody,
            Version::V1 { user: Some((user, password)), .. } => {
                Self::Basic { user: user.clone(), password: password.clone() }
            }
            Version::V2 { token, .. } => Self::Token(token.clone()),
        }
    }

    /// The `Authorization` header; empty for nobody.
    async fn header(&self) -> Result<HeaderValue, String> {
        let text = match self {
            Self::Nobody => return Ok(HeaderValue::from_static("")),
            Self::Token(token) => format!("Token {}", read_secret(token).await?),
            Self::Basic { user, password } => {
                let pair = format!("{user}:{}", read_secret(password).await?);
                format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
            }
        };
        let mut header = HeaderValue::try_from(text)
            .map_err(|_| "the secret holds characters that no header can carry".to_owned())?;
        header.set_sensitive(true);
        Ok(header)
    }
}

async fn read_secret(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::Given(given) => Ok(given.expose_secret().to_owned()),
        Secret::File(path) => match tokio::fs::read_to_string(path).await {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => Err(format!("secret in {}: {error}", path.display())),
        },
    }
}

/// Letters, digits and `-._~` stay.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn write_uri(settings: &Settings) -> Result<Uri, SettingsError> {
    let encoded = |value: &str| utf8_percent_encode(value, QUERY).to_string();
    let base: Uri = settings.url.parse().map_err(url_error)?;
    if !matches!(base.scheme_str(), Some("http" | "https")) || base.host().is_none() {
        return Err(url_error("scheme or host is missing"));
    }
    if base.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(url_error("user and password have keys of their own"));
    }
    if base.query().is_some() {
        return Err(url_error("it must not carry a query"));
    }
    let query = match &settings.version {
        Version::V1 { database, retention_policy, .. } => {
            let database = encoded(database);
            let policy = retention_policy.iter().map(|policy| format!("&rp={}", encoded(policy)));
            format!("/write?db={database}&precision=n{}", policy.collect::<String>())
        }
        Version::V2 { org, bucket, .. } => {
            let (org, bucket) = (encoded(org), encoded(bucket));
            format!("/api/v2/write?org={org}&bucket={bucket}&precision=ns")
        }
    };
    let base = settings.url.trim_end_matches('/');
    format!("{base}{query}").parse().map_err(url_error)
}

/// Whom the other end's certificate must lead to.
fn trust(uri: &Uri, ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    if uri.scheme_str() == Some("https") { tls::client(ca_file) } else { tls::nobody() }
}

fn url_error(reason: impl std::fmt::Display) -> SettingsError {
    // Not the URL itself: somebody may have put a password in it.
    SettingsError::Url { reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
