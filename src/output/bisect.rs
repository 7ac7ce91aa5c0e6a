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
//! probe point was accepted by the same address: before it was refused, and after. Otherwise it may
//! have been refused by a wrong setting that somebody has put right, or made, meanwhile. Before a whole batch is taken apart on a vague
//! answer, the probe point is asked for: if that is refused as well the fault is ours, nothing is
//! accused, and the batch stays whole. A set that fails three times in a row while the probe point
//! passes is taken apart too: one line can make a database fail. That is weak evidence (a part of
//! theirs may be ill for a while), so such a line is accused late.
//!
//! Pure: `now` is passed in. Lines are numbers of a `Body`.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::output::amend::{Amendments, Lost};
use crate::output::lines::{Lines, halves, partition, ranges_of, split_off_bytes};
use crate::sink::{Amendment, Answer, Body, Fault, Refusal};

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
    pub amendments: Amendments,
    todo: Vec<Lines>,
    accused: Vec<(u32, Refusal)>,
    /// Guilty before anything was sent: proved by an earlier episode.
    condemned: Vec<(u32, Refusal)>,
    /// Something of this batch, or the probe point, was accepted.
    proof: bool,
    /// And since the last accusation.
    is_fresh: bool,
    doubt: Option<Doubt>,
    /// Of the set on top of `todo`, in a row.
    failures: u32,
    strikes: u32,
    /// The first failure of the batch.
    failing_since: Option<Instant>,
}

impl Episode {
    pub fn new(body: Arc<Body>) -> Self {
        let lines = body.lines();
        let todo = if lines == 0 { Vec::new() } else { vec![vec![0..lines]] };
        Self {
            amendments: Amendments::of(body),
            todo,
            accused: Vec::new(),
            condemned: Vec::new(),
            proof: false,
            is_fresh: false,
            doubt: None,
            failures: 0,
            strikes: 0,
            failing_since: None,
        }
    }

    /// The lines as they are to be sent: with what was amended so far.
    pub fn body(&self) -> &Arc<Body> {
        self.amendments.body()
    }

    /// Lines of this time and older are guilty, by proof of an earlier episode.
    pub fn condemn(&mut self, youngest_ns: i64, refusal: &Refusal) {
        for line in self.take_old(youngest_ns) {
            self.condemned.push((line, refusal.clone()));
        }
    }

    /// What to do next. `Send` takes the lines out: they come back with `answer`.
    pub fn next(&mut self, bytes_max: usize) -> Want {
        if self.doubt.is_some() {
            return Want::Probe;
        }
        let Some(mut lines) = self.todo.pop() else {
            return if self.is_done() { Want::Done } else { Want::Probe };
        };
        if let Some(rest) = split_off_bytes(&mut lines, self.body(), bytes_max) {
            self.todo.push(rest);
        }
        Want::Send(lines)
    }

    /// Every line is stored or guilty; with `next` this is `Want::Done`.
    pub fn is_done(&self) -> bool {
        let nothing_lost = self.accused.is_empty() && self.amendments.lost().is_empty();
        let is_proved = self.proof && self.is_fresh;
        self.doubt.is_none() && self.todo.is_empty() && (nothing_lost || is_proved)
    }

    /// How young a line may be and still be beyond retention, if this episode proved any to be.
    pub fn cut_off(&self) -> Option<(i64, &Refusal)> {
        let old = self.accused.iter().filter(|(_, why)| why.fault == Fault::BeyondRetention);
        old.map(|(line, why)| (self.body().time_of(*line), why)).max_by_key(|(time, _)| *time)
    }

    /// The guilty lines in ascending order, and the fields that other lines went without, once
    /// `next` said `Done`.
    pub fn guilty(&mut self) -> (Vec<(u32, Refusal)>, Vec<Lost>) {
        let mut guilty = std::mem::take(&mut self.accused);
        guilty.append(&mut self.condemned);
        guilty.sort_by_key(|(line, _)| *line);
        guilty.dedup_by_key(|(line, _)| *line);
        let mut lost = self.amendments.take_lost();
        lost.retain(|lost| guilty.binary_search_by_key(&lost.line, |(line, _)| *line).is_err());
        (guilty, lost)
    }

