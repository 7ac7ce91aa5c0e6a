//! One file per subcommand; each says whether all is well, `torture` in more than two words.

mod bench;
mod duration;
mod faulty;
mod fleet;
mod progress;
mod provision;
mod torture;
mod verify;

use std::{num::NonZeroUsize, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Simulated devices, a load generator, and a check of what arrived.
#[derive(Debug, Parser)]
#[command(name = "tidegate-sim", version)]
pub(crate) struct Arguments {
    /// Worker threads.
    #[arg(long, global = true, default_value = "1")]
    threads: NonZeroUsize,
    /// Say more; twice: much more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs devices against a gateway and keeps a ledger.
    Fleet(fleet::Arguments),
    /// Compares a database with a ledger: LOST, PHANTOM, WRONG, duplicates.
    Verify(verify::Arguments),
    /// Measures: messages a second, latency of acknowledgements, CPU and memory of processes.
    Bench(bench::Arguments),
    /// Runs an InfluxDB that misbehaves on demand.
    FaultyInflux(faulty::Arguments),
    /// Waits for an InfluxDB 2, sets it up if it is new, and makes a bucket.
    Provision(provision::Arguments),
    Torture(torture::Arguments),
    #[command(hide = true)]
    TortureChild(torture::Child),
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // Before anything is changed that the other program would inherit.
    if let Command::TortureChild(child) = &arguments.command {
        return torture::become_child(child);
    }
    log_to_stderr(arguments.verbose);
    raise_open_files();
    let threads = arguments.threads.get();
    let mut builder = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = builder.worker_threads(threads).enable_all().build().context("tokio")?;
    runtime.block_on(async {
        let is_well = match arguments.command {
            Command::Fleet(arguments) => fleet::run(arguments).await?,
            Command::Verify(arguments) => verify::run(arguments).await?,
            Command::Bench(arguments) => bench::run(arguments).await?,
            Command::FaultyInflux(arguments) => faulty::run(arguments).await?,
            Command::Provision(arguments) => provision::run(arguments).await?,
            Command::Torture(arguments) => return torture::run(arguments).await,
            Command::TortureChild(child) => return torture::become_child(&child),
        };
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
}

/// As many connections as the hard limit allows; what cannot be raised shows when it runs out.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
