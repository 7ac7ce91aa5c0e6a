//! An InfluxDB that misbehaves on demand, and takes nothing on trust: every line is read by a
//! strict checker, every point is kept, and what was overwritten is remembered.
//!
//! Speaks `/write` (1.x), `/api/v2/write`, `/api/v3/write_lp`, `/ping`, `/health`, `/ready`, gzip. `Behaviour` says
//! what goes wrong and can be changed at any time, from a test or through the admin port:
//!
//! | admin | |
//! |---|---|
//! | `GET /behaviour`, `POST /behaviour` | JSON, see [`Behaviour`] |
//! | `GET /stats` | counts, JSON |
//! | `GET /points` | every point, a line of JSON each |
//! | `GET /changes` | every value that was overwritten by another one |

mod admin;
mod answer;
mod audit;
mod behaviour;
pub mod line;
mod read;
mod server;
pub mod store;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{Mutex as AsyncMutex, watch},
    time::{Duration, Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use admin::row_from_json;
pub use audit::Audited;
pub use behaviour::{Answer, Behaviour};

use self::{
    audit::Audit,
    read::Malformed,
    server::{Database, State},
    store::{Change, Store, Write},
};
use crate::{
    ledger::Ledger,
    verify::{Row, Verdict},
};

#[derive(Clone, Debug)]
pub struct Config {
    /// Counts lines and keeps nothing: for benchmarks.
    pub null: bool,
    /// What `Authorization: Token ...` must say.
    pub token: Option<String>,
    /// Points beyond this many are refused.
    pub points_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { null: false, token: None, points_max: 10_000_000 }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Write requests, whatever became of them.
    pub requests: u64,
    /// Lines of the requests that were applied.
    pub lines: u64,
    /// Points stored, overwrites included.
    pub stored: u64,
    /// Lines not stored of requests that were applied in part.
    pub dropped: u64,
    /// Lines that are no line protocol: the writer's fault, whatever the behaviour.
    pub malformed: u64,
    /// Some of them, with the reason.
    pub malformed_examples: Vec<String>,
    /// With `acknowledge_every_ms`: the most requests that were acknowledged at once.
    pub acknowledged_together_max: u64,
}

impl Stats {
    fn malformed<'b>(&mut self, lines: impl Iterator<Item = &'b Malformed<'b>>) {
        for line in lines {
            self.malformed += 1;
            if self.malformed_examples.len() < 20 {
                self.malformed_examples.push(line.quoted());
            }
        }
    }
}

