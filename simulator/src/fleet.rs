//! Groups of simulated devices that run against one gateway, and the ledger of what they did.
//!
//! A fleet is stopped in one of three ways: `finished` waits until every device has sent what it
//! was asked for, `stop_and_drain` ends the measuring first, `kill` just drops everything. Each
//! hands over the ledger, in which nothing is acknowledged that was not.

use std::{
    io,
    num::{NonZeroU16, NonZeroUsize},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proto::Timestamp;
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    device::{Runner, Shared},
    ledger::Ledger,
    payload::Encoding,
    signals::{Clock, Device, Kind, seed_of},
    watch::Watch,
};

#[derive(Clone, Debug)]
pub struct FleetConfig {
    pub gateway: Gateway,
    pub groups: Vec<Group>,
    /// The same seed and groups give the same devices with the same signals.
    pub seed: u64,
    /// When the first reading is measured. In the past: the devices have a backlog, and send it as
    /// fast as the gateway takes it. `None`: now.
    pub start: Option<Timestamp>,
    /// A new file that keeps the ledger beyond the life of this process.
    pub ledger: Option<PathBuf>,
}

/// Devices of one make.
#[derive(Clone, Debug)]
pub struct Group {
    /// Begins every device's name: `NAME-KIND-0001`. Letters, digits and `-`; unique in its fleet.
    pub name: String,
    pub devices: u32,
    /// `None`: all kinds in turn.
    pub kind: Option<Kind>,
    pub link: Link,
    pub encoding: Encoding,
    pub clock: Clock,
    /// From one reading to the next.
    pub period: Duration,
    /// How far a reading may come after its turn, as a part of the period: 0.0 ..= 0.9.
    pub jitter: f64,
    /// Readings of each device; `None`: until stopped.
    pub readings_max: Option<u64>,
    /// A device with so many readings unanswered measures nothing new for a while.
    pub unacknowledged_max: NonZeroUsize,
    /// Each device breaks its own connection, without goodbye, about so often.
    pub leave_every: Option<Duration>,
    pub retry_first: Duration,
    pub retry_max: Duration,
}

impl Group {
    /// A reading a second, JSON, 1,000 readings of queue.
    pub fn new(name: impl Into<String>, devices: u32, link: Link) -> Self {
        Self {
            name: name.into(),
            devices,
            kind: None,
            link,
            encoding: Encoding::Json,
            clock: Clock::Nanoseconds,
            period: Duration::from_secs(1),
            jitter: 0.2,
            readings_max: None,
            unacknowledged_max: NonZeroUsize::new(1_000).unwrap_or(NonZeroUsize::MIN),
            leave_every: None,
            retry_first: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Link {
    Mqtt(Mqtt),
    /// `/v1/stream`; JSON or frames.
    WebSocket,
    Http(Http),
}

#[derive(Clone, Debug)]
pub struct Mqtt {
    pub version: Version,
    pub qos: u8,
    /// `{kind}` and `{device}` are filled in.
    pub topic: String,
    /// Publishes under way at once.
    pub inflight_max: NonZeroU16,
}

impl Mqtt {
    pub fn new(version: Version, qos: u8) -> Self {
        let inflight_max = NonZeroU16::new(20).unwrap_or(NonZeroU16::MIN);
        Self { version, qos, topic: "sim/{kind}/{device}".to_owned(), inflight_max }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 3.1.1.
    V4,
    V5,
}

#[derive(Clone, Debug)]
pub struct Http {
    /// Readings of one POST at most.
    pub batch_max: NonZeroUsize,
}

impl Default for Http {
    fn default() -> Self {
        Self { batch_max: NonZeroUsize::new(50).unwrap_or(NonZeroUsize::MIN) }
    }
}

/// Where the gateway listens. Cheap to clone; all clones are the same: a gateway that came back on
/// other ports is found there by the devices' next connection.
#[derive(Clone, Debug)]
pub struct Gateway {
    addresses: Arc<Mutex<Addresses>>,
}

#[derive(Clone, Debug)]
struct Addresses {
    mqtt: String,
    http: String,
}

impl Gateway {
    /// Each as `host:port`; a leading `mqtt://` or `http://` is allowed.
    pub fn new(mqtt: &str, http: &str) -> Self {
        Self { addresses: Arc::new(Mutex::new(Addresses::new(mqtt, http))) }
    }

    pub fn move_to(&self, mqtt: &str, http: &str) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = Addresses::new(mqtt, http);
    }

    pub(crate) fn mqtt(&self) -> (String, u16) {
        let address = self.addresses().mqtt;
        match address.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), port.parse().unwrap_or(1883)),
            None => (address, 1883),
        }
    }

    pub(crate) fn http_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses().http)
    }

    pub(crate) fn stream_url(&self, device: &str) -> String {
        format!("ws://{}/v1/stream?device={device}", self.addresses().http)
    }

    fn addresses(&self) -> Addresses {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Addresses {
    fn new(mqtt: &str, http: &str) -> Self {
        let plain = |address: &str| {
            let address = address.split_once("://").map_or(address, |(_, rest)| rest);
            address.trim_end_matches('/').to_owned()
        };
        Self { mqtt: plain(mqtt), http: plain(http) }
    }
}

#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    running: JoinSet<io::Result<()>>,
    /// Of a device that ended before anybody waited for it.
    failed: Option<io::Error>,
}

