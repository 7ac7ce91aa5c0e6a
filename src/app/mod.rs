//! The composition root: the only module that knows every stage.
//!
//! ```text
//!  start:  journal -> ports -> outputs (from the sink up) -> intake -> inputs    ready when it returns
//!  drain:  inputs end -> appenders drop -> journal ends -> outputs run dry -> positions on disk
//! ```
//!
//! Leaves out what the stages do. What each counts it keeps itself; `report` gathers it.

pub mod alarms;
mod clock;
pub mod control;
mod crash;
mod fill;
mod inputs;
mod letters;
mod metrics;
mod outputs;
mod report;
pub mod running;
pub mod status;
mod storage;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use journal::{Journal, OpenError};
use tracing::{error, info};

use self::control::Control;
use self::inputs::{Inputs, Ports};
use self::report::Reporter;
use self::running::{Drained, Running};
use crate::config::Config;
use crate::intake::Intake;
use crate::intake::clock::{Timekeeper, keeper};
use crate::intake::sparkplug::care;
use crate::intake::stamp::SystemClock;
use crate::sink::influx;

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the journal: {0}")]
    Journal(#[from] OpenError),
    #[error("output `{id}`: {source}")]
    Sink { id: String, source: influx::SettingsError },
    #[error("the thread of an output: {0}")]
    Thread(#[source] io::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the control socket {}: {source}", path.display())]
    Control { path: PathBuf, source: io::Error },
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    running: Running,
    journal: Journal,
    /// The last appender but those of the inputs; dropped when they have ended.
    intake: Intake,
    reporter: Arc<Reporter>,
    grace: Duration,
    /// Where devices reach it, ports as bound.
    pub mqtt: Option<SocketAddr>,
    pub http: Option<SocketAddr>,
}

/// Starts every stage. When it returns all ports are bound and readings are taken.
///
/// Not cancel safe: dropped half way, what was started ends.
pub async fn start(config: Config) -> Result<Gateway, StartError> {
    let (journal, appender, remembered) =
        storage::open(&config.journal, config.resends, config.sparkplug).await?;
    let path = config.control.socket;
    let control = Control::bind(&path).map_err(|source| StartError::Control { path, source })?;
    let ports = Ports::bind(config.mqtt, config.http).await?;

    let time = Arc::new(Timekeeper::new(Arc::new(SystemClock)));
    let clock = start_clock(&time, &journal, config.clock).await;
    let mut reporter =
        Reporter::new(journal.watcher(), config.journal.dir().to_owned(), clock.shown());
    let mut running = Running::new();
    outputs::start_rejects(&mut running, &journal, &config.dead_letters, &mut reporter)?;
    for output in config.outputs {
        outputs::start(&mut running, &journal, output, &config.dead_letters, &mut reporter)?;
    }
    journal.begin();
    let intake =
        Intake::new(appender, config.routes, config.intake, config.tags, Arc::new(SystemClock))
            .keeping(time)
            .remembering(remembered.resends)
            .knowing(remembered.nodes);
    // Waits for no room: what is full is full for long, and has to be reached and looked at.
    if intake.note_recalled().await.is_err() {
        error!("the journal is closed already");
    }
    reporter.intake(&intake);

    let (mqtt, http) = (ports.mqtt_address(), ports.http_address());
    let inputs = Inputs::new(ports, config.brokers, &mut reporter);
    let reporter = Arc::new(reporter);
    inputs.start(&mut running, &intake, &reporter);
    start_watchers(&mut running, control, &reporter);
    running.input("clock".into(), clock.run(running.shutdown.clone()));
    let waited = care::run(intake.clone(), running.shutdown.clone());
    running.input("sparkplug".into(), waited);
    Ok(Gateway { running, journal, intake, reporter, grace: config.runtime.grace, mqtt, http })
}

/// Before anything is stamped.
async fn start_clock(
    time: &Arc<Timekeeper>,
    journal: &Journal,
    limits: keeper::Limits,
) -> clock::Care {
    let (time, book) = (Arc::clone(time), journal.clock());
    let started = tokio::task::spawn_blocking(move || clock::Care::start(time, book, limits));
    started.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// The control socket and the alarms: they end with the inputs.
fn start_watchers(running: &mut Running, control: Control, reporter: &Arc<Reporter>) {
    let (answer, stop) = (Arc::clone(reporter), running.shutdown.clone());
    let serve = control.serve(Arc::new(move |command| answer.answer(command)), stop.clone());
    running.input("control".into(), serve);
    running.input("alarms".into(), alarms::watch(Arc::<Reporter>::clone(reporter), stop));
}

impl Gateway {
    /// Resolves when a stage stops by itself: end the process with an error. Cancel safe.
    pub async fn stage_stopped(&mut self) {
        tokio::select! {
            () = self.running.stage_stopped() => {}
            () = self.journal.died() => error!("a thread of the journal died"),
        }
    }

    /// For a source that is not configured. The clone must be gone before `drain`, or the journal
    /// waits for what it may still bring.
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Reads what `status` shows, for as long as somebody wants to look.
    pub fn status_reader(&self) -> impl Fn() -> status::Status + Send + Sync + 'static {
        let reporter = Arc::clone(&self.reporter);
        move || reporter.status()
    }

    /// Stops taking, acknowledges what was taken, delivers within the grace what can be, and
    /// leaves the rest in the journal.
    pub async fn drain(self) -> Drained {
        let Self { running, journal, intake, reporter, grace, .. } = self;
        let inputs_ended = async move {
            if intake.settle_counts().await.is_err() {
                error!("the journal is closed already: the last counts are lost");
            }
        };
        let drained = running.drain(grace, inputs_ended).await;
        // Positions and the last sync: disk work, off the reactor.
        let closed = tokio::task::spawn_blocking(move || journal.close()).await;
        for output in reporter.status().outputs {
            info!(output = output.id, pending_readings = output.pending, "stopped");
        }
        if closed.is_err() { Drained::Failed } else { drained }
    }
}
