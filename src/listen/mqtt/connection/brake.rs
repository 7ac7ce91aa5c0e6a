//! When a connection is not read from, and for how long at most.
//!
//! ```text
//!  off --at the limit--> on (not reading) --full_wait while the journal is full, or write_max--> stuck
//!   ^------------------- below the limit --------------------------------------------------------+
//! ```
//!
//! A reader that stops reading also stops seeing PINGREQ, so it may not stop for long. Stuck means:
//! read on, drop QoS 0 and count it, end the connection at the first message that wants an answer.

use std::time::Duration;

use tokio::time::Instant;

/// How often a brake that is on looks whether the journal is full by now.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Brake {
    on: Option<On>,
}

#[derive(Debug)]
struct On {
    since: Instant,
    look_at: Instant,
    is_stuck: bool,
}

impl Brake {
    /// Returns whether it went off just now.
    pub(super) fn set(&mut self, is_at_limit: bool, full_wait: Duration) -> bool {
        match (&self.on, is_at_limit) {
            (None, true) => {
                let since = Instant::now();
                self.on = Some(On { since, look_at: since + full_wait, is_stuck: false });
                false
            }
            (Some(_), false) => {
                self.on = None;
                true
            }
            _ => false,
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.on.as_ref().is_some_and(|on| !on.is_stuck)
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.on.as_ref().is_some_and(|on| on.is_stuck)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.on.as_ref().filter(|on| !on.is_stuck).map(|on| on.look_at)
    }

    /// At the deadline. Returns whether it is stuck from now on.
    pub(super) fn look(&mut self, now: Instant, is_full: bool, wait_max: Duration) -> bool {
        let on = self.on.as_mut().filter(|on| !on.is_stuck && now >= on.look_at);
        on.is_some_and(|on| {
            on.look_at = now + LOOK_AGAIN;
            on.is_stuck = is_full || now >= on.since + wait_max;
            on.is_stuck
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL_WAIT: Duration = Duration::from_secs(5);
    const WAIT_MAX: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_full_journal_makes_it_stuck_after_the_wait() {
        let mut brake = Brake::default();
        let start = Instant::now();
        assert!(!brake.set(true, FULL_WAIT));
        assert!(brake.holds() && !brake.is_stuck());
        assert_eq!(brake.deadline(), Some(start + FULL_WAIT));
        assert!(!brake.look(start + FULL_WAIT - Duration::from_millis(1), true, WAIT_MAX));
        assert!(brake.holds());
        assert!(brake.look(start + FULL_WAIT, true, WAIT_MAX));
        assert!(!brake.look(start + FULL_WAIT, true, WAIT_MAX), "only once");
        assert!(!brake.holds() && brake.is_stuck());
        assert_eq!(brake.deadline(), None);
        assert!(brake.set(false, FULL_WAIT));
        assert!(!brake.holds() && !brake.is_stuck());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_disk_is_waited_for_longer() {
        let mut brake = Brake::default();
        let start = Instant::now();
        brake.set(true, FULL_WAIT);
        for second in 5..30 {
            assert!(!brake.look(start + Duration::from_secs(second), false, WAIT_MAX));
            assert!(brake.holds(), "{second}");
        }
        assert!(brake.look(start + WAIT_MAX, false, WAIT_MAX));
        assert!(brake.is_stuck());
    }
}
