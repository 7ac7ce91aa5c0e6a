//! A journal with its intake and a counting reader; collectors that fill it; brokers that fill those.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use journal::{
    Appender, Fates, Journal, Options, OutputId, Reader, Start,
    testing::{Control, HeldDisk},
};
use proto::{ValueRef, frame::Cursor};
use tempfile::TempDir;
use tidegate::{
    collect::broker::{self, Limits, Settings, Stats},
    intake::{self, Intake, route::Routes, stamp::SystemClock},
};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::support::{
    mosquitto::{self, Mosquitto},
    wait_for,
};

pub const LIMIT: Duration = Duration::from_mins(3);

/// A journal with its intake, and what a reader has found in it.
pub struct Bench {
    dir: TempDir,
    pub journal: Journal,
    pub intake: Intake,
    pub held: Arc<Control>,
    /// `v` of a reading -> how often it is in the journal.
    pub found: Arc<Mutex<BTreeMap<i64, u32>>>,
    tasks: JoinSet<()>,
}

/// A running collector.
pub struct Collector {
    pub stats: Arc<Stats>,
    pub shutdown: CancellationToken,
    pub tasks: JoinSet<()>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().join("journal"));
        options.bytes_max = 64 * 1024 * 1024;
        change(&mut options);
        let (disk, held) = HeldDisk::new(&options.dir);
        let (journal, appender, _) = journal::open_with(disk, &options).unwrap();
        let intake = intake_over(appender);
        Self { dir, journal, intake, held, found: Arc::default(), tasks: JoinSet::new() }
    }

    pub fn reader(&self) -> Reader {
        self.journal.reader(&OutputId::new("tally").unwrap(), Start::Oldest).unwrap()
    }

    /// Reads and confirms from now on.
    pub fn tally(&mut self, reader: Reader) {
        self.tasks.spawn(tally(reader, Arc::clone(&self.found)));
        // What is refused has its own reader; a journal keeps what that has not passed.
        self.tasks.spawn(tally(self.journal.rejects().unwrap(), Arc::default()));
    }

    pub fn collect(&self, settings: Settings) -> Collector {
        let stats = Arc::new(Stats::default());
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let intake = self.intake.clone();
        tasks.spawn(broker::run(settings, intake, Arc::clone(&stats), shutdown.clone()));
        Collector { stats, shutdown, tasks }
    }

    pub fn distinct(&self) -> usize {
        self.found.lock().unwrap().len()
    }

    pub fn wait_distinct(&self, wanted: usize) {
        wait_for(&format!("{wanted} readings"), LIMIT, || {
            let found = self.distinct();
            if found >= wanted {
                return Ok(());
            }
            Err(format!("{found} came; {:?}", self.journal.status()))
        });
    }

    /// Exactly the readings 0 to `count` - 1, and how many of them came more than once.
    pub fn assert_all(&self, count: i64) -> usize {
        let found = self.found.lock().unwrap();
        let lost: Vec<i64> = (0..count).filter(|v| !found.contains_key(v)).collect();
        assert!(lost.is_empty(), "LOST {lost:?}");
        let phantom: Vec<&i64> = found.keys().filter(|v| !(0..count).contains(*v)).collect();
        assert!(phantom.is_empty(), "PHANTOM {phantom:?}");
        found.values().filter(|times| **times > 1).count()
    }

    pub fn lines(&self, from: i64, to: i64) -> PathBuf {
        self.lines_with(from, to, String::new)
    }

    /// A line protocol line for each number, with some more fields.
    pub fn lines_with(&self, from: i64, to: i64, more: impl Fn() -> String) -> PathBuf {
        let file = self.dir.path().join(format!("{from}-{to}"));
        let lines = (from..to).fold(String::new(), |mut out, v| {
            let time = 1_790_000_000_000_000_000 + v;
            writeln!(out, "climate,device=d1 v={v}i{} {time}", more()).unwrap();
            out
        });
        fs::write(&file, lines).unwrap();
        file
    }
}

