//! Cuts a body or a file that comes in any chunks into pieces that end where a line ends. Sans-io.
//!
//! A newline ends a line of NDJSON wherever it stands. In line protocol and in CSV it does not inside
//! a quoted text, so without any quote every newline is good for a cut, and with one the decoder
//! itself says how far lines are whole (`line::whole`, `csv::whole`).
//!
//! A text that is never closed would make one line of everything after it: once such a line fills a
//! piece, it ends at its first newline after all, so that it costs itself only. A line without any
//! newline that fills a piece is given up: it is announced once, and the rest of it is thrown away
//! as it comes in.

use proto::{csv, line};

/// What is appended at a time, at most.
pub const STEP_BYTES: usize = 32 * 1024;
/// Bytes of a piece at most, and of a line therefore.
pub const PIECE_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug)]
pub struct Pieces {
    lines: Lines,
    bytes: Vec<u8>,
    /// So many bytes from the start belong to a line that was given up.
    skipped: usize,
    /// What was cut last ends so many bytes from the start.
    cut: usize,
    /// What was counted before `bytes`: see `Piece::index`.
    before: u64,
    /// Inside a line that was given up.
    skipping: bool,
}

#[derive(Clone, Copy, Debug)]
enum Lines {
    Json,
    Protocol,
    /// With the delimiter of its cells.
    Csv(u8),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'b> {
    pub bytes: &'b [u8],
    /// What a decoder's numbers begin at: of line protocol and CSV the number of the first line, blank
    /// ones and comments included; of NDJSON, where they count readings, without the blank ones.
    pub index: u64,
    /// It is the beginning of a line that is too long, nothing else.
    pub is_too_long: bool,
}

impl Pieces {
    pub fn of_ndjson() -> Self {
        Self::new(Lines::Json)
    }

    pub fn of_line_protocol() -> Self {
        Self::new(Lines::Protocol)
    }

    pub fn of_csv(delimiter: u8) -> Self {
        Self::new(Lines::Csv(delimiter))
    }

    fn new(lines: Lines) -> Self {
        Self { lines, bytes: Vec::new(), skipped: 0, cut: 0, before: 0, skipping: false }
    }

    /// Where to append what comes in, at most `STEP_BYTES` at a time.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// No room for another step.
    pub fn is_full(&self) -> bool {
        self.bytes.len() + STEP_BYTES > PIECE_BYTES_MAX
    }

    /// The whole lines there are; at the end of the body, whatever there is. `forget` it before the
    /// next one. None: no line is whole yet.
    pub fn cut(&mut self, is_end: bool) -> Option<Piece<'_>> {
        self.skip();
        let lines = self.bytes.get(self.skipped..).unwrap_or_default();
        let mut whole = if is_end { lines.len() } else { self.lines.whole(lines) };
        let mut is_too_long = false;
        if whole == 0 && lines.len() + STEP_BYTES > PIECE_BYTES_MAX {
            let first_newline = lines.iter().position(|byte| *byte == b'\n');
            is_too_long = first_newline.is_none();
            whole = first_newline.map_or(lines.len(), |at| at + 1);
        }
        self.skipping |= is_too_long;
        self.cut = self.skipped + whole;
        let bytes = lines.get(..whole).filter(|bytes| !bytes.is_empty())?;
        Some(Piece { bytes, index: self.before, is_too_long })
    }

    /// What `forget` will make room of: what `cut` returned, and what it skipped before that.
    pub fn done(&self) -> &[u8] {
        self.bytes.get(..self.cut).unwrap_or_default()
    }

    /// Makes room: what `cut` returned is done with.
    pub fn forget(&mut self) {
        self.before += self.lines.count(self.bytes.get(self.skipped..self.cut).unwrap_or_default());
        self.bytes.drain(..self.cut);
        (self.skipped, self.cut) = (0, 0);
    }

    /// Where it stands: what is counted before `bytes`, and whether they are inside a line that was
    /// given up.
    pub fn place(&self) -> (u64, bool) {
        (self.before, self.skipping)
    }

    /// Goes on at such a place.
    pub fn go_on_at(&mut self, (before, skipping): (u64, bool)) {
        (self.before, self.skipping) = (before, skipping);
    }

    /// Gives back what the buffer does not need.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Passes over what belongs to a line that was given up.
    fn skip(&mut self) {
        if self.skipping {
            let newline = self.bytes.iter().position(|byte| *byte == b'\n');
            self.skipped = newline.unwrap_or(self.bytes.len());
            // The newline stays: for line protocol it has to be counted, for NDJSON it is blank.
            self.skipping = newline.is_none();
        }
    }
}

impl Lines {
    fn count(self, bytes: &[u8]) -> u64 {
        let lines = bytes.split(|byte| *byte == b'\n');
        match self {
            Self::Json => lines.filter(|line| !line.trim_ascii().is_empty()).count() as u64,
            Self::Protocol | Self::Csv(_) => lines.count().saturating_sub(1) as u64,
        }
    }

    /// How many bytes from the start are whole lines.
    fn whole(self, bytes: &[u8]) -> usize {
        match self {
            Self::Protocol if bytes.contains(&b'"') => line::whole(bytes),
            Self::Csv(delimiter) if bytes.contains(&b'"') => csv::whole(bytes, delimiter),
            Self::Protocol | Self::Csv(_) | Self::Json => {
                bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
            }
        }
    }
}

#[cfg(test)]
mod tests;