/// A running database. Dropping it closes its ports and connections.
#[derive(Debug)]
pub struct Faulty {
    database: Arc<Database>,
    address: SocketAddr,
    port: AsyncMutex<Port>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

#[derive(Debug)]
enum Port {
    /// Accepting; the token ends the accept loop and every connection it made.
    Open { open: CancellationToken, tasks: TaskTracker },
    /// Bound, but not listening: connections are refused, and nobody is given the port as a free one.
    Plugged(TcpSocket),
    /// Between the two; after an error of the kernel's.
    Lost,
}

impl Faulty {
    /// Port 0 asks for a free one. Must be called within a runtime.
    pub async fn start(address: SocketAddr, config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let store = Store::new(config.points_max);
        let database = Arc::new(Database {
            config,
            started: Instant::now(),
            behaviour: watch::Sender::new(Behaviour::default()),
            state: Mutex::new(State { store, audit: None, stats: Stats::default(), beat: (0, 0) }),
        });
        let closing = CancellationToken::new();
        let port = open(listener, &database, closing.child_token());
        Ok(Self {
            database,
            address,
            port: AsyncMutex::new(port),
            tasks: TaskTracker::new(),
            closing,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn behaviour(&self) -> Behaviour {
        self.database.behaviour.borrow().clone()
    }

    /// Behaves like this from now on. When it returns the port is open or closed accordingly.
    ///
    /// `Refuse` ends only by another `set`: no request comes in that `requests` could count.
    pub async fn set(&self, behaviour: Behaviour) -> io::Result<()> {
        let mut port = self.port.lock().await;
        let refuse = behaviour.answer == Answer::Refuse;
        self.database.behaviour.send_replace(behaviour);
        if refuse { self.plug(&mut port).await } else { self.unplug(&mut port).await }
    }

    async fn plug(&self, port: &mut Port) -> io::Result<()> {
        let Port::Open { open, tasks } = std::mem::replace(port, Port::Lost) else { return Ok(()) };
        open.cancel();
        tasks.wait().await;
        let socket = self.socket().await?;
        // With it, somebody who looks for a free port could bind to this one as well.
        socket.set_reuseaddr(false)?;
        *port = Port::Plugged(socket);
        Ok(())
    }

    async fn unplug(&self, port: &mut Port) -> io::Result<()> {
        let socket = match std::mem::replace(port, Port::Lost) {
            Port::Plugged(socket) => {
                socket.set_reuseaddr(true)?;
                socket
            }
            Port::Lost => self.socket().await?,
            open @ Port::Open { .. } => {
                *port = open;
                return Ok(());
            }
        };
        let listener = socket.listen(1024)?;
        *port = open(listener, &self.database, self.closing.child_token());
        Ok(())
    }

    /// Bound to our port. Between its closing and this, somebody who looks for a free port may hold it
    /// for a moment: tried again for a second.
    async fn socket(&self) -> io::Result<TcpSocket> {
        let mut tries_left = 50;
        loop {
            let socket =
                if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            match socket.bind(self.address) {
                Ok(()) => return Ok(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries_left > 0 => {
                    tries_left -= 1;
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub fn stats(&self) -> Stats {
        self.database.state().stats.clone()
    }

    /// How many points there are: cheap, for a test that waits for them.
    pub fn points(&self) -> usize {
        self.database.state().store.points()
    }

    pub fn rows(&self) -> Vec<Row> {
        self.database.state().store.rows()
    }

    pub fn series(&self) -> Vec<String> {
        self.database.state().store.series().map(str::to_owned).collect()
    }

    /// Every value that was overwritten by a different one, in order.
    pub fn changes(&self) -> Vec<Change> {
        self.database.state().store.changes.iter().cloned().collect()
    }

    /// From now on points are held against this ledger (too) as they come, and none is kept: for more
    /// of them than there is memory.
    pub fn audit(&self, ledger: &Ledger) {
        self.database.state().audit.get_or_insert_default().add(ledger);
    }

    /// What came so far of the readings of each ledger, in the order in which they were given.
    pub fn audited(&self) -> Vec<Audited> {
        self.database.state().audit.as_ref().map(Audit::so_far).unwrap_or_default()
    }

    /// Each ledger against all that came since it was given. A reading that came again counts as a
    /// duplicate, also where a database would have stored it as the same point.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.database.state().audit.as_ref().map(Audit::verdicts).unwrap_or_default()
    }

    /// From now on every point is written down in the order in which it came.
    pub fn trace(&self) {
        self.database.state().store.trace.get_or_insert_default();
    }

    /// What was written since `trace`.
    pub fn traced(&self) -> Vec<Write> {
        self.database.state().store.trace.iter().flatten().cloned().collect()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

fn open(listener: TcpListener, database: &Arc<Database>, open: CancellationToken) -> Port {
    let tasks = TaskTracker::new();
    let accepting = accept(listener, Arc::clone(database), open.clone(), tasks.clone());
    tasks.spawn(accepting);
    tasks.close();
    Port::Open { open, tasks }
}

async fn accept(
    listener: TcpListener,
    database: Arc<Database>,
    open: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = open.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                drop(tasks.spawn(serve(stream, Arc::clone(&database), open.clone())));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, database: Arc<Database>, open: CancellationToken) {
    let service = service_fn(move |request| Arc::clone(&database).answer(request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = &mut connection => if let Err(error) = served {
            tracing::debug!(%error, "connection ended");
        },
        () = open.cancelled() => {
            // A reset, as of a process that crashed, not a goodbye.
            if let Err(error) = connection.into_parts().io.inner().set_zero_linger() {
                tracing::debug!(%error, "cannot reset");
            }
        }
    }
}

#[cfg(test)]
mod tests;
