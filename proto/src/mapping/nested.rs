//! One object with its structure: every value in it, in the order of the payload.
//!
//! ```text
//!  {"a":{"b":1,"c":[2,3]},"d":4}
//!
//!   0 object --- 1 a object --- 2 b 1 · 3 c array --- 4 "" 2 · 5 "" 3       6 d 4
//!     ends 7       ends 6                 ends 6
//! ```
//!
//! A value's members and elements follow it, up to its end. Bounded by depth and keys, as `tree` is.

use std::ops::Range;

use crate::{
    Context, Kind,
    fault::Fault,
    scratch::Piece,
    tree::{DEPTH_MAX, Scalar},
};

#[derive(Debug)]
pub(crate) enum Content<'p> {
    Scalar(Scalar<'p>),
    Object,
    Array,
}

#[derive(Debug)]
pub(crate) struct Node<'p> {
    /// Empty for an element of an array.
    pub(crate) key: Piece<'p>,
    pub(crate) content: Content<'p>,
    /// Behind all that is in it.
    end: usize,
}

/// Filled by a format's reader, one object after the other; its lists are used again.
#[derive(Debug)]
pub(crate) struct Nested<'p> {
    nodes: Vec<Node<'p>>,
    /// Names and texts that had to be put together.
    pub(crate) arena: String,
    open: Vec<usize>,
    keys_max: usize,
    depth_max: usize,
}

impl<'p> Nested<'p> {
    pub(crate) fn new(context: &Context<'_>) -> Self {
        Self {
            nodes: Vec::with_capacity(32),
            arena: String::new(),
            open: Vec::new(),
            keys_max: context.keys_max,
            depth_max: context.depth_max.min(DEPTH_MAX),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.arena.clear();
        self.open.clear();
    }

    /// The value that starts at byte `at` is a container; what is added up to `close` lies in it.
    pub(crate) fn open(&mut self, key: Piece<'p>, is_object: bool, at: usize) -> Result<(), Fault> {
        if self.open.len() == self.depth_max {
            let what = "nested more deeply than is allowed";
            return Err(Fault { at, kind: Kind::Limit, what });
        }
        self.open.push(self.nodes.len());
        let content = if is_object { Content::Object } else { Content::Array };
        self.add(key, content, at)
    }

    pub(crate) fn close(&mut self) {
        let end = self.nodes.len();
        if let Some(node) = self.open.pop().and_then(|at| self.nodes.get_mut(at)) {
            node.end = end;
        }
    }

    pub(crate) fn add(
        &mut self,
        key: Piece<'p>,
        content: Content<'p>,
        at: usize,
    ) -> Result<(), Fault> {
        // The outermost object is no key.
        if self.nodes.len() > self.keys_max {
            let what = "more keys in one reading than are allowed";
            return Err(Fault { at, kind: Kind::Limit, what });
        }
        let content = match content {
            Content::Scalar(value) => Content::Scalar(self.written(value)),
            container => container,
        };
        let end = self.nodes.len() + 1;
        self.nodes.push(Node { key, content, end });
        Ok(())
    }

    /// A number with its digits, for tags and exact types.
    fn written(&mut self, value: Scalar<'p>) -> Scalar<'p> {
        let from = self.arena.len();
        match value {
            Scalar::Integer(number) => self.arena.push_str(itoa::Buffer::new().format(number)),
            Scalar::Float(number) => {
                self.arena.push_str(zmij::Buffer::new().format_finite(number));
            }
            value => return value,
        }
        Scalar::Number(Piece::Made(from..self.arena.len()))
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Node<'p>> {
        self.nodes.get(at)
    }

    pub(crate) fn text<'s>(&'s self, piece: &Piece<'s>) -> &'s str {
        piece.get(&self.arena)
    }

    pub(crate) fn is_object(&self, at: usize) -> bool {
        matches!(self.get(at), Some(Node { content: Content::Object, .. }))
    }

    /// All that lies in `at`, itself included.
    pub(crate) fn within(&self, at: usize) -> Range<usize> {
        at..self.get(at).map_or(at, |node| node.end)
    }

    /// The members or elements of `at`.
    pub(crate) fn children(&self, at: usize) -> impl Iterator<Item = (usize, &Node<'p>)> {
        let mut next = at + 1;
        let end = self.within(at).end;
        std::iter::from_fn(move || {
            let here = next;
            let node = self.get(here).filter(|_| here < end)?;
            next = node.end;
            Some((here, node))
        })
    }

    /// What the keys lead to; an array's elements are counted from 0. Of two members with one key
    /// the last counts.
    pub(crate) fn find(&self, from: usize, keys: &[Box<str>]) -> Option<usize> {
        keys.iter().try_fold(from, |at, key| match self.get(at)?.content {
            Content::Object => {
                let named = |(_, node): &(usize, &Node<'p>)| self.text(&node.key) == &**key;
                self.children(at).filter(named).last().map(|(at, _)| at)
            }
            Content::Array => {
                let index = key.parse().ok()?;
                self.children(at).nth(index).map(|(at, _)| at)
            }
            Content::Scalar(_) => None,
        })
    }

    /// Written with `fields`, or with an array of `readings`: what is what is said by its keys.
    pub(crate) fn is_explicit(&self) -> bool {
        self.children(0).any(|(at, node)| match self.text(&node.key) {
            "fields" => matches!(node.content, Content::Object),
            "readings" => {
                let mut elements = self.children(at).peekable();
                let is_object = |(at, _): &(usize, &Node<'p>)| self.is_object(*at);
                matches!(node.content, Content::Array) && elements.peek().is_none_or(is_object)
            }
            _ => false,
        })
    }
}
