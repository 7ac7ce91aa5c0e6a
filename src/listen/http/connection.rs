//! One connection: hyper over a `Wire`, then perhaps a WebSocket on the same wire.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::response::Response;
use http::{HeaderValue, Request, header};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::{Service as _, service_fn},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tracing::debug;

use super::{
    DRAIN_MAX, Port,
    refusal::Why,
    routes::Routes,
    stats::{Ended, Endpoint},
};
use crate::listen::wire::Control;
use crate::listen::wire::Cut;
use crate::listen::wire::Deadlines;
use crate::listen::wire::Phase;
use crate::listen::wire::Wire;
use crate::listen::ws;

/// hyper's buffer of a connection: bounds a request head, and how much of a body comes at a time.
const BUFFER_BYTES: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// How long what still comes in after the last answer is thrown away.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// For a whole refusal.
const REFUSE_MAX: Duration = Duration::from_secs(3);

/// What a handler knows of the connection that its request came on.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) control: Control,
    /// Set by the handler of `/v1/stream`: what this connection becomes.
    upgrade: Arc<Mutex<Option<Upgrade>>>,
}

#[derive(Debug)]
pub(super) struct Upgrade {
    pub(super) device: Option<String>,
    pub(super) numbered: Option<ws::Numbered>,
    pub(super) upgraded: OnUpgrade,
}

impl Link {
    pub(super) fn new(control: Control) -> Self {
        Self { control, upgrade: Arc::default() }
    }

    pub(super) fn become_websocket(&self, upgrade: Upgrade) {
        *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    }

    fn is_upgrade(&self) -> bool {
        self.upgrade.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take_upgrade(&self) -> Option<Upgrade> {
        self.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves one peer until it hangs up, a deadline passes, or the last request at shutdown is
/// answered. Cancelled: requests under way are forgotten unanswered.
pub(super) async fn run<S>(stream: S, port: Arc<Port>, routes: Routes)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let link = Link::new(Control::new());
    let wire = Wire::new(stream, deadlines(&port), link.control.clone());
    let ended = requests(wire, &link, &port, &routes).await;
    port.stats.ended_one(ended);
    let Some(upgrade) = link.take_upgrade() else { return };
    let upgraded = match timeout(REFUSE_MAX, upgrade.upgraded).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => return debug!(%error, "the upgrade failed"),
        Err(_) => return debug!("the upgrade took too long"),
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<Wire<S>>>() else {
        return debug!("the upgraded connection is not the one that was served");
    };
    link.control.set(Phase::Busy); // Its own deadlines from here on.
    let stream = ws::Stream {
        wire: parts.io.into_inner(),
        read_before: parts.read_buf,
        device: upgrade.device,
        numbered: upgrade.numbered,
        intake: port.intake.clone(),
        source: Arc::clone(&port.ws),
        limits: port.limits.websocket(),
        stats: &port.stats.websocket,
        memory: port.memory.clone(),
    };
    ws::run(stream, &port.shutdown).await;
}

/// Tells a peer beyond the connection limit so, whatever it asks.
pub(super) async fn refuse<S>(stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    const BODY: &str = "{\"error\":\"too many connections; come again later\"}\n";
    let control = Control::new();
    control.set_linger(true);
    let deadlines =
        Deadlines { head: REFUSE_MAX, idle: REFUSE_MAX, write: REFUSE_MAX, linger: LINGER_MAX };
    let mut wire = Wire::new(stream, deadlines, control);
    let seconds = fastrand::u64(5..=15);
    let length = BODY.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         retry-after: {seconds}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{BODY}"
    );
    let told = async {
        wire.write_all(answer.as_bytes()).await?;
        wire.shutdown().await
    };
    match timeout(REFUSE_MAX, told).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a refused peer was not told"),
        Err(_) => debug!("a refused peer does not listen"),
    }
}

fn deadlines(port: &Port) -> Deadlines {
    Deadlines {
        head: port.limits.header_max,
        idle: port.limits.idle_max,
        write: port.limits.write_max,
        linger: LINGER_MAX,
    }
}

/// Answers requests until the connection ends, or becomes something else.
async fn requests<S>(wire: Wire<S>, link: &Link, port: &Arc<Port>, routes: &Routes) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(request, link.clone(), port, routes));
    let connection = http1::Builder::new()
        .half_close(true) // Whoever has said everything may close that side and wait.
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => Some(ended),
        () = port.shutdown.cancelled() => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        match timeout(DRAIN_MAX, connection.as_mut()).await {
            Ok(ended) => ended,
            // A request that is being answered keeps its own deadlines; half a head does not.
            Err(_) if link.control.phase() == Phase::Busy => connection.await,
            Err(_) => return Ended::ShuttingDown,
        }
    };
    if let Err(error) = &ended {
        debug!(%error, "connection ended");
    }
    why_ended(link, port, &ended)
}

fn why_ended(link: &Link, port: &Port, ended: &hyper::Result<()>) -> Ended {
    match (link.control.cut(), ended) {
        (Some(Cut::Silent), _) => Ended::Silent,
        (Some(Cut::Head), _) => Ended::Trickling,
        (Some(Cut::Idle), _) => Ended::Idle,
        (Some(Cut::Unread), _) => Ended::Unread,
        (None, Err(error)) if error.is_parse_too_large() => Ended::HeadTooLarge,
        (None, Err(error)) if error.is_parse() => Ended::Malformed,
        (None, Err(_)) => Ended::HungUp,
        (None, Ok(())) if link.is_upgrade() => Ended::WebSocket,
        (None, Ok(())) if port.shutdown.is_cancelled() => Ended::ShuttingDown,
        (None, Ok(())) => Ended::Closed,
    }
}

async fn answer(
    mut request: Request<Incoming>,
    link: Link,
    port: &Arc<Port>,
    routes: &Routes,
) -> Result<Response, Infallible> {
    link.control.set(Phase::Busy);
    link.control.set_linger(!request.body().is_end_stream());
    let endpoint = Endpoint::of(request.uri().path());
    request.extensions_mut().insert(link.clone());
    let mut answer = match routes.call(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    port.stats.answered_one(endpoint, answer.status());
    if let Some(why) = answer.extensions().get::<Why>() {
        port.stats.refused_one(*why);
        debug!(?endpoint, ?why, "request refused");
    }
    if link.control.lingers() {
        // Bytes of this request may still come, and nobody will read them.
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    link.control.set(Phase::Idle);
    Ok(answer)
}
