//! When an output may send: open, or closed until a moment, then one trial, then open again.
//!
//! ```text
//!            failed                     due                  answered well
//!   Open ------------> Closed(until) -------> one trial out -----------------> Open
//!                          ^                        | failed (longer), misconfigured (probe_every)
//!                          +------------------------+
//! ```
//!
//! Pure: `now` and the random numbers are passed in. Exponential back-off with full jitter; the
//! longest wait is `backoff_max`, or what the other end asked for, up to `retry_after_max`.
//! Answers to requests that left before the door closed do not open it and do not lengthen the
//! back-off: four requests that fail together are one failure.

use std::time::Duration;

use tokio::time::Instant;

use crate::output::stats::State;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub backoff_first: Duration,
    pub backoff_max: Duration,
    /// The longest `Retry-After` that is believed.
    pub retry_after_max: Duration,
    /// How often a misconfigured output looks whether somebody has put it right.
    pub probe_every: Duration,
}

/// How a request left; handed back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// While all was well.
    Freely,
    /// The one that tries whether all is well again.
    OnTrial,
}

/// What may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Any request.
    Send,
    /// One request, on trial.
    Try,
    /// One probe point, on trial: no data goes where nothing has been accepted.
    Probe,
    /// Nothing before this moment.
    WaitUntil(Instant),
    /// Nothing before the trial that is out is answered.
    WaitForTrial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Open,
    Closed { until: Instant, whose: Whose },
    Trial { whose: Whose },
}

/// Whose fault it is decides what the trial is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Theirs,
    Ours,
}

#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    door: Door,
    /// Failed trials (and the failure that closed the door) since it was open.
    failures: u32,
}

impl Pace {
    pub fn new(limits: Limits) -> Self {
        Self { limits, door: Door::Open, failures: 0 }
    }

    pub fn may(&self, now: Instant) -> May {
        match self.door {
            Door::Open => May::Send,
            Door::Trial { .. } => May::WaitForTrial,
            Door::Closed { until, .. } if now < until => May::WaitUntil(until),
            Door::Closed { whose: Whose::Theirs, .. } => May::Try,
            Door::Closed { whose: Whose::Ours, .. } => May::Probe,
        }
    }

    pub fn state(&self) -> State {
        match self.door {
            Door::Open => State::Running,
            Door::Closed { whose: Whose::Theirs, .. } | Door::Trial { whose: Whose::Theirs } => {
                State::BackingOff
            }
            Door::Closed { whose: Whose::Ours, .. } => State::Misconfigured,
            Door::Trial { whose: Whose::Ours } => State::Probing,
        }
    }

    /// A request or probe leaves, as `may` allowed.
    pub fn sent(&mut self) -> Sent {
        match self.door {
            Door::Open => Sent::Freely,
            Door::Closed { whose, .. } | Door::Trial { whose } => {
                self.door = Door::Trial { whose };
                Sent::OnTrial
            }
        }
    }

    /// The other end works: it stored something, or told good lines from bad ones.
    pub fn answered(&mut self, how: Sent) {
        if how == Sent::OnTrial {
            self.door = Door::Open;
            self.failures = 0;
        }
    }

    /// A probe point was accepted after a misconfiguration: data may try again, one request first.
    pub fn probe_accepted(&mut self, now: Instant) {
        self.door = Door::Closed { until: now, whose: Whose::Theirs };
        self.failures = 0;
    }

    /// Busy, failed or unknown. `retry_after` is what the other end asked for; `random` is uniform
    /// in 0..1.
    pub fn failed(&mut self, now: Instant, how: Sent, retry_after: Option<Duration>, random: f64) {
        let asked = retry_after.unwrap_or_default().min(self.limits.retry_after_max);
        match (self.door, how) {
            (Door::Open, _) | (Door::Trial { .. }, Sent::OnTrial) => {
                let jitter = self.backoff().mul_f64(random.clamp(0.0, 1.0));
                // Asked by the clock, all its clients would come back at once.
                let spread = self.limits.backoff_first.mul_f64(random.clamp(0.0, 1.0));
                let wait = if asked.is_zero() { jitter } else { asked + spread };
                self.failures = self.failures.saturating_add(1);
                let whose = self.whose();
                self.door = Door::Closed { until: now + wait, whose };
            }
            // One that left before the door closed: it may only ask for more patience.
            (Door::Closed { until, whose }, _) => {
                self.door = Door::Closed { until: until.max(now + asked), whose };
            }
            (Door::Trial { .. }, Sent::Freely) => {}
        }
    }

    /// Our fault: nothing leaves but a probe every `probe_every`.
    pub fn misconfigured(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.door = Door::Closed { until: now + self.limits.probe_every, whose: Whose::Ours };
    }

