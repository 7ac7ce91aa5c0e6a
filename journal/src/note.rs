//! Notes: what whoever submits wants to find again after a crash, kept in the same frame as the
//! readings it speaks of. One checksum covers both, so they live or die together.
//!
//! ```text
//! stored payload of a frame with notes, codec zstd:
//!   magic u32 LE 0x184D2A5E  len u32 LE  notes (len bytes)  zstd frame of the payload
//!
//! notes, until the end:      len varint  bytes
//! ```
//! The first part is a *skippable frame* (RFC 8878, 3.1.2): whoever decompresses the stored bytes
//! gets the payload and nothing else, so a release that knows no notes reads these frames as ever.
//! What stands in a note is its author's affair. Readers never see notes; `tail` walks them.

use std::ops::ControlFlow;

use tracing::warn;

use crate::catalog::{Place, Segment};
use crate::frame::ALIGN;
use crate::layout::{put_varint, u32_at, varint_at};
use crate::scan::{Body, Scan, Scanned};
use crate::segment::{self, HEADER_END};
use crate::shared::Shared;

/// One of the sixteen magic numbers that zstd leaves to its users.
const MAGIC: u32 = 0x184d_2a5e;
const HEAD: usize = 8;

pub(crate) fn put(notes: &mut Vec<u8>, note: &[u8]) {
    put_varint(notes, note.len() as u64);
    notes.extend_from_slice(note);
}

/// Begins a frame's stored bytes with the notes in their skippable frame.
pub(crate) fn put_frame(stored: &mut Vec<u8>, notes: &[u8]) {
    stored.extend_from_slice(&MAGIC.to_le_bytes());
    stored.extend_from_slice(&u32::try_from(notes.len()).unwrap_or(u32::MAX).to_le_bytes());
    stored.extend_from_slice(notes);
}

/// The notes in a frame's checked stored bytes.
fn of(stored: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_ours = u32_at(stored, 0) == Some(MAGIC);
    let len = u32_at(stored, 4).and_then(|len| usize::try_from(len).ok()).filter(|_| is_ours);
    let mut rest = len.and_then(|len| stored.get(HEAD..HEAD.checked_add(len)?)).unwrap_or_default();
    std::iter::from_fn(move || {
        let (len, at) = varint_at(rest, 0)?;
        let end = at.checked_add(usize::try_from(len).ok()?)?;
        let note = rest.get(at..end)?;
        rest = rest.get(end..)?;
        Some(note)
    })
}

/// Walks the notes in the last `bytes_max` bytes of the journal's durable frames, oldest first.
pub(crate) fn tail(shared: &Shared, bytes_max: u64, mut take: impl FnMut(&[u8])) {
    let places = shared.catalog.places();
    let mut segments = Vec::new();
    let mut left = bytes_max;
    for segment in places.iter().rev().filter_map(Place::known) {
        let frames = segment.end().saturating_sub(HEADER_END);
        let from = segment.end() - frames.min(left);
        segments.push((segment, from.next_multiple_of(ALIGN as u64)));
        left = left.saturating_sub(frames);
        if left == 0 {
            break;
        }
    }
    for (segment, from) in segments.into_iter().rev() {
        if let ControlFlow::Break(error) = walk(shared, segment, from, &mut take) {
            warn!(segment = segment::name(segment.id), %error, "notes cannot be read");
        }
    }
}

fn walk(
    shared: &Shared,
    segment: &Segment,
    from: u64,
    take: &mut impl FnMut(&[u8]),
) -> ControlFlow<std::io::Error> {
    let file = match shared.disk.open(&segment::name(segment.id)) {
        Ok(file) => file,
        Err(error) => return ControlFlow::Break(error),
    };
    let mut scan = Scan::new(file, segment.salt, segment.end(), &shared.limits);
    // In the middle of a frame it finds the next one: no payload passes for a header of this salt.
    scan.seek(from);
    let mut last = segment.first_seq - 1;
    while let Some(scanned) = scan.next(|header| header.codec == 1) {
        let Scanned::Frame { header, body, .. } = scanned else { continue };
        if header.seq <= last || header.seq > segment.last() {
            continue; // Superseded.
        }
        last = header.seq;
        if let Body::Good(stored) = body {
            of(stored).for_each(&mut *take);
        }
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zstd::bulk::{Compressor, Decompressor};

    use super::*;

    fn stored(notes: &[&[u8]], payload: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        for note in notes {
            put(&mut all, note);
        }
        let mut stored = Vec::new();
        put_frame(&mut stored, &all);
        stored.extend(Compressor::new(1).unwrap().compress(payload).unwrap());
        stored
    }

    #[test]
    fn who_knows_no_notes_decompresses_the_payload_and_nothing_else() {
        let stored = stored(&[b"one", b"", b"three"], b"payload, payload, payload");
        let notes: Vec<&[u8]> = of(&stored).collect();
        assert_eq!(notes, [&b"one"[..], b"", b"three"]);
        let payload = Decompressor::new().unwrap().decompress(&stored, 1 << 20).unwrap();
        assert_eq!(payload, b"payload, payload, payload");
        let plain = Compressor::new(1).unwrap().compress(b"payload").unwrap();
        assert_eq!(of(&plain).count(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_walk_panic_or_run_on(mut bytes: Vec<u8>, ours: bool) {
            if ours && bytes.len() > 4 {
                bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
            }
            prop_assert!(of(&bytes).count() <= bytes.len());
        }
    }
}
