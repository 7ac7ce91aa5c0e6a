//! The MQTT listener: 3.1, 3.1.1 and 5 on one port.

mod clients;
mod connection;
mod gate;
mod held;
pub mod packet;
pub mod session;
mod stats;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use connection::{Connection, Shared};
use gate::Gate;
use held::Pool;
use session::Refusal;

use crate::intake::Intake;
use crate::listen::accept;

pub use stats::Stats;

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
    /// What all connections together hold outside intake's budget: parts of packets, and readings
    /// that wait for room in it. Some KiB of each connection are not counted.
    pub held_bytes_max: usize,
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
            held_bytes_max: 32 * 1024 * 1024,
        }
    }
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
    let shared = Arc::new(Shared {
        source: journal::Source::from("mqtt"),
        limits: limits.within(intake.share_bytes()),
        stats: Arc::clone(&stats),
        clients: Arc::default(),
        gate: Gate::default(),
        pool: Arc::new(Pool::new(limits.held_bytes_max)),
        shutdown: shutdown.clone(),
        intake,
    });
    let handle = |stream, peer| {
        #[cfg(feature = "faults")]
        journal::fault::point("mqtt");
        let connection = Connection::new(stream, Arc::clone(&shared));
        run(connection, peer)
    };
    let refuse = |stream, peer| {
        let connection = Connection::refusing(stream, Arc::clone(&shared), Refusal::TooMany);
        run(connection, peer)
    };
    tokio::select! {
        () = accept::serve(listener, ports, &stats.ports, &shutdown, handle, refuse) => {}
        () = shared.gate.follow(shared.intake.watch_room(), limits.full_wait) => {}
    }
}

#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` keeps a second place for the connection in every task"
)]
fn run(mut connection: Connection<TcpStream>, peer: SocketAddr) -> impl Future<Output = ()> + Send {
    async move {
        let ending = connection.run().await;
        debug!(%peer, ?ending, "connection ended");
    }
}

impl Limits {
    /// One connection leaves most of intake's budget to the others.
    fn within(self, share_bytes: usize) -> Self {
        Self { unacked_bytes_max: self.unacked_bytes_max.min(share_bytes), ..self }
    }
}
