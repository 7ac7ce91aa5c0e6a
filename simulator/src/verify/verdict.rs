//! The outcome of a comparison: counts, and a few examples of each kind of fault.

use std::fmt;

use super::Row;
use crate::{ranges::Ranges, signals::Device};

/// Examples kept of each kind of fault; all are counted.
pub const EXAMPLES_MAX: usize = 10;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Readings in the ledger.
    pub sent: u64,
    pub acknowledged: u64,
    /// Points in the database that belong to readings that were sent, duplicates included.
    pub stored: u64,
    /// Acknowledged and not stored, accounted for or not.
    pub missing: u64,
    pub lost: u64,
    pub phantom: u64,
    pub wrong: u64,
    pub duplicates: u64,
    pub lost_examples: Vec<Finding>,
    pub phantom_examples: Vec<Finding>,
    pub wrong_examples: Vec<Finding>,
    pub duplicate_examples: Vec<Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub device: String,
    pub seq: Option<u64>,
    /// Nanoseconds since the epoch, as stored (or, if lost, as sent).
    pub time: i64,
    pub what: String,
}

impl Verdict {
    /// Nothing lost, nothing invented, nothing changed, nothing twice.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.phantom == 0 && self.wrong == 0 && self.duplicates == 0
    }

    /// The same, but one reading may be several points: its sender does not mark its resends.
    pub fn is_clean_but_for_duplicates(&self) -> bool {
        self.lost == 0 && self.phantom == 0 && self.wrong == 0
    }

    pub(super) fn phantom(&mut self, row: &Row, seq: Option<u64>, what: &str) {
        self.phantom += 1;
        keep(&mut self.phantom_examples, || Finding::of(row, seq, what.to_owned()));
    }

    pub(super) fn wrong(&mut self, row: &Row, seq: Option<u64>, what: String) {
        self.wrong += 1;
        keep(&mut self.wrong_examples, || Finding::of(row, seq, what));
    }

    pub(super) fn duplicate(&mut self, row: &Row, seq: u64) {
        self.duplicates += 1;
        keep(&mut self.duplicate_examples, || Finding::of(row, Some(seq), "once more".to_owned()));
    }

    pub(super) fn lost(&mut self, device: &Device, seqs: &Ranges) {
        self.lost += seqs.count();
        for seq in seqs.iter().take(EXAMPLES_MAX) {
            keep(&mut self.lost_examples, || Finding {
                device: device.name.clone(),
                seq: Some(seq),
                time: device.time(seq).nanos(),
                what: "acknowledged, not stored".to_owned(),
            });
        }
    }

    pub(super) fn allow(&mut self, count: u64) {
        self.lost = self.lost.saturating_sub(count);
        if self.lost == 0 {
            self.lost_examples.clear();
        }
    }
}

impl Finding {
    fn of(row: &Row, seq: Option<u64>, what: String) -> Self {
        Self { device: row.device.clone(), seq, time: row.time, what }
    }
}

fn keep(examples: &mut Vec<Finding>, finding: impl FnOnce() -> Finding) {
    if examples.len() < EXAMPLES_MAX {
        examples.push(finding());
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sent {}  acknowledged {}", self.sent, self.acknowledged)?;
        writeln!(f, "stored {}  missing {}", self.stored, self.missing)?;
        for (name, count, examples) in [
            ("LOST", self.lost, &self.lost_examples),
            ("PHANTOM", self.phantom, &self.phantom_examples),
            ("WRONG", self.wrong, &self.wrong_examples),
            ("duplicates", self.duplicates, &self.duplicate_examples),
        ] {
            writeln!(f, "{name:<11}{count}")?;
            for example in examples {
                writeln!(f, "    {example}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, time, what, .. } = self;
        match self.seq {
            Some(seq) => write!(f, "{device} seq {seq} at {time}: {what}"),
            None => write!(f, "{device:?} at {time}: {what}"),
        }
    }
}
