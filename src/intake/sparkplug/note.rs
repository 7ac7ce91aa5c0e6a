//! Where each node's messages stood, and what waits no longer: kept in the journal beside the readings
//! they brought.
//!
//! ```text
//! note     kind u8 = 5  entry*
//! note     kind u8 = 6  number u64 LE: what the file of births holds under it is in this submission
//! entry    len u8  `group/node` (len bytes)  number of the next message u16 LE; 256: not known
//! ```
//! A node whose name is too long for an entry is not noted: after a restart it is asked for its births.

use bytes::Bytes;

const KIND: u8 = 5;
const SETTLED: u8 = 6;
const UNKNOWN: u16 = 256;

pub(super) fn put<'n>(nodes: impl IntoIterator<Item = (&'n str, Option<u8>)>) -> Bytes {
    let mut bytes = vec![KIND];
    for (node, next_seq) in nodes {
        let Ok(len) = u8::try_from(node.len()) else { continue };
        bytes.push(len);
        bytes.extend_from_slice(node.as_bytes());
        bytes.extend_from_slice(&next_seq.map_or(UNKNOWN, u16::from).to_le_bytes());
    }
    bytes.into()
}

/// Nothing of a note that is not one of these.
pub(super) fn parse(bytes: &[u8]) -> impl Iterator<Item = (&str, Option<u8>)> {
    let mut rest = bytes.strip_prefix(&[KIND]).unwrap_or_default();
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first()?;
        let (node, after) = after.split_at_checked(usize::from(*len))?;
        let (next_seq, after) = after.split_first_chunk()?;
        rest = after;
        Some((std::str::from_utf8(node).ok()?, u8::try_from(u16::from_le_bytes(*next_seq)).ok()))
    })
}

pub(super) fn put_settled(number: u64) -> Bytes {
    [&[SETTLED], &number.to_le_bytes()[..]].concat().into()
}

pub(super) fn parse_settled(bytes: &[u8]) -> Option<u64> {
    let number = bytes.strip_prefix(&[SETTLED])?;
    number.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_is_read() {
        let note = put_settled(u64::MAX - 7);
        assert_eq!(parse_settled(&note), Some(u64::MAX - 7));
        assert_eq!((parse(&note).count(), parse_settled(&put([("g/n", Some(0))]))), (0, None));
        assert!((0..note.len()).all(|at| parse_settled(&note[..at]).is_none()));
    }

    #[test]
    fn what_is_noted_is_read() {
        let long = "n".repeat(256);
        let nodes = [("g/n", Some(0)), ("g/m", Some(255)), ("", None), ("g/é", Some(7))];
        let note = put(nodes.into_iter().chain([(long.as_str(), Some(1))]));
        assert_eq!(parse(&note).collect::<Vec<_>>(), nodes);
        for at in 0..note.len() {
            assert!(nodes.starts_with(&parse(&note[..at]).collect::<Vec<_>>()));
        }
        assert_eq!(parse(&[1, 0, 0, 1]).count(), 0);
    }
}
