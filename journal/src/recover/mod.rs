//! Opening what an earlier run left, whatever happened to it.
//!
//! ```text
//! survey every segment file:  unused -> removed       damaged header -> quarantine
//!                             a later release's, unreadable -> left alone, readers stop there
//! positions: the newest valid record of each output
//! each segment without a trailer: scan -> what is missing at or below the durable mark is lost
//!                             (named, kept in quarantine), above it torn -> sync, cut, seal
//! next number = 1 + the highest that anything here knows of
//! ```
//! Promises: what was acknowledged is found, or named as lost; nothing that cannot be read today
//! is destroyed; an error in any of these steps costs that step, never the start. Every step can
//! be cut short by a crash and done again.

mod positions;
mod tail;

use std::{io, sync::Arc};

use tracing::{error, info, warn};

use crate::Books;
use crate::catalog::{Extent, Place, Segment};
use crate::disk::{Disk, Entry};
use crate::frame::FRAME_HEADER;
use crate::open::Recovery;
use crate::options::Limits;
use crate::position::Position;
use crate::quarantine;
use crate::segment::{self, Header, Trailer};
use crate::survey::{self, Surveyed, What};

/// What the journal goes on from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) journal: [u8; 16],
    pub(crate) places: Vec<Place>,
    pub(crate) positions: Vec<Arc<Position>>,
    pub(crate) next_seq: u64,
    pub(crate) next_id: u64,
    pub(crate) books: Books,
    pub(crate) allocated: u64,
    pub(crate) report: Recovery,
}

/// Recovery under way.
struct Recovering<'a> {
    disk: &'a Arc<dyn Disk>,
    limits: &'a Limits,
    report: Recovery,
    /// The highest sequence number that may have been used.
    highest: u64,
    /// Bytes in the directory, at most.
    allocated: u64,
}

pub(crate) fn recover(disk: &Arc<dyn Disk>, limits: &Limits) -> io::Result<Found> {
    let entries = disk.list("")?;
    let allocated_before = allocated(&**disk)?;
    let mut recovering = Recovering {
        disk,
        limits,
        report: Recovery::default(),
        highest: 0,
        allocated: allocated_before,
    };
    recovering.remove_drafts(&entries);
    let surveyed = survey::segments(&**disk, &entries);
    let next_id = 1 + surveyed.iter().map(|surveyed| surveyed.id).max().unwrap_or(0);
    let records = positions::read(&**disk, &entries);
    let journal = journal_id(&surveyed)
        .or_else(|| positions::journal_id(&records))
        .unwrap_or_else(|| new_journal_id(&**disk));
    let marks = positions::marks(&records, journal);
    recovering.highest = marks.highest;
    let (places, mut books) = recovering.segments(surveyed, journal, marks);
    let positions = positions::positions(records, journal, &places, limits);
    for position in &positions {
        books.at_least(position.kind, position.ledger(|ledger| ledger.base + ledger.passed));
    }

    if let Err(error) = disk.sync_dir("") {
        warn!(%error, "directory cannot be synced");
    }
    let allocated = allocated(&**disk)?;
    let Recovering { mut report, highest, .. } = recovering;
    report.segments = places.len() as u64;
    if report != Recovery::default() {
        info!(?report, "journal recovered");
    }
    Ok(Found {
        journal,
        places,
        positions,
        next_seq: highest + 1,
        next_id,
        books,
        allocated,
        report,
    })
}

/// The newest segment's.
fn journal_id(surveyed: &[Surveyed]) -> Option<[u8; 16]> {
    surveyed.iter().rev().find_map(|surveyed| match &surveyed.what {
        What::Segment { header, .. } => Some(header.journal),
        _ => None,
    })
}

fn new_journal_id(disk: &dyn Disk) -> [u8; 16] {
    let mut id = [0; 16];
    let (left, right) = id.split_at_mut(8);
    left.copy_from_slice(&disk.entropy().to_le_bytes());
    right.copy_from_slice(&disk.entropy().to_le_bytes());
    id
}

fn allocated(disk: &dyn Disk) -> io::Result<u64> {
    let mut entries = disk.list("")?;
    entries.extend(disk.list(quarantine::FOLDER)?);
    Ok(entries.iter().map(|entry| entry.bytes).sum())
}

/// What the positions know of the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// Of low marks and hints.
    pub(crate) highest: u64,
    /// Everything at or below it is done with by every output.
    pub(crate) lowest: u64,
}

