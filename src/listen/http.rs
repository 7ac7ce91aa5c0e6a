//! HTTP on one port with the WebSocket: line protocol as InfluxDB takes it, JSON, frames, health.

use std::{sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{intake::Intake, listen::accept, stats::Counter};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub body_bytes_max: usize,
    pub inflated_bytes_max: usize,
    pub header_max: Duration,
    pub write_max: Duration,
    pub websocket_message_bytes_max: usize,
    /// How long a request waits for room or durability before it is told 503.
    pub full_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 * 1024 * 1024,
            inflated_bytes_max: 64 * 1024 * 1024,
            header_max: Duration::from_secs(10),
            write_max: Duration::from_secs(30),
            websocket_message_bytes_max: 1024 * 1024,
            full_wait: Duration::from_secs(5),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub requests: Counter,
}

/// What the listener is told about the rest of the gateway, so that it need not know it.
#[derive(Clone)]
pub struct House {
    /// The text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// `/readyz`: able to take readings, or the reason why not.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("House")
    }
}

/// Serves until `shutdown`; then as the MQTT listener does.
pub async fn serve(
    listener: TcpListener,
    intake: Intake,
    ports: accept::Limits,
    limits: Limits,
    house: House,
    stats: Arc<Stats>,
    shutdown: CancellationToken,
) {
    unimplemented!("{listener:?} {intake:?} {ports:?} {limits:?} {house:?} {stats:?} {shutdown:?}")
}
