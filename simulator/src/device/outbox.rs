//! A device's own queue: what is due, what is under way, what must be sent again.
//!
//! Pure: the time comes in as nanoseconds. Since a reading can be made anew from its sequence
//! number, the queue holds numbers only; it is bounded by `unacknowledged_max`. When it is full
//! the device measures nothing new, and catches up (with the times at which it should have
//! measured) once there is room: so nothing that was sent is ever given up.

use std::collections::{BTreeSet, VecDeque};

use crate::signals::Device;

#[derive(Debug)]
pub(crate) struct Outbox {
    /// The next reading never sent so far.
    next: u64,
    /// Readings from here on are not made.
    end: u64,
    unacknowledged_max: usize,
    /// Sent at least once, not yet answered.
    unacknowledged: BTreeSet<u64>,
    /// Those of them to be sent again, in the order in which that was found out.
    again: VecDeque<u64>,
}

/// What a device has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Send {
        seq: u64,
        again: bool,
    },
    /// Nothing before this time, in nanoseconds since the epoch.
    At(i64),
    /// Nothing until something under way is answered.
    Full,
    /// Everything was sent; what is under way must still be answered.
    Done,
}

impl Outbox {
    pub(crate) fn new(unacknowledged_max: usize, readings_max: Option<u64>) -> Self {
        Self {
            next: 0,
            end: readings_max.unwrap_or(u64::MAX),
            unacknowledged_max,
            unacknowledged: BTreeSet::new(),
            again: VecDeque::new(),
        }
    }

    pub(crate) fn next(&self, device: &Device, now_ns: i64) -> Next {
        if let Some(&seq) = self.again.front() {
            return Next::Send { seq, again: true };
        }
        if self.next >= self.end {
            return Next::Done;
        }
        if self.unacknowledged.len() >= self.unacknowledged_max {
            return Next::Full;
        }
        let due = device.time(self.next).nanos();
        if due > now_ns { Next::At(due) } else { Next::Send { seq: self.next, again: false } }
    }

    /// `seq`, as `next` gave it, is on its way.
    pub(crate) fn sending(&mut self, seq: u64) {
        if self.again.front() == Some(&seq) {
            self.again.pop_front();
        } else if seq == self.next {
            self.next += 1;
        }
        self.unacknowledged.insert(seq);
    }

    /// Answered, one way or the other: never to be sent again. False if it was answered before.
    pub(crate) fn answered(&mut self, seq: u64) -> bool {
        self.again.retain(|&other| other != seq);
        self.unacknowledged.remove(&seq)
    }

    /// The gateway did not take it now.
    pub(crate) fn retry(&mut self, seq: u64) {
        if self.unacknowledged.contains(&seq) && !self.again.contains(&seq) {
            self.again.push_back(seq);
        }
    }

    /// The connection is gone: whatever was under way goes again, oldest first.
    pub(crate) fn disconnected(&mut self) {
        self.again = self.unacknowledged.iter().copied().collect();
    }

    /// No new readings from now on.
    pub(crate) fn stop(&mut self) {
        self.end = self.end.min(self.next);
    }

    /// Everything that was to be sent was sent and answered.
    pub(crate) fn is_finished(&self) -> bool {
        self.next >= self.end && self.unacknowledged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::Timestamp;

    use super::*;
    use crate::signals::{Clock, Kind};

    fn device() -> Device {
        Device {
            name: "d".to_owned(),
            kind: Kind::Energy,
            seed: 1,
            start: Timestamp::from_nanos(1_000),
            period: Duration::from_nanos(100),
            jitter: 0.0,
            clock: Clock::Nanoseconds,
        }
    }

    fn send_all(outbox: &mut Outbox, now: i64) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Next::Send { seq, .. } = outbox.next(&device(), now) {
            outbox.sending(seq);
            sent.push(seq);
        }
        sent
    }

    #[test]
    fn sends_what_is_due_and_waits_for_the_rest() {
        let mut outbox = Outbox::new(10, None);
        assert_eq!(outbox.next(&device(), 999), Next::At(1_000));
        assert_eq!(send_all(&mut outbox, 1_150), [0, 1]);
        assert_eq!(outbox.next(&device(), 1_150), Next::At(1_200));
    }

    #[test]
    fn what_was_not_answered_goes_again_after_a_reconnect_oldest_first() {
        let mut outbox = Outbox::new(10, None);
        send_all(&mut outbox, 1_400);
        assert!(outbox.answered(2));
        assert!(!outbox.answered(2), "only once");
        outbox.retry(4);
        outbox.disconnected();
        assert_eq!(outbox.next(&device(), 0), Next::Send { seq: 0, again: true });
        assert_eq!(send_all(&mut outbox, 1_400), [0, 1, 3, 4]);
    }

    #[test]
    fn a_full_queue_measures_nothing_new_and_still_sends_again() {
        let mut outbox = Outbox::new(3, None);
        assert_eq!(send_all(&mut outbox, 9_000), [0, 1, 2]);
        assert_eq!(outbox.next(&device(), 9_000), Next::Full);
        outbox.retry(1);
        assert_eq!(outbox.next(&device(), 9_000), Next::Send { seq: 1, again: true });
        outbox.answered(1);
        assert_eq!(send_all(&mut outbox, 9_000), [3]);
    }

    #[test]
    fn is_finished_when_everything_was_answered() {
        let mut outbox = Outbox::new(10, Some(2));
        assert!(!outbox.is_finished());
        assert_eq!(send_all(&mut outbox, 9_000), [0, 1]);
        assert_eq!(outbox.next(&device(), 9_000), Next::Done);
        outbox.answered(0);
        assert!(!outbox.is_finished());
        outbox.answered(1);
        assert!(outbox.is_finished());
    }

    #[test]
    fn a_stopped_device_makes_nothing_new() {
        let mut outbox = Outbox::new(10, None);
        send_all(&mut outbox, 1_100);
        outbox.stop();
        assert_eq!(outbox.next(&device(), 9_000), Next::Done);
        outbox.disconnected();
        assert_eq!(send_all(&mut outbox, 9_000), [0, 1], "but sends what it owes");
    }
}
