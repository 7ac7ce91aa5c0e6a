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
//! Frames that only passed by (of another kind, or lost) change no state: a restart moves along with them.
//!
//! `drop-oldest` may take frames that were worked on after the state's own. What is open in that state
//! may be in the database already, more of it than could be made again: so the state goes, the record
//! says that there was one, and what only it held counts as dropped with the rest. The next checkpoint
//! puts that right; only a crash before it makes it true.
//!
//! Promises: a record never says a state with counts or a low mark of another frame; a checkpoint that
//! is given up never becomes a restart.

use std::sync::Arc;

use crate::position::Position;
use crate::receipt::Fates;
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
    /// There was a state, and frames that it should have seen are gone.
    pub(crate) is_cut: bool,
    /// Readings that were absorbed and are nowhere but in the state.
    held: u64,
    /// Readings that are counted as dropped in `at`, though the process still knows what they became.
    lost: u64,
    /// Nothing but frames that passed by came after `at`.
    is_next: bool,
}

/// A state that waits until what came before it is done with.
#[derive(Clone, Debug)]
struct Pending {
    upto: u64,
    is_confirmed: bool,
    /// Its place is known once everything up to `upto` is done with.
    is_placed: bool,
    restart: Restart,
}

/// The restarts of one output; `None` in `now` for one without a state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restarts {
    now: Option<Restart>,
    pending: Option<Pending>,
    taken: u64,
    /// So says the record that was found.
    was_cut: bool,
}

impl Restart {
    /// Of an output without a state.
    pub(crate) fn stateless(at: Counted, is_cut: bool) -> Self {
        Self { at, is_cut, ..Self::default() }
    }

    /// Everything up to `counted.low` is done with.
    fn advanced(&mut self, counted: Counted, has_passed_by: bool) {
        self.is_next &= has_passed_by;
        if self.is_next {
            self.put_at(counted);
        }
    }

    fn put_at(&mut self, counted: Counted) {
        self.at = counted;
        let fates = &mut self.at.fates;
        let lost = self.lost.min(fates.absorbed);
        fates.absorbed -= lost;
        fates.dropped += lost;
    }

    /// The state goes, and with it what was absorbed since, or before and not yet in the database.
    fn cut(&mut self, counted: Counted, number: u64) {
        let since = counted.fates.absorbed.saturating_sub(self.at.fates.absorbed);
        let lost = since.saturating_add(self.held);
        *self = Self { number, is_cut: true, is_next: true, lost, ..Self::default() };
        self.put_at(counted);
    }
}

impl Restarts {
    /// As it was found.
    pub(crate) fn found(at: Counted, state: Arc<[u8]>, was_cut: bool) -> Self {
        let mut restarts = Self { was_cut, ..Self::default() };
        if !state.is_empty() {
            restarts.hold(at, state, 0);
        }
        restarts
    }

    pub(crate) fn now(&self) -> Option<&Restart> {
        self.now.as_ref()
    }

    /// There was a state, and frames that it should have seen are gone.
    pub(crate) fn is_cut(&self) -> bool {
        self.now.as_ref().map_or(self.was_cut, |now| now.is_cut)
    }

