//! What the file of births holds, as bytes.
//!
//! ```text
//! file     "TGSPB001"  record*
//!          "TGSPB00B"  record*     the same, and births or deaths came since that it does not have
//! record   len u32 LE  crc32c u32 LE of the body  body (len bytes)
//! body     1  topic s  payload s                      a birth or a death, to be heard again
//!          2  number u64 LE  source s  topic s  payload s     metrics that wait for a birth
//!          3  number u64 LE                                   they wait no longer
//!          4     births or deaths may have been missed between what was held so far and what follows
//! s        len u32 LE  bytes
//! ```
//! A body tells its own length, so what a flipped bit costs is the record that it hit, and nothing if it
//! hit `len`. A record that the file ends in was torn: the process or the power went while it was written,
//! and nothing that depends on it was acknowledged.

pub(super) const MAGIC: &[u8; 8] = b"TGSPB001";
/// The last byte of `MAGIC` once the file is behind. Several bits lie between the two.
pub(super) const BEHIND: u8 = b'B';
const HEAD: usize = 8;

/// What a file has, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'r> {
    Record(Record<'r>),
    /// A stretch that is no record, but was: whatever it said, nobody knows.
    Damaged,
    /// Births or deaths that came are not in the file.
    Behind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'r> {
    Heard { topic: &'r str, payload: &'r [u8] },
    Held { number: u64, source: &'r str, topic: &'r str, payload: &'r [u8] },
    Settled { number: u64 },
    Doubt,
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
            Self::Doubt => out.push(4),
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
            4 => Self::Doubt,
            _ => return None,
        };
        rest.is_empty().then_some(record)
    }
}

/// What a file has. A head that is damaged may have said that the file is behind.
pub(super) fn records(file: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let (head, mut rest) = file.split_at(file.len().min(MAGIC.len()));
    let is_behind = matches!(head, [name @ .., BEHIND] if MAGIC.starts_with(name));
    let is_known = is_behind || head == MAGIC || file.is_empty();
    let found = std::iter::from_fn(move || {
        if let Some((record, after)) = whole(rest) {
            rest = after;
            return Some(Found::Record(record));
        }
        if is_torn(rest) {
            return None;
        }
        rest = past(rest);
        Some(Found::Damaged)
    });
    let damaged = (!is_known).then_some(Found::Damaged);
    let behind = (is_behind || !is_known).then_some(Found::Behind);
    damaged.into_iter().chain(found).chain(behind)
}

/// The record that stands here, by the length that its body tells, and what follows it.
fn whole(rest: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (crc, after) = rest.get(4..)?.split_first_chunk::<4>()?;
    let (body, after) = after.split_at_checked(extent(after)?)?;
    let is_sound = crc32c::crc32c(body) == u32::from_le_bytes(*crc);
    Some((Record::parse(body).filter(|_| is_sound)?, after))
}

/// How long the body is that begins here; more than there is, if it is cut. `None`: it is no body.
fn extent(body: &[u8]) -> Option<usize> {
    let (numbers, slices) = match body.first()? {
        1 => (0, 2),
        2 => (1, 3),
        3 => (1, 0),
        4 => (0, 0),
        _ => return None,
    };
    let mut end = 1 + 8 * numbers;
    for _ in 0..slices {
        let len = body.get(end..).and_then(|rest| rest.first_chunk());
        let len = len.map_or(0, |len| u32::from_le_bytes(*len));
        end = end.saturating_add(4).saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
    }
    Some(end)
}

/// The file ends in it, by its head and by its body.
fn is_torn(rest: &[u8]) -> bool {
    let Some(body) = rest.get(HEAD..).filter(|body| !body.is_empty()) else { return true };
    len(rest).is_none_or(|len| len > body.len()) && extent(body).is_some_and(|it| it > body.len())
}

/// Where the next record stands: where the head of the damaged one says, or wherever there is one.
fn past(rest: &[u8]) -> &[u8] {
    let told = len(rest).and_then(|len| rest.get(HEAD.saturating_add(len)..));
    let is_one = |rest: &&[u8]| rest.is_empty() || whole(rest).is_some();
    let anywhere =
        || (1..rest.len()).filter_map(|at| rest.get(at..)).find(|it| whole(it).is_some());
    told.filter(is_one).or_else(anywhere).unwrap_or_default()
}

fn len(rest: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()
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

    const ALL: [Record<'_>; 5] = [
        Record::Heard { topic: "spBv1.0/g/NBIRTH/n", payload: b"\x12\x00" },
        Record::Held { number: 7, source: "mqtt", topic: "spBv1.0/g/NDATA/n", payload: b"x" },
        Record::Settled { number: 7 },
        Record::Doubt,
        Record::Heard { topic: "", payload: b"" },
    ];

    fn file(records: &[Record<'_>]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for record in records {
            record.put(&mut file);
        }
        file
    }

    fn read(file: &[u8]) -> (Vec<Record<'_>>, usize) {
        let mut damaged = 0;
        let whole = records(file).filter_map(|found| match found {
            Found::Record(record) => Some(record),
            Found::Damaged => {
                damaged += 1;
                None
            }
            Found::Behind => None,
        });
        (whole.collect(), damaged)
    }

    #[test]
    fn what_is_put_is_read() {
        assert_eq!(read(&file(&ALL)), (ALL.to_vec(), 0));
        assert_eq!(records(b"").count(), 0);
        assert_eq!(records(b"another file").collect::<Vec<_>>(), [Found::Damaged, Found::Behind]);
        let mut behind = file(&ALL);
        behind[7] = BEHIND;
        assert_eq!(read(&behind), (ALL.to_vec(), 0));
        assert_eq!(records(&behind).last(), Some(Found::Behind));
    }

    /// Nothing that depends on it was acknowledged.
    #[test]
    fn a_torn_tail_costs_itself_and_is_no_damage() {
        let file = file(&ALL);
        for at in MAGIC.len()..file.len() {
            let (cut, damaged) = read(&file[..at]);
            assert!(ALL.starts_with(&cut) && damaged == 0, "cut at {at}: {damaged}, {cut:?}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_the_record_that_it_hit_and_is_told() {
        let file = file(&ALL);
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (found, damaged) = read(&flipped);
            let missing = ALL.iter().filter(|record| !found.contains(record)).count();
            assert!(found.iter().all(|record| ALL.contains(record)), "bit {bit}: {found:?}");
            assert!(missing <= 1 && damaged >= missing, "bit {bit}: {damaged}, {found:?}");
        }
    }

    /// A sector that cannot be told from another's: what stands around it is found.
    #[test]
    fn what_stands_behind_a_stretch_that_says_nothing_is_found() {
        let many: Vec<_> = (0..100).map(|number| Record::Settled { number }).collect();
        let file = file(&many);
        for filler in [0, 0xFF, 0x03] {
            let mut spoilt = file.clone();
            spoilt[490..1012].fill(filler);
            let (found, damaged) = read(&spoilt);
            assert_eq!((found.len(), damaged), (100 - 31, 1), "{filler}");
            assert_eq!((found.first(), found.last()), (many.first(), many.last()));
        }
    }
}
