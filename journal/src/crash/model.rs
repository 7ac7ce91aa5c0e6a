//! What must hold, whatever happens to the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::content::{self, FrameModel};
use crate::Books;
use crate::Fates;
use crate::Kind;
use crate::OutputId;
use crate::Recovery;
use crate::fetch::{Fetcher, Item};
use crate::restart::Restart;
use crate::shared::Shared;

#[expect(clippy::struct_excessive_bools, reason = "each weakens what must hold, or not")]
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The frames of every group that was tried, newest try last.
    tried: BTreeMap<u64, FrameModel>,
    /// Their sync returned: they must stay, or be named as lost.
    acknowledged: BTreeMap<u64, FrameModel>,
    outputs: BTreeMap<OutputId, Output>,
    /// Named as lost by recovery or a reader.
    lost: Vec<(u64, u64)>,
    /// A group of counts alone failed: nobody can tell whether it is there.
    counts_are_vague: bool,
    /// No bits flip and no sync fails during recovery: then everything is exact.
    strict: bool,
    /// Reads may fail, but nothing that was durable is damaged.
    loses_nothing: bool,
    /// A segment could not be read when the journal was opened: what is in it is not in the books.
    was_closed: bool,
}

#[derive(Debug, Default)]
struct Output {
    /// In any life.
    delivered: BTreeMap<u64, FrameModel>,
    confirmed: BTreeSet<u64>,
    /// In this life: handed out, and done with.
    handed: BTreeSet<u64>,
    done: BTreeSet<u64>,
    /// Counted as dropped; and confirmed all the same, later.
    dropped: BTreeSet<u64>,
    late: BTreeSet<u64>,
    /// In any life: a record that says so may be unreadable at one open, and not at the next.
    ever_dropped: BTreeSet<u64>,
}

