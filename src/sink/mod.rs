//! Where readings go: one trait, InfluxDB and files.
//!
//! A sink writes readings as lines into a `Body` (`encode`), and sends lines of it (`write`). What
//! the other end made of them is an `Answer`, whose variants say what the output does next. A sink
//! never retries, never waits for better times and never decides that a line is lost: the output
//! does, because it knows what else was accepted.

pub mod file;
pub mod influx;
pub mod rotate;

use std::{ops::Range, sync::Arc, time::Duration};

use proto::{ReadingRef, Time};

/// Lines for a sink: bytes, where each line ends, and the time of its point.
#[derive(Clone, Debug, Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    ends: Vec<u32>,
    times: Vec<i64>,
}

impl Body {
    pub fn with_capacity(bytes: usize, lines: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(lines),
            times: Vec::with_capacity(lines),
        }
    }

    pub fn lines(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Says that a line ends here, and of what time its point is (nanoseconds). A sink calls it once
    /// for each reading it encodes.
    pub fn end_line(&mut self, time_ns: i64) {
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.times.push(time_ns);
    }

    /// Cuts off what comes after this many whole lines.
    pub fn truncate(&mut self, lines: usize) {
        self.ends.truncate(lines);
        self.times.truncate(lines);
        self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    /// Appends these lines of another body as they are.
    pub fn extend_from(&mut self, other: &Self, lines: Range<u32>) {
        for line in lines {
            self.bytes.extend_from_slice(other.line(line));
            self.end_line(other.time_of(line));
        }
    }

    /// Of the point in this line; nanoseconds.
    pub fn time_of(&self, line: u32) -> i64 {
        self.times.get(line as usize).copied().unwrap_or(i64::MAX)
    }

    /// The bytes of these lines; empty where there are none.
    pub fn slice(&self, lines: &Range<u32>) -> &[u8] {
        self.bytes.get(self.span(lines)).unwrap_or_default()
    }

    /// One line, with its newline.
    pub fn line(&self, line: u32) -> &[u8] {
        self.slice(&(line..line.saturating_add(1)))
    }

    /// Where these lines lie in `bytes`.
    pub fn span(&self, lines: &Range<u32>) -> Range<usize> {
        self.start_of(lines.start)..self.start_of(lines.end)
    }

    pub fn len_of(&self, lines: &[Range<u32>]) -> usize {
        lines.iter().map(|range| self.span(range).len()).sum()
    }

    fn start_of(&self, line: u32) -> usize {
        match line.checked_sub(1) {
            None => 0,
            Some(before) => {
                self.ends.get(before as usize).map_or(self.bytes.len(), |&end| end as usize)
            }
        }
    }
}

/// Why the other end will never take a line, or we cannot write it: the `reason` of a dead letter,
/// so a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The other end cannot parse it.
    Malformed,
    /// A field has another type there.
    TypeConflict,
    /// Older than what is kept there.
    BeyondRetention,
    /// One line alone is more than the other end takes.
    TooLarge,
    /// A value that this dialect has no way to write.
    Value,
    /// Refused for another reason of theirs: a limit on series, a reserved name.
    Refused,
}

impl Fault {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TypeConflict => "type_conflict",
            Self::BeyondRetention => "beyond_retention",
            Self::TooLarge => "too_large",
            Self::Value => "value",
            Self::Refused => "refused",
        }
    }
}

/// A fault and the words of the other end. Cheap to clone: one answer often refuses many lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub fault: Fault,
    pub text: Arc<str>,
}

impl Refusal {
    pub fn new(fault: Fault, text: impl Into<Arc<str>>) -> Self {
        Self { fault, text: text.into() }
    }
}

/// One line as the other end would take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// In the place of the line that was sent; empty if nothing is left of it.
    pub line: Vec<u8>,
    /// What it refused.
    pub refusal: Refusal,
    /// The field that is gone. `None`: it was written as another type, with the same value.
    pub lost: Option<String>,
}

