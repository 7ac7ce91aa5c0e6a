//! How long until the journal is full, if it goes on filling as it did.
//!
//! A line through the oldest and the newest of the samples of the last ten minutes: an outage of a
//! database shows within seconds, and a burst of a moment does not ring a bell for hours. Pure: `now` is
//! passed in. Leaves out segments that are half written, so that small rates move it in steps.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const SAMPLES_MAX: usize = 120;
/// A shorter history says nothing.
const HISTORY_MIN: Duration = Duration::from_secs(10);

/// What the journal had allocated, now and then.
#[derive(Debug, Default)]
pub(super) struct Fill {
    samples: VecDeque<(Instant, u64)>,
}

impl Fill {
    /// Takes a sample if one is due.
    pub(super) fn note(&mut self, now: Instant, bytes: u64) {
        if self.samples.back().is_some_and(|(at, _)| now.duration_since(*at) < SAMPLE_EVERY) {
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((now, bytes));
    }

    /// Seconds until `bytes` have become `bytes_max`; infinite while it does not fill.
    pub(super) fn seconds_to_full(&self, now: Instant, bytes: u64, bytes_max: u64) -> f64 {
        let room = bytes_max.saturating_sub(bytes);
        if room == 0 {
            return 0.0;
        }
        let Some((since, before)) = self.samples.front() else { return f64::INFINITY };
        let history = now.duration_since(*since);
        let grown = bytes.saturating_sub(*before);
        if history < HISTORY_MIN || grown == 0 {
            return f64::INFINITY;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate, of bytes on a disk")]
        let rooms = room as f64 / grown as f64;
        rooms * history.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Grows by `step` a second for `seconds`, from nothing.
    fn filled(start: Instant, seconds: u64, step: u64) -> Fill {
        let mut fill = Fill::default();
        for second in 0..=seconds {
            fill.note(start + Duration::from_secs(second), second * step);
        }
        fill
    }

    /// To the second.
    fn full_in(fill: &Fill, now: Instant, bytes: u64, bytes_max: u64) -> Duration {
        let seconds = fill.seconds_to_full(now, bytes, bytes_max).round();
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn what_fills_evenly_is_full_when_the_line_says_so() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let fill = filled(start, 100, MIB);
        assert_eq!(full_in(&fill, at(100), 100 * MIB, 400 * MIB), Duration::from_mins(5));
        assert_eq!(full_in(&fill, at(100), 400 * MIB, 400 * MIB), Duration::ZERO, "full");
        assert_eq!(full_in(&fill, at(100), 500 * MIB, 400 * MIB), Duration::ZERO, "more than full");
    }

    #[test]
    fn what_stands_still_or_empties_is_never_full() {
        let start = Instant::now();
        let at = start + Duration::from_secs(100);
        assert!(filled(start, 100, 0).seconds_to_full(at, 0, MIB).is_infinite());
        let mut emptied = Fill::default();
        emptied.note(start, 5 * MIB);
        assert!(emptied.seconds_to_full(at, MIB, 9 * MIB).is_infinite());
        assert!(Fill::default().seconds_to_full(at, 0, MIB).is_infinite(), "nothing is known");
        let soon = start + Duration::from_secs(3);
        assert!(filled(start, 3, MIB).seconds_to_full(soon, 3 * MIB, 9 * MIB).is_infinite());
    }

    #[test]
    fn only_the_last_ten_minutes_count_and_memory_is_bounded() {
        let start = Instant::now();
        let mut fill = filled(start, 3_600, 0);
        assert_eq!(fill.samples.len(), SAMPLES_MAX);
        for second in 3_601..=7_200 {
            fill.note(start + Duration::from_secs(second), (second - 3_600) * MIB);
        }
        let at = start + Duration::from_hours(2);
        assert_eq!(full_in(&fill, at, 3_600 * MIB, 3_700 * MIB), Duration::from_secs(100));
    }
}
