//! One task per output: lease -> process -> batch -> sink, and back: confirm.

use std::{sync::Arc, time::Duration};

use journal::Reader;
use tokio_util::sync::CancellationToken;

use crate::{sink::Sink, stats::Counter};

#[derive(Clone, Debug)]
pub struct Limits {
    pub batch_lines_max: usize,
    pub batch_bytes_max: usize,
    /// From the first reading in a batch.
    pub batch_age_max: Duration,
    pub requests_max: usize,
    pub backoff_first: Duration,
    pub backoff_max: Duration,
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
            probe_every: Duration::from_secs(30),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub confirmed: Counter,
}

/// Runs until the journal's input has ended and everything is delivered, or until `deadline`
/// fires: then what is in flight is given up (it stays in the journal).
pub async fn run<S: Sink>(
    id: Arc<str>,
    reader: Reader,
    sink: S,
    limits: Limits,
    stats: Arc<Stats>,
    deadline: CancellationToken,
) {
    unimplemented!("{id} {reader:?} {limits:?} {stats:?} {deadline:?} {:p}", &raw const sink)
}
