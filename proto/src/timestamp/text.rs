//! Times as text: epochs (exact, from their decimals) and RFC 3339.

use std::{fmt, time::Duration};

use crate::{Kind, Precision, Reason, Timestamp, decimal::Decimal};

impl Timestamp {
    /// A numeric time since the epoch, exact from its decimal text. Without a precision its size
    /// tells the unit: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else
    /// nanoseconds. Digits past the nanosecond are cut.
    pub fn from_epoch_text(text: &str, precision: Option<Precision>) -> Result<Self, Reason> {
        let Some(decimal) = Decimal::parse(text) else {
            return Err(Reason::new(Kind::Timestamp, "a time that is not a number"));
        };
        let precision = precision.unwrap_or(match decimal.whole_digits() {
            ..=11 => Precision::Seconds,
            12..=14 => Precision::Milliseconds,
            15..=17 => Precision::Microseconds,
            _ => Precision::Nanoseconds,
        });
        let nanos = decimal.scaled(precision.digits()).and_then(|nanos| i64::try_from(nanos).ok());
        match nanos.map(Self::from_nanos) {
            Some(at) if at.is_storable() => Ok(at),
            _ => Err(out_of_range()),
        }
    }

    /// RFC 3339 with its offset: `2021-06-27T15:03:44.5+02:00`. Taken as well: a blank for the `T`,
    /// small letters, a comma before the fraction, offsets without colon or minutes. `None` for
    /// anything else, and for a local time, which says nothing without its zone.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let (date, rest) = text.trim_ascii().split_at_checked(10)?;
        let (separator, rest) = rest.split_at_checked(1)?;
        let (time, rest) = rest.split_at_checked(8)?;
        if !matches!(separator, "T" | "t" | " ") {
            return None;
        }
        let days = parse_date(date)?;
        let seconds = parse_time(time)?;
        let (nanos, rest) = parse_fraction(rest)?;
        let offset = parse_offset(rest)?;
        let whole = i128::from(days * 86_400 + seconds - offset);
        let at = i64::try_from(whole * 1_000_000_000 + i128::from(nanos)).ok()?;
        Some(Self::from_nanos(at)).filter(|at| at.is_storable())
    }
}

/// An age in milliseconds as text, fractions and exponents too.
pub(crate) fn age_from_millis_text(text: &str) -> Result<Duration, Reason> {
    let refused = |what| Err(Reason::new(Kind::Timestamp, what));
    let Some(decimal) = Decimal::parse(text) else { return refused("an age that is not a number") };
    if decimal.is_negative() {
        return refused("an age below zero");
    }
    let nanos = decimal.scaled(6).and_then(|nanos| u64::try_from(nanos).ok());
    nanos.map_or_else(|| refused("an age of more than 584 years"), |n| Ok(Duration::from_nanos(n)))
}

pub(crate) fn out_of_range() -> Reason {
    let text = "a time before the year 1677 or after 2262, which InfluxDB cannot store";
    Reason::new(Kind::Timestamp, text)
}

/// RFC 3339 in UTC, with as many digits of the second as it has: `2023-11-14T22:13:20.5Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) =
            (self.nanos().div_euclid(1_000_000_000), self.nanos().rem_euclid(1_000_000_000));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanos != 0 {
            write!(f, ".{}", format!("{nanos:09}").trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

pub(super) fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) {
        return None;
    }
    if day < 1 || day > days_in_month(year, month) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

/// A 60th second is taken as the first of the next minute.
fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hour, minute, second) =
        (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(hour * 3600 + minute * 60 + second)
}

/// Nanoseconds, and what follows the fraction.
pub(super) fn parse_fraction(text: &str) -> Option<(i64, &str)> {
    let Some(digits) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let len = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, rest) = digits.split_at_checked(len)?;
    if fraction.is_empty() {
        return None;
    }
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some((nanos.fold(0, |nanos, digit| nanos * 10 + i64::from(digit - b'0')), rest))
}

/// Seconds east of Greenwich.
fn parse_offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = text.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = rest.split_at_checked(2)?;
    let minutes = match minutes.strip_prefix(':').unwrap_or(minutes) {
        "" if minutes.is_empty() => 0,
        minutes => number(minutes, 2)?,
    };
    let hours = number(hours, 2)?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

