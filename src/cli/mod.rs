//! The command line: one file per subcommand.
//!
//! Exit codes: 0 ok, 1 failed, 2 usage, 64 bad config, 75 try again.

mod allocator;
pub mod check;
pub mod dead;
pub mod demo;
pub mod frame;
mod gateway;
pub mod import;
pub mod journal;
pub mod logging;
pub mod run;
pub mod status;
pub mod watch;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Takes readings from MQTT, WebSocket and HTTP devices, makes them durable, and delivers them to InfluxDB.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Run(ConfigFile),
    /// Run everything in one process on loopback, with a small simulated fleet.
    Demo(demo::Arguments),
    /// Check the configuration, or show what becomes of one payload.
    Check(check::Arguments),
    /// Show the running gateway on one screen.
    Status(status::Arguments),
    /// Show what becomes of payloads as they arrive at the running gateway.
    Watch(watch::Arguments),
    /// Take files (line protocol, NDJSON, JSON, CSV) through the journal to the outputs, then exit.
    Import(import::Arguments),
    /// Look at a journal.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Look at dead letters: what a database or the gateway refused; offer them once more.
    #[command(subcommand)]
    Dead(dead::Command),
    /// Look at binary frames.
    #[command(subcommand)]
    Frame(frame::Command),
}

/// Which configuration to use.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        env = "TIDEGATE_CONFIG",
        default_value = "/etc/tidegate/tidegate.toml"
    )]
    pub path: PathBuf,
}

/// How a subcommand ended: what the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Ok,
    Failed,
    BadConfig,
    TryAgain,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Ok => Self::SUCCESS,
            Ending::Failed => Self::FAILURE,
            Ending::BadConfig => Self::from(64),
            Ending::TryAgain => Self::from(75),
        }
    }
}

impl Arguments {
    /// Runs the chosen subcommand to its end.
    pub fn execute(self) -> anyhow::Result<Ending> {
        match self.command {
            Command::Run(config) => run::execute(&config),
            Command::Demo(arguments) => demo::execute(&arguments),
            Command::Check(arguments) => check::execute(&arguments),
            Command::Status(arguments) => status::execute(&arguments),
            Command::Watch(arguments) => watch::execute(&arguments),
            Command::Import(arguments) => import::execute(&arguments),
            Command::Journal(command) => journal::execute(&command),
            Command::Dead(command) => Ok(dead::execute(&command)),
            Command::Frame(command) => frame::execute(&command),
        }
    }
}

/// The one place that prints for a person; the lint against stray prints holds everywhere else.
#[expect(clippy::print_stdout, reason = "the answer of a subcommand goes to standard output")]
pub fn say(text: &str) {
    println!("{text}");
}

/// As `say`, on standard error: advice and problems.
#[expect(clippy::print_stderr, reason = "problems go to standard error, before logging is up too")]
pub fn complain(text: &str) {
    eprintln!("{text}");
}
