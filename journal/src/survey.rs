//! Looks at segment files without changing anything: what each file is, and what is in it.
//!
//! Recovery acts on what it finds, `journal verify` reports it.

use std::{collections::VecDeque, io, sync::Arc};

use zstd::bulk::Decompressor;

use crate::Books;
use crate::Kind;
use crate::disk::{self, Disk, Entry, File};
use crate::frame::FrameHeader;
use crate::options::{Limits, PAGE};
use crate::payload;
use crate::scan::{Body, Scan, Scanned};
use crate::segment::{self, HEADER_END, Header, HeaderPage, PAGE_BYTES, Trailer};

/// One segment file.
#[derive(Debug)]
pub(crate) struct Surveyed {
    pub(crate) id: u64,
    pub(crate) bytes: u64,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Segment {
        header: Header,
        trailer: Option<Trailer>,
    },
    /// Prepared or recycled, and never used since.
    Unused,
    /// A later release's.
    Newer {
        first_seq: u64,
    },
    /// No header checks.
    Damaged {
        trailer: Option<Trailer>,
    },
    /// The disk does not let us look.
    Unreadable(io::Error),
}

/// What a scan of one segment's frames found.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) frames: u64,
    /// The highest number seen in a header, damaged payload or not; `first_seq - 1` if none.
    pub(crate) last: u64,
    /// After the frame with that number.
    pub(crate) end: u64,
    /// What the frames themselves prove.
    pub(crate) durable_upto: u64,
    /// As of `last`; without what is torn or lost beyond its header.
    pub(crate) books: Books,
    /// Frames whose header checks and whose payload does not.
    pub(crate) bad: Vec<BadFrame>,
    /// Numbers between the first and `last` with no header at all.
    pub(crate) holes: Vec<(u64, u64)>,
    /// Stretches without a header that are not zeros.
    pub(crate) garbage: Vec<(u64, u64)>,
    /// Pages that the disk did not let us read: what is in them is not known, and not lost.
    pub(crate) unreadable: u64,
    /// Numbers and offsets of the frames after `durable_upto`.
    unproven: VecDeque<(u64, u64)>,
}

/// Ranges of sequence numbers, in order.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Were durable once.
    pub(crate) lost: Vec<(u64, u64)>,
    /// Were never acknowledged.
    pub(crate) torn: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct BadFrame {
    pub(crate) seq: u64,
    pub(crate) at: u64,
    pub(crate) end: u64,
    pub(crate) kind: Option<Kind>,
    pub(crate) readings: u32,
}

/// Keeps no file open: there may be more of them than this process may open. Fails only if it may
/// open none, which tells nothing about the files.
pub(crate) fn segments(disk: &dyn Disk, entries: &[Entry]) -> io::Result<Vec<Surveyed>> {
    let mut found = Vec::new();
    for entry in entries {
        let Some(id) = segment::id_of(&entry.name) else { continue };
        let bytes = entry.bytes;
        match look(disk, id, bytes) {
            // A living journal frees segments while `verify` walks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if disk::is_out_of_files(&error) => return Err(error),
            Err(error) => found.push(Surveyed { id, bytes, what: What::Unreadable(error) }),
            Ok(what) => found.push(Surveyed { id, bytes, what }),
        }
    }
    found.sort_unstable_by_key(|surveyed| surveyed.id);
    Ok(found)
}

/// The first number in it, where that can be told.
pub(crate) fn begins(surveyed: &Surveyed) -> Option<u64> {
    match &surveyed.what {
        What::Segment { header, .. } => Some(header.first_seq),
        What::Newer { first_seq } => Some(*first_seq),
        What::Unused | What::Damaged { .. } | What::Unreadable(_) => None,
    }
}

/// Whether the file still is this segment: a living journal frees and recycles.
pub(crate) fn is_still(disk: &dyn Disk, header: &Header, bytes: u64) -> bool {
    match look(disk, header.id, bytes) {
        Ok(What::Segment { header: now, .. }) => now.salt == header.salt,
        _ => false,
    }
}

