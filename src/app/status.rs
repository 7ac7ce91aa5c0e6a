//! What the running gateway says of itself: the answer to `status` on the control socket.
//!
//! A stable JSON shape for scripts, and the source of the one screen that `tidegate status` prints.

use journal::Fates;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub uptime_seconds: u64,
    pub inputs: Vec<Input>,
    pub journal: Journal,
    pub outputs: Vec<Output>,
    pub books: Books,
    pub intake: Intake,
    #[serde(default)]
    pub sparkplug: Sparkplug,
    #[serde(default)]
    pub descriptions: Descriptions,
    #[serde(default)]
    pub clock: Clock,
    /// What is wrong now, in words; empty when all is well.
    pub alarms: Vec<String>,
}

/// A listener or a collector.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Input {
    pub name: String,
    /// Where it listens, or the broker it subscribes to.
    pub address: String,
    pub connections: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Journal {
    pub dir: String,
    pub bytes: u64,
    pub bytes_max: u64,
    pub full: bool,
    /// Full because its disk fails.
    pub degraded: bool,
    /// If it goes on filling as it did; `None`: it does not fill.
    pub seconds_to_full: Option<u64>,
    pub durable_seq: u64,
    pub syncs: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Output {
    pub id: String,
    pub target: String,
    pub state: String,
    pub lag_seconds: f64,
    pub last_error: Option<String>,
    /// Readings on this output's way since it was first seen: those that follow, together.
    pub journaled: u64,
    pub pending: u64,
    pub confirmed: u64,
    pub dead: u64,
    pub dropped: u64,
    pub filtered: u64,
    pub absorbed: u64,
    pub quarantined: u64,
    /// Since the process began: fields that were written as another type, with the same value.
    pub fields_coerced: u64,
    /// Since the process began: fields left out of readings that were delivered otherwise.
    pub fields_dead: u64,
}

impl Output {
    /// What became of the readings before this output, as its position knows it.
    #[must_use]
    pub fn with_fates(self, pending: u64, fates: &Fates) -> Self {
        Self {
            pending,
            confirmed: fates.confirmed,
            dead: fates.dead,
            dropped: fates.dropped,
            filtered: fates.filtered,
            absorbed: fates.absorbed,
            quarantined: fates.quarantined,
            ..self
        }
    }
}

/// Sparkplug's nodes, since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sparkplug {
    /// Of which something is known.
    pub nodes: i64,
    pub births: u64,
    pub rebirths_asked: u64,
    /// To be asked, but nothing leads to them.
    pub rebirths_unasked: u64,
    /// Metrics by an alias that no birth had explained when they came.
    pub metrics_unresolved: u64,
    /// Messages that wait for a birth now.
    pub messages_waiting: i64,
    /// Refused in the end, at least in part.
    pub messages_given_up: u64,
}

/// What discovery messages say of values, held for whoever looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptions {
    pub held: i64,
    /// Since the process began: no room, too long, or not readable.
    pub refused: u64,
}

/// The clock that stamps what carries no time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    pub believed: bool,
    /// How long what it stamps waits for the right time; `None`: nothing waits.
    pub wait_left_seconds: Option<u64>,
    /// How often a believed clock was set by a second or more.
    pub steps_forward: u64,
    pub steps_backward: u64,
}

/// The intake's ledger, from counts that survive a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// All that follow, together.
    pub received: u64,
    pub journaled: u64,
    pub refused: u64,
    pub filtered: u64,
    pub duplicate: u64,
    pub dropped: u64,
}

/// What intake itself counted since the process began. What was received and neither returned nor
/// booked is on its way to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intake {
    pub received: u64,
    /// Not taken in the end and not acknowledged: their senders keep them.
    pub returned: u64,
    /// By how much the books' `received` grew.
    pub booked: u64,
}
