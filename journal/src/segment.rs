//! A segment file's bytes: header and trailer.
//!
//! ```text
//! file:    | header page 4096 | frames ... | zeros | trailer page 4096 |   at most `capacity` bytes
//!
//! header, at 0 and again at 2048 (another sector); little-endian
//!   0 magic "TIDESEG\n"   8 version u16   10 header_len u16 (128)   12 flags u32 (bit 0: encrypted)
//!  16 id u64             24 salt u64      32 first_seq u64          40 capacity u64
//!  48 journal uuid 16 (zeros: whichever the others are of)
//!  64 books at first_seq: journaled, rejected, refused, filtered, duplicate, dropped, 6 x u64
//! 112 created i64 (ns, information only)  120 reserved u32  124 crc32c of all before it
//!
//! trailer, the last 4096 bytes of the file
//!   0 magic "TIDEEND\n"   8 version u16   10 reserved u16   12 number of torn ranges u32
//!  16 id u64             24 salt u64      32 first u64      40 last u64
//!  48 end u64 (offset after the last frame)                 56 readings u64 (of `data` frames)
//!  64 books after `last`: as in the header, 6 x u64
//! 112 torn ranges: first u64, last u64, ...  (sequence numbers that were never acknowledged)
//! 4092 crc32c of all before it
//! ```
//! Every later version keeps magic, version, `header_len`, id, salt and `first_seq` where they are,
//! and a checksum in the last four bytes of `header_len`, so that an older release can tell a newer
//! segment from a damaged one. A file that recovery sealed is cut to what it holds: the trailer is
//! always the last page, whatever `capacity` was.

use crate::Books;
use crate::frame::FRAME_HEADER;
use crate::layout::{NUMBER_MAX, array_at, number_at, put_at, u16_at, u32_at, u64_at};
use crate::options::PAGE;

pub(crate) const PAGE_BYTES: usize = 4096;
/// Frames begin here.
pub(crate) const HEADER_END: u64 = PAGE;

const HEADER_MAGIC: [u8; 8] = *b"TIDESEG\n";
const TRAILER_MAGIC: [u8; 8] = *b"TIDEEND\n";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 128;
const COPY_AT: usize = 2048;
const TORN_AT: usize = 112;
const TRAILER_CRC_AT: usize = PAGE_BYTES - 4;
/// As many as fit before the checksum.
pub(crate) const TORN_MAX: usize = (TRAILER_CRC_AT - TORN_AT) / 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u64,
    pub(crate) salt: u64,
    pub(crate) first_seq: u64,
    pub(crate) capacity: u64,
    pub(crate) journal: [u8; 16],
    pub(crate) books: Books,
    pub(crate) created_ns: i64,
}

/// What the first page of a segment file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderPage {
    Valid(Header),
    /// Prepared and never used.
    Blank,
    /// Written by a later release.
    Newer {
        version: u16,
        first_seq: u64,
    },
    Damaged,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) id: u64,
    pub(crate) salt: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) end: u64,
    pub(crate) readings: u64,
    /// After `last`.
    pub(crate) books: Books,
    pub(crate) torn: Vec<(u64, u64)>,
}

/// In place of a journal's uuid: written while a segment that is there could not tell its own, and
/// nothing else did. It belongs to whatever journal it is found with.
pub(crate) const NAMELESS: [u8; 16] = [0; 16];

/// Whether what is marked with `id` belongs to that journal.
pub(crate) fn is_of(id: [u8; 16], journal: [u8; 16]) -> bool {
    id == journal || id == NAMELESS
}

/// How far numbers may have gone in segments up to that id, whatever is in them: no segment holds as
/// many frames.
pub(crate) fn leap(id: u64) -> u64 {
    id.min(NUMBER_MAX >> 33) << 32
}

pub(crate) fn name(id: u64) -> String {
    format!("seg-{id:016x}.log")
}

pub(crate) fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("seg-")?.strip_suffix(".log")?;
    if digits.len() != 16 {
        return None;
    }
    u64::from_str_radix(digits, 16).ok().filter(|id| *id <= NUMBER_MAX)
}

/// The least id that a segment with later numbers may have. Ids of files that a crash took with it
/// come again, numbers do not: a leap would otherwise end where one ended before.
pub(crate) fn id_after(highest: u64) -> u64 {
    highest.div_ceil(1 << 32) + 1
}

/// A number that only a leap comes to.
pub(crate) fn is_leap(seq: u64) -> bool {
    seq > 0 && seq.trailing_zeros() >= 32
}

/// Whether a segment that begins so was begun after a [`leap`]: the numbers before it were not used.
pub(crate) fn is_after_leap(id: u64, first_seq: u64) -> bool {
    let before = first_seq.saturating_sub(1);
    is_leap(before) && before < leap(id)
}

impl Header {
    /// The whole first page, both copies.
    pub(crate) fn page(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(HEADER_LEN);
        copy.extend_from_slice(&HEADER_MAGIC);
        copy.extend_from_slice(&VERSION.to_le_bytes());
        copy.extend_from_slice(&128_u16.to_le_bytes());
        copy.extend_from_slice(&0_u32.to_le_bytes());
        for value in [self.id, self.salt, self.first_seq, self.capacity] {
            copy.extend_from_slice(&value.to_le_bytes());
        }
        copy.extend_from_slice(&self.journal);
        put_books(&mut copy, &self.books);
        copy.extend_from_slice(&self.created_ns.to_le_bytes());
        copy.extend_from_slice(&0_u32.to_le_bytes());
        let crc = crc32c::crc32c(&copy);
        copy.extend_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(copy.len(), HEADER_LEN);

        let mut page = vec![0; PAGE_BYTES];
        put_at(&mut page, 0, &copy);
        put_at(&mut page, COPY_AT, &copy);
        page
    }

