//! Brings the clock's three parties together: the machine's clocks, what the journal keeps of them,
//! and intake's stamps.
//!
//! ```text
//!  machine --look, every second--> keeper --changes--> journal (durable) --> outputs let go
//!                                     `--- mode -----> intake's time
//! ```
//! A change that the disk refuses is tried again at the next look; until then outputs wait, and
//! stamps that no epoch could be kept for are marked as unsure.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use journal::clock::EPOCH_MIN;
use journal::{ClockBook, ClockError};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use proto::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::status;
use crate::intake::clock::Timekeeper;
use crate::intake::clock::keeper::{Keeper, Limits, State};
use crate::intake::clock::kernel;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The clock, looked after.
#[derive(Debug)]
pub(super) struct Care {
    time: Arc<Timekeeper>,
    book: ClockBook,
    keeper: Keeper,
    shown: Arc<Mutex<State>>,
    /// That the disk refused was said already.
    has_warned: bool,
}

/// For `status`, metrics and alarms.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    time: Arc<Timekeeper>,
    state: Arc<Mutex<State>>,
}

impl Care {
    /// Looks at the clocks for the first time, and makes durable what follows. Blocks on the disk.
    pub(super) fn start(time: Arc<Timekeeper>, book: ClockBook, limits: Limits) -> Self {
        let known = book.epochs().known();
        let seen = time.look();
        let last_begun = book.last_begun_ns().map(Timestamp::from_nanos);
        let is_free = |id: &u32| known.iter().all(|epoch| epoch.id != *id);
        let new_id = std::iter::repeat_with(|| fastrand::u32(EPOCH_MIN..)).find(is_free);
        let new_id = new_id.unwrap_or(EPOCH_MIN);
        let keeper = Keeper::start(limits, kernel::boot(), last_begun, &known, new_id, &seen);
        let shown = Arc::new(Mutex::new(keeper.state()));
        let mut care = Self { time, book, keeper, shown, has_warned: false };
        care.write();
        care.apply();
        care.tell();
        care
    }

    pub(super) fn shown(&self) -> Shown {
        Shown { time: Arc::clone(&self.time), state: Arc::clone(&self.shown) }
    }

    /// Runs until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut care = Some(self);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let Some(mut own) = care.take() else { return };
            own.time.watch();
            if own.is_at_rest() {
                care = Some(own);
                continue;
            }
            // Small files of the kernel's, and rarely a write.
            let looked = tokio::task::spawn_blocking(move || {
                own.look();
                own
            });
            match looked.await {
                Ok(own) => care = Some(own),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => return, // The runtime ends.
            }
        }
    }

    /// Believed, and all that follows from it is durable.
    fn is_at_rest(&self) -> bool {
        matches!(self.keeper.state(), State::Believed(_)) && !self.wants_to_write()
    }

    fn wants_to_write(&self) -> bool {
        !self.keeper.pending().is_empty() || self.book.epochs().is_in_doubt()
    }

    fn look(&mut self) {
        let seen = self.time.look();
        let before = std::mem::discriminant(&self.keeper.state());
        self.keeper.look(&seen);
        // First of all new stamps are right; then the old ones are put right.
        self.apply();
        self.write();
        self.apply();
        if before != std::mem::discriminant(&self.keeper.state()) {
            self.tell();
        }
    }

    fn write(&mut self) {
        if !self.wants_to_write() {
            return;
        }
        let pending = self.keeper.pending().to_vec();
        let written = self.book.update(|epochs| {
            for change in &pending {
                change.apply(epochs);
            }
        });
        match written {
            Ok(()) => {
                self.keeper.written();
                self.has_warned = false;
            }
            Err(error) => self.warn(&error),
        }
    }

    fn warn(&mut self, error: &ClockError) {
        if !self.has_warned {
            warn!(%error, "what is decided of the clock is not on the disk; tried again");
        }
        self.has_warned = true;
    }

    fn apply(&self) {
        self.time.set(self.keeper.mode());
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = self.keeper.state();
    }

    fn tell(&self) {
        match self.keeper.state() {
            State::Believed(evidence) => info!(?evidence, "the clock is believed"),
            State::Waiting { doubt, left } => {
                let wait_s = left.as_secs();
                warn!(%doubt, wait_s, "the clock is not believed; what it stamps waits");
            }
            State::GivenUp { doubt } => {
                warn!(%doubt, "the clock is not believed; what it stamps leaves marked as unsure");
            }
        }
    }
}

impl Shown {
    pub(super) fn status(&self) -> status::Clock {
        let steps = self.time.steps();
        let state = self.state();
        status::Clock {
            believed: matches!(state, State::Believed(_)),
            wait_left_seconds: match state {
                State::Waiting { left, .. } => Some(left.as_secs()),
                State::Believed(_) | State::GivenUp { .. } => None,
            },
            steps_forward: steps.forward,
            steps_backward: steps.backward,
        }
    }

    /// Why readings wait or are marked, for the alarm.
    pub(super) fn complaint(&self) -> Option<String> {
        let says = || {
            let wall = self.time.look().wall;
            let seconds = wall.nanos().div_euclid(1_000_000_000);
            let shown = jiff::Timestamp::from_second(seconds);
            shown.map_or_else(|_| "no time at all".to_owned(), |shown| shown.to_string())
        };
        match self.state() {
            State::Believed(_) => None,
            State::Waiting { doubt, left } => Some(format!(
                "the clock says {}, and {doubt}; what it stamps waits {} s more",
                says(),
                left.as_secs()
            )),
            State::GivenUp { doubt } => Some(format!(
                "the clock says {}, and {doubt}; what it stamps leaves tagged clock=unsure",
                says()
            )),
        }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let clock = self.status();
        let help = "1 while the wall clock is believed and stamps readings";
        let believed =
            encoder.encode_descriptor("clock_believed", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(clock.believed)).encode(believed)?;
        let help = "How often a believed clock was set by a second or more";
        let mut steps =
            encoder.encode_descriptor("clock_steps", help, None, MetricType::Counter)?;
        for (direction, count) in
            [("forward", clock.steps_forward), ("backward", clock.steps_backward)]
        {
            let label = DirectionLabel { direction };
            ConstCounter::new(count).encode(steps.encode_family(&label)?)?;
        }
        Ok(())
    }
}
