//! What an output counts and shows: for the metrics, for `status`, for the alarm.
//!
//! `Metrics` are the families of the whole process; `Stats` are one output's own counters in them,
//! found once, so that nothing is looked up by label on the way.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge, histogram::exponential_buckets},
    registry::{Registry, Unit},
};
use tokio::sync::watch;

use crate::output::lease::Unconfirmed;
use crate::process::Counts;
use crate::sink::Written;
use crate::stats::Counter;
use crate::stats::Family;
use crate::stats::Gauge;
use crate::stats::Histogram;

/// What an output is doing: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It delivers, or has nothing to deliver.
    Running,
    /// The other end does not take it now; tried again with growing waits.
    BackingOff,
    /// The other end refuses what it ought to take: nothing is sent but a probe now and then.
    Misconfigured,
    /// Misconfigured so far, and a probe is out.
    Probing,
    /// It has returned.
    Ended,
}

impl State {
    pub const ALL: [Self; 5] =
        [Self::Running, Self::BackingOff, Self::Misconfigured, Self::Probing, Self::Ended];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::BackingOff => "backing_off",
            Self::Misconfigured => "misconfigured",
            Self::Probing => "probing",
            Self::Ended => "ended",
        }
    }

    /// Nothing but a person puts this right.
    pub const fn is_stuck(self) -> bool {
        matches!(self, Self::Misconfigured | Self::Probing)
    }
}

/// State and last error, to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    pub since: SystemTime,
    /// In the other end's words; stays after it has healed.
    pub last_error: Option<(SystemTime, Arc<str>)>,
}

/// One output's counters since the start of the process. What became of readings is not among them: the
/// journal's books say that.
#[derive(Debug)]
pub struct Stats {
    /// Fields left out of readings that were delivered otherwise.
    pub fields_dead: Counter,
    /// Fields that were stored as another type, with the same value.
    pub fields_coerced: Counter,
    /// Lines sent and stored; a merged line counts once.
    pub lines: Counter,
    pub requests: Counter,
    /// Requests that carried again what an earlier one had not got through.
    pub retries: Counter,
    /// Bytes that went out, after compression.
    pub bytes_sent: Counter,
    /// Dead letters that were deleted for their age or for room, in readings.
    pub dead_letters_expired: Counter,
    /// Dead letters that were stored after all.
    pub letters_replayed: Counter,
    /// Readings that left with a stamp put right, or marked as nobody knows how wrong. Once each
    /// time that their frame is taken from the journal.
    pub stamps_corrected: Counter,
    pub stamps_unsure: Counter,
    /// 1 while the next reading's stamp waits for the right time.
    pub clock_waits: Gauge,
    /// Times that what an output remembered could not be read.
    pub states_lost: Counter,
    /// By name, as `process` counts.
    steps: [Counter; 9],
    state_bytes: Gauge,
    windows_open: Gauge,
    output: String,
    durations: Family<CodeLabel, Histogram, fn() -> Histogram>,
    status: watch::Sender<Status>,
    unconfirmed: Arc<Unconfirmed>,
}

impl Stats {
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Age of the oldest reading that was taken from the journal and is not settled.
    pub fn lag(&self, now: SystemTime) -> Duration {
        let Some(oldest_ns) = self.unconfirmed.oldest_ns() else { return Duration::ZERO };
        let oldest = UNIX_EPOCH + Duration::from_nanos(u64::try_from(oldest_ns).unwrap_or(0));
        now.duration_since(oldest).unwrap_or_default()
    }

    pub(super) fn unconfirmed(&self) -> &Arc<Unconfirmed> {
        &self.unconfirmed
    }

    /// Returns the former state if it changed.
    pub(super) fn enter(&self, state: State) -> Option<State> {
        let mut former = None;
        self.status.send_if_modified(|status| {
            let changes = status.state != state;
            if changes {
                former = Some(status.state);
                status.state = state;
                status.since = SystemTime::now();
            }
            changes
        });
        former
    }

    pub(super) fn note_error(&self, text: &Arc<str>) {
        self.status.send_modify(|status| {
            status.last_error = Some((SystemTime::now(), Arc::clone(text)));
        });
    }

