//! One series: how far its time has come, and its open windows.

use std::{collections::HashSet, mem::size_of, sync::Arc};

use proto::{ReadingRef, ValueRef};

use super::cell::{Cell, TEXT_BYTES_MAX};
use super::grid::Span;
use super::{Entry, Settings};
use crate::process::budget::Budget;
use crate::process::hash::Seeded;

#[derive(Debug)]
pub(super) struct Series {
    pub(super) rule: u16,
    /// Event time. Windows that it has passed by their lateness are closed.
    pub(super) watermark: i64,
    /// When a reading came last, by the gateway's clock.
    pub(super) heard: i64,
    /// Every field it ever had, by number.
    pub(super) fields: Vec<Arc<str>>,
    /// By their start.
    pub(super) open: Vec<Window>,
}

#[derive(Debug)]
pub(super) struct Window {
    pub(super) span: Span,
    pub(super) cells: Vec<(u16, Cell)>,
    /// There was no room for a field: none is begun any more.
    pub(super) is_closed_to_fields: bool,
    /// Readings that ended here.
    pub(super) absorbed: u64,
}

/// What a reading meets.
#[derive(Debug)]
pub(super) struct Into<'a> {
    pub(super) settings: &'a Settings,
    pub(super) may_open: bool,
    pub(super) names: &'a mut Names,
}

/// The names of fields: thousands of series have the same few, and what is compared with every
/// reading lies in one place.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>, Seeded>);

impl Names {
    pub(super) fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }

    /// Forgets those that no series has any more.
    pub(super) fn purge(&mut self) {
        self.0.retain(|name| Arc::strong_count(name) > 1);
    }
}

/// What became of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Late,
    NoRoom,
    /// Some fields; there was no room for others.
    Partly,
    /// Everything that functions say something of.
    Whole {
        left_out: u64,
    },
}

const MAP_SLOT: usize = 2 * (size_of::<Box<[u8]>>() + size_of::<Series>());
/// Allocations cost some bytes more than they are asked for.
const ALLOCATION: usize = 16;
const WINDOW: usize = size_of::<Window>() + 2 * ALLOCATION;
const CELL: usize = size_of::<(u16, Cell)>();
const TEXTS: usize = 2 * (TEXT_BYTES_MAX + ALLOCATION);

/// What a series costs by itself.
pub(super) fn bytes_of(key: &[u8]) -> usize {
    MAP_SLOT + key.len() + 2 * ALLOCATION
}

fn bytes_of_name(name: &str) -> usize {
    // As if no other series had it.
    2 * size_of::<Arc<str>>() + name.len() + 2 * ALLOCATION
}

impl Series {
    pub(super) fn new(rule: u16, watermark: i64, heard: i64) -> Self {
        Self { rule, watermark, heard, fields: Vec::new(), open: Vec::new() }
    }

    /// All that it costs.
    pub(super) fn bytes(&self, key: &[u8]) -> usize {
        let names: usize = self.fields.iter().map(|name| bytes_of_name(name)).sum();
        bytes_of(key) + names + self.open.iter().map(Window::bytes).sum::<usize>()
    }

    /// The gateway's clock was ahead when the watermark was set. The window that is open by the
    /// clock of now may have been closed then, so it is now.
    pub(super) fn set_back(&mut self, entry: &Entry, settings: &Settings) {
        let now = entry.timestamp.min(entry.arrival);
        let end = settings.every.around(now).map_or(now, |span| span.end);
        self.watermark = settings.closes_at(end);
    }

