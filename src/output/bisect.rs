//! One batch's way to the end: what to send next, and which lines are guilty in the end.
//!
//! ```text
//!            +--------------------------- send --------------------------+
//!   todo: sets of lines, the next one last                               v
//!     ^  ^  ^                                                  answer for one set
//!     |  |  +-- what is not named ------ Bad(lines) ---> accused     |  Stored: proof
//!     |  +----- two parts -------------- Suspect, TooLarge <---------+
//!     +-------- the set itself --------- Busy, Failed, Unknown, Misconfigured
//! ```
//!
//! **Proof of guilt.** An accused line is guilty only if, in the same episode, another line or the
//! probe point was accepted by the same address. Before a whole batch is taken apart on a vague
//! answer, the probe point is asked for: if that is refused as well the fault is ours, nothing is
//! accused, and the batch stays whole. A set that fails three times in a row while the probe point
//! passes is taken apart too: one line can make a database fail. That is weak evidence (a part of
//! theirs may be ill for a while), so such a line is accused late.
//!
//! Pure: `now` is passed in. Lines are numbers of a `Body`.

use std::{ops::Range, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::sink::{Answer, Body, Fault, Refusal};

/// Some lines of a batch, in ascending order.
pub type Lines = Vec<Range<u32>>;

/// Failures in a row before the probe point is asked whether it is the lines.
const FAILURES_MAX: u32 = 3;
/// How often a single line must have failed like that before it is accused.
const STRIKES_MAX: u32 = 3;
/// And how long ago the first failure of its batch must be.
const FAILING_MIN: Duration = Duration::from_mins(1);

#[derive(Debug, PartialEq, Eq)]
pub enum Want {
    /// Send these, and hand them back with the answer.
    Send(Lines),
    /// Send the probe point.
    Probe,
    /// Every line is stored or guilty.
    Done,
}

/// What an answer says about the other end as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It works: it stored something or judged lines.
    Works,
    /// It takes less at once than this many bytes.
    TooLarge(usize),
    /// Not now.
    Fails { retry_after: Option<Duration>, text: Arc<str> },
    /// It refuses what it ought to take.
    Misconfigured(Arc<str>),
}

/// Why the probe point is wanted, for the set on top of `todo`.
#[derive(Debug)]
enum Doubt {
    Suspect { refusal: Refusal, among: Vec<u32> },
    Failing(Arc<str>),
}

#[derive(Debug)]
pub struct Episode {
    todo: Vec<Lines>,
    accused: Vec<(u32, Refusal)>,
    /// Something of this batch, or the probe point, was accepted.
    proof: bool,
    doubt: Option<Doubt>,
    /// Of the set on top of `todo`, in a row.
    failures: u32,
    strikes: u32,
    /// The first failure of the batch.
    failing_since: Option<Instant>,
}

impl Episode {
    pub fn new(lines: u32) -> Self {
        let todo = if lines == 0 { Vec::new() } else { vec![vec![0..lines]] };
        Self {
            todo,
            accused: Vec::new(),
            proof: false,
            doubt: None,
            failures: 0,
            strikes: 0,
            failing_since: None,
        }
    }

    /// What to do next. `Send` takes the lines out: they come back with `answer`.
    pub fn next(&mut self, body: &Body, bytes_max: usize) -> Want {
        if self.doubt.is_some() {
            return Want::Probe;
        }
        let Some(mut lines) = self.todo.pop() else {
            let unproven = !self.accused.is_empty() && !self.proof;
            return if unproven { Want::Probe } else { Want::Done };
        };
        if let Some(rest) = split_off_bytes(&mut lines, body, bytes_max) {
            self.todo.push(rest);
        }
        Want::Send(lines)
    }

    /// Every line is stored or guilty; with `next` this is `Want::Done`.
    pub fn is_done(&self) -> bool {
        self.doubt.is_none() && self.todo.is_empty() && (self.accused.is_empty() || self.proof)
    }

