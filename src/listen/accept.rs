//! Accepts connections, a bounded number, and runs each one in a task that it waits for.
//!
//! Promises: running out of file descriptors pauses accepting and nothing else; a peer beyond
//! `connections_max` is handed to `refuse`, which tells it why in its own protocol; at shutdown the
//! port closes first, then the open connections are waited for. A handler that panics ends `serve`
//! with the same panic.
//!
//! Left out: deadlines. A handler bounds its own waits, also after the shutdown that it was told of
//! by the token it holds.

use std::{io, net::SocketAddr, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::stats::Counter;
use crate::stats::Gauge;

/// Peers being told at one time that there is no room. Beyond it they are hung up on without a word.
const REFUSALS_MAX: usize = 64;

/// Pause after a failed `accept`. The usual cause is EMFILE, which only closing connections can
/// cure, so retrying in a tight loop would burn a core for nothing.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Open files kept for everything that is not a device: the journal's segments, positions and dead
/// letters, requests to the sinks, the runtime itself.
const OPEN_FILES_RESERVED: u64 = 256;

/// What an open port allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 10_000 }
    }
}

/// One listener's connections, counted.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Open now, without those being refused.
    pub connections: Gauge,
    pub accepted: Counter,
    /// Beyond `connections_max`.
    pub refused: Counter,
    /// Failed `accept` calls: no file descriptor left, mostly.
    pub failed: Counter,
}

/// Serves connections until `shutdown` fires, then closes the port and waits for the open ones.
///
/// Takes a bound listener, not an address, so that a test can bind port 0 and learn the port.
/// Cancelled: every open connection is dropped where it stands.
pub async fn serve<H, HF, R, RF>(
    listener: TcpListener,
    limits: Limits,
    stats: &Stats,
    shutdown: &CancellationToken,
    handle: H,
    refuse: R,
) where
    H: Fn(TcpStream, SocketAddr) -> HF,
    HF: Future<Output = ()> + Send + 'static,
    R: Fn(TcpStream, SocketAddr) -> RF,
    RF: Future<Output = ()> + Send + 'static,
{
    let mut open =
        Open { limits, stats, connections: JoinSet::new(), refusals: JoinSet::new(), full: false };
    let mut accepting = Accepting { listener, stats, retry_at: None };
    let stop = shutdown.cancelled();
    tokio::pin!(stop);
    loop {
        let happened = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = open.connections.join_next() => Happened::Ended(ended),
            Some(ended) = open.refusals.join_next() => Happened::Refused(ended),
            (stream, peer) = accepting.next() => Happened::Accepted(stream, peer),
        };
        match happened {
            Happened::Ended(ended) => open.ended(ended),
            Happened::Refused(ended) => pass_on_a_panic(ended),
            Happened::Accepted(stream, peer) => open.begin(stream, peer, &handle, &refuse),
        }
    }
    drop(accepting); // Closes the port: no new peers while the old ones finish.
    open.refusals.abort_all(); // They were taken nothing from.
    while let Some(ended) = open.connections.join_next().await {
        open.ended(ended);
    }
}

/// Raises the soft limit of open files as far as `connections_wanted` (over all listeners) needs it
/// and the hard limit allows, and returns how many connections there may really be.
pub fn make_room_for(connections_wanted: usize) -> usize {
    let around = OPEN_FILES_RESERVED + 2 * REFUSALS_MAX as u64;
    let wanted = around.saturating_add(connections_wanted as u64);
    let before = getrlimit(Resource::Nofile);
    let current = before.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return connections_wanted;
    }
    let granted = wanted.min(before.maximum.unwrap_or(u64::MAX));
    let raised = Rlimit { current: Some(granted), maximum: before.maximum };
    let granted = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => granted,
        Err(error) => {
            warn!(%error, current, wanted, "the limit of open files could not be raised");
            current
        }
    };
    let connections = usize::try_from(granted.saturating_sub(around)).unwrap_or(usize::MAX).max(1);
    if connections < connections_wanted {
        warn!(
            open_files = granted,
            connections, connections_wanted, "the limit of open files allows fewer connections"
        );
    }
    connections.min(connections_wanted)
}

/// What the accept loop woke up for.
enum Happened {
    Ended(Result<(), JoinError>),
    Refused(Result<(), JoinError>),
    Accepted(TcpStream, SocketAddr),
}

struct Accepting<'a> {
    listener: TcpListener,
    stats: &'a Stats,
    /// Set while `accept` fails.
    retry_at: Option<Instant>,
}

impl Accepting<'_> {
    /// The next peer, however often accepting fails before. Cancel safe.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(at) = self.retry_at {
                sleep_until(at).await;
            }
            match self.listener.accept().await {
                Ok(accepted) => {
                    if self.retry_at.take().is_some() {
                        info!("accepting connections again");
                    }
                    return accepted;
                }
                Err(error) if is_about_one_peer(&error) => {}
                Err(error) => {
                    self.stats.failed.inc();
                    if self.retry_at.is_none() {
                        warn!(%error, "accept failed, trying again until it does not");
                    }
                    self.retry_at = Some(Instant::now() + ACCEPT_RETRY_DELAY);
                }
            }
        }
    }
}

/// The peer hung up before it was accepted: the next one may be fine.
fn is_about_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

struct Open<'a> {
    limits: Limits,
    stats: &'a Stats,
    connections: JoinSet<()>,
    refusals: JoinSet<()>,
    /// For one log line on rise and one on clear.
    full: bool,
}

impl Open<'_> {
    fn begin<HF, RF>(
        &mut self,
        stream: TcpStream,
        peer: SocketAddr,
        handle: impl Fn(TcpStream, SocketAddr) -> HF,
        refuse: impl Fn(TcpStream, SocketAddr) -> RF,
    ) where
        HF: Future<Output = ()> + Send + 'static,
        RF: Future<Output = ()> + Send + 'static,
    {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, %peer, "no TCP_NODELAY"); // Gone already: its handler will see that.
        }
        if self.connections.len() < self.limits.connections_max {
            self.stats.accepted.inc();
            self.stats.connections.inc();
            self.connections.spawn(handle(stream, peer));
            return;
        }
        self.stats.refused.inc();
        if !self.full {
            self.full = true;
            warn!(connections_max = self.limits.connections_max, %peer, "too many connections, refusing more");
        }
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.spawn(refuse(stream, peer));
        }
    }

    fn ended(&mut self, ended: Result<(), JoinError>) {
        self.stats.connections.dec();
        if self.full && self.connections.len() < clear_below(self.limits.connections_max) {
            self.full = false;
            info!("room for connections again");
        }
        pass_on_a_panic(ended);
    }
}

/// An eighth below the limit, so that a fleet at the limit does not fill the log.
fn clear_below(connections_max: usize) -> usize {
    connections_max - connections_max / 8
}

fn pass_on_a_panic(ended: Result<(), JoinError>) {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(()) | Err(Err(_)) => {} // Aborted: only `serve` itself does that.
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests;