pub(super) fn number(text: &str, len: usize) -> Option<i64> {
    let digits = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms": years that begin in March, in eras of 400).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse: year, month, day.
pub(super) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (month, day) = ((shifted + 2) % 12 + 1, day_of_year - (153 * shifted + 2) / 5 + 1);
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epoch(text: &str) -> Option<i64> {
        Timestamp::from_epoch_text(text, None).ok().map(Timestamp::nanos)
    }

    fn rfc(text: &str) -> Option<i64> {
        Timestamp::from_rfc3339(text).map(Timestamp::nanos)
    }

    #[test]
    fn the_size_of_an_epoch_tells_its_unit() {
        assert_eq!(epoch("1624348482.25"), Some(1_624_348_482_250_000_000));
        assert_eq!(epoch("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(epoch("1700000000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(epoch("1700000000000.5"), Some(1_700_000_000_000_500_000));
        assert_eq!(epoch("1700000000000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(epoch("1700000000123456789"), Some(1_700_000_000_123_456_789));
        assert_eq!(epoch("1.7e9"), Some(1_700_000_000_000_000_000));
        assert_eq!(epoch("-1"), Some(-1_000_000_000));
        assert_eq!(epoch("0"), Some(0));
        assert_eq!(epoch("1e30"), None);
        assert_eq!(epoch("99999999999"), None, "the year 5138");
        assert_eq!(epoch("soon"), None);
    }

    #[test]
    fn a_given_precision_is_obeyed() {
        let at = |text, precision| {
            Timestamp::from_epoch_text(text, Some(precision)).map(Timestamp::nanos).ok()
        };
        assert_eq!(at("1700000000", Precision::Seconds), Some(1_700_000_000_000_000_000));
        assert_eq!(at("1700000000", Precision::Milliseconds), Some(1_700_000_000_000_000));
        assert_eq!(at("1700000000", Precision::Microseconds), Some(1_700_000_000_000));
        assert_eq!(at("1700000000", Precision::Nanoseconds), Some(1_700_000_000));
        assert_eq!(at("1700000000000000000", Precision::Seconds), None);
        assert_eq!(at("9223372036854775806", Precision::Nanoseconds), Some(i64::MAX - 1));
        assert_eq!(at("9223372036854775807", Precision::Nanoseconds), None);
    }

    #[test]
    fn times_with_an_offset_are_read() {
        let then = Some(1_624_799_024_000_000_000);
        assert_eq!(rfc("2021-06-27T15:03:44+02:00"), then);
        assert_eq!(rfc("2021-06-27T15:03:44+0200"), then);
        assert_eq!(rfc("2021-06-27T15:03:44+02"), then);
        assert_eq!(rfc("2021-06-27 13:03:44Z"), then);
        assert_eq!(rfc("2021-06-27t13:03:44z"), then);
        assert_eq!(rfc(" 2021-06-27T13:03:44-00:00\n"), then);
        assert_eq!(rfc("2021-06-27T13:03:44.5Z"), then.map(|t| t + 500_000_000));
        assert_eq!(rfc("2021-06-27T13:03:44,123456789987Z"), then.map(|t| t + 123_456_789));
        assert_eq!(rfc("2016-12-31T23:59:60Z"), rfc("2017-01-01T00:00:00Z"));
        assert_eq!(rfc("1969-12-31T23:59:59.999999999Z"), Some(-1));
        assert_eq!(rfc("2024-02-29T00:00:00Z"), Some(1_709_164_800_000_000_000));
    }

    #[test]
    fn times_that_say_too_little_are_not_trusted() {
        for text in [
            "2021-06-27T15:03:44",
            "2021-06-27",
            "15:03:44",
            "",
            "2021-06-27T15:03Z",
            "2021-02-29T00:00:00Z",
            "2021-13-01T00:00:00Z",
            "2021-00-01T00:00:00Z",
            "2021-06-27T24:00:00Z",
            "2021-06-27T13:03:44.Z",
            "2021-06-27T13:03:44+2",
            "2021-06-27T13:03:44+02:",
            "2021-06-27T13:03:44+02:0",
            "2021-06-27T13:03:44 Europe",
            "2021-06-27X13:03:44Z",
            "+021-06-27T13:03:44Z",
            "2021-6-27T13:03:44Z",
            "2400-01-01T00:00:00Z",
            "ü021-06-27T13:03:44Z",
        ] {
            assert_eq!(rfc(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_age_is_exact_and_never_negative() {
        let age = |text| age_from_millis_text(text).ok();
        assert_eq!(age("1500"), Some(Duration::from_millis(1500)));
        assert_eq!(age("0.000001"), Some(Duration::from_nanos(1)));
        assert_eq!(age("-0"), Some(Duration::ZERO));
        assert_eq!(age("-1"), None);
        assert_eq!(age("1e30"), None);
        assert_eq!(age("old"), None);
    }

    proptest! {
        #[test]
        fn every_time_comes_back_from_its_text(nanos in i64::MIN + 2..i64::MAX) {
            let at = Timestamp::from_nanos(nanos);
            prop_assert_eq!(Timestamp::from_rfc3339(&at.to_string()), Some(at));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}", like in "[-0-9T:.Z+ ]{15,30}") {
            for text in [text, like] {
                prop_assert!(Timestamp::from_rfc3339(&text).is_none_or(Timestamp::is_storable));
                prop_assert!(Timestamp::from_epoch_text(&text, None).is_ok_and(Timestamp::is_storable)
                    || Timestamp::from_epoch_text(&text, None).is_err());
            }
        }
    }
}