fn look(disk: &dyn Disk, id: u64, bytes: u64) -> io::Result<What> {
    let file = disk.open(&segment::name(id))?;
    let first = page_at(&*file, 0, bytes)?;
    let last = |from: u64| match bytes.checked_sub(PAGE).filter(|at| *at >= from) {
        Some(at) => page_at(&*file, at, bytes).map(Some),
        None => Ok(None),
    };
    Ok(match Header::parse(&first) {
        HeaderPage::Valid(header) if header.id != id => What::Unused,
        HeaderPage::Valid(header) => {
            let trailer = last(HEADER_END)?.and_then(|page| Trailer::of(&page, &header));
            let trailer = trailer.filter(|trailer| trailer.end <= bytes - PAGE);
            What::Segment { header, trailer }
        }
        HeaderPage::Newer { first_seq, .. } => What::Newer { first_seq },
        // A header is durable before the first frame is written: with frames, a blank one is lost.
        HeaderPage::Blank if page_at(&*file, HEADER_END, bytes)?.iter().all(|b| *b == 0) => {
            What::Unused
        }
        HeaderPage::Blank | HeaderPage::Damaged => {
            let trailer = last(HEADER_END)?.and_then(|page| Trailer::parse(&page));
            What::Damaged { trailer: trailer.filter(|trailer| trailer.id == id) }
        }
    })
}

/// The page there, or what the file has of it.
fn page_at(file: &dyn File, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(bytes.saturating_sub(at)).unwrap_or(PAGE_BYTES).min(PAGE_BYTES);
    let mut page = vec![0; len];
    match disk::read_exact_at(file, &mut page, at) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(page),
    }
}

/// Scans a segment's frames. Those from `below` on are superseded by the next segment.
pub(crate) fn content(
    file: &Arc<dyn File>,
    header: &Header,
    end: u64,
    below: u64,
    limits: &Limits,
) -> Content {
    let mut content = Content {
        frames: 0,
        last: header.first_seq - 1,
        end: HEADER_END,
        durable_upto: 0,
        books: header.books,
        bad: Vec::new(),
        holes: Vec::new(),
        garbage: Vec::new(),
        unreadable: 0,
        unproven: VecDeque::new(),
    };
    let mut zstd = Decompressor::default();
    let mut scan = Scan::new(Arc::clone(file), header.salt, end, limits);
    while let Some(scanned) = scan.next(|_| true) {
        match scanned {
            Scanned::Skipped { from, to, zeros } => {
                if !zeros {
                    content.garbage.push((from, to));
                }
            }
            Scanned::Frame { header, .. } if header.seq <= content.last || header.seq >= below => {}
            Scanned::Unreadable(_) => {} // Not asked for.
            Scanned::Frame { at, header, body } => content.take(at, &header, &body, &mut zstd),
        }
    }
    content.unreadable = scan.unreadable;
    content
}

impl Content {
    fn take(
        &mut self,
        at: u64,
        header: &FrameHeader,
        body: &Body<'_>,
        zstd: &mut Decompressor<'_>,
    ) {
        if header.seq > self.last + 1 {
            self.holes.push((self.last + 1, header.seq - 1));
        }
        self.last = header.seq;
        self.end = at + header.frame_len();
        self.durable_upto = self.durable_upto.max(header.durable_upto);
        self.unproven.push_back((header.seq, at));
        while self.unproven.front().is_some_and(|(seq, _)| *seq <= self.durable_upto) {
            self.unproven.pop_front();
        }
        let kind = header.known_kind();
        let Body::Good(stored) = body else {
            let (seq, end, readings) = (header.seq, self.end, header.readings);
            self.bad.push(BadFrame { seq, at, end, kind, readings });
            return;
        };
        self.frames += 1;
        let Some(kind) = kind else { return };
        self.books.count_frame(kind, header.readings);
        let counts = header.open(stored, zstd).ok().and_then(|payload| payload::counts(&payload));
        if let Some(counts) = counts {
            self.books.count(&counts);
        }
    }

    /// Where the frames begin of which nothing proves that they were ever durable.
    pub(crate) fn unproven_from(&self, durable: u64) -> u64 {
        let unproven = self.unproven.iter().find(|(seq, _)| *seq > durable);
        unproven.map_or(self.end, |(_, at)| *at)
    }

    /// Everything missing up to `durable` or `last`, whichever is higher.
    pub(crate) fn missing(&self, durable: u64) -> Missing {
        let mut all = self.holes.clone();
        all.extend(self.bad.iter().map(|bad| (bad.seq, bad.seq)));
        if durable > self.last {
            all.push((self.last + 1, durable));
        }
        all.sort_unstable();
        let Missing { mut lost, mut torn } = Missing::default();
        for (first, last) in all {
            if first <= durable {
                push_range(&mut lost, first, last.min(durable));
            }
            if last > durable {
                push_range(&mut torn, first.max(durable + 1), last);
            }
        }
        Missing { lost, torn }
    }
}

/// Adjacent ranges become one.
pub(crate) fn push_range(ranges: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    match ranges.last_mut() {
        Some((_, end)) if *end + 1 == first => *end = last,
        _ => ranges.push((first, last)),
    }
}
