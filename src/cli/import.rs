//! `tidegate import`: files through intake and the journal to the outputs, as any source's readings.
//!
//! ```text
//!  load, start without ports -> files, one after another -> delivered -> drain -> the sum
//!            ^ signal: stops reading, and says where the same command goes on
//! ```
//! Runs the gateway's own stages with the files as the only source, so it needs the journal to
//! itself: while a gateway runs on it, this says what to do instead.

mod arguments;
mod show;
mod sum;

use std::{fs::File, path::Path, pin::pin, time::Duration};

use journal::{OpenError, Room};
use tokio::time::{Instant, MissedTickBehavior, interval};

pub use self::arguments::Arguments;

use self::show::Show;
use self::sum::{Delivery, Sum};
use super::{
    Ending, complain, logging,
    run::{Signals, load, runtime},
};
use crate::app::{self, Gateway, StartError, running::Drained};
use crate::collect::import::{End, Import, Imported, Settings, Source};
use crate::config::Config;
use crate::intake::Intake;

/// How often it is looked whether everything was delivered.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const RUNTIME_END_MAX: Duration = Duration::from_secs(2);
/// What is known of an import must not be forgotten before its readings are.
const REMEMBERED_FOR: Duration = Duration::from_hours(24 * 365);

pub fn execute(arguments: &Arguments) -> anyhow::Result<Ending> {
    let (settings, sources) = match arguments.checked() {
        Ok(checked) => checked,
        Err(problem) => {
            complain(&problem);
            return Ok(Ending::Failed);
        }
    };
    let config = match load(&arguments.config.path) {
        Ok(config) => config,
        Err(ending) => return Ok(ending),
    };
    if !all_readable(&sources) {
        return Ok(Ending::Failed);
    }
    logging::start(&logging::only_warnings(), false)?;
    let runtime = runtime(&config)?;
    let ending = runtime.block_on(import(arguments, config, settings, &sources));
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    ending
}

/// Before anything is imported: a name that is typed wrong is seen at once.
fn all_readable(sources: &[Source]) -> bool {
    let mut all = true;
    for source in sources {
        // A pipe is left alone: whoever writes to it would take that for the end.
        let Source::File(path) = source else { continue };
        if !source.is_pipe()
            && let Err(error) = File::open(path)
        {
            complain(&format!("{}: {error}", path.display()));
            all = false;
        }
    }
    all
}

async fn import(
    arguments: &Arguments,
    mut config: Config,
    settings: Settings,
    sources: &[Source],
) -> anyhow::Result<Ending> {
    let mut signals = Signals::new()?;
    let http = config.http.as_ref().map(|http| http.listen);
    let dir = config.journal.dir().to_owned();
    only_this_source(&mut config);
    let gateway = match app::start(config).await {
        Ok(gateway) => gateway,
        Err(StartError::Journal(OpenError::Locked(dir))) => {
            complain(&is_running(&dir, http));
            return Ok(Ending::TryAgain);
        }
        Err(problem) => {
            complain(&format!("cannot start: {problem}"));
            return Ok(Ending::TryAgain);
        }
    };
    let intake = gateway.intake();
    let import = Import::new(intake.clone(), &dir, settings).await;
    let import = import.at_rate(arguments.rate).anew(arguments.anew);
    let delivery = Delivery::begin(gateway.status_reader());
    let mut course = Course { gateway, delivery, wait: arguments.wait, stopped: None };
    let sum = course.read(import, sources, intake, &mut signals).await;
    if course.stopped.is_none() {
        course.deliver(&mut signals).await;
    }
    Ok(course.end(sum, &mut signals).await)
}

/// No ports, no brokers; and nothing that waits already is given up for what can wait in a file.
fn only_this_source(config: &mut Config) {
    (config.mqtt, config.http) = (None, None);
    config.brokers.clear();
    config.journal.block_when_full();
    config.resends.age_max = config.resends.age_max.max(REMEMBERED_FOR);
}

fn is_running(dir: &Path, http: Option<std::net::SocketAddr>) -> String {
    let send = match http {
        Some(http) => format!(
            ",\nor send it the file in a request that can be sent again:\n  \
             curl -H 'Idempotency-Key: my-file-1' --data-binary @FILE 'http://{http}/write'\n\
             (line protocol; JSON, also line by line, goes to /v1/readings)"
        ),
        None => String::new(),
    };
    let dir = dir.display();
    format!(
        "another process holds {dir}: a gateway runs on this journal, and nothing was imported.\n\
         Stop it for as long as the import takes (devices keep what is not acknowledged){send}"
    )
}

/// From the first byte to the last position.
struct Course {
    gateway: Gateway,
    delivery: Delivery,
    /// For outputs that take nothing.
    wait: Option<Duration>,
    stopped: Option<Stopped>,
}

