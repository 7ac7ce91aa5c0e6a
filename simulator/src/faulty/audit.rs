//! Holds points against ledgers as they are written, and keeps none: memory grows with the devices,
//! not with the points.
//!
//! Types are not compared with each other as a store does: each value is held against the one that
//! its device and sequence number determine, and so is its type.

use super::line::Point;
use crate::{
    ledger::Ledger,
    verify::{Allowed, Comparison, Row, Verdict},
};

/// The gateway asks with it whether the database takes anything; it is no reading.
const PROBE: &str = "tidegate_probe";

#[derive(Debug, Default)]
pub(super) struct Audit {
    comparisons: Vec<Comparison>,
}

/// What came of one ledger's readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Each counted once.
    pub readings: u64,
    /// Points of readings that had come before.
    pub again: u64,
}

impl Audit {
    pub(super) fn add(&mut self, ledger: &Ledger) {
        self.comparisons.push(Comparison::new(ledger));
    }

    pub(super) fn point(&mut self, point: &Point, time: i64) {
        if point.measurement == PROBE {
            return;
        }
        let device = point.tags.iter().find(|(key, _)| key == "device");
        let device = device.map_or("", |(_, value)| value);
        // Nobody's is a phantom to the first.
        let its = self.comparisons.iter().position(|one| one.knows(device)).unwrap_or(0);
        if let Some(comparison) = self.comparisons.get_mut(its) {
            comparison.row(&Row {
                measurement: point.measurement.clone(),
                device: device.to_owned(),
                time,
                fields: point.fields.clone(),
            });
        }
    }

    pub(super) fn so_far(&self) -> Vec<Audited> {
        let one = |comparison: &Comparison| {
            let verdict = comparison.so_far();
            let again = verdict.duplicates;
            Audited { readings: verdict.stored - again, again }
        };
        self.comparisons.iter().map(one).collect()
    }

    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        self.comparisons.iter().map(|one| one.clone().finish(&Allowed::default())).collect()
    }
}
