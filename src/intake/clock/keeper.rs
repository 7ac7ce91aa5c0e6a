//! From when on the clock is believed, and what is decided of the stamps before. Pure: looks at the
//! clocks are passed in, changes of what must be durable are handed out.
//!
//! ```text
//!              not believed                                believed
//!  start ----> provisional: time runs by itself, ------->  the wall clock; the epoch's correction is
//!                 an epoch of this boot                    decided: wall clock - provisional time
//!                 | `clock_wait` is over                     ^
//!                 +--> given up: the epoch goes on, unsure --+  (nothing is corrected any more)
//! ```
//! Once believed a clock is believed until the process ends, and what was learnt is known to the next
//! process of the same boot. An epoch of another boot cannot be corrected: nothing tells how long the
//! machine was off.

use std::time::Duration;

use journal::Epoch;
use journal::clock::{BELIEVED, EPOCH_MIN, Fate, UNSURE};
use proto::Timestamp;

use super::judge::{Believe, Doubt, Evidence, Known, Seen, judge};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub believe: Believe,
    /// How long readings wait for the right time.
    pub clock_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { believe: Believe::Auto, clock_wait: Duration::from_mins(10) }
    }
}

/// What must be durable before anything relies on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An epoch begins, or goes on after a restart.
    Begin(Epoch),
    Decide {
        epoch: u32,
        fate: Fate,
    },
    /// What the right time is in this boot. What is known of another is of no use any more.
    Right {
        boot: [u8; 16],
        offset_ns: i64,
    },
}

impl Change {
    pub fn apply(&self, epochs: &mut Vec<Epoch>) {
        match *self {
            Self::Begin(mut epoch) => {
                epoch.go_on();
                match epochs.iter_mut().find(|known| known.id == epoch.id) {
                    Some(known) => known.go_on(),
                    None => epochs.push(epoch),
                }
            }
            Self::Decide { epoch, fate } => {
                // What was decided once holds for ever.
                let waits = |known: &&mut Epoch| known.id == epoch && known.fate == Fate::Waiting;
                if let Some(known) = epochs.iter_mut().find(waits) {
                    known.fate = fate;
                }
            }
            Self::Right { boot, offset_ns } => {
                epochs.retain(|known| known.id != BELIEVED);
                let mut right = Epoch::new(BELIEVED, boot, offset_ns, 0);
                right.fate = Fate::Corrected(0);
                epochs.push(right);
            }
        }
    }
}

/// Where stamps come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Wall,
    /// The time since boot plus `offset_ns`.
    Running {
        epoch: u32,
        offset_ns: i64,
    },
}

/// For a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Believed(Evidence),
    Waiting { doubt: Doubt, left: Duration },
    GivenUp { doubt: Doubt },
}

#[derive(Debug)]
pub struct Keeper {
    limits: Limits,
    boot: [u8; 16],
    known: Known,
    state: State,
    /// Of the time before the clock was believed.
    epoch: Option<Epoch>,
    /// It is on the disk, so frames may name it.
    has_begun: bool,
    pending: Vec<Change>,
}

impl Keeper {
    /// `known`: the journal's epochs. `new_id`: for an epoch, if one is needed; taken by none of them.
    pub fn start(
        limits: Limits,
        boot: [u8; 16],
        last_begun: Option<Timestamp>,
        known: &[Epoch],
        new_id: u32,
        seen: &Seen,
    ) -> Self {
        let here = || known.iter().filter(|epoch| epoch.boot == boot);
        let offset_ns = here().rev().find_map(Epoch::right_offset_ns);
        let others = known.iter().filter(|epoch| epoch.boot != boot && epoch.fate == Fate::Waiting);
        let pending = others.map(|epoch| Change::Decide { epoch: epoch.id, fate: Fate::Unsure });
        let open =
            |epoch: &&Epoch| epoch.id >= EPOCH_MIN && !matches!(epoch.fate, Fate::Corrected(_));
        let mut keeper = Self {
            limits,
            boot,
            known: Known { last_begun, offset_ns },
            state: State::GivenUp { doubt: Doubt::NotSet },
            epoch: here().rfind(open).copied(),
            has_begun: false,
            pending: pending.collect(),
        };
        match judge(limits.believe, seen, &keeper.known) {
            Ok(evidence) => keeper.believe(evidence, seen),
            Err(doubt) => {
                let offset_ns = offset_ns.unwrap_or_else(|| seen.offset_ns());
                let new = Epoch::new(new_id, boot, offset_ns, seen.running_ns);
                let epoch = *keeper.epoch.get_or_insert(new);
                keeper.pending.push(Change::Begin(epoch));
                keeper.doubt(doubt, seen);
            }
        }
        keeper
    }

    /// Looks again; every second or so.
    pub fn look(&mut self, seen: &Seen) {
        if matches!(self.state, State::Believed(_)) {
            return;
        }
        match judge(self.limits.believe, seen, &self.known) {
            Ok(evidence) => self.believe(evidence, seen),
            Err(doubt) => self.doubt(doubt, seen),
        }
    }

    /// What must be made durable, in this order, and then be confirmed by [`Self::written`].
    pub fn pending(&self) -> &[Change] {
        &self.pending
    }

    /// All that was pending is durable.
    pub fn written(&mut self) {
        self.has_begun |= self.pending.iter().any(|change| matches!(change, Change::Begin(_)));
        self.pending.clear();
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn mode(&self) -> Mode {
        match (self.state, self.epoch) {
            (State::Believed(_), _) | (_, None) => Mode::Wall,
            (_, Some(Epoch { id, offset_ns, .. })) => {
                // One that cannot be kept cannot be corrected.
                let epoch = if self.has_begun { id } else { UNSURE };
                Mode::Running { epoch, offset_ns }
            }
        }
    }

    fn believe(&mut self, evidence: Evidence, seen: &Seen) {
        self.state = State::Believed(evidence);
        // No frame names it.
        self.pending.retain(|change| !matches!(change, Change::Begin(_)));
        let corrected = self.epoch.filter(|epoch| epoch.fate == Fate::Waiting);
        if let Some(epoch) = corrected {
            let by = seen.offset_ns().saturating_sub(epoch.offset_ns);
            self.decide(epoch.id, Fate::Corrected(by));
        }
        // The kernel's word is taken back when the network is gone for hours.
        let is_taken_back = evidence == Evidence::Synchronised && !seen.vouchers.has_battery();
        let may_go = is_taken_back || corrected.is_some();
        if may_go && self.known.offset_ns.is_none() {
            self.pending.push(Change::Right { boot: self.boot, offset_ns: seen.offset_ns() });
        }
    }

    fn doubt(&mut self, doubt: Doubt, seen: &Seen) {
        let Some(epoch) = self.epoch else { return };
        let waited = seen.running_ns.saturating_sub(epoch.began_ns);
        let waited = Duration::from_nanos(u64::try_from(waited).unwrap_or(0));
        self.state = match self.limits.clock_wait.checked_sub(waited) {
            Some(left) if epoch.fate == Fate::Waiting && !left.is_zero() => {
                State::Waiting { doubt, left }
            }
            _ => {
                self.decide(epoch.id, Fate::Unsure);
                State::GivenUp { doubt }
            }
        };
    }

    fn decide(&mut self, epoch: u32, fate: Fate) {
        match &mut self.epoch {
            Some(own) if own.id == epoch && own.fate == Fate::Waiting => own.fate = fate,
            _ => return,
        }
        self.pending.push(Change::Decide { epoch, fate });
    }
}

#[cfg(test)]
mod tests;
