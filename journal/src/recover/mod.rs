//! Opening what an earlier run left, whatever happened to it.
//!
//! ```text
//! survey every segment file:  unused -> removed       damaged header -> quarantine
//!                             a later release's, unreadable (in part) -> left alone, readers stop there
//! positions: the newest valid record of each output
//! each segment without a trailer: scan -> what is missing at or below the durable mark is lost
//!                             (named, kept in quarantine), above it torn -> sync, cut, seal
//! which journal this is: what a segment says, or a position; if none can say it today, that stays open
//! next number = 1 + the highest that anything here knows of; if the newest segment cannot be read, or is
//!                             a later release's, a leap beyond all that could be in it
//! ```
//! Promises: what was acknowledged is found, or named as lost; nothing that cannot be read today
//! is destroyed; an error in any of these steps costs that step, never the start. Every step can
//! be cut short by a crash and done again.

mod positions;
mod tail;

use std::{io, sync::Arc};

use tail::{Recovered, Tail};
use tracing::{error, info, warn};

use crate::Books;
use crate::books::Uncounted;
use crate::catalog::{Begin, Extent, Place, Segment};
use crate::disk::{Disk, Entry};
use crate::frame::FRAME_HEADER;
use crate::open::Recovery;
use crate::options::Limits;
use crate::position::Position;
use crate::quarantine;
use crate::segment::{self, Header, NAMELESS, Trailer};
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
    /// Of the newest segment, by the wall clock of then.
    pub(crate) last_begun_ns: Option<i64>,
    pub(crate) report: Recovery,
}

/// Recovery under way.
struct Recovering<'a> {
    disk: &'a Arc<dyn Disk>,
    limits: &'a Limits,
    report: Recovery,
    /// The highest sequence number that may have been used.
    highest: u64,
    /// Nothing tells how far the numbers went: the newest segments cannot be read.
    is_vague: bool,
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
        is_vague: false,
        allocated: allocated_before,
    };
    recovering.remove_drafts(&entries);
    let surveyed = survey::segments(&**disk, &entries)?;
    let last_begun_ns = last_begun_ns(&surveyed);
    let next_id = 1 + surveyed.iter().map(|surveyed| surveyed.id).max().unwrap_or(0);
    let records = positions::read(&**disk, &entries)?;
    let journal = journal_id(&surveyed)
        .or_else(|| positions::journal_id(&records))
        .unwrap_or_else(|| made_journal_id(&**disk, &surveyed));
    let marks = positions::marks(&records, journal);
    recovering.highest = marks.highest;
    let (places, mut books) = recovering.segments(surveyed, journal, marks)?;
    let positions = positions::positions(records, journal, &places, limits);
    for position in &positions {
        books.at_least(position.kind, position.ledger(|ledger| ledger.base + ledger.passed));
    }

    if let Err(error) = disk.sync_dir("") {
        warn!(%error, "directory cannot be synced");
    }
    let allocated = allocated(&**disk)?;
    let Recovering { mut report, mut highest, is_vague, .. } = recovering;
    if is_vague {
        highest = highest.max(segment::leap(next_id - 1));
    }
    let next_id = next_id.max(segment::id_after(highest));
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
        last_begun_ns,
        report,
    })
}

fn last_begun_ns(surveyed: &[Surveyed]) -> Option<i64> {
    surveyed.iter().rev().find_map(|surveyed| match &surveyed.what {
        What::Segment { header, .. } => Some(header.created_ns),
        _ => None,
    })
}

/// The newest segment's that has one.
fn journal_id(surveyed: &[Surveyed]) -> Option<[u8; 16]> {
    surveyed.iter().rev().find_map(|surveyed| match &surveyed.what {
        What::Segment { header, .. } if header.journal != NAMELESS => Some(header.journal),
        _ => None,
    })
}

