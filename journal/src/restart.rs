//! Where an output with a state goes on after a crash: a frame, the counts as of it, and the state
//! as of it.
//!
//! ```text
//!  restart          checkpoint taken           low (everything up to here is done with)
//!     |  S1, state 1     |  S2, state 2           |
//!  ---+------------------+------------------------+----->
//!     ^ on the disk; what is above it is kept     as soon as `low` has passed S2, and all that came of
//!                                                 frames up to S2 is confirmed: the restart moves to S2
//! ```
//! Promises: a record never says a state with counts or a low mark of another frame; a checkpoint that
//! is given up, or overtaken by `drop-oldest`, never becomes a restart.

use std::sync::Arc;

use crate::position::Position;
use crate::reader::Fates;
use crate::shared::Shared;

/// The counts as of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) low: u64,
    /// Readings of this output's frames up to there, and what became of them.
    pub(crate) passed: u64,
    pub(crate) fates: Fates,
}

/// What a record says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restart {
    pub(crate) at: Counted,
    pub(crate) state: Arc<[u8]>,
    /// Tells it from the one before at the same frame.
    pub(crate) number: u64,
}

/// A state that waits until what came before it is done with.
#[derive(Clone, Debug)]
struct Pending {
    upto: u64,
    /// Once everything up to there is done with.
    at: Option<Counted>,
    is_confirmed: bool,
    state: Arc<[u8]>,
    number: u64,
}

/// The restarts of one output; `None` in `now` for one without a state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restarts {
    now: Option<Restart>,
    pending: Option<Pending>,
    taken: u64,
}

impl Restarts {
    pub(crate) fn now(&self) -> Option<&Restart> {
        self.now.as_ref()
    }

    /// From now on only checkpoints move the position.
    pub(crate) fn hold(&mut self, at: Counted, state: Arc<[u8]>) {
        self.now.get_or_insert(Restart { at, state, number: 0 });
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Returns its number. One that still waits is given up for it.
    pub(crate) fn take(&mut self, upto: u64, state: Vec<u8>, counted: Counted) -> u64 {
        self.taken += 1;
        let (state, number) = (state.into(), self.taken);
        self.pending = Some(Pending { upto, at: None, is_confirmed: false, state, number });
        self.advanced(counted);
        number
    }

    /// Everything up to `counted.low` is done with, and nothing beyond was counted.
    pub(crate) fn advanced(&mut self, counted: Counted) {
        if let Some(pending) = &mut self.pending
            && pending.at.is_none()
            && counted.low >= pending.upto
        {
            pending.at = Some(counted);
            self.promote();
        }
    }

    /// All that came of what is before it is where it belongs; or not, and never will be.
    pub(crate) fn settle(&mut self, number: u64, is_confirmed: bool) {
        let Some(pending) = self.pending.as_mut().filter(|it| it.number == number) else { return };
        if is_confirmed {
            pending.is_confirmed = true;
            self.promote();
        } else {
            self.pending = None;
        }
    }

    pub(crate) fn give_up_pending(&mut self) {
        self.pending = None;
    }

    /// The output moved past `counted.low`, whatever was not done.
    pub(crate) fn cut(&mut self, counted: Counted) {
        if let Some(now) = self.now.as_mut().filter(|now| now.at.low < counted.low) {
            self.taken += 1;
            (now.at, now.number) = (counted, self.taken);
        }
        self.pending = self.pending.take().filter(|pending| pending.upto > counted.low);
    }

    fn promote(&mut self) {
        let ready = self.pending.take_if(|it| it.is_confirmed && it.at.is_some());
        if let Some(Pending { at: Some(at), state, number, .. }) = ready {
            self.now = Some(Restart { at, state, number });
        }
    }
}

/// A state that was handed to the journal. Confirmed, it is where the output goes on after a crash,
/// once every frame up to its own is done with. Dropped, it is forgotten.
#[derive(Debug)]
#[must_use = "dropping a checkpoint forgets it"]
pub struct Checkpoint {
    shared: Arc<Shared>,
    position: Arc<Position>,
    number: u64,
    confirmed: bool,
}

impl Checkpoint {
    pub(crate) fn new(shared: Arc<Shared>, position: Arc<Position>, number: u64) -> Self {
        Self { shared, position, number, confirmed: false }
    }

    /// Everything that came of frames up to its own, beside what their receipts confirm, is where it
    /// belongs.
    pub fn confirm(mut self) {
        self.confirmed = true;
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        self.position.ledger(|ledger| ledger.restarts.settle(self.number, self.confirmed));
        if self.shared.desk.is_wanted() {
            self.shared.desk.nudge();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(low: u64) -> Counted {
        Counted { low, passed: low, fates: Fates { confirmed: low, ..Fates::default() } }
    }

    fn low(restarts: &Restarts) -> (u64, Vec<u8>) {
        let now = restarts.now().unwrap();
        assert_eq!(now.at, at(now.at.low));
        (now.at.low, now.state.to_vec())
    }

    #[test]
    fn a_state_becomes_the_restart_when_both_are_done_in_either_order() {
        let mut restarts = Restarts::default();
        restarts.hold(at(5), Arc::default());
        let number = restarts.take(7, vec![7], at(6));
        restarts.settle(number, true);
        assert_eq!(low(&restarts), (5, vec![]));
        restarts.advanced(at(7));
        restarts.advanced(at(9));
        assert_eq!(low(&restarts), (7, vec![7]));

        let number = restarts.take(9, vec![9], at(9));
        restarts.advanced(at(20));
        assert_eq!(low(&restarts), (7, vec![7]));
        restarts.settle(number, true);
        assert_eq!(low(&restarts), (9, vec![9]), "with the counts of its own frame");
    }

    #[test]
    fn what_is_given_up_or_overtaken_never_becomes_one() {
        let mut restarts = Restarts::default();
        restarts.hold(at(0), vec![0].into());
        let number = restarts.take(3, vec![3], at(1));
        restarts.settle(number, false);
        restarts.advanced(at(4));
        assert_eq!(low(&restarts), (0, vec![0]));

        let former = restarts.take(5, vec![5], at(4));
        let number = restarts.take(6, vec![6], at(4));
        restarts.settle(former, true);
        restarts.advanced(at(6));
        assert_eq!(low(&restarts), (0, vec![0]));
        restarts.cut(at(8));
        restarts.settle(number, true);
        assert_eq!(low(&restarts), (8, vec![0]), "past what was dropped, with what it knew");
    }
}