/// Nanoseconds; the end of time for a reading that has none.
pub fn time_ns(reading: &ReadingRef<'_>) -> i64 {
    match reading.time {
        Time::At(at) | Time::Stamped(at) => at.nanos(),
        Time::Unknown | Time::Age(_) => i64::MAX,
    }
}

/// What the other end made of a write. Line numbers are those of the `Body`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it. Confirm.
    Stored,
    /// These lines are refused, by name. Of the rest nothing is known: send it again until `Stored`
    /// comes back for it.
    Bad(Vec<(u32, Refusal)>),
    /// These lines are refused for one field each: put the changed ones in their place. Others may be
    /// refused besides. Then as with `Bad`.
    Amend { changes: Vec<(u32, Amendment)>, bad: Vec<(u32, Refusal)> },
    /// Something in it is refused, and the answer does not say exactly what: narrow it down, among
    /// these lines if any are given. What was stored of it is not known.
    Suspect { refusal: Refusal, among: Vec<u32> },
    /// Halve and remember; a single line is refused.
    TooLarge(Refusal),
    /// It will take it later. Back off, at least this long if it says so.
    Busy { retry_after: Option<Duration>, text: Arc<str> },
    /// It was not taken: refused connection, or an error of theirs. Back off and send again.
    Failed(Arc<str>),
    /// It may or may not be stored. Back off and send again: the same points.
    Unknown(Arc<str>),
    /// Our configuration, a proxy, a portal: stop, alarm, probe. Nothing is dead-lettered.
    Misconfigured(Arc<str>),
}

impl Answer {
    /// For metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Bad(_) => "bad",
            Self::Amend { .. } => "amend",
            Self::Suspect { .. } => "suspect",
            Self::TooLarge(_) => "too_large",
            Self::Busy { .. } => "busy",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
            Self::Misconfigured(_) => "misconfigured",
        }
    }
}

/// One request's end, for the decision and for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub answer: Answer,
    /// The HTTP status, if one came back.
    pub status: Option<u16>,
    /// Bytes that went out, after compression.
    pub bytes: u64,
}

impl From<Answer> for Written {
    fn from(answer: Answer) -> Self {
        Self { answer, status: None, bytes: 0 }
    }
}

/// A field that the sink had to leave out of a reading it otherwise wrote.
pub type LostField = (String, Refusal);

/// The edge of the world on the right; with a faulty twin in the tests.
pub trait Sink: Send + Sync + 'static {
    /// Appends one reading as one line; fields that cannot be written go to `lost`. An error
    /// refuses this reading for good, and then nothing was appended.
    fn encode(
        &self,
        reading: &ReadingRef<'_>,
        body: &mut Body,
        lost: &mut Vec<LostField>,
    ) -> Result<(), Refusal>;

    /// Sends these lines once, in this order. The deadline is the sink's own. Not cancel safe: what
    /// was sent may have been stored.
    fn write(&self, body: &Arc<Body>, lines: &[Range<u32>])
    -> impl Future<Output = Written> + Send;

    /// Sends what the other end must take if address, rights and settings are right: the probe
    /// point. Secrets are read anew. Anything but `Stored` says that the fault is not in the lines.
    fn probe(&self) -> impl Future<Output = Written> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_finds_its_lines() {
        let mut body = Body::default();
        for (line, time) in ["a 1\n", "bb 2\n", "c 3\n"].into_iter().zip(1..) {
            body.bytes.extend_from_slice(line.as_bytes());
            body.end_line(time);
        }
        assert_eq!(body.lines(), 3);
        assert_eq!(body.line(0), b"a 1\n");
        assert_eq!(body.line(2), b"c 3\n");
        assert_eq!(body.slice(&(0..2)), b"a 1\nbb 2\n");
        assert_eq!(body.len_of(&[0..1, 2..3]), 8);
        assert_eq!(body.line(3), b"");
        assert_eq!((body.time_of(2), body.time_of(3)), (3, i64::MAX));
        let mut other = Body::default();
        other.extend_from(&body, 1..3);
        other.truncate(1);
        assert_eq!((other.bytes.as_slice(), other.time_of(0)), (&b"bb 2\n"[..], 2));
    }
}
