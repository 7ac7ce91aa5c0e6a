//! What decoders keep while they take a reading apart, so that the usual reading costs no
//! allocation of its own: pieces of text that are borrowed unless they had to be unescaped.

use std::ops::Range;

use crate::ValueRef;

/// A text of the payload as it stands there, or one that had to be put together.
#[derive(Clone, Debug)]
pub(crate) enum Piece<'p> {
    Plain(&'p str),
    /// Where it lies in the arena.
    Made(Range<usize>),
}

impl<'p> Piece<'p> {
    pub(crate) fn get<'s>(&self, arena: &'s str) -> &'s str
    where
        'p: 's,
    {
        match self {
            Self::Plain(text) => text,
            Self::Made(range) => arena.get(range.clone()).unwrap_or_default(),
        }
    }
}

/// The same allocation for items with another lifetime: collected in place.
pub(crate) fn reuse<A, B>(mut list: Vec<A>) -> Vec<B> {
    list.clear();
    list.into_iter().map(|_| unreachable!("it was cleared")).collect()
}

/// Lists that live as long as a `Readings`: a decoder borrows them for a payload. What they hold
/// between two uses is nothing but room.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// A reading's own tags and fields, as its decoder found them.
    pub(crate) tags: Vec<(&'static str, &'static str)>,
    pub(crate) fields: Vec<(&'static str, ValueRef<'static>)>,
    /// Its tags and the context's.
    pub(crate) merged: Vec<(&'static str, &'static str)>,
}

impl Scratch {
    /// Gives back the room that an extraordinary payload took.
    pub(crate) fn trim(&mut self) {
        const KEPT_MAX: usize = 1024;
        self.tags.shrink_to(KEPT_MAX);
        self.fields.shrink_to(KEPT_MAX);
        self.merged.shrink_to(KEPT_MAX);
    }
}
