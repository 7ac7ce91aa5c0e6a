//! Sets of lines of one body, and how they are split: by number, by bytes, by name. Ascending, and
//! nothing is lost.

use std::ops::Range;

use crate::sink::Body;

/// Some lines of a batch, in ascending order.
pub type Lines = Vec<Range<u32>>;

/// How many lines these are.
pub fn count(lines: &[Range<u32>]) -> u32 {
    lines.iter().map(|range| range.end - range.start).sum()
}

/// Two parts of the same number of lines, the first part last (it is sent first). `None`: a single
/// line, or none.
pub fn halves(lines: &Lines) -> Option<[Lines; 2]> {
    let count = count(lines);
    if count < 2 {
        return None;
    }
    let mut first = lines.clone();
    let second = split_off(&mut first, count / 2);
    Some([second, first])
}

/// Keeps the first `keep` lines and returns the others.
pub fn split_off(lines: &mut Lines, keep: u32) -> Lines {
    let mut left = keep;
    let mut rest = Lines::new();
    lines.retain_mut(|range| {
        let cut = range.end.min(range.start.saturating_add(left));
        left -= cut - range.start;
        if cut < range.end {
            rest.push(cut..range.end);
        }
        range.end = cut;
        range.start < range.end
    });
    rest
}

/// Keeps as many lines as fit (one at least) and returns the others, if there are any.
pub fn split_off_bytes(lines: &mut Lines, body: &Body, bytes_max: usize) -> Option<Lines> {
    if body.len_of(lines) <= bytes_max {
        return None;
    }
    let mut bytes = 0;
    let mut keep = 0;
    for line in lines.iter().cloned().flatten() {
        bytes += body.line(line).len();
        if bytes > bytes_max {
            break;
        }
        keep += 1;
    }
    let rest = split_off(lines, keep.max(1));
    (!rest.is_empty()).then_some(rest)
}

/// The lines that are among `numbers` (ascending), and those that are not.
pub fn partition(lines: &Lines, numbers: &[u32]) -> (Lines, Lines) {
    if numbers.is_empty() {
        return (Lines::new(), lines.clone());
    }
    let (named, rest): (Vec<u32>, Vec<u32>) =
        lines.iter().cloned().flatten().partition(|line| numbers.binary_search(line).is_ok());
    (ranges_of(named), ranges_of(rest))
}

pub fn ranges_of(numbers: impl IntoIterator<Item = u32>) -> Lines {
    let mut ranges = Lines::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}
