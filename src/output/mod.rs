//! One thread per output: lease -> process -> batch -> sink, and back: confirm.
//!
//! ```text
//!  journal --lease.rs--> gather.rs --batch.rs--> [one sealed batch] --deliver.rs--> requests_max deliveries
//!     ^                  decode, steps.rs, merge                     retry.rs  when may it send
//!     |                                                              bisect.rs what does it send
//!     +---- confirm ---- settle.rs <-- dead.rs <-- guilty lines <--- size.rs   how much at once
//! ```
//!
//! Pressure: a sealed batch that waits keeps the next one from being begun, so nothing is leased.
//! Memory: `requests_max` + 1 batches and the frames they came from; what the steps remember, and
//! twice as a checkpoint.
//!
//! Order: a batch that holds a (series, timestamp) still in flight waits for it, so a retry can
//! never overwrite a newer value. Beyond our reach: a database that applies a request after the
//! deadline at which we gave it up and sent it again. What is in flight twice over a restart is the
//! same points, in the same order.
//!
//! `rejects.rs` is the other reader: what intake refused, from the journal into dead letters.

pub mod amend;
pub mod batch;
pub mod bisect;
pub mod clock;
pub mod dead;
mod deliver;
pub mod epoch;
mod gather;
pub mod keys;
pub mod lease;
pub mod lines;
mod log;
pub mod rejects;
pub mod replay;
mod retention;
pub mod retry;
mod settle;
pub mod size;
pub mod stats;
mod steps;

use std::{sync::Arc, time::Duration};

use journal::Reader;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::clock::Clock;
pub use self::dead::DeadLetters;
pub use self::replay::Replay;
pub use self::stats::{Metrics, State, Stats, Status};
use crate::process;
use crate::sink::Sink;

#[derive(Clone, Debug)]
pub struct Limits {
    pub batch_lines_max: usize,
    pub batch_bytes_max: usize,
    /// From the first reading in a batch.
    pub batch_age_max: Duration,
    pub requests_max: usize,
    pub backoff_first: Duration,
    pub backoff_max: Duration,
    /// The longest `Retry-After` that is believed.
    pub retry_after_max: Duration,
    /// How often a misconfigured output looks whether somebody has put it right.
    pub probe_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_lines_max: 5_000,
            batch_bytes_max: 1024 * 1024,
            batch_age_max: Duration::from_secs(1),
            requests_max: 4,
            backoff_first: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
            retry_after_max: Duration::from_mins(5),
            probe_every: Duration::from_secs(30),
        }
    }
}

impl Limits {
    fn batch(&self) -> batch::Limits {
        batch::Limits {
            lines_max: self.batch_lines_max,
            bytes_max: self.batch_bytes_max,
            age_max: self.batch_age_max,
        }
    }

    fn retry(&self) -> retry::Limits {
        retry::Limits {
            backoff_first: self.backoff_first,
            backoff_max: self.backoff_max,
            retry_after_max: self.retry_after_max,
            probe_every: self.probe_every,
        }
    }
}

/// One output, ready to run.
#[derive(Debug)]
pub struct Output<S> {
    pub id: Arc<str>,
    pub sink: Arc<S>,
    pub limits: Limits,
    /// What is done to readings before they are batched.
    pub process: process::Settings,
    /// `None`: what cannot be delivered is counted as dropped.
    pub dead: Option<DeadLetters>,
    pub stats: Arc<Stats>,
    /// Whose stamps may leave, and how.
    pub clock: Clock,
}

// Not derived: that would ask for a sink that can be cloned.
impl<S> Clone for Output<S> {
    fn clone(&self) -> Self {
        Self {
            id: Arc::clone(&self.id),
            sink: Arc::clone(&self.sink),
            limits: self.limits.clone(),
            process: self.process.clone(),
            dead: self.dead.clone(),
            stats: Arc::clone(&self.stats),
            clock: self.clock.clone(),
        }
    }
}

/// Runs until the journal's input has ended and everything is delivered, or until `deadline`
/// fires: then what is in flight is given up (it stays in the journal). Dropped half way, the same.
pub async fn run<S: Sink>(output: Output<S>, reader: Reader, deadline: CancellationToken) {
    run_from(output, reader, mpsc::channel(1).1, deadline).await;
}

/// The same, with dead letters that come back in between.
pub async fn run_with<S: Sink>(
    output: Output<S>,
    reader: Reader,
    replays: mpsc::Receiver<Replay>,
    deadline: CancellationToken,
) {
    run_from(output, reader, replays, deadline).await;
}

async fn run_from<S: Sink, L: lease::Leases>(
    output: Output<S>,
    leases: L,
    replays: mpsc::Receiver<Replay>,
    deadline: CancellationToken,
) {
    let stats = Arc::clone(&output.stats);
    stats.enter(State::Running);
    let (sealed, batches) = mpsc::channel(1);
    let gather = gather::run(output.clone(), leases, sealed);
    let deliver = deliver::run(output, batches, replays);
    tokio::select! {
        biased;
        () = deadline.cancelled() => tracing::warn!(
            lag_s = stats.lag(std::time::SystemTime::now()).as_secs(),
            "gave up what was in flight; it stays in the journal",
        ),
        ((), ()) = async { tokio::join!(gather, deliver) } => {}
    }
    stats.enter(State::Ended);
}

#[cfg(test)]
mod tests;
