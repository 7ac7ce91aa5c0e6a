//! Local times: what a clock on the wall shows. When that was, only a zone can say.

use std::fmt;

use super::text::{number, parse_fraction};
use crate::Timestamp;

/// What a clock on the wall shows, valid by itself: no 30th of February.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    pub year: i16,
    pub month: i8,
    pub day: i8,
    pub hour: i8,
    pub minute: i8,
    pub second: i8,
    pub nanos: i32,
}

/// Says when a clock on the wall showed a time.
pub trait Zone: fmt::Debug + Send + Sync {
    /// `near`: when the payload came in. In the hour that a zone has twice in autumn it is the only
    /// thing that tells which of the two was meant.
    fn instant(&self, local: LocalTime, near: Timestamp) -> Option<Timestamp>;
}

impl LocalTime {
    /// `2021-06-27T15:03:44.5`, with a blank for the `T` or without seconds too. `None` for anything
    /// else, and for a time that says its offset.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.trim_ascii().split_at_checked(10)?;
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (minutes, rest) = rest.split_at_checked(5)?;
        let (second, rest) = match rest.strip_prefix(':') {
            Some(rest) => {
                let (second, rest) = rest.split_at_checked(2)?;
                (number(second, 2)?, rest)
            }
            None => (0, rest),
        };
        let (nanos, rest) = parse_fraction(rest)?;
        let days = super::text::parse_date(date)?;
        let (hour, minute) = minutes.split_once(':')?;
        let (hour, minute) = (number(hour, 2)?, number(minute, 2)?);
        if !rest.is_empty() || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let (year, month, day) = super::text::civil_from_days(days);
        let small = |value: i64| i8::try_from(value).ok();
        Some(Self {
            year: i16::try_from(year).ok()?,
            month: small(month)?,
            day: small(day)?,
            hour: small(hour)?,
            minute: small(minute)?,
            second: small(second)?,
            nanos: i32::try_from(nanos).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_is_read_and_nothing_else() {
        let shown = LocalTime::parse(" 2021-06-27T15:03:44.5\n").unwrap();
        assert_eq!((shown.year, shown.month, shown.day), (2021, 6, 27));
        assert_eq!((shown.hour, shown.minute, shown.second), (15, 3, 44));
        assert_eq!(shown.nanos, 500_000_000);
        assert_eq!(LocalTime::parse("2021-06-27 15:03").unwrap().second, 0);
        for text in [
            "2021-06-27T15:03:44Z",
            "2021-06-27T15:03:44+02:00",
            "2021-02-29T15:03:44",
            "2021-06-27T24:00:00",
            "2021-06-27T15:60:00",
            "2021-06-27",
            "15:03:44",
            "",
        ] {
            assert_eq!(LocalTime::parse(text), None, "{text}");
        }
    }
}
