//! A position record's bytes.
//!
//! ```text
//! pos-<output>.<generation % 2>, one record at offset 0, zeros to a multiple of 4096; little-endian
//!   0 magic "TIDEPOS\n"   8 version u16   10 header_len u16 (136)   12 state_schema u16   14 flags u16
//!  16 generation u64     24 journal uuid 16
//!  40 low u64            (everything at or below it need never be sent again by this output)
//!  48 hint u64           (durable when this was written)
//!  56 base u64           (readings journaled before this output's first frame)
//!  64 passed u64         (readings of the frames from there to low)
//!  72 working_on u64     (0; a frame on which the process crashed before)
//!  80 fates of the readings passed: confirmed, dead, dropped, filtered, absorbed, quarantined, 6 x u64
//! 128 state_len u32      132 crc32c of bytes 0..132 and of the state
//!                       (flags: bit 0, frames are gone that the state should have seen: there is none)
//! 136 state              (opaque; as of exactly `low`; state_schema 0: none, 1: it says its own version)
//! ```

use std::sync::Arc;

#[cfg(test)]
use crate::layout::put_at;
use crate::layout::{array_at, number_at, u16_at, u32_at, u64_at};
use crate::options::PAGE;
use crate::receipt::Fates;

const MAGIC: [u8; 8] = *b"TIDEPOS\n";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 136;
const CRC_AT: usize = 132;
/// No state.
const STATELESS: u16 = 0;
/// A state that says its own version.
const STATE: u16 = 1;
const CUT: u16 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) generation: u64,
    pub(crate) journal: [u8; 16],
    pub(crate) low: u64,
    pub(crate) hint: u64,
    pub(crate) base: u64,
    pub(crate) passed: u64,
    pub(crate) working_on: u64,
    pub(crate) fates: Fates,
    /// Frames are gone that a state should have seen.
    pub(crate) is_cut: bool,
    pub(crate) state: Arc<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Valid(Record),
    /// A later release's record or state: its low mark holds what it holds, nothing is rewritten.
    Newer {
        generation: u64,
        low: u64,
        hint: u64,
    },
    Damaged,
}

impl Record {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + self.state.len());
        out.extend_from_slice(&MAGIC);
        let schema = if self.state.is_empty() { STATELESS } else { STATE };
        let flags = if self.is_cut { CUT } else { 0 };
        for value in [VERSION, 136, schema, flags] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.journal);
        for value in [self.low, self.hint, self.base, self.passed, self.working_on] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let fates = &self.fates;
        for value in [fates.confirmed, fates.dead, fates.dropped] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [fates.filtered, fates.absorbed, fates.quarantined] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let state_len = u32::try_from(self.state.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&state_len.to_le_bytes());
        let crc = checksum(&out, &self.state);
        out.extend_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(out.len(), HEADER_LEN);
        out.extend_from_slice(&self.state);
        let page = usize::try_from(PAGE).unwrap_or(4096);
        out.resize(out.len().next_multiple_of(page), 0);
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Parsed {
        parse(bytes).unwrap_or(Parsed::Damaged)
    }
}

/// What a record that begins so would take.
pub(crate) fn len_of(first: &[u8]) -> u64 {
    HEADER_LEN as u64 + u64::from(u32_at(first, 128).unwrap_or(0))
}

fn parse(bytes: &[u8]) -> Option<Parsed> {
    if array_at(bytes, 0)? != MAGIC {
        return None;
    }
    let state_len = usize::try_from(u32_at(bytes, 128)?).ok()?;
    let state = bytes.get(HEADER_LEN..HEADER_LEN.checked_add(state_len)?)?;
    if u32_at(bytes, CRC_AT)? != checksum(bytes.get(..CRC_AT)?, state) {
        return None;
    }
    let (generation, low) = (number_at(bytes, 16)?, number_at(bytes, 40)?);
    let hint = number_at(bytes, 48)?;
    if u16_at(bytes, 8)? != VERSION || !matches!(u16_at(bytes, 12)?, STATELESS | STATE) {
        return Some(Parsed::Newer { generation, low, hint });
    }
    Some(Parsed::Valid(Record {
        generation,
        journal: array_at(bytes, 24)?,
        low,
        hint,
        base: number_at(bytes, 56)?,
        passed: number_at(bytes, 64)?,
        working_on: u64_at(bytes, 72)?,
        fates: Fates {
            confirmed: number_at(bytes, 80)?,
            dead: number_at(bytes, 88)?,
            dropped: number_at(bytes, 96)?,
            filtered: number_at(bytes, 104)?,
            absorbed: number_at(bytes, 112)?,
            quarantined: number_at(bytes, 120)?,
        },
        is_cut: u16_at(bytes, 14)? & CUT != 0,
        state: state.into(),
    }))
}

fn checksum(header: &[u8], state: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(header), state)
}

/// A later release's record, for tests.
#[cfg(test)]
pub(crate) fn with_version(mut bytes: Vec<u8>, version: u16) -> Vec<u8> {
    put_at(&mut bytes, 8, &version.to_le_bytes());
    let crc = checksum(&bytes[..CRC_AT], &[]);
    put_at(&mut bytes, CRC_AT, &crc.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            generation: 5,
            journal: *b"0123456789abcdef",
            low: 6,
            hint: 7,
            base: 8,
            passed: 9,
            working_on: 10,
            fates: Fates {
                confirmed: 1,
                dead: 2,
                dropped: 3,
                filtered: 4,
                absorbed: 5,
                quarantined: 6,
            },
            is_cut: true,
            state: b"windows"[..].into(),
        }
    }

    #[test]
    fn a_record_comes_back_and_every_damaged_byte_is_noticed() {
        let bytes = record().bytes();
        assert_eq!(bytes.len(), 4096);
        assert_eq!(Record::parse(&bytes), Parsed::Valid(record()));
        for at in 0..HEADER_LEN + record().state.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Record::parse(&bad), Parsed::Damaged, "byte {at}");
        }
        assert_eq!(Record::parse(&bytes[..140]), Parsed::Damaged);
        assert_eq!(Record::parse(&[]), Parsed::Damaged);
    }

    #[test]
    fn numbers_that_cannot_be_are_damage_though_the_checksum_holds() {
        let all = u64::MAX;
        for bad in [
            Record { generation: all, ..record() },
            Record { low: all, ..record() },
            Record { hint: all - 1, ..record() },
            Record { passed: all, ..record() },
            Record { fates: Fates { dropped: all, ..Fates::default() }, ..record() },
        ] {
            assert_eq!(Record::parse(&bad.bytes()), Parsed::Damaged, "{bad:?}");
        }
    }

    #[test]
    fn a_later_version_is_not_damage() {
        let stateless = Record { state: Arc::default(), ..record() };
        let newer = with_version(stateless.bytes(), 2);
        assert_eq!(Record::parse(&newer), Parsed::Newer { generation: 5, low: 6, hint: 7 });
    }
}