/// A new one; but where a segment is there that does not tell its own today, none: with another, that
/// segment would pass for another journal's as soon as it can be read.
fn made_journal_id(disk: &dyn Disk, surveyed: &[Surveyed]) -> [u8; 16] {
    let is_hidden =
        |surveyed: &Surveyed| matches!(surveyed.what, What::Unreadable(_) | What::Newer { .. });
    if surveyed.iter().any(is_hidden) {
        return NAMELESS;
    }
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
    /// The same without those that only say how far a leap went: up to here there were frames.
    pub(crate) durable: u64,
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
    ) -> io::Result<(Vec<Place>, Books)> {
        let begins: Vec<Begins> = surveyed.iter().map(Begins::of).collect();
        let mut places = Vec::new();
        let (mut books, mut uncounted) = (Books::default(), Uncounted::default());
        for (index, surveyed) in surveyed.into_iter().enumerate() {
            let Surveyed { id, bytes, what } = surveyed;
            let next = next_of(&begins, index);
            match what {
                What::Segment { header, .. } if !segment::is_of(header.journal, journal) => {
                    self.quarantine(id, bytes, None, "another journal's segment", &mut places);
                }
                What::Segment { header, trailer } => {
                    let lacks = uncounted.before(&header, &books);
                    let first_seq = header.first_seq;
                    let begins = Begin { first_seq, books: header.books.plus(&lacks) };
                    let tail = Tail { header, bytes, next, marks };
                    let (recovered, after) = self.segment(&tail, trailer)?;
                    books = after.plus(&lacks);
                    self.is_vague = matches!(recovered, Recovered::Unreadable(_));
                    match recovered {
                        Recovered::Segment(segment) => {
                            places.push(Place::Known(Arc::new(segment.counting(&lacks))));
                        }
                        Recovered::Empty => {}
                        Recovered::Unreadable(why) => {
                            places.push(self.leave(id, &why, false, Some(begins)));
                        }
                    }
                }
                What::Unused => self.remove(&segment::name(id)),
                What::Newer { first_seq } => {
                    let begins = Begin { first_seq, books };
                    let why = "written by a later release";
                    places.push(self.leave(id, why, true, Some(begins)));
                    self.highest = self.highest.max(first_seq);
                    self.is_vague = true;
                }
                What::Unreadable(error) => {
                    places.push(self.leave(id, &error.to_string(), false, None));
                    self.is_vague = true;
                }
                What::Damaged { trailer } => {
                    let trailer = trailer.as_ref();
                    self.quarantine(id, bytes, trailer, "no valid header", &mut places);
                }
            }
        }
        Ok((places, books))
    }

    /// A sealed segment is taken as its trailer says; another is scanned, cut and sealed.
    fn segment(&mut self, tail: &Tail, trailer: Option<Trailer>) -> io::Result<(Recovered, Books)> {
        let Some(trailer) =
            trailer.filter(|trailer| tail.next.seq().is_none_or(|n| trailer.last < n))
        else {
            return tail::recover(self, tail);
        };
        self.highest = self.highest.max(trailer.last);
        if matches!(tail.next, Next::None) {
            self.name_lost(tail.header.id, &[(trailer.last + 1, tail.marks.durable)], tail.marks);
        }
        let Header { id, salt, first_seq, books, .. } = tail.header;
        let extent = Extent {
            end: trailer.end,
            last: trailer.last,
            allocated: tail.bytes,
            books: trailer.books,
            torn: trailer.torn,
        };
        let segment = Segment::new(id, salt, first_seq, books, extent);
        Ok((Recovered::Segment(segment), trailer.books))
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
            Ok(_) => {
                error!(name, why, "segment goes to quarantine");
                self.report.quarantined.push(name);
            }
            Err(error) => places.push(self.leave(id, &error.to_string(), false, None)),
        }
    }

    fn leave(&mut self, id: u64, why: &str, by_newer: bool, begins: Option<Begin>) -> Place {
        let name = segment::name(id);
        error!(name, why, "segment is left alone; readers stop before it");
        self.report.closed.push(name);
        Place::Closed { id, by_newer, begins }
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.disk.remove(name) {
            warn!(name, %error, "cannot be removed");
        }
    }
}

/// Where a segment file begins, as far as that can be told.
enum Begins {
    At {
        first_seq: u64,
        after_leap: bool,
    },
    /// It cannot be read.
    Somewhere,
    Nowhere,
}

impl Begins {
    fn of(surveyed: &Surveyed) -> Self {
        match (survey::begins(surveyed), &surveyed.what) {
            (Some(first_seq), _) => {
                let after_leap = segment::is_after_leap(surveyed.id, first_seq);
                Self::At { first_seq, after_leap }
            }
            (None, What::Unreadable(_)) => Self::Somewhere,
            (None, _) => Self::Nowhere,
        }
    }
}

/// What comes after a segment.
#[derive(Clone, Copy, Debug)]
enum Next {
    None,
    /// Everything before this number that is not in the segment is missing.
    At(u64),
    /// The same, but numbers in between were never used.
    Leap(u64),
    /// What comes next cannot be read; the number is that of the first segment that can.
    Unreadable(Option<u64>),
}

impl Next {
    /// What is in the segment from there on is superseded.
    fn seq(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::At(seq) | Self::Leap(seq) => Some(seq),
            Self::Unreadable(seq) => seq,
        }
    }
}

fn next_of(begins: &[Begins], index: usize) -> Next {
    let mut is_vague = false;
    for begins in begins.iter().skip(index + 1) {
        match *begins {
            Begins::At { first_seq, .. } if is_vague => return Next::Unreadable(Some(first_seq)),
            Begins::At { first_seq, after_leap: true } => return Next::Leap(first_seq),
            Begins::At { first_seq, .. } => return Next::At(first_seq),
            Begins::Somewhere => is_vague = true,
            Begins::Nowhere => {}
        }
    }
    if is_vague { Next::Unreadable(None) } else { Next::None }
}

fn frames_max(bytes: u64) -> u64 {
    bytes / FRAME_HEADER as u64
}
