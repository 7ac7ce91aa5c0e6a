//! Points in time: nanoseconds since 1970-01-01T00:00:00Z, as InfluxDB keeps them.

use std::time::Duration;

/// Nanoseconds since the Unix epoch; negative before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }
    pub const fn nanos(self) -> i64 {
        self.0
    }
}

/// What is known of a reading's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The payload did not say: the gateway stamps it with its time of arrival.
    Unknown,
    /// The payload said so.
    At(Timestamp),
    /// The payload said how old it was when it was sent.
    Age(Duration),
    /// Stamped by the gateway. Only in the journal, never on the wire.
    Stamped(Timestamp),
}

/// The unit of a numeric timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Precision {
    Seconds,
    Milliseconds,
    Microseconds,
    #[default]
    Nanoseconds,
}
