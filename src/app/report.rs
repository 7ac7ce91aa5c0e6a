//! Gathers what the stages count: for `/metrics`, for `status`, for the alarms.
//!
//! Holds no appender, so that it may outlive the inputs.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use journal::open::Watcher;
use journal::{Books, FullBecause, OutputId, PositionStatus, Room};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::time::Instant;

use super::alarms::{Alarm, Name, Raised, Source};
use super::clock;
use super::control::Reply;
use super::fill::Fill;
use super::letters::Letters;
use super::metrics::{
    AckLatencies, AlarmMetrics, Brokers, Connections, Counted, JournalMetrics, seconds_to_full,
    text,
};
use super::status;
use crate::collect::broker;
use crate::intake::Intake;
use crate::intake::described::Described;
use crate::intake::sparkplug::{Nodes, stats::Stats};
use crate::intake::stats::Stats as IntakeStats;
use crate::intake::watch::Watchers;
use crate::listen::http;
use crate::listen::mqtt;
use crate::output;
use crate::stats::Gauge;

/// A node that was asked for its births has long sent them.
const BIRTH_DUE: Duration = Duration::from_secs(10);

/// Everything that is counted, and where it is.
#[derive(Debug)]
pub(super) struct Reporter {
    started: Instant,
    journal: Watcher,
    journal_dir: PathBuf,
    fill: Arc<Mutex<Fill>>,
    intake: Arc<IntakeStats>,
    nodes: Arc<Nodes>,
    described: Arc<Described>,
    /// What the books said before intake took anything.
    received_before: u64,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    pub(super) letters: Letters,
    watchers: Arc<Watchers>,
    output_metrics: output::Metrics,
    connections: Connections,
    ack_latencies: AckLatencies,
    brokers: Brokers,
    alarms: AlarmMetrics,
    clock: clock::Shown,
    registry: Registry,
}

#[derive(Debug)]
struct Input {
    name: String,
    address: String,
    connections: Gauge,
}

#[derive(Debug)]
struct Output {
    id: Arc<str>,
    target: String,
    stats: Arc<output::Stats>,
}

impl Reporter {
    pub(super) fn new(journal: Watcher, journal_dir: PathBuf, clock: clock::Shown) -> Self {
        let mut registry = Registry::with_prefix("tidegate");
        let output_metrics = output::Metrics::default();
        output_metrics.register(&mut registry);
        let connections = Connections::register(&mut registry);
        let ack_latencies = AckLatencies::register(&mut registry);
        let brokers = Brokers::register(&mut registry);
        let alarms = AlarmMetrics::register(&mut registry);
        let fill = Arc::<Mutex<Fill>>::default();
        let fates = Counted::from(&journal.status().positions);
        let metrics = JournalMetrics { journal: journal.clone(), fill: Arc::clone(&fill), fates };
        registry.register_collector(Box::new(metrics));
        registry.register_collector(Box::new(clock.clone()));
        Self {
            started: Instant::now(),
            received_before: received(&journal.status().books),
            intake: Arc::default(),
            nodes: Arc::default(),
            described: Arc::default(),
            journal,
            journal_dir,
            fill,
            inputs: Vec::new(),
            outputs: Vec::new(),
            letters: Letters::default(),
            watchers: Arc::default(),
            output_metrics,
            connections,
            ack_latencies,
            brokers,
            alarms,
            clock,
            registry,
        }
    }

    /// Before the first input starts.
    pub(super) fn intake(&mut self, intake: &Intake) {
        intake.stats().register(&mut self.registry);
        intake.nodes().stats().register(&mut self.registry);
        intake.described().stats().register(&mut self.registry);
        self.intake = Arc::clone(intake.stats());
        self.nodes = Arc::clone(intake.nodes());
        self.described = Arc::clone(intake.described());
        self.watchers = Arc::clone(intake.watchers());
    }

    pub(super) fn mqtt(&mut self, address: Option<SocketAddr>, stats: &mqtt::Stats) {
        stats.register(&mut self.registry);
        self.connections.add("mqtt", &stats.ports);
        self.ack_latencies.add("mqtt", &stats.ack_latency);
        self.input("mqtt".into(), shown(address), stats.ports.connections.clone());
    }

    pub(super) fn http(&mut self, address: Option<SocketAddr>, stats: &http::Stats) {
        stats.register(&mut self.registry);
        self.connections.add("http", &stats.ports);
        self.ack_latencies.add("http", &stats.ack_latency);
        self.ack_latencies.add("ws", &stats.websocket.ack_latency);
        self.input("http".into(), shown(address), stats.ports.connections.clone());
    }

