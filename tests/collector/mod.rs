//! Does the broker collector lose nothing, and store nothing twice, whatever breaks?
//!
//! A real mosquitto on one side, a real journal on the other; a reader of that journal counts what came.

mod scripted;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use journal::{
    Appender, Fates, Journal, Options, OutputId, Reader, Room, Start,
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
    port, wait_for,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A journal with its intake, and what a reader has found in it.
struct Bench {
    dir: TempDir,
    journal: Journal,
    intake: Intake,
    held: Arc<Control>,
    /// `v` of a reading -> how often it is in the journal.
    found: Arc<Mutex<BTreeMap<i64, u32>>>,
    tasks: JoinSet<()>,
}

/// A running collector.
struct Collector {
    stats: Arc<Stats>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().join("journal"));
        options.bytes_max = 64 * 1024 * 1024;
        change(&mut options);
        let (disk, held) = HeldDisk::new(&options.dir);
        let (journal, appender, _) = journal::open_with(disk, &options).unwrap();
        let intake = intake_over(appender);
        Self { dir, journal, intake, held, found: Arc::default(), tasks: JoinSet::new() }
    }

    fn reader(&self) -> Reader {
        self.journal.reader(&OutputId::new("tally").unwrap(), Start::Oldest).unwrap()
    }

    /// Reads and confirms from now on.
    fn tally(&mut self, reader: Reader) {
        self.tasks.spawn(tally(reader, Arc::clone(&self.found)));
        // What is refused has its own reader; a journal keeps what that has not passed.
        self.tasks.spawn(tally(self.journal.rejects().unwrap(), Arc::default()));
    }

    fn collect(&self, settings: Settings) -> Collector {
        let stats = Arc::new(Stats::default());
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let intake = self.intake.clone();
        tasks.spawn(broker::run(settings, intake, Arc::clone(&stats), shutdown.clone()));
        Collector { stats, shutdown, tasks }
    }

    fn distinct(&self) -> usize {
        self.found.lock().unwrap().len()
    }

    fn wait_distinct(&self, wanted: usize) {
        wait_for(&format!("{wanted} readings"), LIMIT, || {
            let found = self.distinct();
            if found >= wanted {
                return Ok(());
            }
            Err(format!("{found} came; {:?}", self.journal.status()))
        });
    }

    /// Exactly the readings 0 to `count` - 1, and how many of them came more than once.
    fn assert_all(&self, count: i64) -> usize {
        let found = self.found.lock().unwrap();
        let lost: Vec<i64> = (0..count).filter(|v| !found.contains_key(v)).collect();
        assert!(lost.is_empty(), "LOST {lost:?}");
        let phantom: Vec<&i64> = found.keys().filter(|v| !(0..count).contains(*v)).collect();
        assert!(phantom.is_empty(), "PHANTOM {phantom:?}");
        found.values().filter(|times| **times > 1).count()
    }

    fn lines(&self, from: i64, to: i64) -> PathBuf {
        self.lines_with(from, to, String::new)
    }

    /// A line protocol line for each number, with some more fields.
    fn lines_with(&self, from: i64, to: i64, more: impl Fn() -> String) -> PathBuf {
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
    fn wait_connected(&self) {
        wait_for("the collector's subscription", LIMIT, || {
            if self.stats.connected.get() == 1 { Ok(()) } else { Err("not yet".to_owned()) }
        });
    }

    /// Until nothing more comes, on the connection of this number: there is no room for it.
    fn wait_stalled(&self, connection: u64) {
        let mut last = 0;
        let mut same = 0;
        wait_for("a stalled flow", LIMIT, || {
            let came = self.stats.publishes.get();
            same = if came == last { same + 1 } else { 0 };
            last = came;
            let connects = self.stats.connects.get();
            let stalled = connects == connection && came > 0 && same >= 10;
            if stalled { Ok(()) } else { Err(format!("{came} came on {connects} connections")) }
        });
    }

    fn wait_acknowledged(&self, wanted: u64) {
        wait_for(&format!("{wanted} acknowledgements"), LIMIT, || {
            let acknowledged = self.stats.acknowledged.get();
            if acknowledged >= wanted { Ok(()) } else { Err(format!("{acknowledged} went")) }
        });
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        timeout(LIMIT, self.tasks.join_next()).await.expect("it ends in time").unwrap().unwrap();
    }

    /// As if the process were killed: nothing is said, nothing waited for.
    async fn kill(mut self) {
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

fn settings(broker: &Mosquitto) -> Settings {
    settings_of(broker.port)
}

fn settings_of(port: u16) -> Settings {
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
fn publish(broker: &Mosquitto, lines: &Path) {
    let output =
        mosquitto::publish_lines(broker.port, &["-q", "1", "-t", "tele/d1"], lines).unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// So that a small journal is soon full.
fn incompressible() -> String {
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(300).collect();
    format!(",note=\"{text}\"")
}

/// A session at the broker, so that it keeps what comes.
async fn subscribe_once(bench: &Bench, settings: &Settings) {
    let collector = bench.collect(settings.clone());
    collector.wait_connected();
    collector.stop().await;
}

/// Held syncs stop the flow in its middle: the broker goes with hundreds of messages unacknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_the_broker_lose_nothing() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let mut settings = settings(&broker);
    settings.limits.unkept_bytes_max = NonZeroUsize::new(20 * 1024).unwrap();
    subscribe_once(&bench, &settings).await;
    publish(&broker, &bench.lines(0, 6_000));

    bench.held.hold();
    let collector = bench.collect(settings);
    for round in 1..=3 {
        collector.wait_stalled(round);
        broker.stop();
        bench.held.release();
        bench.wait_distinct(usize::try_from(round).unwrap() * 190);
        bench.held.hold();
        broker.run();
    }
    bench.held.release();
    bench.wait_distinct(6_000);
    // Hundreds came again and are known. Only what was acknowledged in the moment of the break is not.
    assert!(collector.stats.resends.get() >= 300, "{:?}", collector.stats);
    assert!(bench.assert_all(6_000) <= 30, "{:?}", collector.stats);
    assert_eq!(collector.stats.connects.get(), 4);
    assert_eq!(collector.stats.sessions_lost.get(), 0);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_killed_at_any_moment_loses_nothing() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let settings = settings(&broker);
    subscribe_once(&bench, &settings).await;
    publish(&broker, &bench.lines(0, 5_000));

    for round in 1..=5 {
        let collector = bench.collect(settings.clone());
        bench.wait_distinct(round * 700 + fastrand::usize(..200));
        collector.kill().await;
    }
    let collector = bench.collect(settings);
    bench.wait_distinct(5_000);
    bench.assert_all(5_000);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_in_the_middle_of_a_backlog_stores_nothing_twice() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let settings = settings(&broker);
    subscribe_once(&bench, &settings).await;
    publish(&broker, &bench.lines(0, 5_000));

    for round in 1..=4 {
        let collector = bench.collect(settings.clone());
        bench.wait_distinct(round * 700);
        collector.stop().await;
    }
    let collector = bench.collect(settings);
    bench.wait_distinct(5_000);
    collector.stop().await;
    assert_eq!(bench.assert_all(5_000), 0, "all was acknowledged before each DISCONNECT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let collector = bench.collect(settings(&broker));
    collector.wait_connected();

    bench.held.hold();
    publish(&broker, &bench.lines(0, 50));
    wait_for("the messages", LIMIT, || {
        let came = collector.stats.publishes.get();
        if came >= 20 { Ok(()) } else { Err(format!("{came} came")) } // mosquitto's own window
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(collector.stats.acknowledged.get(), 0, "the sync is held");
    bench.held.release();
    collector.wait_acknowledged(50);
    bench.wait_distinct(50);
    assert_eq!(bench.assert_all(50), 0);
    collector.stop().await;
}

/// The journal fills, the collector leaves, the broker keeps; room returns, everything comes, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_leaves_the_messages_with_the_broker() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::with(|options| {
        options.segment_bytes = Some(64 * 1024);
        options.bytes_max = 512 * 1024;
    });
    let reader = bench.reader(); // Confirms nothing yet.
    let mut settings = settings(&broker);
    settings.limits.full_wait = Duration::from_millis(300);
    subscribe_once(&bench, &settings).await;

    let collector = bench.collect(settings);
    collector.wait_connected();
    let mut sent = 0;
    wait_for("a full journal, and the collector gone", LIMIT, || {
        if matches!(bench.intake.room(), Room::Full { .. }) && collector.stats.connected.get() == 0
        {
            return Ok(());
        }
        publish(&broker, &bench.lines_with(sent, sent + 1_000, incompressible));
        sent += 1_000;
        Err(format!("{sent} sent, {:?}", bench.journal.status()))
    });
    publish(&broker, &bench.lines(sent, sent + 500));
    sent += 500;
    assert_eq!(collector.stats.connected.get(), 0, "it waits for room");

    bench.tally(reader);
    bench.wait_distinct(usize::try_from(sent).unwrap());
    assert!(collector.stats.resends.get() > 0, "something was on its way when the journal filled");
    collector.stop().await;
    assert_eq!(bench.assert_all(sent), 0, "what became durable meanwhile is known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_larger_than_the_memory_allowed_comes_through() {
    let Some(broker) = Mosquitto::start_with("max_inflight_messages 0") else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let mut settings = settings(&broker);
    settings.receive_max = 10;
    settings.limits.unkept_bytes_max = NonZeroUsize::new(500).unwrap();
    subscribe_once(&bench, &settings).await;
    publish(&broker, &bench.lines(0, 3_000));

    let collector = bench.collect(settings);
    bench.wait_distinct(3_000);
    collector.stop().await;
    assert_eq!(bench.assert_all(3_000), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages_are_left_alone_unless_asked_for_and_then_taken_once() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let retained = ["-q", "1", "-r", "-t", "tele/d1", "-m", "climate,device=d1 v=0i 1"];
    mosquitto::publish(broker.port, &retained).unwrap();

    subscribe_once(&bench, &settings(&broker)).await;
    assert_eq!(bench.distinct(), 0);

    let wanted =
        Settings { retained: true, client_id: "tidegate-other".to_owned(), ..settings(&broker) };
    for _ in 0..2 {
        let collector = bench.collect(wanted.clone());
        collector.wait_connected();
        bench.wait_distinct(1);
        collector.stop().await;
    }
    assert_eq!(bench.assert_all(1), 0, "not again at the second subscribe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_collectors_share_a_subscription() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let shared = |client_id: &str| Settings {
        client_id: client_id.to_owned(),
        topics: vec!["$share/gateways/tele/#".to_owned()],
        ..settings(&broker)
    };
    let (one, two) = (bench.collect(shared("one")), bench.collect(shared("two")));
    one.wait_connected();
    two.wait_connected();
    publish(&broker, &bench.lines(0, 1_000));
    bench.wait_distinct(1_000);
    assert!(one.stats.publishes.get() > 0 && two.stats.publishes.get() > 0);
    one.stop().await;
    two.stop().await;
    assert_eq!(bench.assert_all(1_000), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_forgot_the_session_is_noticed() {
    let Some(mut broker) = Mosquitto::start_with("persistent_client_expiration 1h") else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let collector = bench.collect(settings(&broker));
    collector.wait_connected();
    broker.stop();
    broker.forget();
    broker.run();
    wait_for("the second connection", LIMIT, || {
        let connects = collector.stats.connects.get();
        if connects >= 2 { Ok(()) } else { Err(format!("{connects} connections")) }
    });
    assert_eq!(collector.stats.sessions_lost.get(), 1);
    collector.wait_connected();
    publish(&broker, &bench.lines(0, 10));
    bench.wait_distinct(10);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_does_not_hold_up_the_end() {
    let bench = Bench::new();
    let collector = bench.collect(settings_of(port::free()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    timeout(Duration::from_secs(1), collector.stop()).await.expect("at once");
}
