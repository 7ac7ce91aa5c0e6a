//! One output in this process: a real journal before it, the real sink behind it, dead letters in a
//! temporary directory.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use journal::{Appender, Counts, Fates, Journal, Mark, Options, OutputId, Start, Submission};
use proto::{Reading, Readings, Time, Timestamp, Value};
use tempfile::TempDir;
use tidegate::{
    output::{self, DeadLetters, Limits, Metrics, Output, Stats, dead},
    sink::influx::{Influx, Settings},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub struct Delivery {
    journal: Journal,
    appender: Appender,
    mark: Mark,
    task: JoinSet<()>,
    pub stats: Arc<Stats>,
    dir: TempDir,
}

/// What is left when everything was delivered.
pub struct Delivered {
    /// What became of readings, by the journal's books.
    pub fates: Fates,
    pub dead: Vec<dead::Entry>,
}

/// Waits that suit a test.
pub fn quick() -> Limits {
    Limits {
        batch_age_max: Duration::from_millis(50),
        backoff_first: Duration::from_millis(20),
        backoff_max: Duration::from_millis(200),
        probe_every: Duration::from_millis(100),
        ..Limits::default()
    }
}

impl Delivery {
    pub fn start(settings: &Settings, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            bytes_max: 256 << 20,
            free_bytes_min: 0,
            ..Options::new(dir.path().join("journal"))
        };
        let (journal, appender, _) = journal::open(&options).unwrap();
        let reader = journal.reader(&OutputId::new("home").unwrap(), Start::Oldest).unwrap();
        let letters = DeadLetters::new(dead::Settings::in_dir(dir.path().join("dead")));
        let stats = Metrics::default().output("home");
        let output = Output {
            id: "home".into(),
            sink: Arc::new(Influx::new(settings).unwrap()),
            limits,
            process: tidegate::process::Settings::default(),
            dead: Some(letters),
            stats: Arc::clone(&stats),
            clock: output::Clock::default(),
        };
        let mut task = JoinSet::new();
        task.spawn(output::run(output, reader, CancellationToken::new()));
        Self { journal, appender, mark: Mark::new(), task, stats, dir }
    }

    /// One submission.
    pub async fn send(&mut self, readings: &[Reading]) {
        let mut encoder = Readings::new(proto::Limits::default());
        encoder.begin();
        for reading in readings {
            reading.with_ref(|r| encoder.push(&r, Timestamp::from_nanos(0))).unwrap();
        }
        let (bytes, count) = encoder.take();
        let submission = Submission {
            source: "mqtt".into(),
            arrival_ns: 0,
            clock_epoch: 0,
            readings: count,
            bytes,
            rejected: Vec::new(),
            counts: Counts::default(),
            note: Bytes::new(),
            ticket: self.mark.ticket(),
            guard: None,
        };
        self.appender.append(submission).await.unwrap();
    }

    /// What became of readings up to now.
    pub fn fates(&self) -> Fates {
        home(&self.journal)
    }

    pub fn dead_file(&self) -> PathBuf {
        self.dir.path().join("dead/dead.ndjson")
    }

    /// Ends the input and waits until the output has nothing left to do.
    pub async fn end(mut self) -> Delivered {
        let dead_file = self.dead_file();
        drop(self.appender);
        let ended = tokio::time::timeout(Duration::from_mins(2), self.task.join_next()).await;
        ended.expect("the output ends").unwrap().unwrap();
        let fates = home(&self.journal);
        tokio::task::spawn_blocking(move || self.journal.close()).await.unwrap();
        let letters = std::fs::read_to_string(dead_file).unwrap_or_default();
        let dead = letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Delivered { fates, dead }
    }
}

fn home(journal: &Journal) -> Fates {
    let status = journal.status();
    let position = status.positions.iter().find(|position| position.id.as_str() == "home");
    position.unwrap().fates
}

/// `measurement,device=<device> <field>=<value> <at>`
pub fn reading(measurement: &str, device: &str, at: i64, field: &str, value: Value) -> Reading {
    Reading {
        measurement: measurement.to_owned(),
        tags: vec![("device".to_owned(), device.to_owned())],
        fields: vec![(field.to_owned(), value)],
        time: Time::At(Timestamp::from_nanos(at)),
    }
}
