//! The positions: the newest valid record of each output.
//!
//! It is written again before it counts as on the disk: after a sync that failed, in a process that
//! was killed, it may be in the page cache only, and called clean. A crash meanwhile leaves the
//! other record, and nothing was freed since that one was the newest.

use std::{collections::BTreeMap, io, sync::Arc};

use tracing::{error, warn};

use super::Marks;
use crate::Kind;
use crate::OutputId;
use crate::care::Care;
use crate::catalog::{Begin, Place};
use crate::disk::{Disk, Entry};
use crate::ledger::Ledger;
use crate::options::Limits;
use crate::position::{self, Position, PositionAlarm, Read, Slots, record::Parsed, record::Record};
use crate::receipt::Fates;
use crate::restart::Restarts;
use crate::segment;

/// What an output has on the disk, by slot.
pub(super) type Records = BTreeMap<OutputId, [Option<Read>; 2]>;

pub(super) fn read(disk: &dyn Disk, entries: &[Entry]) -> io::Result<Records> {
    let mut records = Records::new();
    for id in entries.iter().filter_map(|entry| position::id_of(&entry.name)) {
        if records.contains_key(&id) {
            continue;
        }
        let [first, second] = [0, 1].map(|slot| position::read_slot(disk, id.as_str(), slot));
        records.insert(id, [first?, second?]);
    }
    Ok(records)
}

/// For a journal without a segment that tells it.
pub(super) fn journal_id(records: &Records) -> Option<[u8; 16]> {
    records.values().flatten().flatten().find_map(|read| match &read.parsed {
        Parsed::Valid(record) => Some(record.journal).filter(|id| *id != segment::NAMELESS),
        Parsed::Newer { .. } | Parsed::Damaged => None,
    })
}

pub(super) fn marks(records: &Records, journal: [u8; 16]) -> Marks {
    let mut marks = Marks { highest: 0, durable: 0, lowest: u64::MAX };
    for slots in records.values() {
        let (low, hint) = match newest(slots, journal) {
            Newest::Ours(record) => (record.low, record.hint),
            Newest::Newer { low, hint, .. } => (low, hint),
            Newest::None(_) => (0, 0),
        };
        for mark in [low, hint] {
            marks.highest = marks.highest.max(mark);
            if !segment::is_leap(mark) {
                marks.durable = marks.durable.max(mark);
            }
        }
        marks.lowest = marks.lowest.min(low);
    }
    if records.is_empty() {
        marks.lowest = 0;
    }
    marks
}

pub(super) fn positions(
    records: Records,
    journal: [u8; 16],
    places: &[Place],
    limits: &Limits,
) -> Vec<Arc<Position>> {
    let oldest = places.first().map(Place::begin);
    let mut positions = Vec::new();
    for (id, slots) in records {
        let sizes = [0, 1].map(|slot: usize| {
            slots.get(slot).and_then(Option::as_ref).map_or(0, |read| read.bytes)
        });
        let kind = position::kind_of(&id);
        let mut working_on = 0;
        let (ledger, generation, low, alarm) = match newest(&slots, journal) {
            Newest::Ours(record) => {
                let Record { low, base, passed, fates, generation, .. } = record;
                working_on = record.working_on;
                let mut ledger = Ledger::new(*low, *base, *passed, *fates);
                let state = Arc::clone(&record.state);
                ledger.restarts = Restarts::found(ledger.counted(), state, record.is_cut);
                (ledger, *generation, Some(*low), None)
            }
            Newest::Newer { generation, low, .. } => {
                let ledger = Ledger::new(low, 0, 0, Fates::default());
                (ledger, generation, Some(low), Some(PositionAlarm::Newer))
            }
            Newest::None(alarm) => (from_the_oldest(kind, oldest), 0, None, Some(alarm)),
        };
        if let Some(alarm) = alarm {
            error!(output = %id, %alarm, "position");
        }
        let unsure = alarm.is_none() && !write_again(&slots, generation);
        let (generation, low) = if unsure { (generation - 1, None) } else { (generation, low) };
        let files = slots.map(|read| match read {
            // Written in place only over a record of ours; anything else is made anew.
            Some(Read { parsed: Parsed::Valid(record), file, .. })
                if segment::is_of(record.journal, journal)
                    && alarm.is_none()
                    && record.generation <= generation =>
            {
                file
            }
            _ => None,
        });
        let slots = Slots::found(generation, files, low, ledger.fates, working_on, sizes);
        let care = Care::new(limits.crashed, working_on);
        positions.push(Arc::new(Position::new(id, ledger, slots, alarm, care)));
    }
    positions
}

/// The record of that generation, once more into its own place. `false`: it must be made anew.
fn write_again(slots: &[Option<Read>; 2], generation: u64) -> bool {
    slots.iter().flatten().any(|read| match (&read.parsed, &read.file) {
        (Parsed::Valid(record), Some(file)) if record.generation == generation => {
            let written = file.write_all_at(&record.bytes(), 0).and_then(|()| file.sync());
            written.inspect_err(|error| warn!(%error, "position cannot be written")).is_ok()
        }
        _ => false,
    })
}

fn from_the_oldest(kind: Kind, oldest: Option<Begin>) -> Ledger {
    let (low, base) = oldest.map_or((0, 0), |first| (first.first_seq - 1, first.books.of(kind)));
    Ledger::new(low, base, 0, Fates::default())
}

enum Newest<'a> {
    Ours(&'a Record),
    Newer { generation: u64, low: u64, hint: u64 },
    None(PositionAlarm),
}

fn newest(slots: &[Option<Read>; 2], journal: [u8; 16]) -> Newest<'_> {
    let mut newest = Newest::None(PositionAlarm::Damaged);
    let mut best = 0;
    for (slot, read) in (0..).zip(slots) {
        match read.as_ref().map(|read| &read.parsed) {
            Some(Parsed::Valid(record)) if !segment::is_of(record.journal, journal) => {
                if let Newest::None(alarm) = &mut newest {
                    *alarm = PositionAlarm::OtherJournal;
                }
            }
            // A record in the other one's place would be overwritten while it is the newest.
            Some(Parsed::Valid(record)) if record.generation % 2 != slot => {
                warn!(generation = record.generation, slot, "position record in the wrong file");
            }
            Some(Parsed::Valid(record)) if record.generation > best => {
                best = record.generation;
                newest = Newest::Ours(record);
            }
            Some(Parsed::Newer { generation, low, hint }) if *generation > best => {
                best = *generation;
                newest = Newest::Newer { generation: *generation, low: *low, hint: *hint };
            }
            _ => {}
        }
    }
    newest
}
