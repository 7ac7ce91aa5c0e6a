//! How long a device waits before it tries again: exponential, full jitter, capped.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }

    /// A connection that did some good.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait; `part` is a random number in `0.0 .. 1.0`.
    pub(crate) fn next(&mut self, part: f64) -> Duration {
        let ceiling = self.first.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        // Never zero: a refused connection must not become a busy loop.
        (ceiling.mul_f64(part)).max(self.first / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_start_over_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let waits: Vec<_> = (0..7).map(|_| backoff.next(0.999).as_millis()).collect();
        assert_eq!(waits, [99, 199, 399, 799, 1598, 1998, 1998]);
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_millis(50));
        assert_eq!(backoff.next(0.0), Duration::from_millis(25), "never at once");
    }
}