    /// The guilty lines in ascending order, once `next` said `Done`.
    pub fn guilty(&mut self) -> Vec<(u32, Refusal)> {
        let mut guilty = std::mem::take(&mut self.accused);
        guilty.sort_by_key(|(line, _)| *line);
        guilty.dedup_by_key(|(line, _)| *line);
        guilty
    }

    /// What came back for lines that `next` gave out.
    pub fn answer(&mut self, lines: Lines, answer: Answer, body: &Body, now: Instant) -> Finding {
        match answer {
            Answer::Stored => {
                self.proof = true;
                self.start_over();
                Finding::Works
            }
            Answer::Bad(named) => self.named(lines, named, now),
            Answer::Suspect { refusal, among } => {
                self.suspect(lines, refusal, among, now);
                Finding::Works
            }
            Answer::TooLarge(refusal) => {
                let bytes = body.len_of(&lines);
                self.too_large(&lines, &refusal);
                Finding::TooLarge(bytes)
            }
            Answer::Busy { retry_after, text } => {
                self.todo.push(lines);
                Finding::Fails { retry_after, text }
            }
            Answer::Failed(text) | Answer::Unknown(text) => {
                self.todo.push(lines);
                self.failures += 1;
                self.failing_since.get_or_insert(now);
                if self.failures >= FAILURES_MAX {
                    self.doubt = Some(Doubt::Failing(Arc::clone(&text)));
                }
                Finding::Fails { retry_after: None, text }
            }
            Answer::Misconfigured(text) => {
                self.todo.push(lines);
                self.acquit();
                Finding::Misconfigured(text)
            }
        }
    }

    /// What came back for the probe point that `next` asked for.
    pub fn probed(&mut self, answer: &Answer, now: Instant) -> Finding {
        match answer {
            Answer::Stored => {
                self.proof = true;
                if let Some(doubt) = self.doubt.take() {
                    self.resolve(doubt, now);
                }
                Finding::Works
            }
            Answer::Busy { retry_after, text } => {
                Finding::Fails { retry_after: *retry_after, text: Arc::clone(text) }
            }
            Answer::Failed(text) | Answer::Unknown(text) => {
                // Nothing works: then the lines are not to blame for it.
                if matches!(self.doubt, Some(Doubt::Failing(_))) {
                    self.start_over();
                    self.doubt = None;
                }
                Finding::Fails { retry_after: None, text: Arc::clone(text) }
            }
            Answer::Bad(named) => {
                let text = named.first().map(|(_, refusal)| &refusal.text);
                self.probe_refused(text)
            }
            Answer::Suspect { refusal, .. } | Answer::TooLarge(refusal) => {
                self.probe_refused(Some(&refusal.text))
            }
            Answer::Misconfigured(text) => self.probe_refused(Some(text)),
        }
    }

    fn named(&mut self, lines: Lines, named: Vec<(u32, Refusal)>, now: Instant) -> Finding {
        let mut numbers: Vec<u32> = named.iter().map(|(line, _)| *line).collect();
        numbers.sort_unstable();
        let (bad, rest) = partition(&lines, &numbers);
        if bad.is_empty() {
            // It named nothing that was sent.
            let refusal = named.into_iter().next().map_or_else(
                || Refusal::new(Fault::Refused, "refused without a reason"),
                |(_, refusal)| refusal,
            );
            self.suspect(lines, refusal, Vec::new(), now);
            return Finding::Works;
        }
        let was_sent = |line: u32| lines.iter().any(|range| range.contains(&line));
        self.accused.extend(named.into_iter().filter(|(line, _)| was_sent(*line)));
        self.start_over();
        if !rest.is_empty() {
            self.todo.push(rest);
        }
        Finding::Works
    }

    fn suspect(&mut self, lines: Lines, refusal: Refusal, among: Vec<u32>, now: Instant) {
        self.todo.push(lines);
        let doubt = Doubt::Suspect { refusal, among };
        if self.proof {
            self.resolve(doubt, now);
        } else {
            self.doubt = Some(doubt);
        }
    }

