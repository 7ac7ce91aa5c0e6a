//! Logging: text or JSON to standard error, filtered by target.

use std::io::IsTerminal as _;

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::{SubscriberInitExt as _, TryInitError},
};

/// Starts logging for the life of the process. `filter`: `info` or `info,tidegate::listen=debug`.
pub fn start(filter: &Targets, json: bool) -> Result<(), TryInitError> {
    let registry = tracing_subscriber::registry().with(filter.clone());
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if json {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init()
    }
}

/// What is logged when nobody says otherwise: libraries only when something is wrong.
pub fn default_filter() -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("tidegate", LevelFilter::INFO)
        .with_target("journal", LevelFilter::INFO)
}

/// For subcommands that draw on the terminal.
pub fn only_warnings() -> Targets {
    Targets::new().with_default(LevelFilter::WARN)
}
