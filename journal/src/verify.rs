//! `journal verify`: walks everything and reports, changes nothing.
//!
//! Every frame of every segment is read and checked, sealed or not. On a living journal the newest
//! group may be half written: that is torn, not corrupt.

use std::{io, path::Path, sync::Arc};

use crate::Books;
use crate::OutputId;
use crate::books::Uncounted;
use crate::disk::{Disk, Entry, RealDisk};
use crate::options::{Limits, PAGE};
use crate::position::{self, record::Parsed};
use crate::quarantine;
use crate::reader::Seq;
use crate::receipt::Fates;
use crate::segment::{self, HEADER_END, Header, Trailer};
use crate::survey::{self, Surveyed, What};

#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// A gateway runs on this directory.
    pub live: bool,
    /// Of all files.
    pub bytes: u64,
    pub segments: Vec<SegmentReport>,
    pub positions: Vec<PositionReport>,
    /// After the last frame that is there.
    pub books: Books,
    /// Name and bytes of what is in quarantine.
    pub quarantine: Vec<(String, u64)>,
}

#[derive(Clone, Debug)]
pub struct SegmentReport {
    pub name: String,
    pub bytes: u64,
    pub state: SegmentState,
    /// All below are empty or zero unless the state is `Sealed` or `Open`.
    pub first: Seq,
    pub last: Seq,
    /// Whole and checked.
    pub frames: u64,
    /// Of `data` frames.
    pub readings: u64,
    /// Were durable once and are damaged or missing now.
    pub corrupt: Vec<(u64, u64)>,
    /// Were never acknowledged.
    pub torn: Vec<(u64, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// With a trailer.
    Sealed,
    /// Being written, or the end of a run that did not close its last segment.
    Open,
    /// Prepared for the next frames.
    Unused,
    /// A later release's.
    Newer,
    /// No header checks.
    Damaged,
    Unreadable(String),
}

#[derive(Clone, Debug)]
pub struct PositionReport {
    pub id: OutputId,
    /// 0, 1 or 2: one is normal after the first write or a crash.
    pub records_valid: usize,
    pub files: usize,
    pub generation: u64,
    pub low: Seq,
    /// Readings journaled before this output's first frame, and of its frames up to `low`.
    base: u64,
    passed: u64,
    pub fates: Fates,
}

/// Reads the whole journal in `dir`. Blocks for as long as that takes.
pub fn verify(dir: &Path) -> io::Result<Verified> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let entries = entries(&*disk)?;
    // Only asked for, not kept: a gateway may start meanwhile.
    let live = disk.lock().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    Ok(Verified { live, ..verify_disk(&disk, &entries)? })
}

/// The files of a journal; an error if there is none.
pub(crate) fn entries(disk: &dyn Disk) -> io::Result<Vec<Entry>> {
    let entries = disk.list("")?;
    if entries.iter().any(|entry| entry.name == "LOCK") {
        Ok(entries)
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, "there is no journal here"))
    }
}

pub(crate) fn verify_disk(disk: &Arc<dyn Disk>, entries: &[Entry]) -> io::Result<Verified> {
    let limits = Limits::default();
    let positions = positions(&**disk, entries)?;
    let quarantine = disk.list(quarantine::FOLDER).or_else(none_if_missing)?;
    let quarantine: Vec<_> =
        quarantine.into_iter().map(|entry| (entry.name, entry.bytes)).collect();
    let surveyed = survey::segments(&**disk, entries)?;
    let begins: Vec<_> = surveyed.iter().map(|it| Some((survey::begins(it)?, it.id))).collect();
    let highest = positions.iter().map(|(_, mark)| *mark).max().unwrap_or(0);
    let mut segments = Vec::new();
    let (mut books, mut uncounted) = (Books::default(), Uncounted::default());
    for (index, surveyed) in surveyed.into_iter().enumerate() {
        let next = begins.iter().skip(index + 1).find_map(|begins| *begins);
        let lacks = match &surveyed.what {
            What::Segment { header, .. } => uncounted.before(header, &books),
            _ => Books::default(),
        };
        let Some((report, after)) = segment(&**disk, surveyed, next, highest, &limits)? else {
            continue;
        };
        books = after.map_or(books, |after| after.plus(&lacks));
        segments.push(report);
    }
    let in_quarantine: u64 = quarantine.iter().map(|(_, bytes)| bytes).sum();
    let bytes = entries.iter().map(|entry| entry.bytes).sum::<u64>() + in_quarantine;
    let positions = positions.into_iter().map(|(report, _)| report).collect();
    Ok(Verified { live: false, bytes, segments, positions, books, quarantine })
}

fn none_if_missing(error: io::Error) -> io::Result<Vec<Entry>> {
    if error.kind() == io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) }
}