    /// What came back for lines that `next` gave out.
    pub fn answer(&mut self, lines: Lines, answer: Answer, now: Instant) -> Finding {
        match answer {
            Answer::Stored => {
                self.accepted();
                self.start_over();
                Finding::Works
            }
            Answer::Bad(named) => self.named(lines, named, now),
            Answer::Amend { changes, bad } => self.amend(lines, changes, bad, now),
            Answer::Suspect { refusal, among } => {
                self.suspect(lines, refusal, among, now);
                Finding::Works
            }
            Answer::TooLarge(refusal) => {
                let bytes = self.body().len_of(&lines);
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
                let is_first = !self.proof;
                self.accepted();
                match self.doubt.take() {
                    Some(doubt) if !is_first || !self.is_about_one_line(&doubt) => {
                        self.resolve(doubt, now);
                    }
                    _ => self.start_over(),
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
            Answer::Amend { changes, .. } => {
                let text = changes.first().map(|(_, change)| &change.refusal.text);
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
        self.is_fresh = false;
        self.start_over();
        if !rest.is_empty() {
            self.todo.push(rest);
        }
        self.accuse_older();
        Finding::Works
    }

    /// Puts amended lines in the place of those that were sent, and sends again what is not accused.
    fn amend(
        &mut self,
        lines: Lines,
        mut changes: Vec<(u32, Amendment)>,
        mut bad: Vec<(u32, Refusal)>,
        now: Instant,
    ) -> Finding {
        changes.retain(|(line, _)| lines.iter().any(|range| range.contains(line)));
        if changes.is_empty() {
            return self.named(lines, bad, now);
        }
        bad.extend(self.amendments.apply(changes));
        if bad.is_empty() {
            self.todo.push(lines);
            self.start_over();
            return Finding::Works;
        }
        self.named(lines, bad, now)
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
                self.accuse_older();
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
            None => self.first_refusal().map(|refusal| Arc::clone(&refusal.text)),
        };
        self.start_over();
        if std::mem::take(&mut self.proof) {
            self.judge_again(); // What was amended may be stored so.
        } else {
            self.acquit();
        }
        let none: Arc<str> = "no reason given".into();
        let text = ours.as_ref().or(theirs).unwrap_or(&none);
        Finding::Misconfigured(Arc::clone(text))
    }

    /// A line that was refused before anything was accepted is judged again.
    fn is_about_one_line(&self, doubt: &Doubt) -> bool {
        let is_one = self.todo.last().is_some_and(|lines| halves(lines).is_none());
        is_one && matches!(doubt, Doubt::Suspect { .. })
    }

    fn accepted(&mut self) {
        self.is_fresh = true;
        if !std::mem::replace(&mut self.proof, true) {
            self.judge_again();
        }
    }

    fn accuse(&mut self, lines: &Lines, refusal: &Refusal) {
        self.is_fresh = false;
        self.accused.extend(lines.iter().cloned().flatten().map(|line| (line, refusal.clone())));
    }

    fn first_refusal(&self) -> Option<&Refusal> {
        let accused = self.accused.first().map(|(_, refusal)| refusal);
        accused.or_else(|| self.amendments.lost().first().map(|lost| &lost.refusal))
    }

    /// Where a line is beyond retention, the older ones are: no need to ask for each.
    fn accuse_older(&mut self) {
        let Some((youngest_ns, refusal)) = self.cut_off() else { return };
        let refusal = refusal.clone();
        for line in self.take_old(youngest_ns) {
            self.accused.push((line, refusal.clone()));
            self.is_fresh = false;
        }
    }

    /// Takes the lines of this time and older out of what is to be sent.
    fn take_old(&mut self, youngest_ns: i64) -> Vec<u32> {
        let body = Arc::clone(self.body());
        let mut taken = Vec::new();
        self.todo.retain_mut(|lines| {
            let is_old = |line: &u32| body.time_of(*line) <= youngest_ns;
            let old: Vec<u32> = lines.iter().cloned().flatten().filter(is_old).collect();
            if !old.is_empty() {
                *lines = partition(lines, &old).1;
                taken.extend(old);
            }
            !lines.is_empty()
        });
        taken
    }

    /// Without proof an accusation by an address that works no more is worth nothing.
    fn acquit(&mut self) {
        if self.proof {
            return;
        }
        self.amendments.forget();
        self.judge_again();
    }

    /// What was accused is to be sent again.
    fn judge_again(&mut self) {
        if self.accused.is_empty() {
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

#[cfg(test)]
mod tests;