    pub(super) fn broker(&mut self, settings: &broker::Settings) -> Arc<broker::Stats> {
        let stats = Arc::new(broker::Stats::default());
        self.brokers.add(&settings.id, &stats);
        let address = format!("{}:{}", settings.host, settings.port);
        self.input(format!("broker:{}", settings.id), address, stats.connected.clone());
        stats
    }

    pub(super) fn output(&mut self, id: &Arc<str>, target: String) -> Arc<output::Stats> {
        let stats = self.output_metrics.output(id);
        self.outputs.push(Output { id: Arc::clone(id), target, stats: Arc::clone(&stats) });
        stats
    }

    fn input(&mut self, name: String, address: String, connections: Gauge) {
        self.inputs.push(Input { name, address, connections });
    }

    /// The text of `/metrics`.
    pub(super) fn metrics(&self) -> String {
        self.alarms.set(&self.raised());
        text(&self.registry)
    }

    /// Answers one command of the control socket. Blocks; within a runtime.
    pub(super) fn answer(&self, command: &str) -> Reply {
        #[cfg(feature = "faults")]
        journal::fault::point("control");
        if let Some(wanted) = command.strip_prefix("watch") {
            return self.watch(wanted);
        }
        if let Some(asked) = command.strip_prefix("described") {
            return Reply::Document(self.descriptions(asked));
        }
        Reply::Document(self.document(command))
    }

    /// ` {"filter": "a/#", "from": 0}`, both optional.
    fn descriptions(&self, asked: &str) -> String {
        let asked = serde_json::from_str(asked).map_err(|error| error.to_string());
        let page = asked.and_then(|asked| self.described.page(&asked));
        let text =
            page.and_then(|page| serde_json::to_string(&page).map_err(|error| error.to_string()));
        text.unwrap_or_else(|problem| json!({ "error": problem }).to_string())
    }

    /// ` {"filter": "a/#", "refused": true}`, both optional.
    fn watch(&self, wanted: &str) -> Reply {
        let watch = serde_json::from_str(wanted).map_err(|error| error.to_string());
        match watch.and_then(|wanted| self.watchers.watch(&wanted)) {
            Ok(watch) => Reply::Watch(watch),
            Err(problem) => Reply::Document(json!({ "error": problem }).to_string()),
        }
    }

    fn document(&self, command: &str) -> String {
        match command {
            "status" => serde_json::to_string(&self.status())
                .unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string()),
            other => match (other.strip_prefix("journal forget "), other.strip_prefix("dead ")) {
                (Some(id), _) => self.forget(id),
                (None, Some(words)) => self.letters.answer(words).to_string(),
                (None, None) => {
                    json!({ "error": format!("unknown command `{other}`") }).to_string()
                }
            },
        }
    }

    fn forget(&self, id: &str) -> String {
        let Some(known) = OutputId::new(id) else {
            return json!({ "error": format!("`{id}` is no id of an output") }).to_string();
        };
        match self.journal.forget(&known) {
            Ok(()) => json!({ "forgotten": id }).to_string(),
            Err(error) => json!({ "error": error.to_string() }).to_string(),
        }
    }

    pub(super) fn status(&self) -> status::Status {
        let journal = self.journal.status();
        let books = &journal.books;
        // After the books: nothing is booked that has not come in.
        let came_in = self.intake.totals();
        status::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            inputs: self.inputs.iter().map(Input::status).collect(),
            journal: status::Journal {
                dir: self.journal_dir.display().to_string(),
                bytes: journal.bytes,
                bytes_max: journal.bytes_max,
                full: matches!(journal.room, Room::Full { .. }),
                degraded: journal.full_because == Some(FullBecause::DiskFails),
                seconds_to_full: seconds(seconds_to_full(&self.fill, &journal)),
                durable_seq: journal.durable.0,
                syncs: journal.syncs.count,
            },
            outputs: journal.positions.iter().map(|position| self.position(position)).collect(),
            books: status::Books {
                received: received(books),
                journaled: books.journaled,
                refused: books.refused,
                filtered: books.filtered,
                duplicate: books.duplicate,
                dropped: books.dropped,
            },
            intake: status::Intake {
                received: came_in.received,
                returned: came_in.returned,
                booked: received(books).saturating_sub(self.received_before),
            },
            sparkplug: sparkplug(self.nodes.stats()),
            descriptions: status::Descriptions {
                held: self.described.stats().held.get(),
                refused: self.described.stats().refused.get(),
            },
            clock: self.clock.status(),
            alarms: self.raised().into_values().collect(),
        }
    }

    /// A position in the journal, and the output that claims it if there is one.
    fn position(&self, position: &PositionStatus) -> status::Output {
        let output = self.outputs.iter().find(|output| *output.id == *position.id.as_str());
        let known = output.map(|output| (output, output.stats.status()));
        status::Output {
            id: position.id.to_string(),
            target: known.as_ref().map_or_else(String::new, |(output, _)| output.target.clone()),
            state: known.as_ref().map_or("removed", |(_, status)| status.state.label()).to_owned(),
            lag_seconds: known.as_ref().map_or(0.0, |(output, _)| {
                output.stats.lag(std::time::SystemTime::now()).as_secs_f64()
            }),
            fields_coerced: known.as_ref().map_or(0, |(it, _)| it.stats.fields_coerced.get()),
            fields_dead: known.as_ref().map_or(0, |(it, _)| it.stats.fields_dead.get()),
            last_error: known.and_then(|(_, status)| Some(status.last_error?.1.to_string())),
            journaled: position.journaled,
            ..status::Output::default()
        }
        .with_fates(position.pending, &position.fates)
    }
}

