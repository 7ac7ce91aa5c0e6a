//! Holds what a database has against what the ledger says.
//!
//! | verdict | means |
//! |---|---|
//! | LOST | acknowledged, not stored, and not accounted for by the caller |
//! | PHANTOM | stored, but never sent |
//! | WRONG | stored with another value, type or time than device and sequence number determine |
//! | duplicate | one reading stored as two points |
//!
//! A reading that was sent and never answered may be stored or not: both are right.

pub mod faulty;
pub mod file;
pub mod influx1;
#[cfg(feature = "verify")]
pub mod influx2;
mod lines;
mod verdict;

use std::collections::HashMap;

use proto::Value;

pub use verdict::{EXAMPLES_MAX, Finding, Verdict};

use crate::{ledger::Ledger, ranges::Ranges, signals::Device};

/// One point as a database gives it back: unique by series and time.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub measurement: String,
    /// The `device` tag; empty if it has none.
    pub device: String,
    /// Nanoseconds since the epoch.
    pub time: i64,
    pub fields: Vec<(String, Value)>,
}

/// What need not be in the database although it was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// By device: readings known by name, say from a dead-letter file.
    pub named: HashMap<String, Ranges>,
    /// Beyond those: readings known by number only, as the gateway's books have them (pending,
    /// dead, dropped, filtered, absorbed, quarantined).
    pub count: u64,
}

/// Compares all at once: for tests.
pub fn compare(ledger: &Ledger, rows: impl IntoIterator<Item = Row>, allowed: &Allowed) -> Verdict {
    let mut comparison = Comparison::new(ledger);
    for row in rows {
        comparison.row(&row);
    }
    comparison.finish(allowed)
}

/// Compares row by row: memory grows with the devices, not with the rows.
#[derive(Clone, Debug)]
pub struct Comparison {
    ledger: Ledger,
    /// By name: the device's place in the ledger.
    places: HashMap<String, usize>,
    /// By that place.
    stored: Vec<Ranges>,
    verdict: Verdict,
}

impl Comparison {
    pub fn new(ledger: &Ledger) -> Self {
        let places = ledger.devices().enumerate().map(|(i, d)| (d.name.clone(), i)).collect();
        let stored = vec![Ranges::new(); ledger.devices().len()];
        Self { ledger: ledger.clone(), places, stored, verdict: Verdict::default() }
    }

    pub fn knows(&self, device: &str) -> bool {
        self.places.contains_key(device)
    }

    /// What was found so far; whatever is not there is not missed yet.
    pub fn so_far(&self) -> &Verdict {
        &self.verdict
    }

    /// Takes one point of the database.
    pub fn row(&mut self, row: &Row) {
        let place = self.places.get(row.device.as_str());
        let known = place.and_then(|&index| Some((index, self.ledger.device(index)?)));
        let Some((index, device)) = known else {
            self.verdict.phantom(row, None, "no such device");
            return;
        };
        let Some(seq) = seq_of(row) else {
            self.verdict.wrong(row, None, "no sequence number".to_owned());
            return;
        };
        if !self.ledger.was_sent(index, seq) {
            self.verdict.phantom(row, Some(seq), "never sent");
            return;
        }
        self.verdict.stored += 1;
        if let Some(stored) = self.stored.get_mut(index)
            && !stored.insert(seq)
        {
            self.verdict.duplicate(row, seq);
        }
        if let Err(why) = check(device, seq, row) {
            self.verdict.wrong(row, Some(seq), why);
        }
    }

    pub fn finish(mut self, allowed: &Allowed) -> Verdict {
        let none = Ranges::new();
        for (index, device) in self.ledger.devices().enumerate() {
            let marks = self.ledger.marks(index);
            let stored = self.stored.get(index).unwrap_or(&none);
            let named = allowed.named.get(&device.name).unwrap_or(&none);
            self.verdict.sent += marks.sent.count();
            self.verdict.acknowledged += marks.acknowledged.count();
            let missing = marks.acknowledged.without(stored);
            let unexplained = missing.without(named);
            self.verdict.missing += missing.count();
            self.verdict.lost(device, &unexplained);
        }
        self.verdict.allow(allowed.count);
        self.verdict
    }
}

fn seq_of(row: &Row) -> Option<u64> {
    match row.fields.iter().find(|(name, _)| name == "seq")? {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked: whole, not negative, below 2^53"
        )]
        (_, Value::Float(seq)) => {
            (seq.fract() == 0.0 && (0.0..9e15).contains(seq)).then_some(*seq as u64)
        }
        (_, Value::Signed(seq)) => u64::try_from(*seq).ok(),
        (_, Value::Unsigned(seq)) => Some(*seq),
        _ => None,
    }
}

/// Says what differs from what the device must have measured.
fn check(device: &Device, seq: u64, row: &Row) -> Result<(), String> {
    if row.measurement != device.kind.measurement() {
        return Err(format!("measurement {:?}", row.measurement));
    }
    let time = device.time(seq).nanos();
    if row.time != time {
        return Err(format!("time {} instead of {time}", row.time));
    }
    let expected = device.fields(seq);
    for (name, value) in &expected {
        match row.fields.iter().find(|(stored, _)| stored == name) {
            None => return Err(format!("field {name} is missing")),
            Some((_, stored)) if stored != value => {
                return Err(format!("field {name} is {stored:?} instead of {value:?}"));
            }
            Some(_) => {}
        }
    }
    match row.fields.iter().find(|(stored, _)| !expected.iter().any(|(name, _)| name == stored)) {
        Some((name, _)) => Err(format!("field {name} was never sent")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
