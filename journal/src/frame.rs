//! A frame's bytes: one header, one payload.
//!
//! ```text
//! 8-byte aligned; little-endian
//!   0 header_crc u32 = crc32c(salt u64 ++ bytes 4..40)     4 stored_len u32
//!   8 seq u64                                             16 durable_upto u64
//!  24 payload_crc u32 = crc32c(stored payload)            28 readings u32
//!  32 kind u8 (1 data, 2 rejected, 3 clock)               33 codec u8 (0 none, 1 zstd)
//!  34 schema u16 (1)       36 magic u16 0x7DF5            38 reserved u16
//!  40 stored payload, then zeros to a multiple of 8
//! ```
//! The header has its own checksum, so a damaged payload costs this frame only. The salt is the
//! segment's: what an earlier life of the file left behind, or what a payload pretends to be,
//! does not check.

use bytes::Bytes;
use zstd::bulk::Decompressor;

use crate::Kind;
use crate::layout::{number_at, put_at, u16_at, u32_at, u64_at};

pub(crate) const FRAME_HEADER: usize = 40;
pub(crate) const ALIGN: usize = 8;
pub(crate) const SCHEMA: u16 = 1;
/// A decompressed payload is never larger: a submission of 1 MiB and what goes with it.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 2 * 1024 * 1024;

const MAGIC: u16 = 0x7df5;
const MAGIC_AT: usize = 36;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Zstd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) stored_len: u32,
    pub(crate) seq: u64,
    pub(crate) durable_upto: u64,
    pub(crate) payload_crc: u32,
    pub(crate) readings: u32,
    /// As written: a later release may know more kinds.
    pub(crate) kind: u8,
    pub(crate) codec: u8,
    pub(crate) schema: u16,
}

/// Why a payload whose frame checks cannot be handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// A later release wrote it: stop, nothing is lost.
    Newer,
    /// The checksum holds and yet it does not decompress: a fault of ours, or of memory.
    Broken,
}

impl FrameHeader {
    /// Writes the header into its 40 bytes.
    pub(crate) fn put(&self, out: &mut [u8], salt: u64) {
        put_at(out, 4, &self.stored_len.to_le_bytes());
        put_at(out, 8, &self.seq.to_le_bytes());
        put_at(out, 16, &self.durable_upto.to_le_bytes());
        put_at(out, 24, &self.payload_crc.to_le_bytes());
        put_at(out, 28, &self.readings.to_le_bytes());
        put_at(out, 32, &[self.kind, self.codec]);
        put_at(out, 34, &self.schema.to_le_bytes());
        put_at(out, MAGIC_AT, &MAGIC.to_le_bytes());
        put_at(out, 38, &[0, 0]);
        stamp(out, salt);
    }

    /// `None` unless magic and checksum hold.
    pub(crate) fn parse(bytes: &[u8], salt: u64) -> Option<Self> {
        if u16_at(bytes, MAGIC_AT)? != MAGIC || u32_at(bytes, 0)? != checksum(bytes, salt)? {
            return None;
        }
        let seq = number_at(bytes, 8)?;
        Some(Self {
            stored_len: u32_at(bytes, 4)?,
            seq,
            durable_upto: u64_at(bytes, 16).filter(|durable| *durable < seq)?,
            payload_crc: u32_at(bytes, 24)?,
            readings: u32_at(bytes, 28)?,
            kind: *bytes.get(32)?,
            codec: *bytes.get(33)?,
            schema: u16_at(bytes, 34)?,
        })
    }

    /// Header, payload and zeros.
    pub(crate) fn frame_len(&self) -> u64 {
        (FRAME_HEADER as u64 + u64::from(self.stored_len)).next_multiple_of(ALIGN as u64)
    }

    pub(crate) fn known_kind(&self) -> Option<Kind> {
        match self.kind {
            1 => Some(Kind::Data),
            2 => Some(Kind::Rejected),
            3 => Some(Kind::Clock),
            _ => None,
        }
    }

    /// Checked stored bytes to payload.
    pub(crate) fn open(
        &self,
        stored: &[u8],
        zstd: &mut Decompressor<'_>,
    ) -> Result<Bytes, Unreadable> {
        if self.schema != SCHEMA {
            return Err(Unreadable::Newer);
        }
        match self.codec {
            0 => Ok(Bytes::copy_from_slice(stored)),
            // Allocates what the zstd header says, or refuses if that is beyond the bound.
            1 => match zstd.decompress(stored, PAYLOAD_BYTES_MAX) {
                Ok(payload) => Ok(Bytes::from(payload)),
                Err(_) => Err(Unreadable::Broken),
            },
            _ => Err(Unreadable::Newer),
        }
    }
}

/// Fits a header that is already in place to a segment's salt.
pub(crate) fn stamp(header: &mut [u8], salt: u64) {
    if let Some(crc) = checksum(header, salt) {
        put_at(header, 0, &crc.to_le_bytes());
    }
}

pub(crate) fn kind_byte(kind: Kind) -> u8 {
    match kind {
        Kind::Data => 1,
        Kind::Rejected => 2,
        Kind::Clock => 3,
    }
}

impl Codec {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Zstd => 1,
        }
    }
}

fn checksum(header: &[u8], salt: u64) -> Option<u32> {
    let salted = crc32c::crc32c(&salt.to_le_bytes());
    Some(crc32c::crc32c_append(salted, header.get(4..FRAME_HEADER)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            stored_len: 13,
            seq: 0x0102_0304_0506_0708,
            durable_upto: 9,
            payload_crc: 10,
            readings: 11,
            kind: 1,
            codec: 1,
            schema: SCHEMA,
        }
    }

    #[test]
    fn every_flipped_bit_and_every_other_salt_is_refused() {
        let mut bytes = [0; FRAME_HEADER];
        header().put(&mut bytes, 77);
        assert_eq!(FrameHeader::parse(&bytes, 77), Some(header()));
        assert_eq!(FrameHeader::parse(&bytes, 78), None);
        for bit in 0..FRAME_HEADER * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::parse(&bad, 77), None, "bit {bit}");
        }
        stamp(&mut bytes, 78);
        assert_eq!(FrameHeader::parse(&bytes, 78), Some(header()));
        assert_eq!(header().frame_len(), 56);
    }

    #[test]
    fn a_later_schema_or_codec_is_newer_and_a_bomb_is_broken() {
        let mut zstd = Decompressor::new().unwrap();
        let newer = FrameHeader { schema: 2, ..header() };
        assert_eq!(newer.open(b"", &mut zstd), Err(Unreadable::Newer));
        let newer = FrameHeader { codec: 9, ..header() };
        assert_eq!(newer.open(b"", &mut zstd), Err(Unreadable::Newer));
        let bomb = zstd::bulk::compress(&vec![0; PAYLOAD_BYTES_MAX + 1], 1).unwrap();
        assert_eq!(header().open(&bomb, &mut zstd), Err(Unreadable::Broken));
        assert_eq!(header().open(b"no zstd at all", &mut zstd), Err(Unreadable::Broken));
    }
}
