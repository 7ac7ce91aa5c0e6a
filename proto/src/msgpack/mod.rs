//! `MessagePack` in: a map, an array of maps, or values one after the other. It means what the same
//! JSON would mean.
//!
//! ```text
//! 00..7F integer   80..8F map   90..9F array   A0..BF text   C0 nil   C2 C3 false true
//! C4 C5 C6 bin 8 16 32    C7 C8 C9 ext 8 16 32    CA CB float 32 64    CC..CF uint 8 16 32 64
//! D0..D3 int 8 16 32 64   D4..D8 ext of 1 2 4 8 16   D9 DA DB text 8 16 32   DC DD array   DE DF map
//! E0..FF integer   C1 is used for nothing (here it begins a frame)
//! ```
//! Beyond JSON: a key that is an integer is its decimal text; other keys cost the reading. A single
//! is its own shortest decimal. A timestamp (extension -1) is the time if its key is one of the
//! time's, else its seconds. `bin`, other extensions and a text that is not UTF-8 cost their field.
//!
//! The reader is our own, for the reason that CBOR's is.

mod reader;
#[cfg(test)]
mod tests;

use crate::{Context, Readings, Rejects, tree::binary};
use reader::Reader;

pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    binary::decode(Reader::new(payload), payload.len(), context, out, bad);
}

/// Whether the payload can be taken for `MessagePack` without being told: it is one whole map that
/// begins with a text as a key, and no UTF-8. Arrays are not recognised: they may be CBOR's.
pub fn looks_like(payload: &[u8]) -> bool {
    let begins = matches!(
        payload,
        [0x81..=0x8F, 0xA1..=0xBF | 0xD9..=0xDB, ..]
            | [0xDE, _, _, 0xA1..=0xBF | 0xD9..=0xDB, ..]
            | [0xDF, _, _, _, _, 0xA1..=0xBF | 0xD9..=0xDB, ..]
    );
    begins && binary::is_whole(&mut Reader::new(payload)) && std::str::from_utf8(payload).is_err()
}
