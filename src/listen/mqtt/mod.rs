//! The MQTT listener: 3.1, 3.1.1 and 5 on one port.

pub mod packet;
pub mod session;

use std::{sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{intake::Intake, listen::accept, stats::Counter};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub packet_bytes_max: usize,
    /// From accept to a whole CONNECT.
    pub handshake_max: Duration,
    pub write_max: Duration,
    /// v5 Receive Maximum that we announce; an overrun is tolerated up to `overrun_factor` times.
    pub receive_max: u16,
    pub overrun_factor: u16,
    /// Messages and bytes a connection may have unacknowledged before its brake goes on.
    pub unacked_messages_max: usize,
    pub unacked_bytes_max: usize,
    /// How long the journal may be full before connections are told to come back later.
    pub full_wait: Duration,
    /// v5 topic aliases allowed.
    pub topic_alias_max: u16,
    /// Keep alive granted at most, and used where a client asks for none.
    pub keep_alive_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 256 * 1024,
            handshake_max: Duration::from_secs(5),
            write_max: Duration::from_secs(30),
            receive_max: 1024,
            overrun_factor: 4,
            unacked_messages_max: 4096,
            unacked_bytes_max: 512 * 1024,
            full_wait: Duration::from_secs(5),
            topic_alias_max: 64,
            keep_alive_max: Duration::from_hours(1),
        }
    }
}

/// Counted by this listener; `app` registers them.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub publishes: Counter,
}

/// Serves devices until `shutdown`, then stops reading, waits until what was read is durable and
/// acknowledged, and returns.
pub async fn serve(
    listener: TcpListener,
    intake: Intake,
    ports: accept::Limits,
    limits: Limits,
    stats: Arc<Stats>,
    shutdown: CancellationToken,
) {
    unimplemented!("{listener:?} {intake:?} {ports:?} {limits:?} {stats:?} {shutdown:?}")
}
