//! `journal dump`: the frames as they lie on the disk, one after another.
//!
//! Reads beside a running gateway too: a segment that is freed meanwhile just ends. Takes frames
//! that are damaged, torn or of a later release for what they are, and says so.

use std::{io, path::Path, sync::Arc};

use zstd::bulk::Decompressor;

use crate::Frame;
use crate::Seq;
use crate::disk::{Disk, RealDisk};
use crate::frame::{FrameHeader, Unreadable};
use crate::options::{Limits, PAGE};
use crate::scan::{Body, Scan, Scanned};
use crate::segment::{self, HEADER_END};
use crate::survey::{self, Surveyed, What};
use crate::verify;

#[derive(Clone, Debug)]
pub struct Dumped {
    pub seq: Seq,
    /// The segment's file, and where in it the frame begins.
    pub segment: String,
    pub offset: u64,
    pub readings: u32,
    /// As stored: compressed, without its header.
    pub bytes: u32,
    /// Or why it cannot be shown.
    pub frame: Result<Frame, &'static str>,
}

/// Hands the frames from `from` on to `each`, in order, until it returns `false`.
pub fn dump(dir: &Path, from: Seq, mut each: impl FnMut(Dumped) -> bool) -> io::Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let surveyed = survey::segments(&*disk, &verify::entries(&*disk)?)?;
    let begins: Vec<_> = surveyed.iter().map(survey::begins).collect();
    for (index, surveyed) in surveyed.into_iter().enumerate() {
        let next = begins.iter().skip(index + 1).find_map(|first_seq| *first_seq);
        if next.is_none_or(|next| next > from.0)
            && !segment(&*disk, surveyed, from.0, next, &mut each)?
        {
            break;
        }
    }
    Ok(())
}

/// `false` when enough was seen. Frames from `next` on are superseded by the next segment.
fn segment(
    disk: &dyn Disk,
    surveyed: Surveyed,
    from: u64,
    next: Option<u64>,
    each: &mut impl FnMut(Dumped) -> bool,
) -> io::Result<bool> {
    let Surveyed { id, bytes, what: What::Segment { header, trailer } } = surveyed else {
        return Ok(true);
    };
    let file = match disk.open(&segment::name(id)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    let end = trailer.map_or(bytes.saturating_sub(PAGE).max(HEADER_END), |trailer| trailer.end);
    let mut zstd = Decompressor::default();
    let mut last = from.max(header.first_seq) - 1;
    let mut scan = Scan::new(file, header.salt, end, &Limits::default());
    while let Some(scanned) = scan.next(|header| header.seq >= from) {
        let Scanned::Frame { at, header, body } = scanned else { continue };
        if header.seq <= last || next.is_some_and(|next| header.seq >= next) {
            continue;
        }
        last = header.seq;
        let dumped = Dumped {
            seq: Seq(header.seq),
            segment: segment::name(id),
            offset: at,
            readings: header.readings,
            bytes: header.stored_len,
            frame: open(&header, &body, &mut zstd),
        };
        if !each(dumped) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open(
    header: &FrameHeader,
    body: &Body<'_>,
    zstd: &mut Decompressor<'_>,
) -> Result<Frame, &'static str> {
    let Body::Good(stored) = body else { return Err("its payload is damaged") };
    let kind = header.known_kind().ok_or("a later release wrote it")?;
    let payload = header.open(stored, zstd).map_err(|error| match error {
        Unreadable::Newer => "a later release wrote it",
        Unreadable::Broken => "it does not decompress",
    })?;
    Ok(Frame { kind, schema: header.schema, readings: header.readings, payload })
}
