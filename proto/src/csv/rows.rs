//! Rows and their cells (RFC 4180). A cell in quotes may hold delimiters and line ends; a quote in it is
//! written twice. A quote inside a cell that does not begin with one is a character like any other.
//!
//! Where a row ends is decided so that a cell that is never closed costs no more than the line on
//! which its row begins.

use std::{borrow::Cow, ops::Range};

#[derive(Debug)]
pub(super) struct Rows<'p> {
    payload: &'p [u8],
    delimiter: u8,
    at: usize,
    /// Lines passed.
    lines: u32,
}

#[derive(Debug)]
pub(super) struct Row<'p> {
    /// Its bytes, the end of its line included.
    pub(super) span: Range<usize>,
    /// On which it begins, from 0.
    pub(super) line: u32,
    pub(super) cells: Result<Vec<Cow<'p, str>>, Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The payload ends inside quotes: more of it might close them.
    Open,
    /// Something stands between a closing quote and the delimiter.
    Behind,
    NotUtf8,
}

impl Fault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Open => "a quote that is never closed",
            Self::Behind => "text behind a closing quote; a quote inside quotes is written twice",
            Self::NotUtf8 => "not UTF-8",
        }
    }
}

/// One cell: its bytes without the quotes around it, whether quotes in it are doubled, and what is
/// behind it.
struct Cell<'p> {
    bytes: &'p [u8],
    is_doubled: bool,
    end: usize,
}

/// How many bytes from the start are whole rows, whatever may come after `payload`.
pub fn whole(payload: &[u8], delimiter: u8) -> usize {
    let mut rows = Rows::new(payload, delimiter);
    let mut until = 0;
    while let Some(row) = rows.next() {
        let is_ended = payload.get(row.span).is_some_and(|row| row.ends_with(b"\n"));
        if row.cells == Err(Fault::Open) || !is_ended {
            return until;
        }
        until = rows.at;
    }
    blank_until(payload, until)
}

/// Blank lines behind the last row are whole too.
fn blank_until(payload: &[u8], from: usize) -> usize {
    let rest = payload.get(from..).unwrap_or_default();
    from + rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

impl<'p> Rows<'p> {
    pub(super) fn new(payload: &'p [u8], delimiter: u8) -> Self {
        Self { payload, delimiter, at: 0, lines: 0 }
    }

    /// Bytes and lines passed.
    pub(super) fn passed(&self) -> (usize, u32) {
        (self.at, self.lines)
    }

    /// The next row that is not blank.
    pub(super) fn next(&mut self) -> Option<Row<'p>> {
        loop {
            let line = self.line_from(self.at);
            if line.is_empty() {
                return None;
            }
            if !line.trim_ascii().is_empty() {
                break;
            }
            self.pass(self.at + line.len());
        }
        let (start, line) = (self.at, self.lines);
        let (cells, end) = match self.cells(start) {
            Ok((cells, end)) => (text(cells), end),
            Err(fault) => (Err(fault), start + self.line_from(start).len()),
        };
        self.pass(end);
        Some(Row { span: start..end, line, cells })
    }

    fn pass(&mut self, end: usize) {
        let passed = self.payload.get(self.at..end).unwrap_or_default();
        let lines = passed.split(|byte| *byte == b'\n').count() - 1;
        self.lines = self.lines.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at = end;
    }

    /// To the end of the line, which is part of it.
    fn line_from(&self, at: usize) -> &'p [u8] {
        let rest = self.payload.get(at..).unwrap_or_default();
        let len = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        rest.get(..len).unwrap_or_default()
    }

    /// All cells of the row that begins at `at`, and where it ends.
    fn cells(&self, mut at: usize) -> Result<(Vec<Cell<'p>>, usize), Fault> {
        let mut cells = Vec::new();
        loop {
            let cell = self.cell(at)?;
            at = cell.end;
            cells.push(cell);
            match self.payload.get(at) {
                Some(byte) if *byte == self.delimiter => at += 1,
                Some(_) => return Ok((cells, at + 1)), // The newline.
                None => return Ok((cells, at)),
            }
        }
    }

    /// The cell at `at`, up to its delimiter, its newline, or the end.
    fn cell(&self, at: usize) -> Result<Cell<'p>, Fault> {
        let ends = |byte: &u8| *byte == self.delimiter || *byte == b'\n';
        let rest = self.payload.get(at..).unwrap_or_default();
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        let bytes = rest.get(..len).unwrap_or_default();
        let blanks = bytes.iter().take_while(|byte| **byte == b' ').count();
        if bytes.get(blanks) != Some(&b'"') {
            return Ok(Cell { bytes, is_doubled: false, end: at + len });
        }
        let start = at + blanks + 1;
        let (quoted, is_doubled) = self.quoted(start)?;
        let behind = start + quoted.len() + 1;
        let rest = self.payload.get(behind..).unwrap_or_default();
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        if !rest.get(..len).unwrap_or_default().trim_ascii().is_empty() {
            return Err(Fault::Behind);
        }
        Ok(Cell { bytes: quoted, is_doubled, end: behind + len })
    }

    /// What stands from `start` to the closing quote, and whether a quote in it is doubled.
    fn quoted(&self, start: usize) -> Result<(&'p [u8], bool), Fault> {
        let rest = self.payload.get(start..).unwrap_or_default();
        let (mut at, mut is_doubled) = (0, false);
        loop {
            let left = rest.get(at..).unwrap_or_default();
            at += left.iter().position(|byte| *byte == b'"').ok_or(Fault::Open)?;
            if rest.get(at + 1) != Some(&b'"') {
                return Ok((rest.get(..at).unwrap_or_default(), is_doubled));
            }
            (at, is_doubled) = (at + 2, true);
        }
    }
}

fn text(cells: Vec<Cell<'_>>) -> Result<Vec<Cow<'_, str>>, Fault> {
    cells.into_iter().map(Cell::text).collect()
}

impl<'p> Cell<'p> {
    fn text(self) -> Result<Cow<'p, str>, Fault> {
        let text = std::str::from_utf8(self.bytes).map_err(|_| Fault::NotUtf8)?;
        let undoubled = || Cow::Owned(text.replace("\"\"", "\""));
        Ok(if self.is_doubled { undoubled() } else { Cow::Borrowed(text) })
    }
}