impl Recovering<'_> {
    /// What the folder may hold, and no more than the journal's bound leaves.
    fn quarantine_room(&self) -> u64 {
        let bytes_max = self.limits.bytes_max;
        bytes_max.saturating_sub(self.allocated).min(bytes_max / quarantine::COPY_SHARE)
    }

    fn remove_drafts(&self, entries: &[Entry]) {
        let drafts =
            |entry: &&Entry| entry.name.starts_with("new-") || entry.name.starts_with("free-");
        for entry in entries.iter().filter(drafts) {
            self.remove(&entry.name);
        }
    }

    fn segments(
        &mut self,
        surveyed: Vec<Surveyed>,
        journal: [u8; 16],
        marks: Marks,
    ) -> (Vec<Place>, Books) {
        let begins: Vec<Option<u64>> = surveyed.iter().map(survey::begins).collect();
        let mut places = Vec::new();
        let mut books = Books::default();
        for (index, surveyed) in surveyed.into_iter().enumerate() {
            let Surveyed { id, bytes, what } = surveyed;
            let next = begins.iter().skip(index + 1).find_map(|first_seq| *first_seq);
            match what {
                What::Segment { header, .. } if header.journal != journal => {
                    self.quarantine(id, bytes, None, "another journal's segment", &mut places);
                }
                What::Segment { header, trailer, file } => {
                    let scanned = tail::Tail { header, file, bytes, next, marks };
                    let (segment, after) = self.segment(&scanned, trailer);
                    books = after;
                    places.extend(segment.map(|segment| Place::Known(Arc::new(segment))));
                }
                What::Unused => self.remove(&segment::name(id)),
                What::Newer { first_seq } => {
                    self.leave(id, "written by a later release", true, &mut places);
                    self.highest = self.highest.max(first_seq + frames_max(bytes));
                }
                What::Unreadable(error) => {
                    self.leave(id, &error.to_string(), false, &mut places);
                    self.highest += frames_max(bytes);
                }
                What::Damaged { trailer } => {
                    let trailer = trailer.as_ref();
                    self.quarantine(id, bytes, trailer, "no valid header", &mut places);
                }
            }
        }
        (places, books)
    }

    /// A sealed segment is taken as its trailer says; another is scanned, cut and sealed.
    fn segment(&mut self, tail: &tail::Tail, trailer: Option<Trailer>) -> (Option<Segment>, Books) {
        let Some(trailer) = trailer.filter(|trailer| tail.next.is_none_or(|n| trailer.last < n))
        else {
            return tail::recover(self, tail);
        };
        self.highest = self.highest.max(trailer.last);
        if tail.next.is_none() {
            self.name_lost(tail.header.id, &[(trailer.last + 1, tail.marks.highest)], tail.marks);
        }
        let Header { id, salt, first_seq, books, .. } = tail.header;
        let extent = Extent {
            end: trailer.end,
            last: trailer.last,
            allocated: tail.bytes,
            books: trailer.books,
            torn: trailer.torn,
        };
        (Some(Segment::new(id, salt, first_seq, books, extent)), trailer.books)
    }

    /// Says what was durable once and is lost, unless every output had done with it anyway.
    fn name_lost(&mut self, id: u64, lost: &[(u64, u64)], marks: Marks) {
        for (first, last) in lost {
            let first = (*first).max(marks.lowest + 1);
            if first <= *last {
                error!(segment = segment::name(id), first, last, "frames of the journal are lost");
                self.report.corrupt.push((first, *last));
            }
        }
    }

    fn quarantine(
        &mut self,
        id: u64,
        bytes: u64,
        trailer: Option<&Trailer>,
        why: &str,
        places: &mut Vec<Place>,
    ) {
        let name = segment::name(id);
        match trailer {
            Some(trailer) => self.highest = self.highest.max(trailer.last),
            // Nothing tells how far it went: leave room for as many frames as could be in it.
            None => self.highest += frames_max(bytes),
        }
        match quarantine::take(&**self.disk, &name, self.limits.bytes_max) {
            Ok(()) => {
                error!(name, why, "segment goes to quarantine");
                self.report.quarantined.push(name);
            }
            Err(error) => self.leave(id, &error.to_string(), false, places),
        }
    }

    fn leave(&mut self, id: u64, why: &str, by_newer: bool, places: &mut Vec<Place>) {
        let name = segment::name(id);
        error!(name, why, "segment is left alone; readers stop before it");
        self.report.closed.push(name);
        places.push(Place::Closed { id, by_newer });
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.disk.remove(name) {
            warn!(name, %error, "cannot be removed");
        }
    }
}

fn frames_max(bytes: u64) -> u64 {
    bytes / FRAME_HEADER as u64
}