    fn too_large(&mut self, lines: &Lines, refusal: &Refusal) {
        match halves(lines) {
            Some(two) => self.todo.extend(two),
            None => self.accuse(lines, refusal),
        }
        self.start_over();
    }

    /// The other end works, so it is something in the set on top of `todo`.
    fn resolve(&mut self, doubt: Doubt, now: Instant) {
        let Some(lines) = self.todo.pop() else { return };
        match doubt {
            Doubt::Suspect { refusal, mut among } => {
                among.sort_unstable();
                let (named, rest) = partition(&lines, &among);
                if !named.is_empty() && !rest.is_empty() {
                    self.todo.extend([named, rest]);
                } else {
                    match halves(&lines) {
                        Some(two) => self.todo.extend(two),
                        None => self.accuse(&lines, &refusal),
                    }
                }
                self.start_over();
            }
            Doubt::Failing(text) => match halves(&lines) {
                Some(two) => {
                    self.todo.extend(two);
                    self.start_over();
                }
                None if self.strikes + 1 >= STRIKES_MAX && self.is_failing_long(now) => {
                    self.accuse(&lines, &Refusal::new(Fault::Refused, text));
                    self.start_over();
                }
                None => {
                    self.strikes += 1;
                    self.failures = 0;
                    self.todo.push(lines);
                }
            },
        }
    }

    fn is_failing_long(&self, now: Instant) -> bool {
        self.failing_since.is_some_and(|since| now.duration_since(since) >= FAILING_MIN)
    }

    fn probe_refused(&mut self, theirs: Option<&Arc<str>>) -> Finding {
        let ours = match self.doubt.take() {
            Some(Doubt::Suspect { refusal, .. }) => Some(refusal.text),
            Some(Doubt::Failing(text)) => Some(text),
            None => self.accused.first().map(|(_, refusal)| Arc::clone(&refusal.text)),
        };
        self.start_over();
        self.acquit();
        let none: Arc<str> = "no reason given".into();
        let text = ours.as_ref().or(theirs).unwrap_or(&none);
        Finding::Misconfigured(Arc::clone(text))
    }

    fn accuse(&mut self, lines: &Lines, refusal: &Refusal) {
        self.accused.extend(lines.iter().cloned().flatten().map(|line| (line, refusal.clone())));
    }

    /// Without proof an accusation by an address that works no more is worth nothing.
    fn acquit(&mut self) {
        if self.proof || self.accused.is_empty() {
            return;
        }
        let mut numbers: Vec<u32> = self.accused.drain(..).map(|(line, _)| line).collect();
        numbers.sort_unstable();
        numbers.dedup();
        self.todo.push(ranges_of(numbers));
    }

    /// Another set is next.
    fn start_over(&mut self) {
        self.failures = 0;
        self.strikes = 0;
    }
}

/// How many lines these are.
pub fn count(lines: &[Range<u32>]) -> u32 {
    lines.iter().map(|range| range.end - range.start).sum()
}

/// Two parts of the same number of lines, the first part last (it is sent first). `None`: a single
/// line, or none.
fn halves(lines: &Lines) -> Option<[Lines; 2]> {
    let count = count(lines);
    if count < 2 {
        return None;
    }
    let mut first = lines.clone();
    let second = split_off(&mut first, count / 2);
    Some([second, first])
}

/// Keeps the first `keep` lines and returns the others.
fn split_off(lines: &mut Lines, keep: u32) -> Lines {
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
fn split_off_bytes(lines: &mut Lines, body: &Body, bytes_max: usize) -> Option<Lines> {
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
fn partition(lines: &Lines, numbers: &[u32]) -> (Lines, Lines) {
    if numbers.is_empty() {
        return (Lines::new(), lines.clone());
    }
    let (named, rest): (Vec<u32>, Vec<u32>) =
        lines.iter().cloned().flatten().partition(|line| numbers.binary_search(line).is_ok());
    (ranges_of(named), ranges_of(rest))
}

fn ranges_of(numbers: impl IntoIterator<Item = u32>) -> Lines {
    let mut ranges = Lines::new();
    for number in numbers {
        match ranges.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
