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

use super::status::{bytes, journal_line};
use super::{ConfigFile, Ending, complain, say};
use crate::app::{
    control,
    status::{Output, Status},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// How full it is, and how far each output has come.
    Status {
        #[command(flatten)]
        at: At,
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
        at: At,
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
        at: At,
    },
}

/// Which journal.
#[derive(Debug, clap::Args)]
pub struct At {
    #[command(flatten)]
    config: ConfigFile,
    /// The control socket, if it is not where the configuration says.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The journal's directory, with no gateway running: its lock is held meanwhile.
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    offline: Option<PathBuf>,
}

pub fn execute(command: &Command) -> anyhow::Result<Ending> {
    match command {
        Command::Status { at } => status(at),
        Command::Verify { dir: Some(dir), .. } => {
            let found = journal::verify(dir).with_context(|| dir.display().to_string())?;
            Ok(verify::report(&found))
        }
        Command::Verify { dir: None, offline } => {
            let dir = offline.as_deref().context("no directory")?;
            opened(dir, |journal| Ok(verify::report(&journal.verify()?)))
        }
        Command::Dump { at, from, count } => dump(at, *from, *count),
        Command::Forget { id, at } => forget(id, at),
    }
}

fn status(at: &At) -> anyhow::Result<Ending> {
    if let Some(dir) = &at.offline {
        return opened(dir, |journal| {
            let found = journal.verify()?;
            say(&format!("journal  {} in {} segments", bytes(found.bytes), found.segments.len()));
            for position in journal.positions(&found) {
                let (id, low, fates) = (position.id, position.low.0, position.fates);
                say(&position_line(
                    id.as_str(),
                    &format!("done up to {low}"),
                    &Output {
                        pending: position.pending,
                        confirmed: fates.confirmed,
                        dead: fates.dead,
                        dropped: fates.dropped,
                        filtered: fates.filtered,
                        quarantined: fates.quarantined,
                        ..Output::default()
                    },
                ));
            }
            Ok(Ending::Ok)
        });
    }
    ask(at, "status", |reply| {
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

fn dump(at: &At, from: u64, count: usize) -> anyhow::Result<Ending> {
    if let Some(dir) = &at.offline {
        return opened(dir, |_lock| dump::print(dir, from, count));
    }
    match super::run::load(&at.config.path)? {
        Ok(config) => dump::print(config.journal.dir(), from, count),
        Err(ending) => Ok(ending),
    }
}

fn forget(id: &str, at: &At) -> anyhow::Result<Ending> {
    let known = OutputId::new(id).with_context(|| format!("`{id}` is no id of an output"))?;
    if let Some(dir) = &at.offline {
        return opened(dir, |journal| {
            journal.forget(&known)?;
            say(&format!("forgotten: {known}; what only it needed is freed at the next start"));
            Ok(Ending::Ok)
        });
    }
    ask(at, &format!("journal forget {known}"), |_| {
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
    let socket = match &at.socket {
        Some(socket) => socket.clone(),
        None => match super::run::load(&at.config.path)? {
            Ok(config) => config.control.socket,
            Err(ending) => return Ok(ending),
        },
    };
    let reply = match control::ask(&socket, command) {
        Ok(reply) => reply,
        Err(error) => {
            complain(&format!("no gateway answers on {}: {error}", socket.display()));
            complain("with the gateway stopped, use --offline DIR");
            return Ok(Ending::TryAgain);
        }
    };
    let reply: Value = serde_json::from_str(&reply)?;
    if let Some(error) = reply.get("error").and_then(Value::as_str) {
        complain(error);
        return Ok(Ending::Failed);
    }
    then(reply)
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
