//! Walks the frames of one segment file, streamed, past damage.
//!
//! A header that does not check is searched for at every 8th byte from there on: padding, holes
//! and garbage cost nothing but themselves. A payload that does not check costs its own frame. A
//! page that the disk cannot read counts as zeros, and is counted: whoever scans must not take it
//! for what lies there.

use std::{io, sync::Arc};

use crate::disk::{self, File};
use crate::frame::{ALIGN, FRAME_HEADER, FrameHeader};
use crate::options::{Limits, Mutant, PAGE};
use crate::segment::HEADER_END;

const CHUNK_BYTES: u64 = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Scan {
    file: Arc<dyn File>,
    salt: u64,
    at: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
    /// Pages that were needed and could not be read.
    pub(crate) unreadable: u64,
    /// From here on such a page is not zeros, but ends the way.
    stops_from: u64,
    /// What the last look met.
    stuck: Option<Stuck>,
    limits: Limits,
}

/// A page that cannot be read, and where what was wanted there ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) at: u64,
    pub(crate) to: u64,
}

#[derive(Debug)]
pub(crate) enum Scanned<'a> {
    Frame {
        at: u64,
        header: FrameHeader,
        body: Body<'a>,
    },
    /// No header checks in here: padding if it is zeros, else damage.
    Skipped {
        from: u64,
        to: u64,
        zeros: bool,
    },
    /// Only if asked for: the scan stands before it, and tries again at the next call.
    Unreadable(Stuck),
}

#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// Not wanted, not looked at.
    Passed,
    Good(&'a [u8]),
    /// The checksum does not hold.
    Bad,
}

impl Scan {
    /// From the first frame to `end`.
    pub(crate) fn new(file: Arc<dyn File>, salt: u64, end: u64, limits: &Limits) -> Self {
        let (chunk, chunk_at, limits) = (Vec::new(), 0, *limits);
        let (at, stops_from) = (HEADER_END, u64::MAX);
        let (unreadable, stuck) = (0, None);
        Self { file, salt, at, end, chunk, chunk_at, unreadable, stops_from, stuck, limits }
    }

    /// Stops before pages that cannot be read, from `from` on.
    pub(crate) fn stop_at_unreadable(&mut self, from: u64) {
        self.stops_from = from;
    }

    /// Goes to a frame's place.
    pub(crate) fn seek(&mut self, at: u64) {
        self.at = at;
    }

    /// More has become durable.
    pub(crate) fn set_end(&mut self, end: u64) {
        self.end = end;
    }

    /// The next frame or stretch of none; `None` at the end. `wants` says whether to check and
    /// return the payload.
    pub(crate) fn next(&mut self, wants: impl FnOnce(&FrameHeader) -> bool) -> Option<Scanned<'_>> {
        if self.at >= self.end {
            return None;
        }
        self.stuck = None;
        let at = self.at;
        let header = self.header_at(at);
        if let Some(stuck) = self.stuck {
            return Some(Scanned::Unreadable(stuck));
        }
        let Some(header) = header else { return Some(self.skip()) };
        self.at += header.frame_len();
        if !wants(&header) {
            return Some(Scanned::Frame { at, header, body: Body::Passed });
        }
        let unchecked = self.limits.is(Mutant::NoPayloadChecksum);
        let (from, len) = (at + FRAME_HEADER as u64, u64::from(header.stored_len));
        if self.window(from, len).is_none()
            && let Some(stuck) = self.stuck
        {
            self.at = at;
            return Some(Scanned::Unreadable(stuck));
        }
        let stored = self.window(from, len);
        let body = match stored {
            Some(stored) if unchecked || crc32c::crc32c(stored) == header.payload_crc => {
                Body::Good(stored)
            }
            _ => Body::Bad,
        };
        Some(Scanned::Frame { at, header, body })
    }

    fn skip(&mut self) -> Scanned<'static> {
        let from = self.at;
        if self.limits.is(Mutant::StopAtTheFirstBadFrame) {
            self.at = self.end;
        }
        let mut zeros = true;
        while self.at < self.end && self.header_at(self.at).is_none() {
            let len = (self.end - self.at).min(ALIGN as u64);
            let is_zeros = self.window(self.at, len).map(|part| part.iter().all(|b| *b == 0));
            match self.stuck {
                Some(stuck) if self.at == from => return Scanned::Unreadable(stuck),
                Some(_) => break,
                None => zeros &= is_zeros == Some(true),
            }
            self.at += len;
        }
        Scanned::Skipped { from, to: self.at, zeros }
    }

    fn header_at(&mut self, at: u64) -> Option<FrameHeader> {
        let salt = self.salt;
        let header = FrameHeader::parse(self.window(at, FRAME_HEADER as u64)?, salt)?;
        (at + FRAME_HEADER as u64 + u64::from(header.stored_len) <= self.end).then_some(header)
    }

    /// The bytes there, if they are all below the end.
    fn window(&mut self, at: u64, len: u64) -> Option<&[u8]> {
        if at.checked_add(len)? > self.end {
            return None;
        }
        let held = self.chunk_at..self.chunk_at + self.chunk.len() as u64;
        if at < held.start || at + len > held.end {
            let wanted = len.max(CHUNK_BYTES).min(self.end - at);
            self.chunk.resize(usize::try_from(wanted).ok()?, 0);
            self.chunk_at = at;
            let needed = usize::try_from(len).ok()?;
            let (unreadable, last) = read_past_damage(&*self.file, &mut self.chunk, at, needed);
            self.unreadable += unreadable;
            if let Some(page) = last.filter(|page| *page >= self.stops_from) {
                self.chunk.clear();
                self.stuck = Some(Stuck { at: page, to: (page + PAGE).max(at + len) });
                return None;
            }
        }
        let start = usize::try_from(at - self.chunk_at).ok()?;
        self.chunk.get(start..start + usize::try_from(len).ok()?)
    }
}

/// Fills the buffer; what is beyond the file's end becomes zeros, and so does a page among the first
/// `needed` bytes that cannot be read, at the second try. Beyond those the buffer ends before such a
/// page. Returns how many pages could not be read, and where the last of them lies.
fn read_past_damage(
    file: &dyn File,
    buffer: &mut Vec<u8>,
    at: u64,
    needed: usize,
) -> (u64, Option<u64>) {
    if disk::read_exact_at(file, buffer, at).is_ok() {
        return (0, None);
    }
    let (mut unreadable, mut last) = (0, None);
    let mut from = 0;
    while from < buffer.len() {
        let page_at = at + from as u64;
        let left = usize::try_from((page_at + 1).next_multiple_of(PAGE) - page_at);
        let to = buffer.len().min(from + left.unwrap_or(usize::MAX));
        let Some(page) = buffer.get_mut(from..to) else { break };
        page.fill(0);
        match disk::read_exact_at(file, page, page_at) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                if from >= needed {
                    buffer.truncate(from);
                    break;
                }
                page.fill(0);
                unreadable += 1;
                last = Some(page_at / PAGE * PAGE);
            }
            _ => {}
        }
        from = to;
    }
    (unreadable, last)
}
