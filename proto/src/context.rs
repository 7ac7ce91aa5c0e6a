//! What is known about a payload before it is decoded.

use std::time::Duration;

use crate::{
    Mapping, Precision, Reason, Time, Timestamp,
    decimal::Decimal,
    refusal::{Beyond, Untrusted},
    timestamp::LocalTime,
};

/// Handed to every decoder. The route (rule, preset, default) or the endpoint fills it in.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Used where the payload names none.
    pub measurement: &'a str,
    /// Added to every reading: captures of the rule, `[tags]` of the config. They win over the
    /// payload's own; a `device` among them keeps a payload's `device` key from becoming the tag.
    pub tags: &'a [(&'a str, &'a str)],
    /// The name of the field that a plain value becomes (`value` unless a rule captured `{field}`).
    pub field: &'a str,
    /// The unit of numeric times: fixed by rule or query, `None` means by magnitude (JSON) or ns
    /// (line protocol).
    pub precision: Option<Precision>,
    /// When the payload came in: what an age counts back from.
    pub arrival: Timestamp,
    /// `None`: it cannot be told whether a payload's time is far off, as nobody believes ours.
    pub times: Option<TimeLimits>,
    /// A reading without a `device` tag is refused (HTTP and WebSocket JSON).
    pub device_required: bool,
    /// Nesting allowed in JSON.
    pub depth_max: usize,
    /// Keys allowed in one JSON reading.
    pub keys_max: usize,
    /// What the rule says about the inside of the payload.
    pub mapping: Option<&'a Mapping>,
}

impl Context<'static> {
    /// Nothing routed it: no tags, the default names and limits.
    pub const fn bare(arrival: Timestamp) -> Self {
        Self {
            measurement: "readings",
            tags: &[],
            field: "value",
            precision: None,
            arrival,
            times: None,
            device_required: false,
            depth_max: 32,
            keys_max: 1024,
            mapping: None,
        }
    }
}

/// How far a payload's time may be from its arrival, and what becomes of a reading beyond that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    pub past_max: Duration,
    pub past: WhenBeyond,
    pub future_max: Duration,
    pub future: WhenBeyond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenBeyond {
    /// Counted, and taken as it is.
    #[default]
    Keep,
    /// The gateway stamps it.
    Stamp,
    Reject,
}

impl Default for TimeLimits {
    /// Everything is taken, as a database takes it: old readings are a backlog, future ones a forecast.
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            past_max: 3_650 * DAY,
            past: WhenBeyond::Keep,
            // A local time taken for UTC is up to 14 hours off.
            future_max: DAY,
            future: WhenBeyond::Keep,
        }
    }
}

impl TimeLimits {
    /// Which limit the time is beyond, by how much, and what becomes of it. `None`: neither, or it has
    /// no time of its own.
    pub(crate) fn beyond(
        &self,
        time: Time,
        arrival: Timestamp,
    ) -> Option<(Beyond, Duration, WhenBeyond)> {
        let at = match time {
            Time::At(at) => at,
            Time::Age(age) => arrival.checked_sub(age).unwrap_or(Timestamp::MIN),
            Time::Unknown | Time::Stamped(_) => return None,
        };
        let (ago, ahead) = (arrival.saturating_since(at), at.saturating_since(arrival));
        if ago > self.past_max {
            Some((Beyond::Past, ago, self.past))
        } else if ahead > self.future_max {
            Some((Beyond::Future, ahead, self.future))
        } else {
            None
        }
    }
}

/// The time that a payload names, or why it counts for nothing.
pub(crate) type Told = Result<Timestamp, Untrusted>;

impl Context<'_> {
    pub(crate) fn time_of_number(&self, text: &str) -> Result<Told, Reason> {
        Ok(self.trusted(Timestamp::from_epoch_text(text, self.precision)?))
    }

    pub(crate) fn time_of_text(&self, text: &str) -> Result<Told, Reason> {
        let text = text.trim_ascii();
        if Decimal::parse(text).is_some() {
            return self.time_of_number(text);
        }
        if let Some(at) = Timestamp::from_rfc3339(text) {
            return Ok(self.trusted(at));
        }
        let Some(local) = LocalTime::parse(text) else { return Ok(Err(Untrusted::NoTime)) };
        let zone = self.mapping.and_then(|mapping| mapping.zone.as_deref());
        let at = zone.and_then(|zone| zone.instant(local, self.arrival));
        Ok(at.ok_or(Untrusted::Local).and_then(|at| self.trusted(at)))
    }

    pub(crate) fn trusted(&self, at: Timestamp) -> Told {
        let from = self.mapping.and_then(|mapping| mapping.trusted_from);
        if from.is_none_or(|from| from <= at) { Ok(at) } else { Err(Untrusted::Unset) }
    }
}
