//! One life of a journal, from an open to the next end: the parts that threads drive in earnest,
//! driven by hand.

use std::{collections::VecDeque, sync::Arc};

use super::content::{self, FrameModel};
use crate::Counts;
use crate::Fates;
use crate::Lease;
use crate::Mark;
use crate::OutputId;
use crate::Start;
use crate::Submission;
use crate::fetch::{Fetcher, Item};
use crate::group::{Encoder, Group};
use crate::keeper::Trouble;
use crate::ledger::Way;
use crate::log::Log;
use crate::open;
use crate::options::Limits;
use crate::position::Position;
use crate::reader;
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
}

impl Life {
    pub(super) fn new(shared: Arc<Shared>, limits: Limits, leaves_unclaimed: bool) -> Self {
        let mut outs = Vec::new();
        for id in OUTPUTS {
            let position =
                open::find_position(&shared, &OutputId::new(id).expect("legal"), Start::Oldest);
            if id != "cloud" || !leaves_unclaimed {
                position.take();
                let fetcher = reader::fetcher_at_low(&shared, &position);
                outs.push(Out { position, fetcher, ready: VecDeque::new(), leases: Vec::new() });
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
}

impl Out {
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
