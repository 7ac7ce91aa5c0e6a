//! A TCP proxy that does to a connection what networks do: late, in drips, not at all, cut, or with
//! the answer gone.
//!
//! ```text
//!  client ----> [ upward: as it is, late, in drips, into the hole ] ----> server
//!         <---- [ downward: the same, or swallowed                ] <----
//! ```
//! The weather can be changed at any time, and holds at once for connections that are open. Memory
//! is bounded: a buffer for each direction of each connection. Leaves out loss and reordering:
//! TCP hides both.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What one read takes at most; in drips far less.
const CHUNK_BYTES: usize = 16 * 1024;
const DRIP_BYTES: usize = 7;

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    #[default]
    Clear,
    /// Every chunk waits so long, in each direction.
    Late(Duration),
    /// Seven bytes at a time, so far apart.
    Drip(Duration),
    /// Connections stand, and nothing passes: not a byte, not an end. What comes meanwhile is gone, so
    /// a connection that was open does not come back to life.
    Hole,
    /// What clients send arrives; what is answered does not.
    Swallow,
    /// Open connections are reset, new ones as well.
    Cut,
}

/// A running proxy. Dropping it closes its port and resets its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    /// Ends the connections that were made since it was put here.
    open: Arc<Mutex<CancellationToken>>,
    closing: CancellationToken,
}

impl Proxy {
    /// A port of 127.0.0.1 that leads to `server`. Must be called within a runtime.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let weather = Arc::new(watch::Sender::new(Weather::Clear));
        let closing = CancellationToken::new();
        let open = Arc::new(Mutex::new(closing.child_token()));
        let tasks = TaskTracker::new();
        let shared = Shared {
            server,
            weather: Arc::clone(&weather),
            open: Arc::clone(&open),
            closing: closing.clone(),
        };
        drop(tasks.spawn(accept(listener, shared, tasks.clone())));
        Ok(Self { address, weather, open, closing })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Every connection that is open now is reset, whatever the weather. Unlike a moment of
    /// `Weather::Cut`, which a busy machine may sleep through, it misses none.
    pub fn reset(&self) {
        let new = self.closing.child_token();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *open, new).cancel();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

#[derive(Clone, Debug)]
struct Shared {
    server: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    open: Arc<Mutex<CancellationToken>>,
    closing: CancellationToken,
}

async fn accept(listener: TcpListener, shared: Shared, tasks: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.closing.cancelled() => return,
        };
        match accepted {
            Ok((client, _)) => drop(tasks.spawn(carry(client, shared.clone()))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection, until one side ends or the weather cuts it.
async fn carry(client: TcpStream, shared: Shared) {
    let open = shared.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut weather = shared.weather.subscribe();
    if *weather.borrow() == Weather::Cut {
        reset(&client);
        return;
    }
    let Ok(server) = TcpStream::connect(shared.server).await else {
        reset(&client);
        return;
    };
    for side in [&client, &server] {
        if let Err(error) = side.set_nodelay(true) {
            tracing::debug!(%error, "cannot send at once");
        }
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut upward = Way { from: from_client, to: to_server, is_answer: false };
    let mut downward = Way { from: from_server, to: to_client, is_answer: true };
    let ended = {
        let mut both = std::pin::pin!(async {
            tokio::join!(upward.run(&shared.weather), downward.run(&shared.weather))
        });
        tokio::select! {
            (up, down) = &mut both => up.and(down).is_ok(),
            // Fails only when the proxy is gone.
            _ = weather.wait_for(|now| *now == Weather::Cut) => false,
            () = open.cancelled() => false,
        }
    };
    if !ended {
        for way in [upward, downward] {
            reset(way.from.as_ref());
            way.to.forget(); // Dropped, it would say goodbye.
        }
    }
}

/// One direction.
struct Way {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    is_answer: bool,
}

impl Way {
    /// Until `from` ends, which is passed on.
    async fn run(&mut self, weather: &watch::Sender<Weather>) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut has_lost = false;
        loop {
            let is_drip = matches!(*weather.borrow(), Weather::Drip(_));
            let room = if is_drip { DRIP_BYTES } else { CHUNK_BYTES };
            let read = self.from.read(buffer.get_mut(..room).unwrap_or_default()).await?;
            let now = *weather.borrow();
            match now {
                Weather::Hole => has_lost = true,
                Weather::Swallow if self.is_answer => has_lost = true,
                Weather::Late(time) | Weather::Drip(time) => sleep(time).await,
                Weather::Clear | Weather::Swallow | Weather::Cut => {}
            }
            if has_lost {
                // A stream with a piece missing must not go on; not even its end is told.
                if read == 0 {
                    return std::future::pending().await;
                }
                continue;
            }
            if read == 0 {
                return self.to.shutdown().await;
            }
            self.to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        }
    }
}

/// As of a peer that crashed: no goodbye.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "cannot reset");
    }
}

#[cfg(test)]
mod tests;
