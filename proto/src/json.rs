//! Decodes one payload.

use crate::{Context, Readings, Rejects};

pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    unimplemented!("{payload:?} {context:?} {out:?} {bad:?}")
}
