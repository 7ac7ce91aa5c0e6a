//! Where windows begin and end: multiples of a duration since 1970, or local days.
//!
//! Local days follow the calendar of their zone: 23 or 25 hours long where clocks change; one whose
//! midnight does not exist begins with its first moment. Several days count from 1970-01-01, local.

use std::time::Duration;

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, date},
    tz::TimeZone,
};

/// From `start`, to just before `end`; nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: i64,
    pub end: i64,
}

/// How time is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Every {
    /// Not zero.
    Duration(Duration),
    /// At least one.
    LocalDays { days: u32, zone: TimeZone },
}

const EPOCH: Date = date(1970, 1, 1);

impl Every {
    /// About how long one is, at most.
    pub(super) fn length(&self) -> i64 {
        match self {
            Self::Duration(every) => i64::try_from(every.as_nanos()).unwrap_or(i64::MAX),
            Self::LocalDays { days, .. } => {
                i64::from(*days) * 86_400_000_000_000 + 7_200_000_000_000
            }
        }
    }

    /// The window around a moment; `None` at the ends of time.
    pub(super) fn around(&self, at: i64) -> Option<Span> {
        match self {
            Self::Duration(_) => {
                let every = self.length().max(1);
                let start = at.checked_sub(at.rem_euclid(every))?;
                Some(Span { start, end: start.checked_add(every)? })
            }
            Self::LocalDays { days, zone } => local_days(at, i32::try_from(*days).ok()?, zone),
        }
    }
}

fn local_days(at: i64, days: i32, zone: &TimeZone) -> Option<Span> {
    let moment = Timestamp::from_nanosecond(i128::from(at)).ok()?;
    let today = zone.to_datetime(moment).date();
    let number = today.since(EPOCH).ok()?.get_days();
    let first = today.checked_sub(number.rem_euclid(days.max(1)).days()).ok()?;
    let last = first.checked_add(days.max(1).days()).ok()?;
    let begin = |day: Date| {
        let begin = day.to_zoned(zone.clone()).ok()?.timestamp();
        i64::try_from(begin.as_nanosecond()).ok()
    };
    Some(Span { start: begin(first)?, end: begin(last)? }).filter(|span| {
        debug_assert!((span.start..span.end).contains(&at), "{at} is not in {span:?}");
        (span.start..span.end).contains(&at)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn local(days: u32, zone: &str) -> Every {
        Every::LocalDays { days, zone: TimeZone::get(zone).unwrap() }
    }

    fn nanos(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_nanosecond().try_into().unwrap()
    }

    fn hours(every: &Every, at: &str) -> (String, i64) {
        let span = every.around(nanos(at)).unwrap();
        let start = Timestamp::from_nanosecond(i128::from(span.start)).unwrap();
        (start.to_string(), (span.end - span.start) / HOUR)
    }

    #[test]
    fn durations_are_aligned_to_1970_on_both_sides_of_it() {
        let every = Every::Duration(Duration::from_secs(10));
        for (at, start) in [(0, 0), (1, 0), (10, 10), (-1, -10), (-10, -10), (-11, -20)] {
            let span = every.around(at * 1_000_000_000).unwrap();
            assert_eq!(span.start, start * 1_000_000_000);
            assert_eq!(span.end - span.start, 10_000_000_000);
        }
        assert_eq!(every.around(i64::MIN), None);
        assert_eq!(every.around(i64::MAX), None);
    }

    #[test]
    fn a_local_day_has_23_24_or_25_hours() {
        let berlin = local(1, "Europe/Berlin");
        for (at, begins, length) in [
            ("2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", 23),
            ("2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", 25),
            ("2026-10-25T00:30:00Z", "2026-10-24T22:00:00Z", 25),
            ("2026-10-25T01:30:00Z", "2026-10-24T22:00:00Z", 25),
            ("2026-10-25T23:00:00Z", "2026-10-25T23:00:00Z", 24),
            ("2026-07-01T21:59:59Z", "2026-06-30T22:00:00Z", 24),
            ("2026-07-01T22:00:00Z", "2026-07-01T22:00:00Z", 24),
        ] {
            assert_eq!(hours(&berlin, at), (begins.to_owned(), length), "{at}");
        }
        assert_eq!(
            hours(&local(1, "Asia/Kolkata"), "2026-01-01T00:00:00Z").0,
            "2025-12-31T18:30:00Z"
        );
    }

    #[test]
    fn a_day_without_a_midnight_begins_with_its_first_moment() {
        // Chile goes from 24:00 to 01:00.
        let santiago = local(1, "America/Santiago");
        let (begins, length) = hours(&santiago, "2026-09-06T12:00:00Z");
        assert_eq!((begins.as_str(), length), ("2026-09-06T04:00:00Z", 23));
        // Samoa left out the 30th of December 2011.
        let apia = local(1, "Pacific/Apia");
        assert!(apia.around(nanos("2011-12-30T09:59:00Z")).is_some());
        assert!(apia.around(nanos("2011-12-30T10:01:00Z")).is_some());
    }

    #[test]
    fn several_days_count_from_1970() {
        let week = local(7, "UTC");
        assert_eq!(hours(&week, "1970-01-06T00:00:00Z"), ("1970-01-01T00:00:00Z".to_owned(), 168));
        assert_eq!(hours(&week, "1969-12-31T00:00:00Z"), ("1969-12-25T00:00:00Z".to_owned(), 168));
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_its_window_and_windows_meet(
            at in -2_000_000_000_i64..4_000_000_000,
            zone in prop::sample::select(vec![
                "UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Santiago", "Asia/Tehran",
                "Africa/Casablanca", "Australia/Lord_Howe", "Pacific/Apia", "Antarctica/Troll",
            ]),
            days in 1_u32..40,
        ) {
            let every = local(days, zone);
            let at = at * 1_000_000_000;
            let span = every.around(at).unwrap();
            prop_assert!(span.start <= at && at < span.end);
            prop_assert!(span.end - span.start <= every.length() + 24 * HOUR);
            prop_assert_eq!(every.around(span.start), Some(span));
            prop_assert_eq!(every.around(span.end - 1), Some(span));
            prop_assert_eq!(every.around(span.end).unwrap().start, span.end);
        }
    }
}
