//! Where readings go: one trait, InfluxDB and files.

pub mod file;
pub mod influx;

use std::{ops::Range, time::Duration};

use proto::{ReadingRef, Reason};

/// Lines for a sink: bytes, and where each line ends.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    pub ends: Vec<u32>,
}

/// What the other end made of a write. Each variant says what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Confirm.
    Stored,
    /// These lines (of the range sent, from its start) are refused; what else was sent is stored
    /// only if `Stored` comes back for it.
    Bad(Vec<(u32, Reason)>),
    /// Something in this range is malformed and nothing was stored: bisect.
    Suspect(Reason),
    /// Halve and remember.
    TooLarge,
    /// Back off; at least this long if it says so.
    Busy(Option<Duration>),
    /// It may or may not be stored: send again, the same points.
    Unknown,
    /// Our configuration, a proxy, a portal: stop, alarm, probe. Nothing is dead-lettered.
    Misconfigured(Reason),
}

/// The edge of the world on the right; with a faulty twin in the tests.
pub trait Sink: Send + Sync + 'static {
    /// Appends one reading as the sink writes it. An error refuses this reading for good.
    fn encode(&self, reading: &ReadingRef<'_>, body: &mut Body) -> Result<(), Reason>;

    /// Sends these lines once. The deadline is the sink's own. Not cancel safe: what was sent may
    /// have been stored.
    fn write(&self, body: &Body, lines: Range<u32>) -> impl Future<Output = Answer> + Send;
}
