//! CBOR in (RFC 8949): a map, an array of maps, or items one after the other (RFC 8742). It means
//! what the same JSON would mean.
//!
//! ```text
//! initial byte   major type, 3 bits · how the argument is written, 5 bits
//! argument       0..=23 itself | 24, 25, 26, 27: 1, 2, 4, 8 bytes follow | 31: until a break
//! 0 unsigned · 1 negative · 2 bytes · 3 text · 4 array · 5 map · 6 tag · 7 float and simple
//! ```
//! Beyond JSON, and what becomes of it:
//!
//! | CBOR | here |
//! |---|---|
//! | keys that are integers | their decimal text; other keys cost the reading |
//! | a half, a single | a half is exact, a single is its own shortest decimal |
//! | tag 0, tag 1 | the time if its key is one of the time's; else the text, the seconds |
//! | tags 2 and 3 (bignum), 4 (decimal fraction) | the number |
//! | any other tag | is not looked at: its content counts |
//! | undefined | null |
//! | bytes, a text that is not UTF-8, a simple value | cost their field |
//!
//! The reader is our own: what it hands on has to be borrowed and bounded the way `tree` wants it,
//! and a general decoder would be about as much code around it.

mod reader;
#[cfg(test)]
mod tests;

pub(crate) use reader::Reader;

use crate::{Context, Readings, Rejects, tree::binary};

/// Tag 55799, which says "this is CBOR" and nothing else (RFC 8949 section 3.4.6).
const SELF_DESCRIBED: &[u8] = &[0xD9, 0xD9, 0xF7];

pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    binary::decode(Reader::new(payload), payload.len(), context, out, bad);
}

/// Whether the payload can be taken for CBOR without being told: it says so itself, or it is one
/// whole map that begins with a text as a key. No UTF-8 text begins like that. Arrays are not
/// recognised: they may be `MessagePack`'s maps.
pub fn looks_like(payload: &[u8]) -> bool {
    let begins = match payload {
        _ if payload.starts_with(SELF_DESCRIBED) => return true,
        [0xA1..=0xB7 | 0xBF, key, ..] | [0xB8, _, key, ..] | [0xB9, _, _, key, ..] => {
            matches!(key, 0x61..=0x7B | 0x7F)
        }
        _ => false,
    };
    begins && binary::is_whole(&mut Reader::new(payload))
}