    pub(crate) fn parse(page: &[u8]) -> HeaderPage {
        if page.iter().all(|byte| *byte == 0) {
            return HeaderPage::Blank;
        }
        let copies = [0, COPY_AT].map(|at| page.get(at..).map_or(HeaderPage::Damaged, parse_copy));
        let [first, second] = copies;
        match (first, second) {
            (valid @ HeaderPage::Valid(_), _) | (_, valid @ HeaderPage::Valid(_)) => valid,
            (newer @ HeaderPage::Newer { .. }, _) | (_, newer @ HeaderPage::Newer { .. }) => newer,
            _ => HeaderPage::Damaged,
        }
    }
}

fn parse_copy(copy: &[u8]) -> HeaderPage {
    let checked = || -> Option<HeaderPage> {
        if array_at(copy, 0)? != HEADER_MAGIC {
            return None;
        }
        let version = u16_at(copy, 8)?;
        let crc_at = usize::from(u16_at(copy, 10)?).checked_sub(4)?;
        if u32_at(copy, crc_at)? != crc32c::crc32c(copy.get(..crc_at)?) {
            return None;
        }
        let first_seq = number_at(copy, 32).filter(|first_seq| *first_seq > 0)?;
        // Flags that we do not know change what the frames are: as good as a later version.
        if version != VERSION || u32_at(copy, 12)? != 0 {
            return Some(HeaderPage::Newer { version, first_seq });
        }
        Some(HeaderPage::Valid(Header {
            id: u64_at(copy, 16)?,
            salt: u64_at(copy, 24)?,
            first_seq,
            capacity: u64_at(copy, 40)?,
            journal: array_at(copy, 48)?,
            books: books_at(copy, 64)?,
            created_ns: i64::from_le_bytes(array_at(copy, 112)?),
        }))
    };
    checked().unwrap_or(HeaderPage::Damaged)
}

impl Trailer {
    /// The whole last page; `None` if there are more torn ranges than it holds (then the segment
    /// stays unsealed and is scanned again).
    pub(crate) fn page(&self) -> Option<Vec<u8>> {
        let torn = u32::try_from(self.torn.len()).ok().filter(|_| self.torn.len() <= TORN_MAX)?;
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.extend_from_slice(&TRAILER_MAGIC);
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&0_u16.to_le_bytes());
        page.extend_from_slice(&torn.to_le_bytes());
        for value in [self.id, self.salt, self.first, self.last, self.end, self.readings] {
            page.extend_from_slice(&value.to_le_bytes());
        }
        put_books(&mut page, &self.books);
        for (first, last) in &self.torn {
            page.extend_from_slice(&first.to_le_bytes());
            page.extend_from_slice(&last.to_le_bytes());
        }
        page.resize(TRAILER_CRC_AT, 0);
        let crc = crc32c::crc32c(&page);
        page.extend_from_slice(&crc.to_le_bytes());
        Some(page)
    }

    /// `None` unless it is whole and this segment's.
    pub(crate) fn of(page: &[u8], header: &Header) -> Option<Self> {
        Self::parse(page).filter(|trailer| {
            (trailer.id, trailer.salt, trailer.first) == (header.id, header.salt, header.first_seq)
        })
    }

    /// Whosever it is: even a segment whose header is lost tells how far it went.
    pub(crate) fn parse(page: &[u8]) -> Option<Self> {
        if array_at(page, 0)? != TRAILER_MAGIC || u16_at(page, 8)? != VERSION {
            return None;
        }
        let crc = crc32c::crc32c(page.get(..TRAILER_CRC_AT)?);
        if u32_at(page, TRAILER_CRC_AT)? != crc {
            return None;
        }
        let torn_len = usize::try_from(u32_at(page, 12)?).ok().filter(|len| *len <= TORN_MAX)?;
        let mut torn = Vec::with_capacity(torn_len);
        for index in 0..torn_len {
            let at = TORN_AT + 16 * index;
            torn.push((number_at(page, at)?, number_at(page, at + 8)?));
        }
        let trailer = Self {
            id: u64_at(page, 16)?,
            salt: u64_at(page, 24)?,
            first: number_at(page, 32)?,
            last: number_at(page, 40)?,
            end: number_at(page, 48)?,
            readings: number_at(page, 56)?,
            books: books_at(page, 64)?,
            torn,
        };
        Some(trailer).filter(Self::is_possible)
    }

    /// Every frame up to `last`, lost or not, took at least its header.
    fn is_possible(&self) -> bool {
        let frames = self.end.saturating_sub(HEADER_END) / FRAME_HEADER as u64;
        self.end >= HEADER_END
            && self.first > 0
            && self.last + 1 >= self.first
            && self.last + 1 - self.first <= frames
    }
}

fn put_books(out: &mut Vec<u8>, books: &Books) {
    for count in [books.journaled, books.rejected, books.refused] {
        out.extend_from_slice(&count.to_le_bytes());
    }
    for count in [books.filtered, books.duplicate, books.dropped] {
        out.extend_from_slice(&count.to_le_bytes());
    }
}

fn books_at(bytes: &[u8], at: usize) -> Option<Books> {
    Some(Books {
        journaled: number_at(bytes, at)?,
        rejected: number_at(bytes, at + 8)?,
        refused: number_at(bytes, at + 16)?,
        filtered: number_at(bytes, at + 24)?,
        duplicate: number_at(bytes, at + 32)?,
        dropped: number_at(bytes, at + 40)?,
    })
}

#[cfg(test)]
mod tests;
