//! The segments a journal consists of, in order, and which one holds a sequence number.
//!
//! Only durable frames are in it: a segment's extent grows after the sync and before the durable
//! mark is published, so whoever has read the mark finds every frame at or below it here.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::Books;

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) salt: u64,
    pub(crate) first_seq: u64,
    /// As of `first_seq`.
    pub(crate) books: Books,
    extent: Mutex<Extent>,
    is_kept: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Offset after the last durable frame. Readers stop here, whatever lies behind.
    pub(crate) end: u64,
    /// `first_seq - 1` while it has no frame.
    pub(crate) last: u64,
    /// Bytes of the file.
    pub(crate) allocated: u64,
    /// As of `last`.
    pub(crate) books: Books,
    /// Sequence numbers within that were never acknowledged and are not there.
    pub(crate) torn: Vec<(u64, u64)>,
}

/// A file in the order of ids.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Known(Arc<Segment>),
    /// A later release's, or one that cannot be read today: nothing in it is skipped or freed.
    Closed {
        id: u64,
        by_newer: bool,
        /// As far as its header tells.
        begins: Option<Begin>,
    },
}

/// Where a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) first_seq: u64,
    /// As of `first_seq`.
    pub(crate) books: Books,
}

/// Where the frame with a sequence number must be looked for.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is here, or it is missing and this is the next segment after the gap.
    Segment(Arc<Segment>),
    /// A segment stands in the way that this release cannot read.
    Closed { id: u64, by_newer: bool },
    /// Nothing at or after it is durable.
    Nothing,
}

#[derive(Debug, Default)]
pub(crate) struct Catalog {
    places: Mutex<Vec<Place>>,
}

impl Segment {
    pub(crate) fn new(id: u64, salt: u64, first_seq: u64, books: Books, extent: Extent) -> Self {
        let is_kept = AtomicBool::new(false);
        Self { id, salt, first_seq, books, extent: Mutex::new(extent), is_kept }
    }

    /// With books that are higher by so much, from its beginning on.
    pub(crate) fn counting(mut self, more: &Books) -> Self {
        self.books = self.books.plus(more);
        {
            let mut extent = self.lock();
            extent.books = extent.books.plus(more);
        }
        self
    }

    pub(crate) fn extent(&self) -> Extent {
        self.lock().clone()
    }

    pub(crate) fn last(&self) -> u64 {
        self.lock().last
    }

    pub(crate) fn end(&self) -> u64 {
        self.lock().end
    }

    pub(crate) fn grow(&self, end: u64, last: u64, books: Books) {
        let mut extent = self.lock();
        extent.end = end;
        extent.last = last;
        extent.books = books;
    }

    /// Something in it counts as lost because the disk does not let us read it: somebody else may
    /// get it out. It goes to quarantine instead of being freed.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Release);
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last() < self.first_seq
    }

    fn lock(&self) -> MutexGuard<'_, Extent> {
        self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalog {
    pub(crate) fn new(mut places: Vec<Place>) -> Self {
        places.sort_by_key(Place::id);
        Self { places: Mutex::new(places) }
    }

    /// The newest segment; ids only rise.
    pub(crate) fn push(&self, segment: Arc<Segment>) {
        self.lock().push(Place::Known(segment));
    }

    pub(crate) fn remove(&self, id: u64) {
        self.lock().retain(|place| place.id() != id);
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        self.lock().clone()
    }

    /// Where an output begins that needs everything; `None` if there is nothing.
    pub(crate) fn oldest(&self) -> Option<Begin> {
        self.lock().first().map(Place::begin)
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Segment>> {
        let places = self.lock();
        let known = places.iter().rev().filter_map(Place::known);
        known.into_iter().find(|segment| segment.id == id).map(Arc::clone)
    }

    pub(crate) fn find(&self, seq: u64) -> Found {
        let places = self.lock();
        // The last readable segment that begins at or before it; what comes before that is passed.
        let begins = |place: &Place| place.known().is_some_and(|known| known.first_seq <= seq);
        let here = places.iter().rposition(begins);
        if let Some(Place::Known(segment)) = here.and_then(|index| places.get(index))
            && segment.last() >= seq
        {
            return Found::Segment(Arc::clone(segment));
        }
        for place in places.iter().skip(here.map_or(0, |index| index + 1)) {
            match place {
                Place::Known(segment) if segment.is_empty() => {}
                Place::Known(segment) => return Found::Segment(Arc::clone(segment)),
                Place::Closed { id, by_newer, .. } => {
                    return Found::Closed { id: *id, by_newer: *by_newer };
                }
            }
        }
        Found::Nothing
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Known(segment) => segment.id,
            Self::Closed { id, .. } => *id,
        }
    }

    /// If nothing tells, from the very first number on.
    pub(crate) fn begin(&self) -> Begin {
        match self {
            Self::Known(segment) => Begin { first_seq: segment.first_seq, books: segment.books },
            Self::Closed { begins, .. } => {
                begins.unwrap_or(Begin { first_seq: 1, books: Books::default() })
            }
        }
    }

    pub(crate) fn known(&self) -> Option<&Arc<Segment>> {
        match self {
            Self::Known(segment) => Some(segment),
            Self::Closed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: u64, first_seq: u64, last: u64) -> Place {
        let books = Books::default();
        let extent = Extent { end: 0, last, allocated: 0, books, torn: Vec::new() };
        Place::Known(Arc::new(Segment::new(id, 0, first_seq, books, extent)))
    }

    fn find(catalog: &Catalog, seq: u64) -> String {
        match catalog.find(seq) {
            Found::Segment(segment) => format!("segment {}", segment.id),
            Found::Closed { id, .. } => format!("closed {id}"),
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn a_gap_leads_to_the_next_segment_and_a_closed_one_stops() {
        let catalog = Catalog::new(vec![
            known(7, 40, 39), // Prepared for, and empty.
            known(1, 5, 9),
            known(2, 12, 14),
            Place::Closed { id: 4, by_newer: true, begins: None },
            known(6, 30, 39),
        ]);
        for (seq, expected) in [
            (1, "segment 1"),
            (9, "segment 1"),
            (10, "segment 2"),
            (14, "segment 2"),
            (15, "closed 4"),
            (29, "closed 4"),
            (30, "segment 6"),
            (40, "nothing"),
        ] {
            assert_eq!(find(&catalog, seq), expected, "{seq}");
        }
    }
}
