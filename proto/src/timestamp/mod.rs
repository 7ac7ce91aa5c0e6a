//! Points in time: nanoseconds since 1970-01-01T00:00:00Z, as InfluxDB keeps them.

mod local;
pub(crate) mod text;

use std::time::Duration;

pub use self::local::{LocalTime, Zone};

/// Nanoseconds since the Unix epoch; negative before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const UNIX_EPOCH: Self = Self(0);
    pub const MIN: Self = Self(i64::MIN);
    pub const MAX: Self = Self(i64::MAX);
    /// The first and the last that InfluxDB takes.
    pub const STORABLE_MIN: Self = Self(i64::MIN + 2);
    pub const STORABLE_MAX: Self = Self(i64::MAX - 1);

    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    pub const fn nanos(self) -> i64 {
        self.0
    }

    pub fn is_storable(self) -> bool {
        (Self::STORABLE_MIN..=Self::STORABLE_MAX).contains(&self)
    }

    /// `None` outside the years 1677 to 2262.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        self.0.checked_add_unsigned(u64::try_from(duration.as_nanos()).ok()?).map(Self)
    }

    /// `None` outside the years 1677 to 2262.
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        self.0.checked_sub_unsigned(u64::try_from(duration.as_nanos()).ok()?).map(Self)
    }

    /// How much later this is than `earlier`; zero if it is not.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        if self <= earlier {
            Duration::ZERO
        } else {
            Duration::from_nanos(self.0.abs_diff(earlier.0))
        }
    }

    /// What the machine's wall clock says; the ends of the range if it is mad.
    pub fn from_system_time(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Self::UNIX_EPOCH.checked_add(since).unwrap_or(Self::STORABLE_MAX),
            Err(before) => {
                Self::UNIX_EPOCH.checked_sub(before.duration()).unwrap_or(Self::STORABLE_MIN)
            }
        }
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
    /// By the gateway's clock: when it arrived, or that minus its age. Only in the journal, never on
    /// the wire.
    Stamped(Timestamp),
}

impl Time {
    /// The point in time, once there is one.
    pub fn timestamp(self) -> Option<Timestamp> {
        match self {
            Self::At(at) | Self::Stamped(at) => Some(at),
            Self::Unknown | Self::Age(_) => None,
        }
    }
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

impl Precision {
    pub const fn nanos(self) -> i64 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1_000,
            Self::Nanoseconds => 1,
        }
    }

    /// How many digits its unit is above the nanosecond.
    pub(crate) const fn digits(self) -> i32 {
        match self {
            Self::Seconds => 9,
            Self::Milliseconds => 6,
            Self::Microseconds => 3,
            Self::Nanoseconds => 0,
        }
    }
}