impl Collector {
    pub fn wait_connected(&self) {
        wait_for("the collector's subscription", LIMIT, || {
            if self.stats.connected.get() == 1 { Ok(()) } else { Err("not yet".to_owned()) }
        });
    }

    /// Until nothing more comes, on the connection of this number: there is no room for it.
    pub fn wait_stalled(&self, connection: u64) {
        let mut last = 0;
        let mut same = 0;
        wait_for("a stalled flow", LIMIT, || {
            let came = self.stats.publishes.get();
            same = if came == last { same + 1 } else { 0 };
            last = came;
            let connects = self.stats.connects.get();
            let stalled = connects == connection && came > 0 && same >= 50; // A second.
            if stalled { Ok(()) } else { Err(format!("{came} came on {connects} connections")) }
        });
    }

    pub fn wait_acknowledged(&self, wanted: u64) {
        wait_for(&format!("{wanted} acknowledgements"), LIMIT, || {
            let acknowledged = self.stats.acknowledged.get();
            if acknowledged >= wanted { Ok(()) } else { Err(format!("{acknowledged} went")) }
        });
    }

    pub async fn stop(mut self) {
        self.shutdown.cancel();
        timeout(LIMIT, self.tasks.join_next()).await.expect("it ends in time").unwrap().unwrap();
    }

    /// As if the process were killed: nothing is said, nothing waited for.
    pub async fn kill(mut self) {
        self.tasks.shutdown().await;
    }
}

fn intake_over(appender: Appender) -> Intake {
    let clock = Arc::new(SystemClock);
    Intake::new(appender, Routes::default(), intake::Limits::default(), Vec::new(), clock)
}

async fn tally(mut reader: Reader, found: Arc<Mutex<BTreeMap<i64, u32>>>) {
    while let Some(lease) = reader.next().await {
        let mut confirmed = 0;
        for submission in lease.frame.submissions() {
            let submission = submission.unwrap();
            let mut readings = Cursor::new(submission.bytes);
            while let Some(reading) = readings.next() {
                let Some(ValueRef::Signed(v)) = reading.unwrap().field("v") else { panic!("no v") };
                *found.lock().unwrap().entry(v).or_default() += 1;
                confirmed += 1;
            }
        }
        lease.receipt.confirm(&Fates { confirmed, ..Fates::default() });
    }
}

pub fn settings(broker: &Mosquitto) -> Settings {
    settings_of(broker.port)
}

pub fn settings_of(port: u16) -> Settings {
    Settings {
        id: "home".to_owned(),
        host: "127.0.0.1".to_owned(),
        port,
        tls: false,
        ca_file: None,
        client_id: "tidegate-home".to_owned(),
        username: None,
        password: None,
        topics: vec!["tele/#".to_owned()],
        keep_alive: Duration::from_mins(1),
        retained: false,
        packet_bytes_max: 1024 * 1024,
        receive_max: 200,
        session_expiry: Duration::from_hours(1),
        limits: Limits::default(),
    }
}

/// At QoS 1; returns when the broker has them all.
pub fn publish(broker: &Mosquitto, lines: &Path) {
    let output =
        mosquitto::publish_lines(broker.port, &["-q", "1", "-t", "tele/d1"], lines).unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// So that a small journal is soon full.
pub fn incompressible() -> String {
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(300).collect();
    format!(",note=\"{text}\"")
}

/// A bench, and so many messages that wait for its collector at the broker.
pub async fn backlog(broker: &Mosquitto, settings: &Settings, messages: i64) -> Bench {
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    subscribe_once(&bench, settings).await;
    publish(broker, &bench.lines(0, messages));
    bench
}

/// A session at the broker, so that it keeps what comes.
pub async fn subscribe_once(bench: &Bench, settings: &Settings) {
    let collector = bench.collect(settings.clone());
    collector.wait_connected();
    collector.stop().await;
}
