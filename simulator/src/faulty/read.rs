//! A body taken apart: good lines, bad ones, and how version 3 tells of those that were refused.

use super::{
    answer::Told,
    behaviour::Behaviour,
    line::{self, Point},
    server::contains,
    store::Refusal,
};

/// A body's lines, numbered from 1, good ones apart from bad ones.
pub(super) struct Read<'b> {
    pub(super) lines: usize,
    pub(super) good: Vec<(usize, &'b [u8], Point)>,
    pub(super) malformed: Vec<Malformed<'b>>,
}

pub(super) struct Malformed<'b> {
    number: usize,
    line: &'b [u8],
    why: String,
    /// Not refused on purpose.
    pub(super) is_theirs: bool,
}

impl<'b> Read<'b> {
    pub(super) fn new(behaviour: &Behaviour, body: &'b [u8], unit: i64) -> Self {
        let mut read = Self { lines: 0, good: Vec::new(), malformed: Vec::new() };
        for (line, point) in line::points(body, unit) {
            read.lines += 1;
            let number = read.lines;
            let why = match point {
                Ok(point) if !contains(line, behaviour.malformed_if.as_deref()) => {
                    read.good.push((number, line, point));
                    continue;
                }
                Ok(_) => None,
                Err(why) => Some(why),
            };
            let is_theirs = why.is_some();
            let why = why.unwrap_or_else(|| "refused on purpose".to_owned());
            read.malformed.push(Malformed { number, line, why, is_theirs });
        }
        read
    }

    pub(super) fn why(&self) -> String {
        let why = |bad: &Malformed<'_>| bad.quoted();
        self.malformed.iter().map(why).collect::<Vec<_>>().join("\n")
    }
}

impl Malformed<'_> {
    /// In the words of 1.x and 2.x.
    pub(super) fn quoted(&self) -> String {
        format!("unable to parse '{}': {}", String::from_utf8_lossy(self.line), self.why)
    }
}

/// As version 3 names them, in the order of their numbers.
pub(super) fn told(read: &Read<'_>, refused: Vec<(usize, Refusal)>) -> Vec<Told> {
    let plain = |line: &[u8]| String::from_utf8_lossy(line).replace(['\\', '"'], "");
    let malformed = read.malformed.iter().map(|bad| Told {
        number: bad.number,
        line: plain(bad.line),
        why: bad.why.clone(),
    });
    let line_of = |number: usize| {
        let found = read.good.iter().find(|(n, ..)| *n == number);
        found.map_or_else(String::new, |(_, line, _)| plain(line))
    };
    let refused = refused.into_iter().map(|(number, why)| Told {
        number,
        line: line_of(number),
        why: why.of_version_3(),
    });
    let mut told: Vec<Told> = malformed.chain(refused).collect();
    told.sort_by_key(|told| told.number);
    told
}
