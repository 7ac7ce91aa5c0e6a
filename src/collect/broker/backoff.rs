//! How long to wait before the next attempt: exponential, with full jitter, capped. Pure but for its dice.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { ceiling: FIRST }
    }

    /// A wait anywhere up to a ceiling that doubles with each failure: gateways that lost the same broker at
    /// the same moment do not come back at the same moment.
    pub(super) fn failed(&mut self) -> Duration {
        let wait = self.ceiling.mul_f64(0.1 + 0.9 * fastrand::f64());
        self.ceiling = (self.ceiling * 2).min(CAP);
        wait
    }

    /// A connection has worked.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_never_beyond() {
        let mut backoff = Backoff::new();
        let waits: Vec<Duration> = (0..20).map(|_| backoff.failed()).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 10, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= CAP), "{waits:?}");
        assert!(waits[10..].iter().all(|wait| *wait >= CAP / 10), "{waits:?}");
        backoff.reset();
        assert!(backoff.failed() <= FIRST);
    }
}
