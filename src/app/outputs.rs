//! Starts the outputs, each on a thread of its own, and the one that turns refusals into dead letters.

use std::{path::Path, sync::Arc};

use journal::Journal;
use tokio::sync::mpsc;

use super::StartError;
use super::report::Reporter;
use super::running::Running;
use crate::config::{DeadLetters, Destination, Output};
use crate::output;
use crate::output::dead;
use crate::output::rejects;
use crate::sink::Sink;
use crate::sink::file::Files;
use crate::sink::influx::Influx;

/// What intake refused, from the journal into dead letters.
pub(super) fn start_rejects(
    running: &mut Running,
    journal: &Journal,
    settings: &DeadLetters,
    reporter: &mut Reporter,
) -> Result<(), StartError> {
    let letters = dead_letters(settings, "intake");
    let stats = reporter.output(&"intake-dead".into(), shown(&settings.dir.join("intake")));
    reporter.letters.add("intake", letters.clone(), None);
    let run = rejects::run(journal.rejects()?, Some(letters), stats, running.give_up.clone());
    running.output("rejects".into(), run);
    Ok(())
}

pub(super) fn start(
    running: &mut Running,
    journal: &Journal,
    settings: Output,
    letters: &DeadLetters,
    reporter: &mut Reporter,
) -> Result<(), StartError> {
    let id: Arc<str> = settings.id.as_str().into();
    let reader = journal.reader(&settings.id, settings.start)?;
    let dead = dead_letters(letters, &id);
    // One at a time: whoever asks waits.
    let (replay, replays) = mpsc::channel(1);
    reporter.letters.add(&id, dead.clone(), Some(replay));
    let (dead, limits, process) = (Some(dead), settings.limits, settings.process);
    let clock = output::Clock { epochs: journal.clock().epochs(), stop: running.shutdown.clone() };
    match settings.to {
        Destination::Influx(to) => {
            let stats = reporter.output(&id, to.url.clone());
            let sink = Influx::new(&to)
                .map_err(|source| StartError::Sink { id: id.to_string(), source })?;
            let sink = Arc::new(sink);
            let output = output::Output { id, sink, limits, process, dead, stats, clock };
            run(running, output, reader, replays)
        }
        Destination::File(to) => {
            let stats = reporter.output(&id, shown(&to.path));
            let sink = Arc::new(Files::new(to));
            let output = output::Output { id, sink, limits, process, dead, stats, clock };
            run(running, output, reader, replays)
        }
    }
}

fn run<S: Sink>(
    running: &mut Running,
    output: output::Output<S>,
    reader: journal::Reader,
    replays: mpsc::Receiver<output::Replay>,
) -> Result<(), StartError> {
    let give_up = running.give_up.clone();
    let name = format!("output {}", output.id);
    running
        .output_apart(name, output::run_with(output, reader, replays, give_up))
        .map_err(StartError::Thread)
}

fn dead_letters(settings: &DeadLetters, id: &str) -> dead::DeadLetters {
    dead::DeadLetters::new(dead::Settings {
        dir: settings.dir.join(id),
        bytes_max: settings.bytes_max,
        age_max: settings.age_max,
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
