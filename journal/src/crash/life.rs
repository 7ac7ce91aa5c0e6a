//! One life of a journal, from an open to the next end: the parts that threads drive in earnest,
//! driven by hand.

use std::{collections::VecDeque, sync::Arc};

use super::content::{self, FrameModel};
use super::faults::Plan;
use crate::Checkpoint;
use crate::Counts;
use crate::Fates;
use crate::Lease;
use crate::Mark;
use crate::OutputId;
use crate::Start;
use crate::Submission;
use crate::fetch::{Fetcher, Item};
use crate::group::{self, Encoder, Group};
use crate::keeper::Trouble;
use crate::ledger::Way;
use crate::log::Log;
use crate::open;
use crate::options::Limits;
use crate::position::Position;
use crate::reader;
use crate::restart::Restart;
use crate::shared::Shared;

const OUTPUTS: [&str; 3] = ["home", "cloud", "intake-dead"];

/// From an open to the next end.
pub(super) struct Life {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Log,
    pub(super) encoder: Encoder,
    pub(super) queue: Vec<Submission>,
    pub(super) group: Group,
    /// The group's frames while it is not durable.
    pub(super) trying: Option<Vec<(u64, FrameModel)>>,
    pub(super) mark: Mark,
    pub(super) last_ticket: u64,
    pub(super) outs: Vec<Out>,
    pub(super) trouble: Trouble,
}

pub(super) struct Out {
    pub(super) position: Arc<Position>,
    pub(super) fetcher: Fetcher,
    pub(super) ready: VecDeque<Item>,
    pub(super) leases: Vec<Lease>,
    /// What it has worked on, and the checkpoints that wait. `None`: it keeps no state.
    pub(super) state: Option<State>,
}

/// An output's state: the frame that it is of.
#[derive(Default)]
pub(super) struct State {
    pub(super) upto: u64,
    pub(super) waiting: Vec<Checkpoint>,
}

impl Life {
    pub(super) fn new(shared: Arc<Shared>, limits: Limits, plan: &Plan, unclaimed: bool) -> Self {
        let mut outs = Vec::new();
        for id in OUTPUTS {
            let position =
                open::find_position(&shared, &OutputId::new(id).expect("legal"), Start::Oldest);
            if id != "cloud" || !unclaimed {
                position.take();
                let fetcher = reader::fetcher_at_low(&shared, &position);
                let mut out = Out::new(position, fetcher);
                if id == "home" && plan.keeps_state {
                    out.keep_state();
                }
                outs.push(out);
            }
        }
        Self {
            log: Log::new(Arc::clone(&shared)),
            encoder: Encoder::new(limits).expect("zstd"),
            queue: Vec::new(),
            group: Group::default(),
            trying: None,
            mark: Mark::new(),
            last_ticket: 0,
            outs,
            trouble: Trouble::default(),
            shared,
        }
    }

    /// What the writer's queue hands over at once: up to `bytes_max`, or one submission.
    pub(super) fn drain(&mut self, bytes_max: usize) -> Vec<Submission> {
        let mut taken = 0;
        let fits = |submission: &&Submission| {
            let is_first = taken == 0;
            taken += group::cost(submission);
            is_first || taken <= bytes_max
        };
        let count = self.queue.iter().take_while(fits).count();
        self.queue.drain(..count).collect()
    }
}

impl Out {
    fn new(position: Arc<Position>, fetcher: Fetcher) -> Self {
        Self { position, fetcher, ready: VecDeque::new(), leases: Vec::new(), state: None }
    }

    /// As [`crate::Reader::keep_state`].
    fn keep_state(&mut self) {
        self.position.ledger(|ledger| {
            let Restart { at, state, .. } = ledger.recorded();
            ledger.restarts.hold(at, state, 0);
        });
        self.state = Some(State::default());
    }

    /// As [`crate::Reader::checkpoint`], of the last frame that was handed out.
    pub(super) fn checkpoint(&mut self, shared: &Arc<Shared>) {
        let Some(state) = self.state.as_mut().filter(|state| state.upto > 0) else { return };
        let bytes = content::state(state.upto);
        let number = self.position.ledger(|ledger| {
            let counted = ledger.counted();
            ledger.restarts.take(state.upto, bytes, 0, counted)
        });
        let position = Arc::clone(&self.position);
        state.waiting.push(Checkpoint::new(Arc::clone(shared), position, number));
    }

    pub(super) fn work_on(&mut self, seq: u64) {
        if let Some(state) = &mut self.state {
            state.upto = state.upto.max(seq);
        }
    }

    /// Those that wait.
    pub(super) fn checkpoints(&mut self) -> Vec<Checkpoint> {
        self.state.as_mut().map(|state| std::mem::take(&mut state.waiting)).unwrap_or_default()
    }

    /// As [`crate::Reader::next`], without waiting.
    pub(super) fn next(&mut self, shared: &Arc<Shared>) -> Option<Lease> {
        loop {
            let way = self.position.ledger(|ledger| ledger.take_way(self.fetcher.next()));
            if way != Way::default() {
                self.ready.clear();
                self.fetcher.go(&way);
            }
            while let Some(item) = self.ready.pop_front() {
                if let Some(lease) = reader::apply(shared, &self.position, item) {
                    return Some(lease);
                }
            }
            let durable = shared.durable();
            if self.fetcher.next() > durable {
                return None;
            }
            self.ready.extend(self.fetcher.take_from_memory(durable));
            if self.ready.is_empty() {
                self.ready.extend(self.fetcher.take_from_disk(durable));
            }
            if self.ready.is_empty() {
                return None;
            }
        }
    }
}

pub(super) fn frames_of(group: &Group) -> Result<Vec<(u64, FrameModel)>, String> {
    let mut frames = Vec::new();
    for frame in &group.frames {
        let mut model = content::read(&frame.frame)?;
        model.counts = if frames.is_empty() { group.counts } else { Counts::default() };
        frames.push((frame.seq, model));
    }
    Ok(frames)
}

pub(super) fn confirm(lease: Lease, shared: bool) {
    let all = u64::from(lease.frame.readings);
    let dead = if shared { all / 2 } else { 0 };
    if dead > 0 {
        lease.receipt.share().confirm(&Fates { dead, ..Fates::default() });
    }
    lease.receipt.confirm(&Fates { confirmed: all - dead, ..Fates::default() });
}
