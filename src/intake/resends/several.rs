//! Several notes in one: what a start knows of all senders takes one place in the journal's queue, so
//! it never waits for another.
//!
//! ```text
//! note:   kind u8 = 7 | until the end: len u32 LE, note (len bytes)
//! ```
//! 5 and 6 are those of `sparkplug::note`.

use bytes::Bytes;

const KIND: u8 = 7;

/// `None` for none.
pub(super) fn put(notes: &[Bytes]) -> Option<Bytes> {
    if notes.is_empty() {
        return None;
    }
    let mut bytes = vec![KIND];
    for note in notes {
        let Ok(len) = u32::try_from(note.len()) else { continue };
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(note);
    }
    Some(bytes.into())
}

/// The notes in this one; `None` if it is of another kind.
pub(super) fn parse(note: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let mut rest = note.strip_prefix(&[KIND])?;
    Some(std::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (note, after) = after.split_at_checked(len)?;
        rest = after;
        Some(note)
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_together_comes_apart_and_a_torn_one_gives_less(
            notes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
            torn: prop::sample::Index,
        ) {
            let notes: Vec<Bytes> = notes.into_iter().map(Bytes::from).collect();
            let all = put(&notes).unwrap();
            prop_assert!(parse(&all).unwrap().eq(notes.iter().map(|note| &note[..])));
            let torn = &all[..torn.index(all.len())];
            let some: Vec<_> = parse(torn).into_iter().flatten().collect();
            prop_assert!(some.len() < notes.len() && some.iter().eq(notes.iter().take(some.len())));
        }
    }

    #[test]
    fn of_nothing_there_is_none() {
        assert!(put(&[]).is_none() && parse(&[]).is_none() && parse(&[1, 2]).is_none());
    }
}