impl Fleet {
    /// Starts every device; they connect one after another, some thousand a second.
    ///
    /// Errors: a group that makes no sense (`InvalidInput`), a ledger file that cannot be made.
    pub fn start(config: &FleetConfig) -> io::Result<Self> {
        let now = Timestamp::from_nanos(wall_ns());
        let start = config.start.unwrap_or(now);
        let mut makes = Vec::new();
        let mut devices = Vec::new();
        for (index, group) in config.groups.iter().enumerate() {
            check(group, config.groups.get(..index).unwrap_or_default())?;
            let group = Arc::new(group.clone());
            for number in 0..group.devices {
                devices.push(device(&group, number, config.seed, start));
                makes.push(Arc::clone(&group));
            }
        }
        let watch = Arc::new(Watch::default());
        watch.devices(devices.len() as u64);
        let shared = Arc::new(Shared {
            ledger: Ledger::create(devices.clone(), config.ledger.as_deref())?,
            watch,
            gateway: config.gateway.clone(),
            draining: CancellationToken::new(),
            clock: (Instant::now(), now.nanos()),
        });
        let mut running = JoinSet::new();
        for (index, (device, group)) in devices.into_iter().zip(makes).enumerate() {
            let runner = Runner::new(Arc::clone(&shared), group, device, index);
            running.spawn(async move {
                sleep(CONNECT_APART * u32::try_from(index).unwrap_or(u32::MAX)).await;
                runner.run().await
            });
        }
        Ok(Self { shared, running, failed: None })
    }

    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.shared.watch)
    }

    /// The ledger as it is now, and goes on being: a clone, not a copy.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger.clone()
    }

    /// True once every device has sent all it was asked for and has been answered.
    pub fn is_finished(&mut self) -> bool {
        while let Some(ended) = self.running.try_join_next() {
            if let Err(error) = flat(ended) {
                self.failed.get_or_insert(error);
            }
        }
        self.running.is_empty()
    }

    /// Waits until every device has sent its `readings_max` and been answered, at most until
    /// `deadline` from now; then whatever still runs is dropped.
    ///
    /// An error if the ledger could not be written: then it must not be used to convict anyone.
    pub async fn finished(mut self, deadline: Duration) -> io::Result<Ledger> {
        let deadline = Instant::now() + deadline;
        while let Ok(Some(ended)) = timeout_at(deadline, self.running.join_next()).await {
            flat(ended)?;
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(self.kill().await),
        }
    }

    /// No new readings; waits as `finished` does until what was sent is answered.
    pub async fn stop_and_drain(self, deadline: Duration) -> io::Result<Ledger> {
        self.shared.draining.cancel();
        self.finished(deadline).await
    }

    /// Drops every connection at once.
    pub async fn kill(mut self) -> Ledger {
        self.running.shutdown().await;
        self.shared.ledger.clone()
    }
}

fn flat(ended: Result<io::Result<()>, JoinError>) -> io::Result<()> {
    ended.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
}

const CONNECT_APART: Duration = Duration::from_micros(200);

fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn device(group: &Group, number: u32, fleet_seed: u64, start: Timestamp) -> Device {
    let kinds = Kind::ALL;
    let turn = kinds.get(number as usize % kinds.len()).copied().unwrap_or(Kind::Greenhouse);
    let kind = group.kind.unwrap_or(turn);
    let name = format!("{}-{}-{:04}", group.name, kind.measurement(), number + 1);
    let seed = seed_of(fleet_seed, &name);
    // Devices are not switched on all at once: each has its own place in the period.
    let period = u64::try_from(group.period.as_nanos()).unwrap_or(u64::MAX);
    let phase = i64::try_from(seed % period.max(1)).unwrap_or(0);
    Device {
        seed,
        kind,
        start: Timestamp::from_nanos(start.nanos().saturating_add(phase)),
        period: group.period,
        jitter: group.jitter,
        clock: group.clock,
        name,
    }
}

fn check(group: &Group, before: &[Group]) -> io::Result<()> {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let wrong = if group.name.is_empty() || !group.name.chars().all(named) {
        "a name of letters, digits and `-` is needed"
    } else if before.iter().any(|other| other.name == group.name) {
        "the name is taken"
    } else if group.period < Duration::from_millis(1) {
        "a period of at least 1 ms is needed"
    } else if !(0.0..=0.9).contains(&group.jitter) {
        "jitter is a part of the period, 0.0 to 0.9"
    } else if group.clock == Clock::Milliseconds && group.period < Duration::from_millis(20) {
        "a clock of milliseconds needs a period of at least 20 ms"
    } else if matches!(group.link, Link::WebSocket) && group.encoding == Encoding::Line {
        "the WebSocket takes JSON and frames, not line protocol"
    } else if matches!(&group.link, Link::Mqtt(link) if link.qos > 2) {
        "QoS is 0, 1 or 2"
    } else {
        return Ok(());
    };
    let name = &group.name;
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("group {name:?}: {wrong}")))
}

#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;