/// With the highest number that each knows of.
fn positions(disk: &dyn Disk, entries: &[Entry]) -> io::Result<Vec<(PositionReport, u64)>> {
    let mut ids: Vec<_> = entries.iter().filter_map(|entry| position::id_of(&entry.name)).collect();
    ids.sort_unstable();
    ids.dedup();
    let report = |id: OutputId| {
        let [first, second] = [0, 1].map(|slot| position::read_slot(disk, id.as_str(), slot));
        let slots = [first?, second?];
        let mut report = PositionReport {
            id,
            records_valid: 0,
            files: slots.iter().flatten().count(),
            generation: 0,
            low: Seq(0),
            base: 0,
            passed: 0,
            fates: Fates::default(),
        };
        let mut mark = 0;
        for read in slots.iter().flatten() {
            let Parsed::Valid(record) = &read.parsed else { continue };
            report.records_valid += 1;
            mark = mark.max(record.low).max(record.hint);
            if record.generation >= report.generation {
                report.generation = record.generation;
                (report.low, report.fates) = (Seq(record.low), record.fates);
                (report.base, report.passed) = (record.base, record.passed);
            }
        }
        Ok((report, mark))
    };
    ids.into_iter().map(report).collect()
}

/// With the books after it. `next`: where the next segment begins, and its id. `None` if a living journal freed it meanwhile.
fn segment(
    disk: &dyn Disk,
    surveyed: Surveyed,
    next: Option<(u64, u64)>,
    highest: u64,
    limits: &Limits,
) -> io::Result<Option<(SegmentReport, Option<Books>)>> {
    let mut report = SegmentReport {
        name: segment::name(surveyed.id),
        bytes: surveyed.bytes,
        state: SegmentState::Unused,
        first: Seq(0),
        last: Seq(0),
        frames: 0,
        readings: 0,
        corrupt: Vec::new(),
        torn: Vec::new(),
    };
    let mut books = None;
    match surveyed.what {
        What::Segment { header, trailer } => {
            let file = match disk.open(&segment::name(surveyed.id)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                other => other?,
            };
            let end = surveyed.bytes.saturating_sub(PAGE).max(HEADER_END);
            let end = trailer.as_ref().map_or(end, |trailer| trailer.end);
            let below = next.map_or(u64::MAX, |(first_seq, _)| first_seq);
            let content = survey::content(&file, &header, end, below, limits);
            if !survey::is_still(disk, &header, surveyed.bytes) {
                return Ok(None);
            }
            let known = match next {
                Some((next, id)) if segment::is_after_leap(id, next) => content.last,
                Some((next, _)) => next - 1,
                None => highest,
            };
            report.first = Seq(header.first_seq);
            report.last = Seq(content.last);
            report.frames = content.frames;
            report.readings = content.books.journaled.saturating_sub(header.books.journaled);
            books = Some(trailer.as_ref().map_or(content.books, |trailer| trailer.books));
            if let Some(trailer) = trailer {
                sealed(&mut report, &header, &trailer, &content);
            } else {
                report.state = SegmentState::Open;
                let missing = content.missing(content.durable_upto.max(known));
                (report.corrupt, report.torn) = (missing.lost, missing.torn);
            }
        }
        What::Unused => {}
        What::Newer { .. } => report.state = SegmentState::Newer,
        What::Damaged { .. } => report.state = SegmentState::Damaged,
        What::Unreadable(error) => report.state = SegmentState::Unreadable(error.to_string()),
    }
    Ok(Some((report, books)))
}

/// What its trailer vouches for and is not there, is corrupt.
fn sealed(
    report: &mut SegmentReport,
    header: &Header,
    trailer: &Trailer,
    content: &survey::Content,
) {
    report.state = SegmentState::Sealed;
    report.last = Seq(trailer.last);
    report.torn.clone_from(&trailer.torn);
    let missing = content.missing(trailer.last.max(header.first_seq - 1)).lost;
    let is_torn = |seq: u64| trailer.torn.iter().any(|(a, b)| (*a..=*b).contains(&seq));
    for (first, last) in missing {
        for seq in first..=last {
            if !is_torn(seq) {
                survey::push_range(&mut report.corrupt, seq, seq);
            }
        }
    }
}

impl PositionReport {
    /// Readings still to go, if so many were journaled in all.
    pub(crate) fn journaled_to(&self, journaled: u64) -> u64 {
        journaled.saturating_sub(self.base + self.passed)
    }
}

impl Verified {
    pub fn frames(&self) -> u64 {
        self.segments.iter().map(|segment| segment.frames).sum()
    }

    pub fn readings(&self) -> u64 {
        self.segments.iter().map(|segment| segment.readings).sum()
    }

    /// Nothing that was acknowledged is damaged, and everything could be looked at.
    pub fn is_sound(&self) -> bool {
        let is_whole = |segment: &SegmentReport| {
            let known = matches!(
                segment.state,
                SegmentState::Sealed | SegmentState::Open | SegmentState::Unused
            );
            known && segment.corrupt.is_empty()
        };
        self.segments.iter().all(is_whole)
            && self.positions.iter().all(|position| position.records_valid > 0)
    }
}