/// Why it ends before everything is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Signal(&'static str),
    /// Once more: at once.
    Twice,
    Stage,
    Waited,
}

/// What a moment brought.
enum Now<T> {
    Done(T),
    Stop(Stopped),
    Tick,
}

impl Course {
    /// Reads the files to their ends, or until something stops it.
    async fn read(
        &mut self,
        mut import: Import,
        sources: &[Source],
        intake: Intake,
        signals: &mut Signals,
    ) -> Sum {
        let (stop, mut room) = (import.stop.clone(), intake.watch_room());
        drop(intake);
        let mut show = Show::new(import.watch.clone(), sources);
        let at_file = show.at_file();
        let mut importing = pin!(async move {
            let mut all = Vec::new();
            for (at, source) in sources.iter().enumerate() {
                at_file.set(at);
                let imported = import.file(source).await;
                let is_over = matches!(imported.end, End::Stopped | End::Closed);
                all.push((source.clone(), imported));
                if is_over {
                    break;
                }
            }
            all
        });
        let mut ticks = ticks();
        loop {
            let now = tokio::select! {
                biased;
                all = &mut importing => Now::Done(all),
                name = signals.next() => Now::Stop(Stopped::Signal(name)),
                () = self.gateway.stage_stopped(), if self.stopped != Some(Stopped::Stage) => {
                    Now::Stop(Stopped::Stage)
                }
                _ = ticks.tick() => Now::Tick,
            };
            match now {
                Now::Done(all) => {
                    show.end();
                    return Sum::of(all, sources.len());
                }
                Now::Stop(Stopped::Signal(_)) if self.stopped.is_some() => {
                    self.stopped = Some(Stopped::Twice);
                    show.end();
                    return Sum::of(Vec::<(Source, Imported)>::new(), sources.len());
                }
                Now::Stop(why) => {
                    show.say(&why.told());
                    self.stopped = Some(why);
                    stop.cancel();
                }
                Now::Tick => {
                    show.reading(&self.delivery.waits_for());
                    if self.stopped.is_none() && self.is_full_too_long(*room.borrow_and_update()) {
                        show.say(&Stopped::Waited.told());
                        self.stopped = Some(Stopped::Waited);
                        stop.cancel();
                    }
                }
            }
        }
    }

    fn is_full_too_long(&self, room: Room) -> bool {
        match (room, self.wait) {
            (Room::Full { since }, Some(wait)) => since.elapsed() >= wait,
            _ => false,
        }
    }

    /// Waits until no output has anything left to do.
    async fn deliver(&mut self, signals: &mut Signals) {
        let mut show = Show::delivering();
        let deadline = self.wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut ticks = ticks();
        while !self.delivery.is_done() {
            let now: Now<()> = tokio::select! {
                biased;
                name = signals.next() => Now::Stop(Stopped::Signal(name)),
                () = self.gateway.stage_stopped() => Now::Stop(Stopped::Stage),
                _ = ticks.tick() => Now::Tick,
            };
            let why = match now {
                Now::Stop(why) => why,
                _ if deadline.is_some_and(|deadline| deadline <= Instant::now()) => Stopped::Waited,
                _ => {
                    show.delivering_to(&self.delivery.waits_for());
                    continue;
                }
            };
            show.say(&why.told());
            self.stopped = Some(why);
            break;
        }
        show.end();
    }

    /// Drains, and says what became of everything.
    async fn end(self, sum: Sum, signals: &mut Signals) -> Ending {
        let Self { gateway, delivery, stopped, .. } = self;
        if stopped == Some(Stopped::Twice) {
            complain("stopped at once; what was imported is in the journal");
            return Ending::TryAgain;
        }
        let drained = tokio::select! {
            drained = gateway.drain() => drained,
            _ = signals.next() => Drained::Pending,
        };
        sum.tell();
        delivery.tell();
        match (stopped, drained) {
            (Some(Stopped::Stage), _) | (_, Drained::Failed) => Ending::Failed,
            _ if !sum.is_whole() => {
                complain(sum.goes_on());
                Ending::TryAgain
            }
            (_, Drained::Pending) => {
                complain(
                    "not everything was delivered: it is in the journal, and a gateway that runs delivers it",
                );
                Ending::TryAgain
            }
            (_, Drained::Empty) if sum.is_clean() && delivery.is_clean() => Ending::Ok,
            (_, Drained::Empty) => Ending::Failed,
        }
    }
}

impl Stopped {
    fn told(self) -> String {
        match self {
            Self::Signal(name) => format!("stopping ({name}); once more to stop at once"),
            Self::Twice => "stopping at once".to_owned(),
            Self::Stage => "a stage stopped by itself; stopping the others".to_owned(),
            Self::Waited => "an output takes nothing for longer than --wait; stopping".to_owned(),
        }
    }
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
