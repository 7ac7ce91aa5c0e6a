//! Stamps follow the clock when it is set, and rise as long as it is not.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::intake::stamp::SettableClock;

const NOW: i64 = 1_800_000_000_000_000_000;
const HOUR: i64 = 3_600_000_000_000;

fn kept() -> (Arc<SettableClock>, Timekeeper) {
    let clock = Arc::new(SettableClock::at(NOW));
    let time = Timekeeper::new(Arc::clone(&clock) as Arc<dyn Clock>);
    time.watch();
    (clock, time)
}

fn stamp(time: &Timekeeper) -> i64 {
    time.arrive().stamps(1).nanos()
}

#[test]
fn stamps_follow_a_clock_that_is_set_back_an_hour() {
    let (clock, time) = kept();
    assert_eq!(stamp(&time), NOW);
    clock.set(NOW - HOUR);
    assert_eq!(stamp(&time), NOW - HOUR);
    clock.pass(5);
    assert_eq!(stamp(&time), NOW - HOUR + 5);
    assert_eq!(time.steps(), Steps { forward: 0, backward: 1 });
    time.watch();
    assert_eq!(time.steps(), Steps { forward: 0, backward: 1 }, "counted once");
}

#[test]
fn a_clock_that_goes_back_a_little_only_waits() {
    let (clock, time) = kept();
    assert_eq!(stamp(&time), NOW);
    clock.set(NOW - STEP_NS + 1);
    assert_eq!(stamp(&time), NOW + 1);
    time.watch();
    assert_eq!(time.steps(), Steps::default());
}

#[test]
fn a_clock_that_goes_back_by_exactly_a_step_was_set() {
    let (clock, time) = kept();
    assert_eq!(stamp(&time), NOW);
    clock.set(NOW - STEP_NS);
    assert_eq!(stamp(&time), NOW - STEP_NS);
    assert_eq!(time.steps(), Steps { forward: 0, backward: 1 });
}

#[test]
fn an_hour_forth_and_back_between_two_looks_is_seen_on_the_way_back() {
    let (clock, time) = kept();
    clock.set(NOW + HOUR);
    assert_eq!(stamp(&time), NOW + HOUR);
    clock.set(NOW);
    assert_eq!(stamp(&time), NOW);
    assert_eq!(time.steps(), Steps { forward: 0, backward: 1 });
    clock.set(NOW + HOUR);
    time.watch();
    assert_eq!(time.steps(), Steps { forward: 1, backward: 1 });
}

#[test]
fn a_time_that_runs_by_itself_does_not_look_at_the_wall_clock() {
    let (clock, time) = kept();
    time.set(Mode::Running { epoch: 77, offset_ns: 1_000 });
    clock.set(NOW + HOUR);
    clock.pass(5);
    let arrival = time.arrive();
    assert_eq!((arrival.at.nanos(), arrival.epoch()), (1_005, 77));
    assert!(!arrival.is_believed());
    time.set(Mode::Wall);
    assert_eq!(stamp(&time), NOW + HOUR + 5);
    time.watch();
    assert_eq!(time.steps(), Steps::default(), "nobody believed it before");
    assert_eq!(arrival.stamps(1).nanos(), 1_005, "a gather goes on in the epoch that it began in");
}

proptest! {
    /// Whatever is done to the clock: stamps rise, except where it is set back by a second or more.
    #[test]
    fn stamps_never_stand_still_for_longer_than_a_step(
        moves in prop::collection::vec((any::<bool>(), -5_000_i64..5_000), 1..60),
    ) {
        let (clock, time) = kept();
        let mut last = i64::MIN;
        let mut wall = NOW;
        for (sets, ms) in moves {
            if sets {
                wall += ms * 1_000_000;
                clock.set(wall);
            } else {
                wall += ms.abs() * 1_000_000;
                clock.pass(ms.abs() * 1_000_000);
            }
            let stamp = stamp(&time);
            prop_assert!(stamp - wall <= STEP_NS && stamp >= wall);
            prop_assert!(stamp > last || wall <= last - STEP_NS);
            last = stamp;
        }
    }
}
