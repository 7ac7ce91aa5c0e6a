//! The broker collector: subscribes to an MQTT broker that is already there.
//!
//! Promises: a message of QoS 1 is acknowledged to the broker when its readings are durable here, in the order
//! of arrival, on the connection that brought it. While the journal is full the collector disconnects and the
//! broker keeps what comes; when the gateway is down or the connection breaks, likewise: the session is
//! persistent. Memory is bounded by [`Limits`] and one read of the network beyond.
//!
//! ```text
//!  broker --> network (polls, pings, decodes) --bursts, bounded--> keeper (submits, waits for the mark)
//!    ^             ^                                                  |
//!    +--PUBACK-----+------------------- gate: kept -------------------+
//! ```
//!
//! One connection is one event loop, one mark and one gate; nothing of them outlives it but the `Carry`.
//! Left out: MQTT 3.1.1-only brokers, QoS 2 subscriptions (an endless loop in the client library).

mod backoff;
mod connection;
mod gate;
mod keeper;
mod network;
mod options;

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use journal::Room;
use secrecy::SecretString;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::intake::Intake;
use crate::stats::{Counter, Gauge};

use self::{
    backoff::Backoff,
    connection::{Connection, Why},
    gate::Carry,
};

/// A connection that lasted this long has worked: the next failure starts with a short wait again.
const WORKED_AFTER: Duration = Duration::from_secs(10);
/// The same complaint is logged so often at most.
const REPEAT_AFTER: Duration = Duration::from_mins(10);

/// One `[[broker]]` table, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the source: `broker:<id>`.
    pub id: String,
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// PEM file with the authorities to trust; the system's own where there is none.
    pub ca_file: Option<PathBuf>,
    /// The broker keeps the session under this name: it must stay the same, and be nobody else's.
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// Topic filters, shared ones (`$share/...`) included.
    pub topics: Vec<String>,
    /// At least 5 s.
    pub keep_alive: Duration,
    /// Take retained messages when a filter is subscribed for the first time (default no).
    pub retained: bool,
    /// What the broker may send at most: above what intake takes, so that too large a reading is refused with
    /// its reason and not withheld by the broker without a word.
    pub packet_bytes_max: u32,
    pub receive_max: u16,
    pub session_expiry: Duration,
    pub limits: Limits,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Payload and topic bytes taken and not durable yet. A broker that drains a backlog overruns the receive
    /// maximum; beyond this the collector stops reading until the journal has caught up.
    pub unkept_bytes_max: NonZeroUsize,
    /// How long the journal may be full before the collector leaves the broker to keep its messages.
    pub full_wait: Duration,
    /// How long leaving may take: what is taken becomes durable, is acknowledged, DISCONNECT.
    pub leave_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unkept_bytes_max: NonZeroUsize::new(4 * 1024 * 1024).expect("4 MiB is not zero"),
            full_wait: Duration::from_secs(5),
            leave_max: Duration::from_secs(5),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub publishes: Counter,
    /// PUBACKs on the wire.
    pub acknowledged: Counter,
    /// Messages that came again although they were durable: acknowledged, not stored twice.
    pub resends: Counter,
    pub connects: Counter,
    /// The broker had forgotten the session: what it kept for us is lost.
    pub sessions_lost: Counter,
    /// 1 while connected and subscribed.
    pub connected: Gauge,
}

/// Collects until `shutdown`; returns when everything taken is durable and acknowledged, or `leave_max` has
/// passed. Cancelled: what is not acknowledged the broker sends again.
pub async fn run(
    settings: Settings,
    intake: Intake,
    stats: Arc<Stats>,
    shutdown: CancellationToken,
) {
    let mut collector = Collector {
        carry: Carry::default(),
        backoff: Backoff::new(),
        complaint: Complaint::default(),
        was_connected: false,
        settings,
        intake,
        stats,
    };
    while !shutdown.is_cancelled() {
        shutdown.run_until_cancelled(collector.room()).await;
        let wait = collector.connect(&shutdown).await;
        shutdown.run_until_cancelled(sleep(wait)).await;
    }
}

#[derive(Debug)]
struct Collector {
    settings: Settings,
    intake: Intake,
    stats: Arc<Stats>,
    /// From one connection to the next.
    carry: Carry,
    backoff: Backoff,
    complaint: Complaint,
    was_connected: bool,
}

impl Collector {
    /// Waits until the journal takes more. Cancel safe.
    async fn room(&self) {
        let mut room = self.intake.watch_room();
        if room.wait_for(|room| *room == Room::Free).await.is_err() {
            debug!(broker = self.settings.id, "the journal has ended");
        }
    }

    /// One connection from beginning to end; how long to wait before the next.
    async fn connect(&mut self, shutdown: &CancellationToken) -> Duration {
        let began = Instant::now();
        let connection = Connection {
            settings: &self.settings,
            intake: &self.intake,
            stats: &self.stats,
            expects_session: self.was_connected,
        };
        let end = connection.run(&mut self.carry, shutdown).await;
        self.was_connected |= end.was_connected;
        let worked = end.was_connected && began.elapsed() >= WORKED_AFTER;
        if worked || matches!(end.why, Why::Full) {
            self.backoff.reset();
        }
        self.tell(&end.why);
        self.backoff.failed()
    }

    fn tell(&mut self, why: &Why) {
        let broker = self.settings.id.as_str();
        match why {
            Why::Left => info!(broker, "left the broker; it keeps the session"),
            Why::Full => {} // Said when it began.
            Why::Lost(reason) if self.complaint.is_news(reason) => {
                warn!(broker, reason, "no connection to the broker, trying again");
            }
            Why::Lost(reason) => {
                debug!(broker, reason, "no connection to the broker, trying again");
            }
        }
    }
}

/// Keeps a broker that is down for a week from filling the log.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<(String, Instant)>,
}

impl Complaint {
    fn is_news(&mut self, text: &str) -> bool {
        let is_old = |(last, at): &(String, Instant)| last == text && at.elapsed() < REPEAT_AFTER;
        if self.last.as_ref().is_some_and(is_old) {
            return false;
        }
        self.last = Some((text.to_owned(), Instant::now()));
        true
    }
}
