//! `tidegate run`: logging, config, start, wait, drain, exit code.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::{ConfigFile, Ending, allocator, complain, logging};
use crate::app::{self, Gateway, running::Drained};
use crate::config::{Config, LogFormat};

/// How long the runtime's own threads may take to end after everything was drained.
const RUNTIME_END_MAX: Duration = Duration::from_secs(2);

pub fn execute(file: &ConfigFile) -> anyhow::Result<Ending> {
    let config = match load(&file.path) {
        Ok(config) => config,
        Err(ending) => return Ok(ending),
    };
    logging::start(&config.log.filter, config.log.format == LogFormat::Json)?;
    info!(version = env!("CARGO_PKG_VERSION"), config = %file.path.display(), "tidegate");
    let runtime = runtime(&config)?;
    let ending = runtime.block_on(serve(config));
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    ending
}

/// Reads and checks the configuration; tells every problem on standard error.
pub fn load(path: &Path) -> Result<Config, Ending> {
    Config::load(path).map_err(|problems| {
        complain(&problems.to_string());
        Ending::BadConfig
    })
}

pub(super) fn runtime(config: &Config) -> anyhow::Result<tokio::runtime::Runtime> {
    allocator::settle();
    let mut builder = match config.runtime.worker_threads.map(std::num::NonZero::get) {
        Some(1) => tokio::runtime::Builder::new_current_thread(),
        Some(threads) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
        None => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build().context("the runtime")
}

async fn serve(config: Config) -> anyhow::Result<Ending> {
    let mut signals = Signals::new()?;
    let mut gateway = match app::start(config).await {
        Ok(gateway) => gateway,
        Err(problem) => {
            error!(%problem, "cannot start");
            return Ok(Ending::TryAgain);
        }
    };
    announce(&gateway);
    let asked = tokio::select! {
        name = signals.next() => Some(name),
        () = gateway.stage_stopped() => None,
    };
    if let Some(signal) = asked {
        info!(signal, "stopping; once more to stop at once");
    } else {
        error!("a stage stopped by itself; stopping the others");
    }
    let drained = tokio::select! {
        drained = gateway.drain() => drained,
        name = signals.next() => {
            warn!(signal = name, "stopped at once; what was acknowledged is in the journal");
            return Ok(Ending::Failed);
        }
    };
    Ok(match (asked, drained) {
        (Some(_), Drained::Empty | Drained::Pending) => Ending::Ok,
        (None, _) | (_, Drained::Failed) => Ending::Failed,
    })
}

fn announce(gateway: &Gateway) {
    for (name, address) in [("mqtt", gateway.mqtt), ("http", gateway.http)] {
        if let Some(address) = address {
            let only_here = address.ip().is_loopback();
            info!(%address, only_this_machine = only_here, "listening for {name}");
        }
    }
    info!("ready");
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancel safe.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
