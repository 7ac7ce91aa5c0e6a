//! The clock epochs' bytes.
//!
//! ```text
//! clock.0 and clock.1, the same in both; one page, zeros at its end; little-endian
//!   0 magic "TIDECLK\n"   8 version u16   10 count u16   12 crc32c of the page with zeros here
//!  16 generation u64     24 journal uuid 16
//!  40 count epochs, 56 bytes each:
//!       0 id u32   4 fate u32 (0 waiting, 1 corrected, 2 unsure)   8 boot 16
//!      24 offset i64   32 began i64   40 correction i64 (ns all)   48 upto u64
//! ```

use super::{EPOCHS_MAX, Epoch, Fate};
use crate::layout::{array_at, number_at, put_at, u16_at, u32_at};
use crate::options::PAGE;

const MAGIC: [u8; 8] = *b"TIDECLK\n";
const VERSION: u16 = 1;
const CRC_AT: usize = 12;
const EPOCHS_AT: usize = 40;
const EPOCH_LEN: usize = 56;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) generation: u64,
    pub(crate) journal: [u8; 16],
    /// At most [`EPOCHS_MAX`].
    pub(crate) epochs: Vec<Epoch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Valid(Record),
    Newer,
    Damaged,
}

impl Record {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        debug_assert!(self.epochs.len() <= EPOCHS_MAX);
        let mut out = Vec::with_capacity(page());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        let count = u16::try_from(self.epochs.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.journal);
        for epoch in &self.epochs {
            let (fate, correction) = match epoch.fate {
                Fate::Waiting => (0_u32, 0),
                Fate::Corrected(by) => (1, by),
                Fate::Unsure => (2, 0),
            };
            out.extend_from_slice(&epoch.id.to_le_bytes());
            out.extend_from_slice(&fate.to_le_bytes());
            out.extend_from_slice(&epoch.boot);
            for number in [epoch.offset_ns, epoch.began_ns, correction] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&epoch.upto.to_le_bytes());
        }
        out.resize(page(), 0);
        let crc = crc32c::crc32c(&out);
        put_at(&mut out, CRC_AT, &crc.to_le_bytes());
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Parsed {
        parse(bytes).unwrap_or(Parsed::Damaged)
    }
}

fn parse(bytes: &[u8]) -> Option<Parsed> {
    if bytes.len() != page() || array_at(bytes, 0)? != MAGIC {
        return None;
    }
    let mut unsigned = bytes.to_vec();
    put_at(&mut unsigned, CRC_AT, &[0; 4]);
    if u32_at(bytes, CRC_AT)? != crc32c::crc32c(&unsigned) {
        return None;
    }
    if u16_at(bytes, 8)? != VERSION {
        return Some(Parsed::Newer);
    }
    let count = usize::from(u16_at(bytes, 10)?);
    if count > EPOCHS_MAX {
        return None;
    }
    let epochs = (0..count).map(|index| epoch(bytes, EPOCHS_AT + index * EPOCH_LEN));
    Some(Parsed::Valid(Record {
        generation: number_at(bytes, 16)?,
        journal: array_at(bytes, 24)?,
        epochs: epochs.collect::<Option<_>>()?,
    }))
}

fn epoch(bytes: &[u8], at: usize) -> Option<Epoch> {
    let number = |at| Some(i64::from_le_bytes(array_at(bytes, at)?));
    let fate = match u32_at(bytes, at + 4)? {
        0 => Fate::Waiting,
        1 => Fate::Corrected(number(at + 40)?),
        2 => Fate::Unsure,
        _ => return None,
    };
    Some(Epoch {
        id: u32_at(bytes, at)?,
        boot: array_at(bytes, at + 8)?,
        offset_ns: number(at + 24)?,
        began_ns: number(at + 32)?,
        fate,
        upto: number_at(bytes, at + 48)?,
    })
}

fn page() -> usize {
    usize::try_from(PAGE).unwrap_or(4096)
}
