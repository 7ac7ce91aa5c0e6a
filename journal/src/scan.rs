//! Walks the frames of one segment file, streamed, past damage.
//!
//! A header that does not check is searched for at every 8th byte from there on: padding, holes
//! and garbage cost nothing but themselves. A payload that does not check costs its own frame. A
//! page that the disk cannot read counts as zeros.

use std::{io, sync::Arc};

use crate::disk::{self, File};
use crate::frame::{ALIGN, FRAME_HEADER, FrameHeader};
use crate::options::{Limits, Mutant};
use crate::segment::{HEADER_END, PAGE_BYTES};

const CHUNK_BYTES: u64 = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Scan {
    file: Arc<dyn File>,
    salt: u64,
    at: u64,
    end: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
    /// Pages that could not be read.
    pub(crate) unreadable: u64,
    limits: Limits,
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
        Self { file, salt, at: HEADER_END, end, chunk, chunk_at, unreadable: 0, limits }
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
        let Some(header) = self.header_at(self.at) else { return Some(self.skip()) };
        let at = self.at;
        self.at += header.frame_len();
        if !wants(&header) {
            return Some(Scanned::Frame { at, header, body: Body::Passed });
        }
        let unchecked = self.limits.is(Mutant::NoPayloadChecksum);
        let stored = self.window(at + FRAME_HEADER as u64, u64::from(header.stored_len));
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
            zeros &= self.window(self.at, len).is_some_and(|part| part.iter().all(|b| *b == 0));
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
            self.unreadable += read_past_damage(&*self.file, &mut self.chunk, at);
        }
        let start = usize::try_from(at - self.chunk_at).ok()?;
        self.chunk.get(start..start + usize::try_from(len).ok()?)
    }
}

/// Fills the buffer; what is beyond the file's end or cannot be read, at the second try, becomes
/// zeros. Returns how many pages could not be read.
fn read_past_damage(file: &dyn File, buffer: &mut [u8], at: u64) -> u64 {
    if disk::read_exact_at(file, buffer, at).is_ok() {
        return 0;
    }
    let mut unreadable = 0;
    let mut page_at = at;
    for page in buffer.chunks_mut(PAGE_BYTES) {
        match disk::read_exact_at(file, page, page_at) {
            Ok(()) => {}
            Err(error) => {
                page.fill(0);
                unreadable += u64::from(error.kind() != io::ErrorKind::UnexpectedEof);
            }
        }
        page_at += page.len() as u64;
    }
    unreadable
}
