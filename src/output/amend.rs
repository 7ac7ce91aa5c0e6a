//! Lines that are sent otherwise than they came: a field written as another type, or left out.
//!
//! Numbers of lines stay: an amended line stands in the place of the first one. What was left out is
//! kept until the batch ends, for the dead letters.

use std::{collections::BTreeMap, sync::Arc};

use crate::sink::{Amendment, Body, Refusal};

/// How often a line may be written anew without losing a field: a database whose types differ by
/// shard could go on for ever.
const COERCIONS_MAX: u32 = 8;

/// A field that a line went without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub line: u32,
    pub field: String,
    pub refusal: Refusal,
}

#[derive(Debug)]
pub struct Amendments {
    original: Arc<Body>,
    current: Arc<Body>,
    lost: Vec<Lost>,
    coercions: BTreeMap<u32, u32>,
}

impl Amendments {
    pub fn of(body: Arc<Body>) -> Self {
        Self {
            current: Arc::clone(&body),
            original: body,
            lost: Vec::new(),
            coercions: BTreeMap::new(),
        }
    }

    /// What to send.
    pub fn body(&self) -> &Arc<Body> {
        &self.current
    }

    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    pub fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    /// How many fields were written as another type in lines that are not `guilty` (ascending). One
    /// that went to and fro counts each time.
    pub fn coerced(&self, guilty: &[(u32, Refusal)]) -> u64 {
        let is_guilty = |line: &u32| guilty.binary_search_by_key(line, |(line, _)| *line).is_ok();
        let others = self.coercions.iter().filter(|(line, _)| !is_guilty(line));
        others.map(|(_, times)| u64::from(*times)).sum()
    }

    /// Writes the body anew. Returns the lines of which nothing is left, or which were written anew
    /// too often.
    pub fn apply(&mut self, changes: Vec<(u32, Amendment)>) -> Vec<(u32, Refusal)> {
        let mut given_up = Vec::new();
        let mut lines = BTreeMap::new();
        for (line, Amendment { line: bytes, refusal, lost }) in changes {
            let coercions = self.coercions.entry(line).or_default();
            *coercions += u32::from(lost.is_none());
            if bytes.is_empty() || *coercions > COERCIONS_MAX {
                given_up.push((line, refusal));
                continue;
            }
            if let Some(field) = lost {
                self.lost.push(Lost { line, field, refusal });
            }
            lines.insert(line, bytes);
        }
        let mut body = Body::with_capacity(self.current.bytes.len(), self.current.lines() as usize);
        let mut copied = 0;
        for (line, bytes) in lines {
            body.extend_from(&self.current, copied..line);
            body.bytes.extend_from_slice(&bytes);
            body.end_line(self.current.time_of(line));
            copied = line + 1;
        }
        body.extend_from(&self.current, copied..self.current.lines());
        self.current = Arc::new(body);
        given_up
    }

    /// Back to how the lines came.
    pub fn forget(&mut self) {
        self.current = Arc::clone(&self.original);
        self.lost.clear();
        self.coercions.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Fault;

    fn change(line: &str, lost: Option<&str>) -> Amendment {
        let refusal = Refusal::new(Fault::TypeConflict, "is type integer");
        Amendment { line: line.as_bytes().to_vec(), refusal, lost: lost.map(str::to_owned) }
    }

    fn amendments() -> Amendments {
        let mut body = Body::default();
        for (line, time) in ["a f=1i,g=1 1\n", "b f=1i 2\n", "c f=1 3\n"].into_iter().zip(1..) {
            body.bytes.extend_from_slice(line.as_bytes());
            body.end_line(time);
        }
        Amendments::of(Arc::new(body))
    }

    #[test]
    fn an_amended_line_stands_where_the_other_stood() {
        let mut amendments = amendments();
        let changes = vec![(1, change("b f=1 2\n", None)), (0, change("a g=1 1\n", Some("f")))];
        assert_eq!(amendments.apply(changes), []);
        let body = amendments.body();
        assert_eq!(body.bytes, b"a g=1 1\nb f=1 2\nc f=1 3\n");
        assert_eq!([0, 1, 2].map(|line| body.time_of(line)), [1, 2, 3]);
        assert_eq!(amendments.lost().len(), 1);
        let guilty = |line| (line, Refusal::new(Fault::Malformed, "no"));
        assert_eq!(amendments.coerced(&[]), 1);
        assert_eq!(amendments.coerced(&[guilty(0), guilty(1)]), 0);
        amendments.forget();
        assert_eq!(amendments.body().bytes, b"a f=1i,g=1 1\nb f=1i 2\nc f=1 3\n");
        assert_eq!(amendments.take_lost(), []);
    }

    #[test]
    fn a_line_without_fields_and_one_that_never_fits_are_given_up() {
        let mut amendments = amendments();
        let given_up = amendments.apply(vec![(1, change("", Some("f")))]);
        assert_eq!(given_up.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1]);
        for _ in 0..COERCIONS_MAX {
            assert_eq!(amendments.apply(vec![(2, change("c f=1i 3\n", None))]), []);
        }
        assert_eq!(amendments.apply(vec![(2, change("c f=1 3\n", None))]).len(), 1);
    }
}