    /// What the steps before the batch counted, and how large what they remember is.
    pub(super) fn note_steps(&self, counts: &Counts, (bytes, windows): (usize, usize)) {
        for (counter, (_, count)) in self.steps.iter().zip(counts.named()) {
            counter.inc_by(count);
        }
        self.state_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.windows_open.set(i64::try_from(windows).unwrap_or(i64::MAX));
    }

    pub(super) fn note_request(&self, written: &Written, took: Duration) {
        self.requests.inc();
        self.bytes_sent.inc_by(written.bytes);
        let code = written.status.map_or("none", code);
        let label = CodeLabel { output: self.output.clone(), code };
        self.durations.get_or_create(&label).observe(took.as_secs_f64());
    }
}

/// A status as a label: those that mean something by name, others by class.
const fn code(status: u16) -> &'static str {
    match status {
        204 => "204",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        413 => "413",
        422 => "422",
        429 => "429",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        _ => match status / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        },
    }
}

/// The families of all outputs.
#[derive(Debug)]
pub struct Metrics {
    fields_dead: Family<OutputLabel, Counter>,
    fields_coerced: Family<OutputLabel, Counter>,
    lines: Family<OutputLabel, Counter>,
    requests: Family<OutputLabel, Counter>,
    retries: Family<OutputLabel, Counter>,
    bytes_sent: Family<OutputLabel, Counter>,
    dead_letters_expired: Family<OutputLabel, Counter>,
    letters_replayed: Family<OutputLabel, Counter>,
    stamps_corrected: Family<OutputLabel, Counter>,
    stamps_unsure: Family<OutputLabel, Counter>,
    clock_waits: Family<OutputLabel, Gauge>,
    states_lost: Family<OutputLabel, Counter>,
    steps: Family<StepLabel, Counter>,
    state_bytes: Family<OutputLabel, Gauge>,
    windows_open: Family<OutputLabel, Gauge>,
    durations: Family<CodeLabel, Histogram, fn() -> Histogram>,
    outputs: Outputs,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutputLabel {
    output: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    output: String,
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    output: String,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    output: String,
    state: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 17));
        Self {
            fields_dead: Family::default(),
            fields_coerced: Family::default(),
            lines: Family::default(),
            requests: Family::default(),
            retries: Family::default(),
            bytes_sent: Family::default(),
            dead_letters_expired: Family::default(),
            letters_replayed: Family::default(),
            stamps_corrected: Family::default(),
            stamps_unsure: Family::default(),
            clock_waits: Family::default(),
            states_lost: Family::default(),
            steps: Family::default(),
            state_bytes: Family::default(),
            windows_open: Family::default(),
            durations: Family::new_with_constructor(histogram),
            outputs: Outputs::default(),
        }
    }
}

impl Metrics {
    /// The counters of one more output.
    pub fn output(&self, id: &str) -> Arc<Stats> {
        let output = id.to_owned();
        let of = |family: &Family<OutputLabel, Counter>| {
            family.get_or_create_owned(&OutputLabel { output: output.clone() })
        };
        let gauge = |family: &Family<OutputLabel, Gauge>| {
            family.get_or_create_owned(&OutputLabel { output: output.clone() })
        };
        let initial = Status { state: State::Running, since: SystemTime::now(), last_error: None };
        let stats = Arc::new(Stats {
            fields_dead: of(&self.fields_dead),
            fields_coerced: of(&self.fields_coerced),
            lines: of(&self.lines),
            requests: of(&self.requests),
            retries: of(&self.retries),
            bytes_sent: of(&self.bytes_sent),
            dead_letters_expired: of(&self.dead_letters_expired),
            letters_replayed: of(&self.letters_replayed),
            stamps_corrected: of(&self.stamps_corrected),
            stamps_unsure: of(&self.stamps_unsure),
            clock_waits: self
                .clock_waits
                .get_or_create_owned(&OutputLabel { output: output.clone() }),
            states_lost: of(&self.states_lost),
            steps: Counts::default().named().map(|(what, _)| {
                let label = StepLabel { output: output.clone(), what };
                self.steps.get_or_create_owned(&label)
            }),
            state_bytes: gauge(&self.state_bytes),
            windows_open: gauge(&self.windows_open),
            output: output.clone(),
            durations: self.durations.clone(),
            status: watch::Sender::new(initial),
            unconfirmed: Arc::default(),
        });
        self.outputs.lock().push(Arc::clone(&stats));
        stats
    }

