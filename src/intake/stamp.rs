//! The machine's clocks, and stamps that only rise.
//!
//! What the gateway stamps is fixed before the journal, so that a resend from there writes the
//! same point. Two payloads never share a stamp: when the clock goes back (or stands still), stamps
//! go on rising by a nanosecond each until it has caught up.
//!
//! Leaves out whether the clock can be believed, and what becomes of one that was set back: `clock`.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::SystemTime,
};

use proto::Timestamp;

use super::clock::judge::Vouchers;
use super::clock::kernel;

/// The edge of the world where the time of day comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock: anybody may set it.
    fn now(&self) -> Timestamp;

    /// Nanoseconds since the machine's boot, time asleep included: nobody sets this one.
    fn running_ns(&self) -> i64;

    /// Who says that the wall clock is right. May read a few small files.
    fn vouchers(&self) -> Vouchers;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let nanos = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
        };
        Timestamp::from_nanos(nanos)
    }

    fn running_ns(&self) -> i64 {
        kernel::running_ns()
    }

    fn vouchers(&self) -> Vouchers {
        kernel::vouchers()
    }
}

/// A clock that stands where it is put: the twin for tests, which may go back.
#[derive(Debug)]
pub struct SettableClock {
    wall: AtomicI64,
    running: AtomicI64,
    vouchers: std::sync::Mutex<Vouchers>,
}

impl SettableClock {
    /// The network has set it.
    pub fn at(nanos: i64) -> Self {
        let vouchers = Vouchers { synchronised: Some(true), ..Vouchers::default() };
        Self {
            wall: AtomicI64::new(nanos),
            running: AtomicI64::new(0),
            vouchers: std::sync::Mutex::new(vouchers),
        }
    }

    /// Somebody sets the wall clock.
    pub fn set(&self, nanos: i64) {
        self.wall.store(nanos, Ordering::Relaxed);
    }

    /// Time passes, on both clocks.
    pub fn pass(&self, nanos: i64) {
        self.wall.fetch_add(nanos, Ordering::Relaxed);
        self.running.fetch_add(nanos, Ordering::Relaxed);
    }

    pub fn vouch(&self, vouchers: Vouchers) {
        *self.vouchers.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = vouchers;
    }
}

impl Clock for SettableClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.wall.load(Ordering::Relaxed))
    }

    fn running_ns(&self) -> i64 {
        self.running.load(Ordering::Relaxed)
    }

    fn vouchers(&self) -> Vouchers {
        *self.vouchers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One strictly rising counter.
#[derive(Debug)]
pub struct Stamper {
    /// The last stamp given out.
    last: AtomicI64,
}

impl Default for Stamper {
    fn default() -> Self {
        Self { last: AtomicI64::new(i64::MIN) }
    }
}

impl Stamper {
    /// The last stamp given out.
    pub fn last(&self) -> Timestamp {
        Timestamp::from_nanos(self.last.load(Ordering::Relaxed))
    }

    /// Reserves `count` stamps (at least one), one nanosecond apart, and returns the first: `now`,
    /// or one more than the last stamp given out if that is later.
    pub fn reserve(&self, now: Timestamp, count: u32) -> Timestamp {
        let first_after = |last: i64| now.nanos().max(last.saturating_add(1));
        // Relaxed: the counter is the only thing that threads share here, and an atomic's own
        // history is one order for all of them.
        let (Ok(last) | Err(last)) =
            self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(first_after(last).saturating_add(i64::from(count.max(1)) - 1))
            });
        Timestamp::from_nanos(first_after(last))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_stamp_is_the_time_of_day_as_long_as_that_rises() {
        let stamper = Stamper::default();
        for now in [1_000, 1_005, 2_000] {
            assert_eq!(stamper.reserve(Timestamp::from_nanos(now), 1).nanos(), now);
        }
    }

    #[test]
    fn stamps_rise_while_the_clock_goes_back_or_stands_still() {
        let stamper = Stamper::default();
        let clock = SettableClock::at(5_000);
        assert_eq!(stamper.reserve(clock.now(), 3).nanos(), 5_000);
        assert_eq!(stamper.reserve(clock.now(), 1).nanos(), 5_003);
        clock.set(10);
        assert_eq!(stamper.reserve(clock.now(), 2).nanos(), 5_004);
        clock.set(5_005);
        assert_eq!(stamper.reserve(clock.now(), 1).nanos(), 5_006);
        clock.set(6_000);
        assert_eq!(stamper.reserve(clock.now(), 1).nanos(), 6_000);
    }

    #[test]
    fn no_two_threads_ever_share_a_stamp() {
        let stamper = Arc::new(Stamper::default());
        let threads: Vec<_> = (0..4_u32)
            .map(|thread| {
                let stamper = Arc::clone(&stamper);
                std::thread::spawn(move || {
                    let mut ranges = Vec::new();
                    for n in 0..2_000_u32 {
                        let count = 1 + (n + thread) % 3;
                        // A clock that jumps about, differently in every thread.
                        let now = Timestamp::from_nanos(i64::from((n * 7 + thread) % 500));
                        let first = stamper.reserve(now, count).nanos();
                        ranges.push((first, first + i64::from(count)));
                    }
                    assert!(ranges.is_sorted(), "a thread saw its stamps fall");
                    ranges
                })
            })
            .collect();
        let mut all: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all.len(), 8_000);
        for pair in all.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{pair:?} overlap");
        }
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        let stamper = Stamper::default();
        assert_eq!(stamper.reserve(Timestamp::from_nanos(i64::MAX), 5).nanos(), i64::MAX);
        assert_eq!(stamper.reserve(Timestamp::from_nanos(0), 1).nanos(), i64::MAX);
    }
}
