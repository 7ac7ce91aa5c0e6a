//! Does what devices of every kind send, in every encoding, over every link, lie in the journal as it
//! was measured once it is acknowledged?
//!
//! The real listeners and a real journal; what a reader of the journal finds goes through the writer of
//! line protocol and a strict checker, and is held against the ledger of the fleet.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use journal::{Fates, Journal, Options, OutputId, Reader, Start};
use proto::{Timestamp, frame::Cursor, line};
use simulator::{
    faulty::{line::points, store::Store},
    fleet::{Fleet, FleetConfig, Gateway, Group, Http, Link, Mqtt, Version},
    ledger::Ledger,
    payload::Encoding,
    verify::{Allowed, compare},
    watch::Summary,
};
use tempfile::TempDir;
use tidegate::{
    intake::{self, Intake, route::Routes, stamp::SystemClock},
    listen::{accept, http, mqtt},
};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_mins(2);
const READINGS: u64 = 150;

/// The left half of a gateway, and a reader in place of an output.
struct Half {
    _dir: TempDir,
    journal: Journal,
    gateway: Gateway,
    stored: Arc<Mutex<Store>>,
    shutdown: CancellationToken,
    listeners: JoinSet<()>,
    readers: JoinSet<()>,
}

impl Half {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().join("journal"));
        options.bytes_max = 64 * 1024 * 1024;
        let (journal, appender, _) = journal::open(&options).unwrap();
        let limits = intake::Limits::default();
        let intake =
            Intake::new(appender, Routes::default(), limits, Vec::new(), Arc::new(SystemClock));
        let stored = Arc::new(Mutex::new(Store::new(usize::MAX)));
        let mut readers = JoinSet::new();
        let reader = journal.reader(&OutputId::new("tally").unwrap(), Start::Oldest).unwrap();
        readers.spawn(tally(reader, Arc::clone(&stored)));
        readers.spawn(tally(journal.rejects().unwrap(), Arc::clone(&stored)));

        let shutdown = CancellationToken::new();
        let mut listeners = JoinSet::new();
        let (mqtt_port, mqtt_address) = listen().await;
        let (http_port, http_address) = listen().await;
        let ports = accept::Limits::default();
        let stats = Arc::new(mqtt::Stats::default());
        let limits = mqtt::Limits::default();
        let (intake_too, token) = (intake.clone(), shutdown.clone());
        listeners.spawn(mqtt::serve(mqtt_port, intake, ports, limits, stats, token));
        let house = http::House { metrics: Arc::new(String::new), ready: Arc::new(|| Ok(())) };
        let stats = Arc::new(http::Stats::default());
        let (limits, token) = (http::Limits::default(), shutdown.clone());
        listeners.spawn(http::serve(http_port, intake_too, ports, limits, house, stats, token));

        let gateway = Gateway::new(&mqtt_address.to_string(), &http_address.to_string());
        Self { _dir: dir, journal, gateway, stored, shutdown, listeners, readers }
    }

    /// Runs the groups to their end, then everything in the journal to its readers.
    async fn run(mut self, groups: Vec<Group>) -> (Ledger, Summary, Store) {
        let hour_ago = jiff::Timestamp::now().as_nanosecond() - 3_600_000_000_000;
        let config = FleetConfig {
            gateway: self.gateway.clone(),
            groups,
            seed: 5,
            start: Some(Timestamp::from_nanos(i64::try_from(hour_ago).unwrap())),
            ledger: None,
        };
        let fleet = Fleet::start(&config).unwrap();
        let watch = fleet.watch();
        let ledger = fleet.finished(LIMIT).await.unwrap();
        self.shutdown.cancel();
        let drained = all(&mut self.listeners);
        timeout(LIMIT, drained).await.expect("the listeners drain");
        // The appenders are gone with the listeners: the readers come to an end of their own.
        tokio::task::spawn_blocking(|| self.journal.close()).await.unwrap();
        let ended = all(&mut self.readers);
        timeout(LIMIT, ended).await.expect("the readers end");
        let stored = Arc::into_inner(self.stored).unwrap().into_inner().unwrap();
        (ledger, watch.look(), stored)
    }
}

async fn all(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn tally(mut reader: Reader, stored: Arc<Mutex<Store>>) {
    while let Some(lease) = reader.next().await {
        let mut text = Vec::new();
        let mut confirmed = 0;
        for submission in lease.frame.submissions() {
            let mut readings = Cursor::new(submission.unwrap().bytes);
            while let Some(reading) = readings.next() {
                line::write(&reading.unwrap(), &mut text).unwrap();
                confirmed += 1;
            }
        }
        for (_, point) in points(&text, 1) {
            let point = point.unwrap();
            let time = point.time.unwrap();
            stored.lock().unwrap().apply(&point, time, lease.seq.0).unwrap();
        }
        lease.receipt.confirm(&Fates { confirmed, ..Fates::default() });
    }
}

fn group(name: &str, link: Link, encoding: Encoding) -> Group {
    Group {
        encoding,
        period: Duration::from_millis(100),
        readings_max: Some(READINGS),
        retry_first: Duration::from_millis(5),
        retry_max: Duration::from_millis(100),
        ..Group::new(name, 4, link)
    }
}

fn groups() -> Vec<Group> {
    let mqtt = |version, qos| Link::Mqtt(Mqtt::new(version, qos));
    let http = || Link::Http(Http { batch_max: NonZeroUsize::new(11).unwrap() });
    vec![
        group("v4-q1", mqtt(Version::V4, 1), Encoding::Json),
        group("v4-q2", mqtt(Version::V4, 2), Encoding::Line),
        group("v5-q1", mqtt(Version::V5, 1), Encoding::Frame),
        group("v5-q2", mqtt(Version::V5, 2), Encoding::Json),
        group("ws-json", Link::WebSocket, Encoding::Json),
        group("ws-frame", Link::WebSocket, Encoding::Frame),
        group("http-json", http(), Encoding::Json),
        group("http-line", http(), Encoding::Line),
        group("http-frame", http(), Encoding::Frame),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_reading_is_in_the_journal_as_it_was_measured() {
    let groups = groups();
    let all = groups.len() as u64 * 4 * READINGS;
    let (ledger, summary, stored) = Half::start().await.run(groups).await;
    let verdict = compare(&ledger, stored.rows(), &Allowed::default());
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.sent, verdict.acknowledged, verdict.stored), (all, all, all));
    assert_eq!((summary.refused, summary.failures), (0, 0), "{summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_break_their_connections_at_random_lose_nothing() {
    let mut groups = groups();
    for group in &mut groups {
        group.leave_every = Some(Duration::from_millis(10));
    }
    let all = groups.len() as u64 * 4 * READINGS;
    let (ledger, summary, stored) = Half::start().await.run(groups).await;
    let verdict = compare(&ledger, stored.rows(), &Allowed::default());
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!((verdict.sent, verdict.acknowledged, verdict.stored), (all, all, all));
    // A quiet machine is through in a fifth of a second: then each breaks some four times.
    assert!(summary.connects > 2 * summary.devices, "they hardly broke: {summary:?}");
}
