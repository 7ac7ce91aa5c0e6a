//! Time zones by their IANA names: what a device's wall clock means.
//!
//! The names and rules are the system's, and where it has none (small images, containers) those that
//! the binary brings along.
//!
//! An hour that a zone skips in spring is seen by a clock that was not put forward: it counts from
//! the offset before. One that comes twice in autumn is the one nearer to the reading's arrival:
//! right for all that arrives within half an hour, and the later one for what arrives after that.

use std::sync::Arc;

use jiff::{
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use proto::{
    Timestamp,
    timestamp::{LocalTime, Zone},
};

#[derive(Debug)]
struct Named(TimeZone);

/// The zone of that name; `None`: there is no such zone.
pub(crate) fn named(name: &str) -> Option<Arc<dyn Zone>> {
    // `TimeZone::get` takes any case, and what looks like a path.
    let zone = TimeZone::get(name).ok()?;
    Some(Arc::new(Named(zone)))
}

/// All names that there are.
pub(crate) fn names() -> Vec<String> {
    jiff::tz::db().available().map(|name| name.to_string()).collect()
}

impl Zone for Named {
    fn instant(&self, local: LocalTime, near: Timestamp) -> Option<Timestamp> {
        let LocalTime { year, month, day, hour, minute, second, nanos } = local;
        let shown = DateTime::new(year, month, day, hour, minute, second, nanos).ok()?;
        let at = |offset: Offset| {
            let nanos = offset.to_timestamp(shown).ok()?.as_nanosecond();
            let at = Timestamp::from_nanos(i64::try_from(nanos).ok()?);
            Some(at).filter(|at| at.is_storable())
        };
        match self.0.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            AmbiguousOffset::Gap { before, .. } => at(before),
            AmbiguousOffset::Fold { before, after } => {
                let distance = |at: &Timestamp| at.nanos().abs_diff(near.nanos());
                [at(before), at(after)].into_iter().flatten().min_by_key(distance)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(zone: &str, local: &str, near: &str) -> String {
        let near = Timestamp::from_rfc3339(near).unwrap();
        let local = LocalTime::parse(local).unwrap();
        named(zone).unwrap().instant(local, near).unwrap().to_string()
    }

    #[test]
    fn a_wall_clock_is_read_with_its_zones_offset_of_that_day() {
        let near = "2025-07-01T00:00:00Z";
        for (local, at) in [
            ("2025-01-15T12:00:00", "2025-01-15T11:00:00Z"),
            ("2025-07-15 12:00:00.5", "2025-07-15T10:00:00.5Z"),
            ("1999-07-15T12:00:00", "1999-07-15T10:00:00Z"),
            ("2099-07-15T12:00:00", "2099-07-15T10:00:00Z"),
        ] {
            assert_eq!(instant("Europe/Berlin", local, near), at);
        }
        assert_eq!(instant("Asia/Kolkata", "2025-07-15T12:00:00", near), "2025-07-15T06:30:00Z");
    }

    #[test]
    fn an_hour_that_comes_twice_is_the_one_nearer_to_the_arrival() {
        let local = "2025-10-26T02:30:00";
        for (near, at) in [
            ("2025-10-26T00:30:05Z", "2025-10-26T00:30:00Z"),
            ("2025-10-26T01:30:05Z", "2025-10-26T01:30:00Z"),
            ("2025-10-27T00:00:00Z", "2025-10-26T01:30:00Z"),
        ] {
            assert_eq!(instant("Europe/Berlin", local, near), at, "arrived {near}");
        }
    }

    #[test]
    fn a_skipped_hour_counts_from_the_offset_before() {
        let near = "2025-03-30T01:30:05Z";
        let at = instant("Europe/Berlin", "2025-03-30T02:30:00", near);
        assert_eq!(at, "2025-03-30T01:30:00Z");
        assert_eq!(at, instant("Europe/Berlin", "2025-03-30T03:30:00", near), "the same moment");
    }

    #[test]
    fn zones_are_known_by_name_only() {
        assert!(named("Europe/Nowhere").is_none() && named("").is_none());
        assert!(names().iter().any(|name| name == "Europe/Berlin"));
    }
}
