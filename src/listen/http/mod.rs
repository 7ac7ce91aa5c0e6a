//! HTTP on one port with the WebSocket: line protocol as InfluxDB takes it, JSON, frames, health.
//!
//! ```text
//!  accept -> connection: Wire (deadlines) -> hyper -> routes -+-> influx, readings -> Delivery -> intake
//!                    ^                                        +-> watching: /ping /health /metrics ...
//!                    `-- ws::run <-- the wire, upgraded <-----+-> stream
//! ```
//!
//! Promises: 204 leaves when everything of the request is durable; whatever else is answered says
//! in the endpoint's own words what became of it. A request holds at most one piece of its body
//! (256 KiB), from `Memory`, however large the body is. Every wait has a deadline: for the head, for
//! the body (and a least rate), for room in the journal, for durability, for the peer to read.
//!
//! A request with an `Idempotency-Key` that is sent again is stored once (`again`), and gets the same
//! answer.
//!
//! At shutdown the port closes, requests under way finish (bodies within `DRAIN_MAX`), streams
//! stop reading, get their last acknowledgements and are closed with 1001.

mod again;
mod body;
mod connection;
mod delivery;
mod exposition;
mod inflate;
mod influx;
mod key;
mod readings;
mod refusal;
mod report;
mod routes;
mod stats;
mod stream;
mod watching;

use std::{sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::intake::Intake;
use crate::listen::accept;
use crate::listen::memory::Memory;
use crate::listen::ws;

pub use stats::Stats;

/// How long a body or a request head that is under way at shutdown may still take.
const DRAIN_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of a body as it comes over the wire.
    pub body_bytes_max: usize,
    /// Of a body once inflated; it is streamed, never held.
    pub inflated_bytes_max: usize,
    /// Of a JSON document or a frame, which have to be held whole.
    pub document_bytes_max: usize,
    /// From accept, or from the first byte of a later request, to the whole request head.
    pub header_max: Duration,
    /// How long a kept-alive connection may be silent between two requests.
    pub idle_max: Duration,
    /// How long a body may pause, and for how long in all its sender may be waited for.
    pub body_pause_max: Duration,
    pub body_max: Duration,
    /// The least rate of a body, counted after its first `body_pause_max` of waiting.
    pub body_bytes_per_second_min: u32,
    pub write_max: Duration,
    pub websocket_message_bytes_max: usize,
    /// Messages and bytes a WebSocket may have unacknowledged before its brake goes on.
    pub websocket_unacked_messages_max: usize,
    pub websocket_unacked_bytes_max: usize,
    /// A peer silent for so long is pinged; silent for as long again, it is closed.
    pub websocket_silence_max: Duration,
    /// How long the journal may be full before a request is told 503, a message to come again.
    pub full_wait: Duration,
    /// How long the journal may take in all to make a request durable before it is told 503.
    pub durable_max: Duration,
    /// Bodies and large messages under way, over all connections.
    pub memory_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Limits {
    const DEFAULT: Self = Self {
        body_bytes_max: 16 * 1024 * 1024,
        inflated_bytes_max: 64 * 1024 * 1024,
        document_bytes_max: 1024 * 1024,
        header_max: Duration::from_secs(10),
        idle_max: Duration::from_secs(75),
        body_pause_max: Duration::from_secs(10),
        body_max: Duration::from_mins(5),
        body_bytes_per_second_min: 1024,
        write_max: Duration::from_secs(30),
        websocket_message_bytes_max: 1024 * 1024,
        websocket_unacked_messages_max: 4096,
        websocket_unacked_bytes_max: 512 * 1024,
        websocket_silence_max: Duration::from_secs(30),
        full_wait: Duration::from_secs(5),
        durable_max: Duration::from_secs(30),
        memory_bytes_max: 64 * 1024 * 1024,
    };

    fn websocket(&self) -> ws::Limits {
        ws::Limits {
            message_bytes_max: self.websocket_message_bytes_max,
            unacked_messages_max: self.websocket_unacked_messages_max,
            unacked_bytes_max: self.websocket_unacked_bytes_max,
            silence_max: self.websocket_silence_max,
            full_wait: self.full_wait,
            durable_max: self.durable_max,
        }
    }
}

/// What the listener is told about the rest of the gateway, so that it need not know it.
#[derive(Clone)]
pub struct House {
    /// The text of `/metrics` in the `OpenMetrics` format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// `/readyz`: able to take readings, or the reason why not.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("House")
    }
}

/// Serves until `shutdown`, then closes the port and returns when the last connection has got its
/// last answer. Cancelled: every connection is dropped where it stands, unacknowledged.
pub async fn serve(
    listener: TcpListener,
    intake: Intake,
    ports: accept::Limits,
    limits: Limits,
    house: House,
    stats: Arc<Stats>,
    shutdown: CancellationToken,
) {
    let port = Arc::new(Port::new(intake, limits, house, Arc::clone(&stats), shutdown.clone()));
    let routes = routes::all(&port);
    accept::serve(
        listener,
        ports,
        &stats.ports,
        &shutdown,
        |stream, _| {
            #[cfg(feature = "faults")]
            journal::fault::point("http");
            connection::run(stream, Arc::clone(&port), routes.clone())
        },
        |stream, _| connection::refuse(stream),
    )
    .await;
}

/// What all connections of the port share.
#[derive(Debug)]
struct Port {
    intake: Intake,
    limits: Limits,
    house: House,
    stats: Arc<Stats>,
    memory: Memory,
    shutdown: CancellationToken,
    /// Under these names readings go into the books.
    http: journal::Source,
    ws: journal::Source,
}

impl Port {
    fn new(
        intake: Intake,
        limits: Limits,
        house: House,
        stats: Arc<Stats>,
        shutdown: CancellationToken,
    ) -> Self {
        let memory = Memory::new(limits.memory_bytes_max);
        let (http, ws) = ("http".into(), "ws".into());
        Self { intake, limits, house, stats, memory, shutdown, http, ws }
    }
}