    /// Adds the reading's fields to its window, and takes those out of `kept`.
    pub(super) fn add(
        &mut self,
        entry: &Entry,
        reading: &ReadingRef<'_>,
        kept: &mut [bool],
        to: Into<'_>,
        budget: &mut Budget,
    ) -> Added {
        let Entry { span, timestamp, .. } = *entry;
        let Into { settings, may_open, names } = to;
        let at = match self.open.binary_search_by_key(&span.start, |window| window.span.start) {
            Ok(at) => at,
            Err(at) => {
                if !may_open || !budget.take(WINDOW) {
                    return Added::NoRoom;
                }
                self.open.reserve_exact(1);
                self.open.insert(at, Window::new(span));
                at
            }
        };
        let Self { fields, open, .. } = self;
        let Some(window) = open.get_mut(at) else { return Added::NoRoom };
        let (mut left_out, mut refused) = (0, false);
        for (kept, (name, value)) in kept.iter_mut().zip(reading.fields).filter(|(kept, _)| **kept)
        {
            if !settings.says_of(*value) {
                left_out += 1;
                *kept = false;
            } else if is_short(*value) {
                let is_in = window.add(fields, names, name, timestamp, *value, budget);
                *kept = !is_in;
                refused |= !is_in;
            }
        }
        if window.cells.is_empty() {
            self.open.remove(at);
            budget.give_back(WINDOW);
            return Added::NoRoom;
        }
        let goes_on = settings.keep_raw || kept.contains(&true);
        window.absorbed += u64::from(!goes_on);
        if refused { Added::Partly } else { Added::Whole { left_out } }
    }

    /// The first window that the watermark has closed.
    pub(super) fn pop_closed(&mut self, lateness: i64, budget: &mut Budget) -> Option<Window> {
        let end = self.open.first()?.span.end;
        if end.saturating_add(lateness) > self.watermark {
            return None;
        }
        let window = self.open.remove(0);
        budget.give_back(window.bytes());
        Some(window)
    }

    /// When, by the gateway's clock, the series will have been silent for so long that its first
    /// window closes.
    pub(super) fn due(&self, lateness: i64, since: i64) -> Option<i64> {
        let end = self.open.first()?.span.end;
        let missing = end.saturating_add(lateness).saturating_sub(self.watermark);
        Some(self.heard.max(since).saturating_add(missing.max(0)))
    }

    /// The silence was long enough to close the first window: so far has its time come.
    pub(super) fn let_time_pass(&mut self, settings: &Settings, since: i64) {
        let Some(first) = self.open.first() else { return };
        let now = settings.closes_at(first.span.end).max(self.watermark);
        self.heard = self.heard.max(since).saturating_add(now.saturating_sub(self.watermark));
        self.watermark = now;
    }
}

impl Window {
    fn new(span: Span) -> Self {
        Self { span, cells: Vec::new(), is_closed_to_fields: false, absorbed: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        let texts = self.cells.iter().filter(|(_, cell)| cell.is_text()).count();
        WINDOW + self.cells.len() * CELL + texts * TEXTS
    }

    /// Adds one value; `false` if there is no room for it.
    fn add(
        &mut self,
        fields: &mut Vec<Arc<str>>,
        names: &mut Names,
        name: &str,
        timestamp: i64,
        value: ValueRef<'_>,
        budget: &mut Budget,
    ) -> bool {
        let number = fields.iter().position(|field| **field == *name);
        let known = number.and_then(|number| u16::try_from(number).ok());
        let is_text = matches!(value, ValueRef::Text(_));
        if let Some((_, cell)) = self.cells.iter_mut().find(|(field, _)| known == Some(*field)) {
            // Room for texts is taken when a cell is made.
            let fits = !is_text || cell.is_text();
            if fits {
                cell.add(timestamp, value);
            }
            return fits;
        }
        if self.is_closed_to_fields {
            return false;
        }
        let name_bytes = if known.is_none() { bytes_of_name(name) } else { 0 };
        let number = known.or_else(|| u16::try_from(fields.len()).ok());
        let bytes = CELL + name_bytes + if is_text { TEXTS } else { 0 };
        let Some(number) = number.filter(|_| budget.take(bytes)) else {
            self.is_closed_to_fields = true;
            return false;
        };
        if known.is_none() {
            fields.reserve_exact(1);
            fields.push(names.get(name));
        }
        self.cells.reserve_exact(1);
        self.cells.push((number, Cell::new(timestamp, value)));
        true
    }
}

/// Longer texts go into no window.
pub(super) fn is_short(value: ValueRef<'_>) -> bool {
    !matches!(value, ValueRef::Text(text) if text.len() > TEXT_BYTES_MAX)
}
