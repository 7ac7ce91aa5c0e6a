//! What an output says of a frame that was lent to it.
//!
//! Promises: a receipt that is dropped makes the frame come again; a frame is done with when every
//! share of its receipt has confirmed.

use std::sync::{Arc, Mutex, atomic::Ordering};

use crate::Kind;
use crate::position::Position;
use crate::shared::{Shared, lock};

/// What became of a lease's readings; an output's books in input readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    pub confirmed: u64,
    pub dead: u64,
    pub dropped: u64,
    pub filtered: u64,
    pub absorbed: u64,
    pub quarantined: u64,
}

/// The right and the duty to say that a lease is done with. Dropped: the frame comes again (the
/// reader goes back to it). Shared: every share must confirm, and their fates add up to the
/// frame's readings; if one is dropped, what the others said is void, as the whole frame comes
/// again.
#[derive(Debug)]
#[must_use = "dropping a receipt means the frame is handed out again"]
pub struct Receipt {
    loan: Arc<Loan>,
    confirmed: bool,
}

/// What the shares of one receipt have in common; settles when the last one goes.
#[derive(Debug)]
struct Loan {
    shared: Arc<Shared>,
    position: Arc<Position>,
    seq: u64,
    outcome: Mutex<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    fates: Fates,
    given_up: bool,
}

impl Receipt {
    pub(crate) fn new(shared: Arc<Shared>, position: Arc<Position>, seq: u64) -> Self {
        let loan = Loan { shared, position, seq, outcome: Mutex::default() };
        Self { loan: Arc::new(loan), confirmed: false }
    }

    pub fn share(&self) -> Self {
        Self { loan: Arc::clone(&self.loan), confirmed: false }
    }

    /// This share's readings are done with, in these ways.
    pub fn confirm(mut self, fates: &Fates) {
        self.confirmed = true;
        lock(&self.loan.outcome).fates.add(fates);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.confirmed {
            lock(&self.loan.outcome).given_up = true;
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let outcome = lock(&self.outcome);
        let fates = (!outcome.given_up).then_some(outcome.fates);
        self.position.settle(self.seq, fates);
        // The rejects' reader may be at work before every output has asked for its own.
        if self.position.kind == Kind::Data {
            self.shared.in_use.store(true, Ordering::Release);
        }
        if self.position.is_pressing() || self.shared.desk.is_wanted() {
            self.shared.desk.nudge();
        }
    }
}

impl Fates {
    /// Readings in all.
    pub fn total(&self) -> u64 {
        self.confirmed + self.dead + self.dropped + self.filtered + self.absorbed + self.quarantined
    }

    pub fn add(&mut self, other: &Self) {
        self.confirmed += other.confirmed;
        self.dead += other.dead;
        self.dropped += other.dropped;
        self.filtered += other.filtered;
        self.absorbed += other.absorbed;
        self.quarantined += other.quarantined;
    }
}
