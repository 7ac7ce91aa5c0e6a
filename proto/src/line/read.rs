//! Line protocol in.

use crate::{Context, Readings, Rejects};

/// Decodes a whole body; a broken line costs itself only. `Rejects` carries its line and bytes.
pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    unimplemented!("{payload:?} {context:?} {out:?} {bad:?}")
}
