//! One segment that was not sealed: the end of an earlier run, or a file given up after an error.
//!
//! A gap that the format leaves open: that the last acknowledged group was ever durable is told only
//! by what was written after it, the next group or a position's hint. If a bit of it flips while the
//! process is down and nothing was, the frame looks like one that a power cut tore, and is cut
//! without a word. The same holds for the end of a segment that could not be read at the open after it,
//! as numbers go on far away then, and where it ended is told by itself alone.

use std::io;

use tracing::{debug, warn};

use super::{Marks, Next, Recovering};
use crate::Books;
use crate::catalog::{Extent, Segment};
use crate::disk::{self, File};
use crate::options::PAGE;
use crate::quarantine;
use crate::segment::{self, HEADER_END, Header, PAGE_BYTES, Trailer};
use crate::survey::{self, Content, Missing};

pub(super) struct Tail {
    pub(super) header: Header,
    pub(super) bytes: u64,
    pub(super) next: Next,
    pub(super) marks: Marks,
}

/// What became of it.
pub(super) enum Recovered {
    Segment(Segment),
    /// There is no frame in it: it is removed.
    Empty,
    /// The disk does not let us read all of it. Nothing of it is changed: what does not check today
    /// may check tomorrow.
    Unreadable(String),
}

/// Also returns the books after it, as far as they can be told.
/// Fails only if no file may be opened.
pub(super) fn recover(
    recovering: &mut Recovering<'_>,
    tail: &Tail,
) -> io::Result<(Recovered, Books)> {
    let Header { id, first_seq, .. } = tail.header;
    let file = match recovering.disk.open(&segment::name(id)) {
        Err(error) if disk::is_out_of_files(&error) => return Err(error),
        Err(error) => {
            return Ok((Recovered::Unreadable(error.to_string()), tail.header.books));
        }
        Ok(file) => file,
    };
    let below = tail.next.seq().unwrap_or(u64::MAX);
    let end = tail.bytes.saturating_sub(PAGE).max(HEADER_END);
    let mut content = survey::content(&file, &tail.header, end, below, recovering.limits);
    if content.unreadable > 0 {
        let why = format!("{} pages cannot be read", content.unreadable);
        return Ok((Recovered::Unreadable(why), content.books));
    }
    let known = match tail.next {
        Next::None => tail.marks.durable,
        Next::At(next) => next - 1,
        Next::Leap(_) | Next::Unreadable(_) => content.last, // Somebody went on after it.
    };
    // What is missing here may be in the next segment, if this one was given up; and what was the
    // reason for that, its last group, may be there again under the same numbers.
    let is_vague = content.last > content.durable_upto
        || !content.missing(content.durable_upto).torn.is_empty();
    if matches!(tail.next, Next::Unreadable(_)) && is_vague {
        let why = "the segment after it cannot be read".to_owned();
        return Ok((Recovered::Unreadable(why), content.books));
    }
    let durable = content.durable_upto.max(known);
    let Missing { lost, torn } = content.missing(durable);
    recovering.name_lost(id, &lost, tail.marks);
    if durable <= content.last && is_recycled(&*file, tail.bytes) {
        // Behind the last frame lies what the file held before.
        let end = content.end;
        content.garbage.retain(|(from, _)| *from < end);
    }
    if !lost.is_empty() {
        keep_damaged(recovering, id, &content);
    }
    // A reader takes note of a damaged frame's readings, if its header tells them.
    for bad in content.bad.iter().filter(|bad| bad.seq <= durable) {
        if let Some(kind) = bad.kind {
            content.books.count_frame(kind, bad.readings);
        }
    }
    let report = &mut recovering.report;
    report.frames_scanned += content.frames;
    report.torn_bytes += torn_bytes(&content, durable);
    recovering.highest = recovering.highest.max(content.last);
    if content.last < first_seq {
        debug!(segment = segment::name(id), "segment without a frame");
        recovering.remove(&segment::name(id));
        return Ok((Recovered::Empty, content.books));
    }
    let segment = keep(&*file, tail, &content, durable, torn);
    Ok((Recovered::Segment(segment), content.books))
}

/// Seals what is there; a segment that cannot be sealed is scanned again at the next start.
fn keep(
    file: &dyn File,
    tail: &Tail,
    content: &Content,
    durable: u64,
    torn: Vec<(u64, u64)>,
) -> Segment {
    let Header { id, salt, first_seq, books, .. } = tail.header;
    let trailer = Trailer {
        id,
        salt,
        first: first_seq,
        last: content.last,
        end: content.end,
        readings: content.books.journaled.saturating_sub(books.journaled),
        books: content.books,
        torn,
    };
    let unproven = content.unproven_from(durable);
    let sealed =
        write_again(file, unproven, content.end).and_then(|()| seal(file, &trailer, tail.bytes));
    let allocated = sealed.unwrap_or_else(|error| {
        warn!(segment = segment::name(id), %error, "segment stays unsealed");
        file.len().unwrap_or(tail.bytes) // It may be cut already.
    });
    let extent = Extent {
        end: trailer.end,
        last: trailer.last,
        allocated,
        books: trailer.books,
        torn: trailer.torn,
    };
    Segment::new(id, salt, first_seq, books, extent)
}

/// What no later group vouches for may be in the page cache only, and called clean: after a sync
/// that failed, in a process that was killed. Written again it is dirty, and the sync means it.
fn write_again(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
    disk::read_exact_at(file, &mut bytes, from)?;
    if bytes.is_empty() { Ok(()) } else { file.write_all_at(&bytes, from) }
}

/// Syncs the frames first, so that the trailer never vouches for what is not on the disk; then
/// cuts the file to what it holds. Returns the file's bytes.
fn seal(file: &dyn File, trailer: &Trailer, bytes: u64) -> io::Result<u64> {
    let Some(page) = trailer.page() else { return Ok(bytes) };
    file.sync()?;
    let cut = (trailer.end.next_multiple_of(PAGE) + PAGE).min(bytes);
    if cut < bytes {
        file.set_len(cut)?;
    }
    file.write_all_at(&page, cut - PAGE)?;
    file.sync()?;
    Ok(cut)
}

/// Whether the file was another segment before: then that one's trailer is still there.
fn is_recycled(file: &dyn File, bytes: u64) -> bool {
    let mut page = vec![0; PAGE_BYTES];
    let read = disk::read_exact_at(file, &mut page, bytes.saturating_sub(PAGE));
    read.is_ok() && Trailer::parse(&page).is_some()
}

fn keep_damaged(recovering: &mut Recovering<'_>, id: u64, content: &Content) {
    let bad = content.bad.iter().map(|bad| (bad.at, bad.end));
    for (from, to) in bad.chain(content.garbage.iter().copied()) {
        recovering.allocated +=
            quarantine::copy(&**recovering.disk, id, from, to, recovering.quarantine_room());
    }
}

fn torn_bytes(content: &Content, durable: u64) -> u64 {
    let bad = content.bad.iter().filter(|bad| bad.seq > durable).map(|bad| bad.end - bad.at);
    bad.chain(content.garbage.iter().map(|(from, to)| to - from)).sum()
}
