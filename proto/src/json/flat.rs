//! One JSON value, flattened: every scalar in it with its joined name. Bounded by depth and keys.

use std::ops::Range;

use super::scan::{Fault, Scalar, Scanner};
use crate::{Context, Kind, Limits, scratch::Piece};

/// No configuration may let a payload use up the stack.
const DEPTH_MAX: usize = 128;

/// A scalar, and the names on the way to it joined with `_`.
#[derive(Debug)]
pub(super) struct Leaf<'p> {
    pub(super) name: Piece<'p>,
    pub(super) value: Scalar<'p>,
    /// The container of the outermost object that holds it; `None`: it stands there itself.
    pub(super) top: Option<usize>,
}

/// A container that is a member of the outermost object.
#[derive(Debug)]
pub(super) struct Top<'p> {
    pub(super) key: Piece<'p>,
    pub(super) is_object: bool,
}

/// Takes values apart, one after the other; its lists are used again for the next.
#[derive(Debug)]
pub(super) struct Flat<'p> {
    pub(super) scan: Scanner<'p>,
    pub(super) leaves: Vec<Leaf<'p>>,
    pub(super) tops: Vec<Top<'p>>,
    /// Names and texts that had to be put together.
    pub(super) arena: String,
    /// `readings`: where the array of readings lies that the outermost object holds.
    pub(super) batch: Option<Range<usize>>,
    keys: usize,
    keys_max: usize,
    depth_max: usize,
    /// A name longer than this is too long, and grows no more.
    name_bytes_grown: usize,
    top: Option<usize>,
    batch_allowed: bool,
}

impl<'p> Flat<'p> {
    pub(super) fn new(payload: &'p [u8], context: &Context<'_>, limits: &Limits) -> Self {
        Self {
            scan: Scanner::new(payload),
            leaves: Vec::with_capacity(16),
            tops: Vec::new(),
            arena: String::new(),
            batch: None,
            keys: 0,
            keys_max: context.keys_max,
            depth_max: context.depth_max.min(DEPTH_MAX),
            name_bytes_grown: limits.name_bytes_max + "fields_".len(),
            top: None,
            batch_allowed: false,
        }
    }

    /// The object that starts here. `batch_allowed`: its `readings` may be an array of readings.
    pub(super) fn outermost_object(&mut self, batch_allowed: bool) -> Result<(), Fault> {
        self.clear();
        self.batch_allowed = batch_allowed;
        self.object(None, 1)
    }

    /// The value that starts here, as if it were the member `name` of an object.
    pub(super) fn lone_value(&mut self, name: &str) -> Result<(), Fault> {
        self.clear();
        self.arena.push_str(name);
        self.value(Piece::Made(0..name.len()), 0)
    }

    pub(super) fn text<'s>(&'s self, piece: &Piece<'s>) -> &'s str {
        piece.get(&self.arena)
    }

    fn clear(&mut self) {
        self.leaves.clear();
        self.tops.clear();
        self.arena.clear();
        self.batch = None;
        self.keys = 0;
        self.top = None;
    }

    fn object(&mut self, prefix: Option<&Piece<'p>>, depth: usize) -> Result<(), Fault> {
        self.open(depth)?;
        if self.scan.take(b'}') {
            return Ok(());
        }
        loop {
            self.scan.skip_space();
            let key = self.scan.string(&mut self.arena)?;
            self.scan.skip_space();
            if !self.scan.take(b':') {
                return self.scan.fault("expected a colon");
            }
            self.scan.skip_space();
            self.count_key()?;
            match prefix {
                None => self.top_member(key)?,
                Some(prefix) => {
                    let name = self.joined(prefix, &key);
                    self.value(name, depth)?;
                }
            }
            self.scan.skip_space();
            if self.scan.take(b'}') {
                return Ok(());
            }
            if !self.scan.take(b',') {
                return self.scan.fault("expected a comma or }");
            }
        }
    }

    fn top_member(&mut self, key: Piece<'p>) -> Result<(), Fault> {
        if !matches!(self.scan.peek(), Some(b'{' | b'[')) {
            return self.value(key, 1);
        }
        let is_batch = self.batch_allowed && self.text(&key) == "readings";
        if is_batch && self.scan.is_array_of_objects() {
            let start = self.scan.at;
            let Some(end) = self.scan.balanced_end(start) else {
                return self.scan.fault("an array without its end");
            };
            self.batch = Some(start..end);
            self.scan.at = end;
            return Ok(());
        }
        self.top = Some(self.tops.len());
        self.tops.push(Top { key: key.clone(), is_object: self.scan.peek() == Some(b'{') });
        self.value(key, 1)?;
        self.top = None;
        Ok(())
    }

    fn value(&mut self, name: Piece<'p>, depth: usize) -> Result<(), Fault> {
        let value = match self.scan.peek() {
            Some(b'{') => return self.object(Some(&name), depth + 1),
            Some(b'[') => return self.array(&name, depth + 1),
            Some(b'"') => Scalar::Text(self.scan.string(&mut self.arena)?),
            _ => self.scan.scalar()?,
        };
        self.leaves.push(Leaf { name, value, top: self.top });
        Ok(())
    }

    fn array(&mut self, name: &Piece<'p>, depth: usize) -> Result<(), Fault> {
        self.open(depth)?;
        if self.scan.take(b']') {
            return Ok(());
        }
        let mut index = itoa::Buffer::new();
        for at in 0_u32.. {
            self.scan.skip_space();
            self.count_key()?;
            let from = self.arena.len();
            self.arena.push_str(index.format(at));
            let name = self.joined(name, &Piece::Made(from..self.arena.len()));
            self.value(name, depth)?;
            self.scan.skip_space();
            if self.scan.take(b']') {
                break;
            }
            if !self.scan.take(b',') {
                return self.scan.fault("expected a comma or ]");
            }
        }
        Ok(())
    }

    fn open(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > self.depth_max {
            let what = "nested more deeply than is allowed";
            return Err(Fault { at: self.scan.at, kind: Kind::Limit, what });
        }
        self.scan.at += 1;
        self.scan.skip_space();
        Ok(())
    }

    fn count_key(&mut self) -> Result<(), Fault> {
        self.keys += 1;
        if self.keys > self.keys_max {
            let what = "more keys in one reading than are allowed";
            return Err(Fault { at: self.scan.at, kind: Kind::Limit, what });
        }
        Ok(())
    }

    /// `prefix_key`. A name that has become too long does not grow on: it stays too long, and the
    /// encoder refuses its field, but it costs no more memory.
    fn joined(&mut self, prefix: &Piece<'p>, key: &Piece<'p>) -> Piece<'p> {
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
