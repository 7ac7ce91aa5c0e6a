//! What the file of births holds, as bytes.
//!
//! ```text
//! file     "TGSPB001"  record*
//! record   len u32 LE  crc32c u32 LE of the body  body (len bytes)
//! body     1  topic s  payload s                      a birth or a death, to be heard again
//!          2  number u64 LE  source s  topic s  payload s     metrics that wait for a birth
//!          3  number u64 LE                                   they wait no longer
//! s        len u32 LE  bytes
//! ```
//! A record that is not whole ends the file: the process or the power went while it was written, and
//! nothing that depends on it was acknowledged.

pub(super) const MAGIC: &[u8; 8] = b"TGSPB001";
const HEAD: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'r> {
    Heard { topic: &'r str, payload: &'r [u8] },
    Held { number: u64, source: &'r str, topic: &'r str, payload: &'r [u8] },
    Settled { number: u64 },
}

impl<'r> Record<'r> {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        match *self {
            Self::Heard { topic, payload } => {
                out.push(1);
                put_all([topic.as_bytes(), payload], out);
            }
            Self::Held { number, source, topic, payload } => {
                out.push(2);
                out.extend_from_slice(&number.to_le_bytes());
                put_all([source.as_bytes(), topic.as_bytes(), payload], out);
            }
            Self::Settled { number } => {
                out.push(3);
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        let body = out.get(start + HEAD..).unwrap_or_default();
        let (len, crc) = (u32::try_from(body.len()).unwrap_or(u32::MAX), crc32c::crc32c(body));
        if let Some(head) = out.get_mut(start..start + HEAD) {
            head.copy_from_slice(&[len.to_le_bytes(), crc.to_le_bytes()].concat());
        }
    }

    fn parse(body: &'r [u8]) -> Option<Self> {
        let (kind, mut rest) = body.split_first()?;
        let record = match kind {
            1 => Self::Heard { topic: text(&mut rest)?, payload: slice(&mut rest)? },
            2 => Self::Held {
                number: number(&mut rest)?,
                source: text(&mut rest)?,
                topic: text(&mut rest)?,
                payload: slice(&mut rest)?,
            },
            3 => Self::Settled { number: number(&mut rest)? },
            _ => return None,
        };
        rest.is_empty().then_some(record)
    }
}

/// The records in a file, up to the first that is not whole.
pub(super) fn records(file: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = file.strip_prefix(MAGIC).unwrap_or_default();
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<4>()?;
        let (crc, after) = after.split_first_chunk::<4>()?;
        let (body, after) =
            after.split_at_checked(usize::try_from(u32::from_le_bytes(*head)).ok()?)?;
        rest = after;
        (crc32c::crc32c(body) == u32::from_le_bytes(*crc)).then(|| Record::parse(body)).flatten()
    })
}

fn put_all<const N: usize>(all: [&[u8]; N], out: &mut Vec<u8>) {
    for bytes in all {
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*number))
}

fn slice<'r>(rest: &mut &'r [u8]) -> Option<&'r [u8]> {
    let (len, after) = rest.split_first_chunk()?;
    let (slice, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    *rest = after;
    Some(slice)
}

fn text<'r>(rest: &mut &'r [u8]) -> Option<&'r str> {
    std::str::from_utf8(slice(rest)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Record<'_>; 4] = [
        Record::Heard { topic: "spBv1.0/g/NBIRTH/n", payload: b"\x12\x00" },
        Record::Held { number: 7, source: "mqtt", topic: "spBv1.0/g/NDATA/n", payload: b"x" },
        Record::Settled { number: 7 },
        Record::Heard { topic: "", payload: b"" },
    ];

    fn file() -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for record in &ALL {
            record.put(&mut file);
        }
        file
    }

    #[test]
    fn what_is_put_is_read() {
        assert_eq!(records(&file()).collect::<Vec<_>>(), ALL);
        assert_eq!(records(b"").count(), 0);
        assert_eq!(records(b"another file").count(), 0);
    }

    /// Cut or damaged anywhere: what stands before is read, and nothing that was not written.
    #[test]
    fn a_torn_or_damaged_tail_costs_itself() {
        let file = file();
        for at in 0..file.len() {
            let cut = records(&file[..at]).collect::<Vec<_>>();
            assert!(ALL.starts_with(&cut), "{cut:?}");
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let read = records(&damaged).collect::<Vec<_>>();
            assert!(read.len() < ALL.len() && ALL.starts_with(&read), "byte {at}: {read:?}");
        }
    }
}