    /// From now on only checkpoints move the position. `held`: readings that are nowhere but in the
    /// state.
    pub(crate) fn hold(&mut self, at: Counted, state: Arc<[u8]>, held: u64) {
        let is_cut = self.was_cut;
        let new = Restart { at, state, is_cut, is_next: true, ..Restart::default() };
        let now = self.now.get_or_insert(new);
        if !now.is_cut {
            now.held = held;
        }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Returns its number. One that still waits is given up for it.
    pub(crate) fn take(&mut self, upto: u64, state: Vec<u8>, held: u64, counted: Counted) -> u64 {
        self.taken += 1;
        let restart = Restart {
            at: counted,
            state: state.into(),
            number: self.taken,
            held,
            is_next: true,
            ..Restart::default()
        };
        let is_placed = counted.low >= upto;
        self.pending = Some(Pending { upto, is_confirmed: false, is_placed, restart });
        self.taken
    }

    /// Everything up to `counted.low` is done with, and nothing beyond was counted. Since the last
    /// time, frames only passed by, or this output got one.
    pub(crate) fn advanced(&mut self, counted: Counted, has_passed_by: bool) {
        if let Some(now) = &mut self.now {
            now.advanced(counted, has_passed_by);
        }
        if let Some(pending) = &mut self.pending {
            if pending.is_placed {
                pending.restart.advanced(counted, has_passed_by);
            } else if counted.low >= pending.upto {
                pending.is_placed = true;
                pending.restart.at = counted;
                self.promote();
            }
        }
    }

    /// All that came of what is before it is where it belongs; or not, and never will be.
    pub(crate) fn settle(&mut self, number: u64, is_confirmed: bool) {
        let is_it = |it: &&mut Pending| it.restart.number == number;
        let Some(pending) = self.pending.as_mut().filter(is_it) else { return };
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

    /// Whether the position stays behind `last` only until a checkpoint is done with.
    pub(crate) fn is_pending_upto(&self, last: u64, low: u64) -> bool {
        low >= last && self.now.as_ref().is_some_and(|now| now.at.low < last)
    }

    /// The output moved past `counted.low`, whatever was not done. Frames that were never handed out
    /// passed by: a state that has seen all before them is as good as it was. Any other has not seen
    /// what it should have.
    pub(crate) fn cut(&mut self, counted: Counted) {
        let is_behind = |restart: &Restart| restart.at.low < counted.low;
        if let Some(now) = self.now.as_mut().filter(|now| is_behind(now)) {
            self.taken += 1;
            now.cut(counted, self.taken);
        }
        _ = self.pending.take_if(|it| it.is_placed && is_behind(&it.restart));
    }

    /// What must not be: for a mutant.
    pub(crate) fn keep_across_a_gap(&mut self, state: Arc<[u8]>) {
        if let Some(now) = &mut self.now {
            (now.state, now.is_cut) = (state, false);
        }
    }

    fn promote(&mut self) {
        if let Some(ready) = self.pending.take_if(|it| it.is_confirmed && it.is_placed) {
            self.now = Some(ready.restart);
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
        restarts.hold(at(5), Arc::default(), 0);
        let number = restarts.take(7, vec![7], 0, at(6));
        restarts.settle(number, true);
        assert_eq!(low(&restarts), (5, vec![]));
        restarts.advanced(at(7), false);
        restarts.advanced(at(9), false);
        assert_eq!(low(&restarts), (7, vec![7]));

        let number = restarts.take(9, vec![9], 0, at(9));
        restarts.advanced(at(20), false);
        assert_eq!(low(&restarts), (7, vec![7]));
        restarts.settle(number, true);
        assert_eq!(low(&restarts), (9, vec![9]), "with the counts of its own frame");
    }

    #[test]
    fn what_is_given_up_never_becomes_one() {
        let mut restarts = Restarts::default();
        restarts.hold(at(0), vec![0].into(), 0);
        let number = restarts.take(3, vec![3], 0, at(1));
        restarts.settle(number, false);
        restarts.advanced(at(4), false);
        assert_eq!(low(&restarts), (0, vec![0]));

        let former = restarts.take(5, vec![5], 0, at(4));
        let number = restarts.take(6, vec![6], 0, at(4));
        restarts.settle(former, true);
        restarts.advanced(at(6), false);
        assert_eq!(low(&restarts), (0, vec![0]));
        restarts.settle(number, true);
        assert_eq!(low(&restarts), (6, vec![6]));
    }

    #[test]
    fn a_restart_moves_along_with_frames_that_only_pass_by() {
        let mut restarts = Restarts::default();
        restarts.hold(at(5), vec![5].into(), 0);
        restarts.advanced(at(9), true);
        assert_eq!(low(&restarts), (9, vec![5]));
        let number = restarts.take(11, vec![11], 0, at(9));
        restarts.advanced(at(11), false);
        restarts.advanced(at(15), true);
        assert_eq!(low(&restarts), (9, vec![5]), "frame 11 is not in that state");
        restarts.settle(number, true);
        assert_eq!(low(&restarts), (15, vec![11]));
        restarts.advanced(at(16), false);
        restarts.advanced(at(20), true);
        assert_eq!(low(&restarts), (15, vec![11]));
    }

    #[test]
    fn a_state_that_should_have_seen_what_is_gone_goes_and_what_it_held_counts_as_dropped() {
        let fates =
            |absorbed, dropped| Fates { confirmed: 1, absorbed, dropped, ..Fates::default() };
        let at = |low, fates| Counted { low, passed: 0, fates };
        let mut restarts = Restarts::default();
        restarts.hold(at(5, fates(10, 0)), vec![5].into(), 3);
        // Four more are absorbed by then, two dropped.
        restarts.cut(at(8, fates(14, 2)));
        let now = restarts.now().unwrap();
        assert_eq!((now.at, &*now.state), (at(8, fates(7, 9)), &[][..]));
        assert!(restarts.is_cut());
        restarts.advanced(at(9, fates(14, 3)), true);
        assert_eq!(restarts.now().unwrap().at, at(9, fates(7, 10)));
        restarts.advanced(at(10, fates(15, 3)), false);
        restarts.cut(at(11, fates(15, 5)));
        assert_eq!(restarts.now().unwrap().at, at(11, fates(7, 13)));
        // Nothing of that was lost without a crash.
        let number = restarts.take(12, vec![12], 2, at(12, fates(16, 5)));
        restarts.settle(number, true);
        assert_eq!(restarts.now().unwrap().at, at(12, fates(16, 5)));
        assert!(!restarts.is_cut());
    }

    #[test]
    fn a_state_that_has_seen_all_before_the_gap_stays() {
        let mut restarts = Restarts::default();
        restarts.hold(at(1), vec![1].into(), 0);
        let gap = |restarts: &mut Restarts, to| {
            restarts.advanced(at(to), true);
            restarts.cut(at(to));
        };
        gap(&mut restarts, 5);
        assert_eq!((low(&restarts), restarts.is_cut()), ((5, vec![1]), false));
        restarts.advanced(at(6), false);
        let number = restarts.take(6, vec![6], 0, at(6));
        gap(&mut restarts, 8);
        assert!(restarts.is_cut(), "the one that counts has not seen frame 6");
        restarts.settle(number, true);
        assert_eq!((low(&restarts), restarts.is_cut()), ((8, vec![6]), false));

        let number = restarts.take(9, vec![9], 0, at(8));
        restarts.advanced(at(9), false);
        restarts.advanced(at(10), false);
        gap(&mut restarts, 12);
        restarts.settle(number, true);
        assert!(restarts.is_cut(), "frame 10 came between");
        // One of a frame beyond the gap has its own place.
        let number = restarts.take(16, vec![16], 0, at(12));
        gap(&mut restarts, 14);
        restarts.settle(number, true);
        assert!(restarts.is_cut());
        restarts.advanced(at(16), false);
        assert_eq!(low(&restarts), (16, vec![16]));
    }
}
