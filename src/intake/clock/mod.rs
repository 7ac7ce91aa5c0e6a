//! The gateway's time: the wall clock while it is believed, else one that runs by itself.
//!
//! ```text
//!  judge.rs   can it be believed?      kernel.rs  what the machine says of its clocks
//!  keeper.rs  since when, and what is decided of the stamps before
//! ```
//! Promises: stamps of one period rise strictly, each names the epoch it belongs to. A believed
//! clock that is set back by [`STEP`] or more begins a new period: stamps follow it. By less, they
//! go on rising until it has caught up.
//!
//! Leaves out how decisions become durable: that is the journal's, and `app` brings both together.

pub mod judge;
pub mod keeper;
pub mod kernel;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use journal::clock::BELIEVED;
use proto::Timestamp;
use tracing::warn;

use self::judge::Seen;
use self::keeper::Mode;
use super::stamp::{Clock, Stamper};

/// From here on a clock has been set, and was not slewed: by this much or more.
pub const STEP: Duration = Duration::from_secs(1);
const STEP_NS: i64 = 1_000_000_000;
/// Two clocks that are read further apart are read again.
const READ_APART_NS: i64 = 10_000_000;
const READS_MAX: usize = 8;

/// When something arrived, and whose time that is.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Timestamp,
    period: Arc<Period>,
}

impl Arrival {
    pub fn epoch(&self) -> u32 {
        self.period.epoch
    }

    /// The payload times of this can be judged.
    pub fn is_believed(&self) -> bool {
        self.period.epoch <= BELIEVED
    }

    /// Reserves `count` stamps from `at` on, one nanosecond apart; returns the first.
    pub fn stamps(&self, count: u32) -> Timestamp {
        self.period.stamper.reserve(self.at, count)
    }
}

/// As long as stamps come from one source without a step.
#[derive(Debug)]
struct Period {
    epoch: u32,
    /// `None`: the wall clock. Else an offset to the time since boot.
    offset_ns: Option<i64>,
    stamper: Stamper,
}

impl Period {
    /// The wall clock says `at`, and was set back since the last stamp.
    fn is_behind(&self, at: Timestamp) -> bool {
        let last = self.stamper.last().nanos();
        self.offset_ns.is_none() && at.nanos() <= last.saturating_sub(STEP_NS)
    }
}

/// How often a believed clock was set, by [`STEP`] or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    pub forward: u64,
    pub backward: u64,
}

/// Gives arrivals their time. One for the whole process.
pub struct Timekeeper {
    clock: Arc<dyn Clock>,
    period: RwLock<Arc<Period>>,
    /// The wall clock as an offset to the time since boot when it was last looked at.
    offset_ns: Mutex<Option<i64>>,
    forward: AtomicU64,
    backward: AtomicU64,
}

impl fmt::Debug for Timekeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timekeeper").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Timekeeper {
    /// The clock is believed until [`Self::set`] says otherwise.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let period = Period { epoch: BELIEVED, offset_ns: None, stamper: Stamper::default() };
        Self {
            clock,
            period: RwLock::new(Arc::new(period)),
            offset_ns: Mutex::default(),
            forward: AtomicU64::default(),
            backward: AtomicU64::default(),
        }
    }

    pub fn arrive(&self) -> Arrival {
        let period = self.period();
        let at = self.now_in(&period);
        if period.is_behind(at) {
            return self.arrive_after_a_step();
        }
        Arrival { at, period }
    }

    /// A careful look: the two clocks are read as one.
    pub fn look(&self) -> Seen {
        let (wall, running_ns) = self.read();
        Seen { wall, running_ns, vouchers: self.clock.vouchers() }
    }

    /// From now on stamps come from there.
    pub fn set(&self, mode: Mode) {
        let (epoch, offset_ns) = match mode {
            Mode::Wall => (BELIEVED, None),
            Mode::Running { epoch, offset_ns } => (epoch, Some(offset_ns)),
        };
        let mut period = self.period.write().unwrap_or_else(PoisonError::into_inner);
        if (period.epoch, period.offset_ns) != (epoch, offset_ns) {
            *period = Arc::new(Period { epoch, offset_ns, stamper: Stamper::default() });
            *lock(&self.offset_ns) = None; // What was set while nobody believed it is no step.
        }
    }

    /// Looks whether a believed clock has been set; every second or so.
    pub fn watch(&self) {
        if self.period().offset_ns.is_none() {
            let (wall, running_ns) = self.read();
            self.note_offset(wall, wall.nanos().saturating_sub(running_ns));
        }
    }

    pub fn steps(&self) -> Steps {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Steps { forward: count(&self.forward), backward: count(&self.backward) }
    }

    fn period(&self) -> Arc<Period> {
        Arc::clone(&self.period.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now_in(&self, period: &Period) -> Timestamp {
        match period.offset_ns {
            None => self.clock.now(),
            Some(offset) => Timestamp::from_nanos(self.clock.running_ns().saturating_add(offset)),
        }
    }

    /// The wall clock is behind the stamps: perhaps it was read before they were given.
    fn arrive_after_a_step(&self) -> Arrival {
        let mut period = self.period.write().unwrap_or_else(PoisonError::into_inner);
        let (at, running_ns) = self.read();
        let last = period.stamper.last().nanos();
        if period.is_behind(at) {
            let stamper = Stamper::default();
            *period = Arc::new(Period { epoch: period.epoch, offset_ns: None, stamper });
            let offset_ns = at.nanos().saturating_sub(running_ns);
            // Set forward and back again between two looks: this one counts.
            if !self.note_offset(at, offset_ns) {
                self.tell_step(at, at.nanos().saturating_sub(last));
            }
        }
        Arrival { at: self.now_in(&period), period: Arc::clone(&period) }
    }

    /// Whether the clock was set since it was last looked at.
    fn note_offset(&self, wall: Timestamp, offset_ns: i64) -> bool {
        let before = lock(&self.offset_ns).replace(offset_ns);
        let by = before.map_or(0, |before| offset_ns.saturating_sub(before));
        let is_step = by.unsigned_abs() >= STEP_NS.unsigned_abs();
        if is_step {
            self.tell_step(wall, by);
        }
        is_step
    }

    fn tell_step(&self, wall: Timestamp, by_ns: i64) {
        let counter = if by_ns < 0 { &self.backward } else { &self.forward };
        counter.fetch_add(1, Ordering::Relaxed);
        warn!(
            by_ms = by_ns / 1_000_000,
            to_ns = wall.nanos(),
            "the clock was set; stamps follow it"
        );
    }

    fn read(&self) -> (Timestamp, i64) {
        let mut before = self.clock.running_ns();
        for _ in 1..READS_MAX {
            let wall = self.clock.now();
            let after = self.clock.running_ns();
            if after - before <= READ_APART_NS {
                return (wall, before + (after - before) / 2);
            }
            before = after;
        }
        (self.clock.now(), before)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
