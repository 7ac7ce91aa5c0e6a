//! What the gateway stamped, put right afterwards: readings in frame form are copied with other
//! stamps, or marked with a tag. Times that a payload gave itself are left alone.

use crate::{Time, Timestamp, frame::Cursor, frame::wire};

/// What becomes of a reading that the gateway stamped.
#[derive(Clone, Copy, Debug)]
pub enum Restamp<'a> {
    /// So many nanoseconds later.
    Shift(i64),
    /// One more tag, unless the reading has one of that name.
    Mark { key: &'a str, value: &'a str },
}

/// Appends `readings` (in frame form, one after another) to `out`; returns how many had a stamp of
/// ours. What cannot be read is copied as it is.
pub fn restamp(readings: &[u8], how: Restamp<'_>, out: &mut Vec<u8>) -> u32 {
    let mut cursor = Cursor::new(readings);
    let mut stamped = 0;
    let mut copied = 0;
    loop {
        let start = cursor.position();
        let Some(Ok(reading)) = cursor.next() else { break };
        let Time::Stamped(at) = reading.time else { continue };
        stamped += 1;
        out.extend_from_slice(readings.get(copied..start).unwrap_or_default());
        match how {
            Restamp::Shift(by) => {
                out.extend_from_slice(reading.series);
                wire::put_time(Time::Stamped(shifted(at, by)), out);
            }
            Restamp::Mark { key, value } => {
                let mut tags = reading.tags.to_vec();
                if let Err(place) = tags.binary_search_by(|(known, _)| (*known).cmp(key)) {
                    tags.insert(place, (key, value));
                }
                wire::put_series(reading.measurement, &tags, out);
                wire::put_time(reading.time, out);
            }
        }
        wire::put_fields(reading.fields, out);
        copied = cursor.position();
    }
    out.extend_from_slice(readings.get(copied..).unwrap_or_default());
    stamped
}

/// Within what a database takes.
pub fn shifted(at: Timestamp, by: i64) -> Timestamp {
    let moved = Timestamp::from_nanos(at.nanos().saturating_add(by));
    moved.clamp(Timestamp::STORABLE_MIN, Timestamp::STORABLE_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Limits, Reading, Readings, testing::any_reading};

    fn encoded(readings: &[Reading]) -> Vec<u8> {
        let mut out = Readings::new(Limits::default());
        out.begin();
        for reading in readings {
            reading.with_ref(|r| out.push(&r, Timestamp::UNIX_EPOCH)).unwrap();
        }
        out.stamp(Timestamp::from_nanos(1_000));
        out.take().0
    }

    fn decoded(bytes: &[u8]) -> Vec<Reading> {
        let mut cursor = Cursor::new(bytes);
        let mut all = Vec::new();
        while let Some(reading) = cursor.next() {
            all.push(reading.unwrap().to_reading());
        }
        all
    }

    proptest! {
        #[test]
        fn only_stamps_of_ours_move(
            all in proptest::collection::vec(any_reading(), 1..6),
            by in -1_000_000_000_000_i64..1_000_000_000_000,
        ) {
            let bytes = encoded(&all);
            let mut out = Vec::new();
            let stamped = restamp(&bytes, Restamp::Shift(by), &mut out);
            let mut wanted = decoded(&bytes);
            let mut ours = 0;
            for reading in &mut wanted {
                if let Time::Stamped(at) = reading.time {
                    reading.time = Time::Stamped(shifted(at, by));
                    ours += 1;
                }
            }
            prop_assert_eq!(decoded(&out), wanted);
            prop_assert_eq!(stamped, ours);
        }

        #[test]
        fn a_mark_is_one_tag_in_its_place(all in proptest::collection::vec(any_reading(), 1..6)) {
            let bytes = encoded(&all);
            let mut out = Vec::new();
            restamp(&bytes, Restamp::Mark { key: "clock", value: "unsure" }, &mut out);
            let mut wanted = decoded(&bytes);
            for reading in &mut wanted {
                let is_ours = matches!(reading.time, Time::Stamped(_));
                if is_ours && !reading.tags.iter().any(|(key, _)| key == "clock") {
                    reading.tags.push(("clock".to_owned(), "unsure".to_owned()));
                    reading.tags.sort();
                }
            }
            prop_assert_eq!(decoded(&out), wanted);
        }

        #[test]
        fn no_bytes_at_all_panic_or_lose_a_tail(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = Vec::new();
            let stamped = restamp(&bytes, Restamp::Shift(0), &mut out);
            if stamped == 0 {
                prop_assert_eq!(out, bytes);
            }
        }
    }
}
