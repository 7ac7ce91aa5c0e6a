//! What an output says in the log when its state changes: once, and not at every hiccup.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::stats::State;

/// A warning about backing off comes at most so often.
const WARN_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct StateLog {
    /// The last warning, if it has not been taken back since.
    warned: Option<Instant>,
}

impl StateLog {
    pub(super) fn entered(&mut self, output: &str, former: State, state: State, error: &str) {
        match state {
            State::BackingOff if former == State::Running => {
                if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                    self.warned = Some(Instant::now());
                    warn!(output, error, "delivery failed, backing off");
                }
            }
            State::Misconfigured if !former.is_stuck() => {
                self.warned = Some(Instant::now());
                error!(
                    output,
                    error,
                    "the database refuses what it ought to take: nothing is sent but a probe now and then"
                );
            }
            State::Running if former != State::BackingOff || self.warned.is_some() => {
                self.warned = None;
                info!(output, "delivering again");
            }
            State::Running
            | State::BackingOff
            | State::Misconfigured
            | State::Probing
            | State::Ended => {}
        }
    }
}
