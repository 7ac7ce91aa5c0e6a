//! One object, flattened: every scalar in it with its joined name. Bounded by depth and keys.

use crate::{Context, Kind, Limits, fault::Fault, scratch::Piece};

/// No configuration may let a payload use up the stack.
pub(crate) const DEPTH_MAX: usize = 128;

/// A value that is no container.
#[derive(Clone, Debug)]
pub(crate) enum Scalar<'p> {
    Null,
    /// `NaN`, `Infinity`, `-Infinity`.
    NotFinite,
    Boolean(bool),
    /// Its decimal text.
    Number(Piece<'p>),
    Integer(i64),
    /// Finite.
    Float(f64),
    Text(Piece<'p>),
    /// A point in time, because the format says that it is one: since 1970.
    Instant {
        seconds: i64,
        nanos: u32,
    },
    Bytes(&'p [u8]),
    /// What no reading can hold, in words.
    Unstorable(&'static str),
}

/// A scalar, and the names on the way to it joined with `_`.
#[derive(Debug)]
pub(crate) struct Leaf<'p> {
    pub(crate) name: Piece<'p>,
    pub(crate) value: Scalar<'p>,
    /// The container of the outermost object that holds it; `None`: it stands there itself.
    pub(crate) top: Option<usize>,
}

/// A container that is a member of the outermost object.
#[derive(Debug)]
pub(crate) struct Top<'p> {
    pub(crate) key: Piece<'p>,
    pub(crate) is_object: bool,
}

/// Holds one object after the other; its lists are used again for the next.
#[derive(Debug)]
pub(crate) struct Tree<'p> {
    pub(crate) leaves: Vec<Leaf<'p>>,
    pub(crate) tops: Vec<Top<'p>>,
    /// Names and texts that had to be put together.
    pub(crate) arena: String,
    keys: usize,
    keys_max: usize,
    depth_max: usize,
    /// A name longer than this is too long, and grows no more.
    name_bytes_grown: usize,
    top: Option<usize>,
    /// `top` is an object named `tags`.
    in_tags: bool,
}

impl<'p> Tree<'p> {
    pub(crate) fn new(context: &Context<'_>, limits: &Limits) -> Self {
        Self {
            leaves: Vec::with_capacity(16),
            tops: Vec::new(),
            arena: String::new(),
            keys: 0,
            keys_max: context.keys_max,
            depth_max: context.depth_max.min(DEPTH_MAX),
            name_bytes_grown: limits.name_bytes_max + "fields_".len(),
            top: None,
            in_tags: false,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.leaves.clear();
        self.tops.clear();
        self.arena.clear();
        self.keys = 0;
        self.leave_top();
    }

    pub(crate) fn text<'s>(&'s self, piece: &Piece<'s>) -> &'s str {
        piece.get(&self.arena)
    }

    /// A number that may become a tag is written out.
    pub(crate) fn push(&mut self, name: Piece<'p>, value: Scalar<'p>) {
        let value = match value {
            Scalar::Integer(number) if self.may_be_tag(&name) => {
                Scalar::Number(self.made(itoa::Buffer::new().format(number)))
            }
            Scalar::Float(number) if self.may_be_tag(&name) => {
                Scalar::Number(self.made(zmij::Buffer::new().format_finite(number)))
            }
            other => other,
        };
        self.leaves.push(Leaf { name, value, top: self.top });
    }

    /// What is pushed from here to `leave_top` lies in this container of the outermost object.
    pub(crate) fn enter_top(&mut self, key: Piece<'p>, is_object: bool) {
        self.top = Some(self.tops.len());
        self.in_tags = is_object && self.text(&key) == "tags";
        self.tops.push(Top { key, is_object });
    }

    pub(crate) fn leave_top(&mut self) {
        self.top = None;
        self.in_tags = false;
    }

    /// Before a container is entered that lies `depth` deep; the outermost object lies 1 deep.
    pub(crate) fn check_depth(&self, depth: usize, at: usize) -> Result<(), Fault> {
        if depth > self.depth_max {
            return Err(Fault {
                at,
                kind: Kind::Limit,
                what: "nested more deeply than is allowed",
            });
        }
        Ok(())
    }

    /// Before each member of an object and each element of an array.
    pub(crate) fn count_key(&mut self, at: usize) -> Result<(), Fault> {
        self.keys += 1;
        if self.keys > self.keys_max {
            let what = "more keys in one reading than are allowed";
            return Err(Fault { at, kind: Kind::Limit, what });
        }
        Ok(())
    }

    /// A text put together here.
    pub(crate) fn made(&mut self, text: &str) -> Piece<'p> {
        let from = self.arena.len();
        self.arena.push_str(text);
        Piece::Made(from..self.arena.len())
    }

    /// `prefix_0`, `prefix_1`: the name of an array's element.
    pub(crate) fn element(&mut self, prefix: &Piece<'p>, index: u32) -> Piece<'p> {
        let index = self.made(itoa::Buffer::new().format(index));
        self.joined(prefix, &index)
    }

    /// `prefix_key`. A name that has become too long does not grow on: it stays too long, and the
    /// encoder refuses its field, but it costs no more memory.
    pub(crate) fn joined(&mut self, prefix: &Piece<'p>, key: &Piece<'p>) -> Piece<'p> {
        let prefix_len = self.text(prefix).len();
        if prefix_len > self.name_bytes_grown {
            return prefix.clone();
        }
        let from = self.arena.len();
        self.append(prefix, prefix_len);
        self.arena.push('_');
        self.append(key, self.name_bytes_grown + 1);
        Piece::Made(from..self.arena.len())
    }

    fn may_be_tag(&self, name: &Piece<'p>) -> bool {
        self.in_tags || (self.top.is_none() && self.text(name) == "device")
    }

    fn append(&mut self, piece: &Piece<'p>, bytes_max: usize) {
        match piece {
            Piece::Plain(text) => {
                let end = text.ceil_char_boundary(bytes_max);
                self.arena.push_str(text.get(..end).unwrap_or_default());
            }
            Piece::Made(range) => {
                let text = self.arena.get(range.clone()).unwrap_or_default();
                let end = range.start + text.ceil_char_boundary(bytes_max);
                self.arena.extend_from_within(range.start..end);
            }
        }
    }
}

/// A number's decimal text, where the payload has none.
#[derive(Default)]
pub(crate) struct Written {
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl Written {
    /// `None`: no number.
    pub(crate) fn decimal<'w>(
        &'w mut self,
        value: &'w Scalar<'_>,
        arena: &'w str,
    ) -> Option<&'w str> {
        match value {
            Scalar::Number(text) => Some(text.get(arena)),
            Scalar::Integer(number) => Some(self.integer.format(*number)),
            Scalar::Float(number) => Some(self.float.format_finite(*number)),
            _ => None,
        }
    }
}