impl Model {
    pub(super) fn new(strict: bool, loses_nothing: bool) -> Self {
        Self { strict, loses_nothing, ..Self::default() }
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    pub(super) fn try_group(&mut self, frames: &[(u64, FrameModel)]) -> Result<(), String> {
        let newest = self.acknowledged.last_key_value().map_or(0, |(seq, _)| *seq);
        for (seq, frame) in frames {
            if *seq <= newest {
                return Err(format!("frame {seq}: its number was acknowledged before"));
            }
            self.tried.insert(*seq, frame.clone());
        }
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, frames: Vec<(u64, FrameModel)>) {
        self.acknowledged.extend(frames);
    }

    pub(super) fn forget_counts(&mut self) {
        self.counts_are_vague = true;
    }

    pub(super) fn deliver(
        &mut self,
        output: &OutputId,
        seq: u64,
        frame: FrameModel,
    ) -> Result<(), String> {
        if let Some(acknowledged) = self.acknowledged.get(&seq)
            && !acknowledged.is_same(&frame)
        {
            return Err(format!("WRONG: frame {seq} was {acknowledged:?}, is {frame:?}"));
        }
        match self.tried.get(&seq) {
            Some(tried) if tried.is_same(&frame) => {}
            Some(_) if !self.strict => {}
            other => return Err(format!("PHANTOM: frame {seq} is {frame:?}, was {other:?}")),
        }
        let to = output;
        let output = self.outputs.entry(to.clone()).or_default();
        let newest = output.handed.last().copied().unwrap_or(0);
        if output.dropped.contains(&seq) {
            return Err(format!("{to}: frame {seq} comes though it was dropped"));
        }
        if output.done.contains(&seq) || (seq < newest && !output.handed.contains(&seq)) {
            return Err(format!("{to}: frame {seq} comes after {newest}, or though it is done"));
        }
        output.handed.insert(seq);
        output.delivered.insert(seq, frame);
        Ok(())
    }

    pub(super) fn confirm(&mut self, output: &OutputId, seq: u64) {
        let output = self.outputs.entry(output.clone()).or_default();
        output.confirmed.insert(seq);
        output.done.insert(seq);
        if output.dropped.contains(&seq) {
            output.late.insert(seq);
        }
    }

    /// The output moved from one low mark to another because the journal was full: how many
    /// readings that must have cost.
    pub(super) fn drop_upto(&mut self, id: &OutputId, before: u64, after: u64) -> u64 {
        let output = self.outputs.entry(id.clone()).or_default();
        let mut readings = 0;
        let behind = self.acknowledged.range(before + 1..).take_while(|(seq, _)| **seq <= after);
        for (seq, frame) in behind {
            if frame.is_for(id) && !output.done.contains(seq) {
                output.dropped.insert(*seq);
                output.ever_dropped.insert(*seq);
                output.late.remove(seq);
                readings += frame.readings;
            }
        }
        readings
    }

    /// Whether the frames of the group that a crash met are there: the model cannot know.
    pub(super) fn find_unsure(&mut self, shared: &Arc<Shared>) -> Result<(), String> {
        let Some(first) = self.first_unsure().filter(|_| self.strict) else {
            return Ok(());
        };
        for kind in [Kind::Data, Kind::Rejected] {
            let durable = shared.durable();
            let mut fetcher = Fetcher::new(Arc::clone(shared), kind, first, 0);
            while fetcher.next() <= durable {
                for item in fetcher.take_from_disk(durable) {
                    if let Item::Frame { seq, .. } = item {
                        self.found(seq)?;
                    }
                }
            }
        }
        self.forget_unsure();
        Ok(())
    }

    /// Tried, and found when the journal was opened: from now on it must stay.
    fn found(&mut self, seq: u64) -> Result<(), String> {
        let tried = self.tried.get(&seq).ok_or(format!("PHANTOM: frame {seq} was never tried"))?;
        self.acknowledged.insert(seq, tried.clone());
        Ok(())
    }

    /// The rest of what was tried is not there, and must not come.
    fn forget_unsure(&mut self) {
        self.tried.retain(|seq, _| self.acknowledged.contains_key(seq));
    }

    /// Frames of groups that failed and whose numbers are not used since.
    fn first_unsure(&self) -> Option<u64> {
        self.tried.keys().find(|seq| !self.acknowledged.contains_key(seq)).copied()
    }

    pub(super) fn opened(&mut self, report: &Recovery, shared: &Shared) -> Result<(), String> {
        self.lose(&report.corrupt)?;
        if self.strict && (!report.corrupt.is_empty() || !report.quarantined.is_empty()) {
            return Err(format!("damage where there is none: {report:?}"));
        }
        if self.strict && !report.closed.is_empty() {
            return Err(format!("segments that cannot be read: {report:?}"));
        }
        self.was_closed |= !report.closed.is_empty();
        let newest = self.acknowledged.last_key_value().map_or(0, |(seq, _)| *seq);
        if shared.durable() < newest && !self.is_lost(newest) {
            return Err(format!(
                "LOST: frame {newest}, the log goes on at {}",
                shared.durable() + 1
            ));
        }
        for position in shared.positions() {
            let (low, fates) = position.ledger(|ledger| (ledger.low, ledger.fates));
            if let Some(output) = self.outputs.get_mut(&position.id) {
                output.dropped.split_off(&(low + 1)); // Given up in memory only: they come again.
            }
            self.position(&position.id, low, &fates)?;
            self.state(&position.id, low, &position.ledger(|ledger| ledger.recorded()))?;
        }
        for output in self.outputs.values_mut() {
            output.handed.clear();
            output.done.clear();
        }
        Ok(())
    }

    /// A position never leads, and its fates are those of the frames up to it.
    fn position(&self, id: &OutputId, low: u64, fates: &Fates) -> Result<(), String> {
        let none = Output::default();
        let output = self.outputs.get(id).unwrap_or(&none);
        let (mut all, mut dropped, mut late) = (0, 0, 0);
        for (seq, frame) in self.acknowledged.range(..=low).filter(|(_, frame)| frame.is_for(id)) {
            all += frame.readings;
            if output.dropped.contains(seq) {
                dropped += frame.readings;
                late += if output.late.contains(seq) { frame.readings } else { 0 };
            } else if !output.confirmed.contains(seq)
                && !self.is_lost(*seq)
                && !self.is_excused(output, *seq)
            {
                return Err(format!("{id} leads: {low}, but frame {seq} is not confirmed"));
            }
        }
        // What was confirmed late may have been taken out of the count before the crash, or not.
        let counted = dropped - late..=dropped;
        if self.strict
            && (fates.total() != all || fates.quarantined > 0 || !counted.contains(&fates.dropped))
        {
            return Err(format!(
                "{id} at {low}: {fates:?}, of {all} readings, {counted:?} dropped"
            ));
        }
        Ok(())
    }

    /// A state is as of the position: nothing of this output's lies between its frame and there. What
    /// was lost, or given away, it has not seen; but then, if it was given away, it is not there.
    fn state(&self, id: &OutputId, low: u64, restart: &Restart) -> Result<(), String> {
        if restart.state.is_empty() {
            return Ok(());
        }
        let upto = content::state_of(&restart.state)?;
        if restart.is_cut || upto > low {
            return Err(format!("{id} has a state of {upto} at {low}: {restart:?}"));
        }
        let mut between = self.acknowledged.range(upto + 1..).take_while(|(seq, _)| **seq <= low);
        let dropped = self.outputs.get(id).map(|output| &output.ever_dropped);
        let is_gone = |seq| dropped.is_some_and(|it| it.contains(seq)) || self.is_lost(*seq);
        match between.find(|(seq, frame)| frame.is_for(id) && !is_gone(seq)) {
            Some((seq, _)) if self.strict => {
                Err(format!("{id}'s state of {upto} stands at {low}, and has not seen {seq}"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn gaps(&mut self, gaps: &[(u64, u64)]) -> Result<(), String> {
        self.lose(gaps)?;
        if self.strict && !gaps.is_empty() {
            return Err(format!("gaps where there are none: {gaps:?}"));
        }
        Ok(())
    }

    /// Numbers that were never used may be named as well: what is in a segment that cannot be read
    /// is not known.
    fn lose(&mut self, gaps: &[(u64, u64)]) -> Result<(), String> {
        for (first, last) in gaps {
            for (seq, frame) in self.acknowledged.range(*first..=*last) {
                let needs = |id: &&OutputId| {
                    let output = &self.outputs[*id];
                    frame.is_for(id)
                        && !output.confirmed.contains(seq)
                        && !output.dropped.contains(seq)
                        && !self.is_excused(output, *seq)
                };
                if self.loses_nothing && self.outputs.keys().any(|id| needs(&id)) {
                    return Err(format!("frame {seq} is named as lost, and is there"));
                }
            }
        }
        self.lost.extend(gaps);
        Ok(())
    }

    /// Everything was read to the end and confirmed.
    pub(super) fn finished(&self, shared: &Shared) -> Result<(), String> {
        for position in shared.positions() {
            let id = &position.id;
            let (low, (done, fates), base) =
                position.ledger(|ledger| (ledger.low, ledger.done(), ledger.base));
            let journaled = shared.books().books.of(position.kind);
            let durable = shared.durable();
            let is_balanced = self.was_closed || done + base == journaled;
            if low != durable || !is_balanced || fates.total() != done {
                return Err(format!(
                    "{id}: low {low} of {durable}, done {done} of {journaled}, {fates:?}"
                ));
            }
            let none = Output::default();
            let output = self.outputs.get(id).unwrap_or(&none);
            for (seq, frame) in &self.acknowledged {
                if frame.is_for(id)
                    && !output.delivered.contains_key(seq)
                    && !output.dropped.contains(seq)
                    && !self.is_lost(*seq)
                    && !self.is_excused(output, *seq)
                {
                    return Err(format!("LOST: {id} never had frame {seq} ({frame:?})"));
                }
            }
            self.position(id, low, &fates)?;
        }
        if self.strict && !self.counts_are_vague {
            self.books(&shared.books().books)
        } else {
            Ok(())
        }
    }

    /// The books are those of the frames that are there.
    fn books(&self, books: &Books) -> Result<(), String> {
        let mut expected = Books::default();
        let mut there: BTreeMap<_, _> =
            self.outputs.values().flat_map(|output| &output.delivered).collect();
        there.extend(&self.acknowledged);
        for (seq, frame) in there {
            let is_data =
                if frame.is_data { &mut expected.journaled } else { &mut expected.rejected };
            *is_data += frame.readings;
            if let Some(tried) = self.tried.get(seq) {
                expected.count(&tried.counts);
            }
        }
        if expected == *books { Ok(()) } else { Err(format!("{books:?}, not {expected:?}")) }
    }

    fn is_excused(&self, output: &Output, seq: u64) -> bool {
        // Bits that flip at the end of what could not be read at the open after it: see `tail`.
        let is_gap = self.was_closed && !self.loses_nothing;
        !self.strict && (is_gap || output.ever_dropped.contains(&seq))
    }

    fn is_lost(&self, seq: u64) -> bool {
        self.lost.iter().any(|(first, last)| (*first..=*last).contains(&seq))
    }
}

impl FrameModel {
    /// Counts alone are nobody's.
    fn is_for(&self, id: &OutputId) -> bool {
        self.is_data == (*id != OutputId::intake_dead()) && !self.ids.is_empty()
    }

    /// The counts are not handed out with a frame.
    fn is_same(&self, other: &Self) -> bool {
        (self.is_data, &self.ids, self.readings) == (other.is_data, &other.ids, other.readings)
    }
}
