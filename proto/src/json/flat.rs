//! One JSON value, flattened into a `Tree`.

use std::ops::Range;

use super::scan::Scanner;
use crate::{
    Context, Limits,
    fault::Fault,
    scratch::Piece,
    tree::{Scalar, Tree},
};

/// Takes values apart, one after the other.
#[derive(Debug)]
pub(crate) struct Flat<'p> {
    pub(crate) scan: Scanner<'p>,
    pub(crate) tree: Tree<'p>,
    /// `readings`: where the array of readings lies that the outermost object holds.
    pub(crate) batch: Option<Range<usize>>,
    batch_allowed: bool,
}

impl<'p> Flat<'p> {
    pub(crate) fn new(payload: &'p [u8], context: &Context<'_>, limits: &Limits) -> Self {
        Self {
            scan: Scanner::new(payload),
            tree: Tree::new(context, limits),
            batch: None,
            batch_allowed: false,
        }
    }

    /// The object that starts here. `batch_allowed`: its `readings` may be an array of readings.
    pub(crate) fn outermost_object(&mut self, batch_allowed: bool) -> Result<(), Fault> {
        self.clear();
        self.batch_allowed = batch_allowed;
        self.object(None, 1)
    }

    /// The value that starts here, as if it were the member `name` of an object.
    pub(crate) fn lone_value(&mut self, name: &str) -> Result<(), Fault> {
        self.clear();
        let name = self.tree.made(name);
        self.value(name, 0)
    }

    fn clear(&mut self) {
        self.tree.clear();
        self.batch = None;
    }

    fn object(&mut self, prefix: Option<&Piece<'p>>, depth: usize) -> Result<(), Fault> {
        self.open(depth)?;
        if self.scan.take(b'}') {
            return Ok(());
        }
        loop {
            self.scan.skip_space();
            let key = self.scan.string(&mut self.tree.arena)?;
            self.scan.skip_space();
            if !self.scan.take(b':') {
                return self.scan.fault("expected a colon");
            }
            self.scan.skip_space();
            self.tree.count_key(self.scan.at)?;
            match prefix {
                None => self.top_member(key)?,
                Some(prefix) => {
                    let name = self.tree.joined(prefix, &key);
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
        let is_batch = self.batch_allowed && self.tree.text(&key) == "readings";
        if is_batch && self.scan.is_array_of_objects() {
            let start = self.scan.at;
            let Some(end) = self.scan.balanced_end(start) else {
                return self.scan.fault("an array without its end");
            };
            self.batch = Some(start..end);
            self.scan.at = end;
            return Ok(());
        }
        self.tree.enter_top(key.clone(), self.scan.peek() == Some(b'{'));
        self.value(key, 1)?;
        self.tree.leave_top();
        Ok(())
    }

    fn value(&mut self, name: Piece<'p>, depth: usize) -> Result<(), Fault> {
        let value = match self.scan.peek() {
            Some(b'{') => return self.object(Some(&name), depth + 1),
            Some(b'[') => return self.array(&name, depth + 1),
            Some(b'"') => Scalar::Text(self.scan.string(&mut self.tree.arena)?),
            _ => self.scan.scalar()?,
        };
        self.tree.push(name, value);
        Ok(())
    }

    fn array(&mut self, name: &Piece<'p>, depth: usize) -> Result<(), Fault> {
        self.open(depth)?;
        if self.scan.take(b']') {
            return Ok(());
        }
        for at in 0_u32.. {
            self.scan.skip_space();
            self.tree.count_key(self.scan.at)?;
            let name = self.tree.element(name, at);
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
        self.tree.check_depth(depth, self.scan.at)?;
        self.scan.at += 1;
        self.scan.skip_space();
        Ok(())
    }
}