    /// Registers all families; `registry` has the prefix `tidegate`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Fields left out of readings that were delivered otherwise";
        registry.register("output_fields_dead", help, self.fields_dead.clone());
        let help = "Fields stored as another type, with the same value";
        registry.register("output_fields_coerced", help, self.fields_coerced.clone());
        let help = "Lines stored at the other end";
        registry.register("output_lines", help, self.lines.clone());
        let help = "Requests, probes included";
        registry.register("output_requests", help, self.requests.clone());
        let help = "Requests that carried again what an earlier one had not got through";
        registry.register("output_retries", help, self.retries.clone());
        let help = "Bytes sent, after compression";
        registry.register("output_sent_bytes", help, self.bytes_sent.clone());
        let help = "Readings in dead letters that were deleted for their age or for room";
        registry.register("dead_letters_expired", help, self.dead_letters_expired.clone());
        let help = "Dead letters that were stored when they were offered again";
        registry.register("dead_letters_replayed", help, self.letters_replayed.clone());
        let help = "Readings whose stamp was put right once the clock was believed";
        registry.register("output_stamps_corrected", help, self.stamps_corrected.clone());
        let help = "Readings that left tagged clock=unsure: the right time was never learnt";
        registry.register("output_stamps_unsure", help, self.stamps_unsure.clone());
        let help = "1 while readings wait for the right time";
        registry.register("output_clock_waiting", help, self.clock_waits.clone());
        let help = "Times that what an output remembered could not be read, and it began anew";
        registry.register("output_states_lost", help, self.states_lost.clone());
        let help = "What the steps before the batch (select, dedup, deadband, windows) counted";
        registry.register("output_steps", help, self.steps.clone());
        let help = "What deadbands and windows take in memory";
        registry.register("output_state_bytes", help, self.state_bytes.clone());
        let help = "Windows that are open";
        registry.register("output_windows_open", help, self.windows_open.clone());
        let help = "How long requests took, by HTTP status";
        registry.register_with_unit(
            "request_duration",
            help,
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register_collector(Box::new(self.outputs.clone()));
    }
}

/// Lag and state are computed when somebody asks.
#[derive(Clone, Debug, Default)]
struct Outputs(Arc<Mutex<Vec<Arc<Stats>>>>);

impl Outputs {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Stats>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Outputs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let outputs = self.lock().clone();
        let help = "Age of the oldest reading that was taken from the journal and is not settled";
        let gauge = MetricType::Gauge;
        let mut lag = encoder.encode_descriptor("output_lag", help, Some(&Unit::Seconds), gauge)?;
        for stats in &outputs {
            let label = OutputLabel { output: stats.output.clone() };
            let seconds = stats.lag(SystemTime::now()).as_secs_f64();
            ConstGauge::new(seconds).encode(lag.encode_family(&label)?)?;
        }
        let help = "1 for the state that the output is in";
        let mut state = encoder.encode_descriptor("output_state", help, None, gauge)?;
        for stats in &outputs {
            let current = stats.status().state;
            for one in State::ALL {
                let label = StateLabel { output: stats.output.clone(), state: one.label() };
                let is_in = ConstGauge::new(i64::from(one == current));
                is_in.encode(state.encode_family(&label)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    #[test]
    fn two_outputs_share_their_families() {
        let metrics = Metrics::default();
        let (home, cloud) = (metrics.output("home"), metrics.output("cloud"));
        home.fields_dead.inc_by(7);
        cloud.enter(State::Misconfigured);
        let mut registry = Registry::with_prefix("tidegate");
        metrics.register(&mut registry);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        for line in [
            "\ntidegate_output_fields_dead_total{output=\"home\"} 7\n",
            "\ntidegate_output_fields_dead_total{output=\"cloud\"} 0\n",
            "\ntidegate_output_state{output=\"cloud\",state=\"misconfigured\"} 1\n",
            "\ntidegate_output_state{output=\"cloud\",state=\"running\"} 0\n",
            "\ntidegate_output_lag_seconds{output=\"home\"} 0.0\n",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        assert_eq!(page.matches("# TYPE tidegate_output_fields_dead ").count(), 1);
    }
}