impl Input {
    fn status(&self) -> status::Input {
        status::Input {
            name: self.name.clone(),
            address: self.address.clone(),
            connections: self.connections.get(),
        }
    }
}

impl Source for Reporter {
    fn look(&self) -> Raised {
        let bytes = self.journal.status().bytes;
        self.fill.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now(), bytes);
        self.raised()
    }
}

impl Reporter {
    fn raised(&self) -> Raised {
        let journal = self.journal.status();
        let mut raised = Raised::new();
        let mut raise = |name, about: &str, words: String| {
            raised.insert(Alarm { name, about: about.to_owned() }, words);
        };
        if let Room::Full { since } = journal.room {
            let seconds = since.elapsed().as_secs();
            let (name, why) = match journal.full_because {
                Some(FullBecause::DiskFails) => (Name::JournalDegraded, ": its disk fails"),
                Some(FullBecause::NoRoom) | None => (Name::JournalFull, ""),
            };
            raise(name, "", format!("the journal takes nothing more, {seconds} s now{why}"));
        }
        if journal.damaged_frames > 0 {
            let words = format!("{} frames of the journal are damaged", journal.damaged_frames);
            raise(Name::JournalDamaged, "", words);
        }
        if journal.newer {
            let words = "the journal holds what a later release wrote; it waits for that release";
            raise(Name::JournalNewer, "", words.to_owned());
        }
        if journal.set_aside_frames > 0 {
            let words = format!("{} frames crashed the process twice", journal.set_aside_frames);
            raise(Name::FrameSetAside, "", format!("{words}; they are in quarantine"));
        }
        if let Some(words) = self.clock.complaint() {
            raise(Name::ClockNotBelieved, "", words);
        }
        if let Some((who, waited)) = self.nodes.oldest()
            && waited >= BIRTH_DUE
        {
            let seconds = waited.as_secs();
            let words = format!("{who} sends aliases that no birth explains, {seconds} s now");
            raise(Name::SparkplugBirthMissing, "", words);
        }
        for position in journal.positions.iter().filter(|position| !position.claimed) {
            let id = position.id.as_str();
            let words = format!("output {id} is gone from the configuration, its data is kept");
            raise(Name::PositionUnclaimed, id, words);
        }
        for output in &self.outputs {
            let status = output.stats.status();
            if status.state.is_stuck() {
                let why = status.last_error.map_or_else(String::new, |(_, why)| why.to_string());
                let words = format!("output {} delivers nothing: {why}", output.id);
                raise(Name::OutputStuck, &output.id, words);
            }
        }
        raised
    }
}

fn sparkplug(stats: &Stats) -> status::Sparkplug {
    status::Sparkplug {
        nodes: stats.nodes.get(),
        births: stats.births.get(),
        rebirths_asked: stats.rebirths_asked.get(),
        rebirths_unasked: stats.rebirths_unasked.get(),
        metrics_unresolved: stats.unresolved.get(),
        messages_waiting: stats.waiting.get(),
        messages_given_up: stats.given_up.get(),
    }
}

/// The intake's side of its balance: whatever became of it.
fn received(books: &Books) -> u64 {
    books.journaled + books.refused + books.filtered + books.duplicate + books.dropped
}

/// Whole seconds, if ever.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and an `as` cast saturates"
)]
fn seconds(seconds: f64) -> Option<u64> {
    seconds.is_finite().then_some(seconds as u64)
}

fn shown(address: Option<SocketAddr>) -> String {
    address.map_or_else(String::new, |address| address.to_string())
}
