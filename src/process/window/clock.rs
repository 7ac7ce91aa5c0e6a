//! How long a series has been silent, told by a clock of the gateway's own.
//!
//! It runs while frames come (by their times of arrival) and while the output waits at the journal's
//! head (by the wall clock), never by more than a second at a time. So a wall clock that jumps, a
//! night without power and the time that a journal waited for a database do not count as silence.

const STEP_MAX: i64 = 1_000_000_000;
/// The wall clock was set back by more than this: it goes on from there.
const SET_BACK: i64 = 10 * STEP_MAX;

/// Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    run: i64,
    /// What the wall clock said last. `None`: nothing yet, or another process asked it.
    wall: Option<i64>,
}

impl Clock {
    pub(super) fn at(run: i64) -> Self {
        Self { run, wall: None }
    }

    pub(super) fn run(&self) -> i64 {
        self.run
    }

    pub(super) fn advance(&mut self, now: i64) {
        let step = now.saturating_sub(self.wall.unwrap_or(now));
        if self.wall.is_none() || !(-SET_BACK..=0).contains(&step) {
            self.wall = Some(now);
        }
        self.run = self.run.saturating_add(step.clamp(0, STEP_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn it_runs_with_the_wall_clock_but_not_with_its_jumps() {
        let mut clock = Clock::at(5);
        for (now, run) in [
            (100 * S, 5),
            (100 * S + 7, 12),
            // A little back, as arrivals are when a tick came between: nothing counts twice.
            (100 * S + 1, 12),
            (100 * S + 9, 14),
            (200 * S, S + 14),
            (10 * S, S + 14),
            (10 * S + 3, S + 17),
            (i64::MIN, S + 17),
            (i64::MAX, 2 * S + 17),
        ] {
            clock.advance(now);
            assert_eq!(clock.run(), run, "at {now}");
        }
    }
}