    /// Look again now: somebody says it is put right, or a proof of guilt is wanted.
    pub fn hurry(&mut self, now: Instant) {
        if let Door::Closed { until, whose } = self.door {
            self.door = Door::Closed { until: until.min(now), whose };
        }
    }

    /// The upper bound of the next jittered wait.
    fn backoff(&self) -> Duration {
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.limits.backoff_first.saturating_mul(factor).min(self.limits.backoff_max)
    }

    fn whose(&self) -> Whose {
        match self.door {
            Door::Open => Whose::Theirs,
            Door::Closed { whose, .. } | Door::Trial { whose } => whose,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        backoff_first: Duration::from_millis(250),
        backoff_max: Duration::from_secs(30),
        retry_after_max: Duration::from_mins(5),
        probe_every: Duration::from_secs(30),
    };

    fn wait(pace: &Pace, now: Instant) -> Duration {
        match pace.may(now) {
            May::WaitUntil(until) => until - now,
            May::Try | May::Probe | May::Send => Duration::ZERO,
            May::WaitForTrial => panic!("no trial is out"),
        }
    }

    /// Fails `times` times in a row, each time as soon as a trial is allowed.
    fn failed_times(times: u32, random: f64) -> (Pace, Instant) {
        let mut pace = Pace::new(LIMITS);
        let mut now = Instant::now();
        for _ in 0..times {
            now += wait(&pace, now);
            let how = pace.sent();
            pace.failed(now, how, None, random);
        }
        (pace, now)
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let waits: Vec<_> = (1..=10)
            .map(|times| {
                let (pace, now) = failed_times(times, 1.0);
                wait(&pace, now).as_millis()
            })
            .collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
    }

    #[test]
    fn a_closed_door_lets_one_trial_out_and_opens_when_it_is_answered() {
        let (mut pace, now) = failed_times(3, 0.5);
        let due = now + wait(&pace, now);
        assert_eq!(pace.may(due), May::Try);
        let how = pace.sent();
        assert_eq!(how, Sent::OnTrial);
        assert_eq!(pace.may(due), May::WaitForTrial);
        pace.answered(how);
        assert_eq!(pace.may(due), May::Send);
        // And the next failure starts from the first step again.
        let how = pace.sent();
        pace.failed(due, how, None, 1.0);
        assert_eq!(wait(&pace, due), LIMITS.backoff_first);
    }

    #[test]
    fn requests_that_fail_together_count_once() {
        let now = Instant::now();
        let mut pace = Pace::new(LIMITS);
        let sent: Vec<_> = (0..4).map(|_| pace.sent()).collect();
        for how in sent {
            pace.failed(now, how, None, 1.0);
        }
        assert_eq!(wait(&pace, now), LIMITS.backoff_first);
    }

    #[test]
    fn an_answer_to_an_earlier_request_does_not_open_a_closed_door() {
        let now = Instant::now();
        let mut pace = Pace::new(LIMITS);
        let (first, second) = (pace.sent(), pace.sent());
        pace.failed(now, first, Some(Duration::from_secs(7)), 0.0);
        pace.answered(second);
        assert_eq!(wait(&pace, now), Duration::from_secs(7));
    }

    #[test]
    fn misconfigured_asks_by_probe_and_then_tries_one_request() {
        let mut now = Instant::now();
        let mut pace = Pace::new(LIMITS);
        let _sent = pace.sent();
        pace.misconfigured(now);
        assert_eq!(wait(&pace, now), LIMITS.probe_every);
        now += LIMITS.probe_every;
        assert_eq!(pace.may(now), May::Probe);
        // A database that is down as well does not turn it into somebody else's fault.
        let how = pace.sent();
        pace.failed(now, how, None, 1.0);
        now += wait(&pace, now);
        assert_eq!(pace.may(now), May::Probe);
        let _probe = pace.sent();
        pace.probe_accepted(now);
        assert_eq!(pace.may(now), May::Try);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_its_bound(
            times in 1u32..80,
            random in 0.0..=1.0f64,
            asked_s in prop::option::of(0u64..100_000),
        ) {
            let (mut pace, mut now) = failed_times(times, random);
            prop_assert!(wait(&pace, now) <= LIMITS.backoff_max);
            now += wait(&pace, now);
            let how = pace.sent();
            let asked = asked_s.map(Duration::from_secs);
            pace.failed(now, how, asked, random);
            let asked = asked.unwrap_or_default().min(LIMITS.retry_after_max);
            prop_assert!(wait(&pace, now) >= asked);
            prop_assert!(wait(&pace, now) <= (asked + LIMITS.backoff_first).max(LIMITS.backoff_max));
        }
    }
}
