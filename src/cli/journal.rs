//! `tidegate journal status|verify|dump|forget`: looks at a journal, and takes a position out of it.
//!
//! `status` and `forget` ask the running gateway; `--offline DIR` opens the directory itself, and
//! holds its lock meanwhile. `verify` and `dump` only read, beside a running gateway too.

mod dump;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use journal::{Offline, OpenError, OutputId};
use serde_json::Value;

use super::gateway::At;
use super::status::{bytes, journal_line};
use super::{Ending, complain, say};
use crate::app::status::{Output, Status};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// How full it is, and how far each output has come.
    Status {
        #[command(flatten)]
        place: Where,
    },
    /// Check every segment, frame and position.
    #[command(group(clap::ArgGroup::new("where").required(true)))]
    Verify {
        /// The journal's directory.
        #[arg(group = "where")]
        dir: Option<PathBuf>,
        /// The same, with no gateway running: its lock is held meanwhile.
        #[arg(long, value_name = "DIR", group = "where")]
        offline: Option<PathBuf>,
    },
    /// Print frames, their readings as line protocol.
    Dump {
        #[command(flatten)]
        place: Where,
        /// The first frame's sequence number.
        #[arg(long, value_name = "SEQ", default_value_t = 1)]
        from: u64,
        /// How many frames.
        #[arg(long, value_name = "N", default_value_t = 100)]
        count: usize,
    },
    /// Drop the position of an output that is gone for good, and free what only it needed.
    Forget {
        /// The output's id.
        id: String,
        #[command(flatten)]
        place: Where,
    },
}

/// Which journal.
#[derive(Debug, clap::Args)]
pub struct Where {
    #[command(flatten)]
    at: At,
    /// The journal's directory, with no gateway running: its lock is held meanwhile.
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    offline: Option<PathBuf>,
}

pub fn execute(command: &Command) -> anyhow::Result<Ending> {
    match command {
        Command::Status { place } => status(place),
        Command::Verify { dir: Some(dir), .. } => {
            let found = journal::verify(dir).with_context(|| dir.display().to_string())?;
            Ok(verify::report(&found))
        }
        Command::Verify { dir: None, offline } => {
            let dir = offline.as_deref().context("no directory")?;
            opened(dir, |journal| Ok(verify::report(&journal.verify()?)))
        }
        Command::Dump { place, from, count } => dump(place, *from, *count),
        Command::Forget { id, place } => forget(id, place),
    }
}

fn status(place: &Where) -> anyhow::Result<Ending> {
    if let Some(dir) = &place.offline {
        return opened(dir, |journal| {
            let found = journal.verify()?;
            say(&format!("journal  {} in {} segments", bytes(found.bytes), found.segments.len()));
            for position in journal.positions(&found) {
                let state = format!("done up to {}", position.low.0);
                let output = Output::default().with_fates(position.pending, &position.fates);
                say(&position_line(position.id.as_str(), &state, &output));
            }
            Ok(Ending::Ok)
        });
    }
    ask(&place.at, "status", |reply| {
        let status: Status = serde_json::from_value(reply)?;
        say(&journal_line(&status.journal));
        for output in &status.outputs {
            say(&position_line(&output.id, &output.state, output));
        }
        Ok(Ending::Ok)
    })
}

fn position_line(id: &str, state: &str, output: &Output) -> String {
    format!(
        "position {id:<14} {state}, pending {}, confirmed {}, dead {}, dropped {}, filtered {}, quarantined {}",
        output.pending,
        output.confirmed,
        output.dead,
        output.dropped,
        output.filtered,
        output.quarantined
    )
}

fn dump(place: &Where, from: u64, count: usize) -> anyhow::Result<Ending> {
    if let Some(dir) = &place.offline {
        return opened(dir, |_lock| dump::print(dir, from, count));
    }
    match place.at.config() {
        Ok(config) => dump::print(config.journal.dir(), from, count),
        Err(ending) => Ok(ending),
    }
}

fn forget(id: &str, place: &Where) -> anyhow::Result<Ending> {
    let known = OutputId::new(id).with_context(|| format!("`{id}` is no id of an output"))?;
    if let Some(dir) = &place.offline {
        return opened(dir, |journal| {
            journal.forget(&known)?;
            say(&format!("forgotten: {known}; what only it needed is freed at the next start"));
            Ok(Ending::Ok)
        });
    }
    ask(&place.at, &format!("journal forget {known}"), |_| {
        say(&format!("forgotten: {known}"));
        Ok(Ending::Ok)
    })
}

/// Asks the running gateway; what it refuses is said.
fn ask(
    at: &At,
    command: &str,
    then: impl FnOnce(Value) -> anyhow::Result<Ending>,
) -> anyhow::Result<Ending> {
    match at.gateway().and_then(|gateway| gateway.ask(command)) {
        Ok(reply) => then(reply),
        Err(ending) => {
            if ending == Ending::TryAgain {
                complain("with the gateway stopped, use --offline DIR");
            }
            Ok(ending)
        }
    }
}

fn opened(
    dir: &Path,
    then: impl FnOnce(&Offline) -> anyhow::Result<Ending>,
) -> anyhow::Result<Ending> {
    match Offline::open(dir) {
        Ok(journal) => then(&journal),
        Err(error @ OpenError::Locked(_)) => {
            complain(&error.to_string());
            Ok(Ending::TryAgain)
        }
        Err(error) => Err(error.into()),
    }
}
