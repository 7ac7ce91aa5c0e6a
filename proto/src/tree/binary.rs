//! What CBOR and MessagePack share: both write the values of JSON as tokens, containers with their
//! counts. What they say is what the same JSON would say.
//!
//! A map is a reading, an array of maps several, and so are maps one after the other. A broken
//! element costs itself as long as its end can be found, else all that follows it.

use std::ops::Range;

use super::{
    Scalar, Tree,
    shape::{self, Defaults},
};
use crate::{
    Context, Kind, Place, Readings, Reason, Rejects,
    fault::Fault,
    mapping::{
        nested::{Content, Nested},
        read,
    },
    offer::Offers,
    scratch::Piece,
};

/// Nesting up to which the end of a broken element is looked for.
const SKIPPED_DEPTH_MAX: usize = 128;

/// How many members or elements a container still has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Items(u64),
    /// CBOR's indefinite length.
    UntilBreak,
}

#[derive(Debug)]
pub(crate) enum Token<'p> {
    Scalar(Scalar<'p>),
    Array(Count),
    Map(Count),
}

/// A format's own reader. Every token takes at least a byte of the payload, so that no count it
/// claims can make work that its bytes do not pay for.
pub(crate) trait Tokens<'p> {
    fn at(&self) -> usize;
    fn seek(&mut self, at: usize);
    fn is_at_end(&self) -> bool;
    /// What starts here; texts in pieces are put together in `arena`.
    fn token(&mut self, arena: &mut String) -> Result<Token<'p>, Fault>;
    /// Takes the mark that ends a container without a count, if it stands here.
    fn take_break(&mut self) -> bool;
}

/// Decodes a payload that is written in these tokens.
pub(crate) fn decode<'p>(
    tokens: impl Tokens<'p>,
    len: usize,
    context: &Context<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
) {
    let offers = Offers::new(context, out, bad);
    let tree = Tree::new(context, &offers.limits());
    Decoder { walk: Walk::new(tokens, tree), nested: None, offers, index: 0, len }.run();
}

/// Whether the payload is one whole value and nothing else.
pub(crate) fn is_whole<'p>(tokens: &mut impl Tokens<'p>) -> bool {
    skip(tokens, &mut String::new(), 0).is_ok() && tokens.is_at_end()
}

/// Goes to the end of the value that starts here.
pub(crate) fn skip<'p>(
    tokens: &mut impl Tokens<'p>,
    arena: &mut String,
    depth: usize,
) -> Result<(), Fault> {
    arena.clear();
    let (mut count, values) = match tokens.token(arena)? {
        Token::Scalar(_) => return Ok(()),
        Token::Array(count) => (count, 1),
        Token::Map(count) => (count, 2),
    };
    if depth >= SKIPPED_DEPTH_MAX {
        let what = "nested more deeply than is allowed";
        return Err(Fault { at: tokens.at(), kind: Kind::Limit, what });
    }
    while more(tokens, &mut count) {
        for _ in 0..values {
            skip(tokens, arena, depth + 1)?;
        }
    }
    Ok(())
}

pub(crate) fn more<'p>(tokens: &mut impl Tokens<'p>, count: &mut Count) -> bool {
    match count {
        Count::Items(0) => false,
        Count::Items(left) => {
            *left -= 1;
            true
        }
        Count::UntilBreak => !tokens.take_break(),
    }
}

/// A text, or an integer: its decimal text.
fn map_key<'p>(tokens: &mut impl Tokens<'p>, arena: &mut String) -> Result<Piece<'p>, Fault> {
    let at = tokens.at();
    match tokens.token(arena)? {
        Token::Scalar(Scalar::Text(text) | Scalar::Number(text)) => Ok(text),
        Token::Scalar(Scalar::Integer(number)) => {
            let from = arena.len();
            arena.push_str(itoa::Buffer::new().format(number));
            Ok(Piece::Made(from..arena.len()))
        }
        _ => {
            let what = "a key that is neither a text nor an integer";
            Err(Fault { at, kind: Kind::Undecodable, what })
        }
    }
}

/// Takes values apart into its tree, one after the other.
#[derive(Debug)]
pub(crate) struct Walk<'p, T> {
    pub(crate) tokens: T,
    pub(crate) tree: Tree<'p>,
    /// `readings`: where the array of readings lies that the outermost map holds.
    batch: Option<Range<usize>>,
    batch_allowed: bool,
}

impl<'p, T: Tokens<'p>> Walk<'p, T> {
    pub(crate) fn new(tokens: T, tree: Tree<'p>) -> Self {
        Self { tokens, tree, batch: None, batch_allowed: false }
    }

    /// The map whose head was read.
    pub(crate) fn outermost_map(&mut self, count: Count) -> Result<(), Fault> {
        self.tree.clear();
        self.batch = None;
        self.map(None, count, 1)
    }

    /// The value whose head was read, as if it were the member `name` of a map.
    fn lone_value(&mut self, name: &str, token: Token<'p>) -> Result<(), Fault> {
        // A text in pieces lies in the arena already: it is not cleared here.
        self.batch = None;
        let name = self.tree.made(name);
        self.value(name, token, 0)
    }

    fn map(
        &mut self,
        prefix: Option<&Piece<'p>>,
        mut count: Count,
        depth: usize,
    ) -> Result<(), Fault> {
        self.tree.check_depth(depth, self.tokens.at())?;
        while more(&mut self.tokens, &mut count) {
            let key = map_key(&mut self.tokens, &mut self.tree.arena)?;
            self.tree.count_key(self.tokens.at())?;
            match prefix {
                None => self.top_member(key)?,
                Some(prefix) => {
                    let name = self.tree.joined(prefix, &key);
                    let token = self.tokens.token(&mut self.tree.arena)?;
                    self.value(name, token, depth)?;
                }
            }
        }
        Ok(())
    }

    fn top_member(&mut self, key: Piece<'p>) -> Result<(), Fault> {
        let start = self.tokens.at();
        let token = self.tokens.token(&mut self.tree.arena)?;
        let is_object = match token {
            Token::Scalar(_) => return self.value(key, token, 1),
            Token::Map(_) => true,
            Token::Array(count) => {
                let is_batch = self.batch_allowed && self.tree.text(&key) == "readings";
                if is_batch && self.is_of_maps(count) {
                    self.tokens.seek(start);
                    skip(&mut self.tokens, &mut String::new(), 0)?;
                    self.batch = Some(start..self.tokens.at());
                    return Ok(());
                }
                false
            }
        };
        self.tree.enter_top(key.clone(), is_object);
        self.value(key, token, 1)?;
        self.tree.leave_top();
        Ok(())
    }

    fn value(&mut self, name: Piece<'p>, token: Token<'p>, depth: usize) -> Result<(), Fault> {
        match token {
            Token::Scalar(value) => self.tree.push(name, value),
            Token::Map(count) => self.map(Some(&name), count, depth + 1)?,
            Token::Array(mut count) => {
                self.tree.check_depth(depth + 1, self.tokens.at())?;
                let mut index = 0;
                while more(&mut self.tokens, &mut count) {
                    self.tree.count_key(self.tokens.at())?;
                    let name = self.tree.element(&name, index);
                    let token = self.tokens.token(&mut self.tree.arena)?;
                    self.value(name, token, depth + 1)?;
                    index += 1;
                }
            }
        }
        Ok(())
    }

    /// The value whose head was read, with its structure. Recursion goes as deep as `Nested` allows.
    fn nested(
        &mut self,
        key: Piece<'p>,
        token: Token<'p>,
        into: &mut Nested<'p>,
    ) -> Result<(), Fault> {
        let at = self.tokens.at();
        let (mut count, is_object) = match token {
            Token::Scalar(value) => return into.add(key, Content::Scalar(value), at),
            Token::Map(count) => (count, true),
            Token::Array(count) => (count, false),
        };
        into.open(key, is_object, at)?;
        while more(&mut self.tokens, &mut count) {
            let key = if is_object {
                map_key(&mut self.tokens, &mut into.arena)?
            } else {
                Piece::Plain("")
            };
            let token = self.tokens.token(&mut into.arena)?;
            self.nested(key, token, into)?;
        }
        into.close();
        Ok(())
    }

    /// Whether the first element of the array whose head was read is a map, or there is none.
    pub(crate) fn is_of_maps(&mut self, mut count: Count) -> bool {
        let at = self.tokens.at();
        let is_of_maps = !more(&mut self.tokens, &mut count)
            || matches!(self.tokens.token(&mut String::new()), Ok(Token::Map(_)));
        self.tokens.seek(at);
        is_of_maps
    }
}

struct Decoder<'p, 'o, T> {
    walk: Walk<'p, T>,
    /// For rules that look inside.
    nested: Option<Nested<'p>>,
    offers: Offers<'o>,
    /// Of the next reading.
    index: u32,
    /// Of the payload.
    len: usize,
}

impl<'p, T: Tokens<'p>> Decoder<'p, '_, T> {
    fn run(&mut self) {
        if self.walk.tokens.is_at_end() {
            let reason = Reason::new(Kind::Undecodable, "an empty payload");
            return self.offers.refuse(Place::default(), reason);
        }
        while !self.walk.tokens.is_at_end() {
            let start = self.walk.tokens.at();
            let taken = match self.first_token() {
                Ok(Token::Array(count)) if self.walk.is_of_maps(count) => {
                    self.array(count, None);
                    Ok(())
                }
                Ok(Token::Map(count)) => self.map(start, count, None),
                Ok(token) => self.lone_value(start, token),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = taken {
                self.skip_broken(start, fault);
            }
        }
    }

    fn array(&mut self, mut count: Count, defaults: Option<&Defaults>) {
        while more(&mut self.walk.tokens, &mut count) {
            let at = self.walk.tokens.at();
            let taken = match self.first_token() {
                Ok(Token::Map(count)) => self.map(at, count, defaults),
                Ok(_) => Err(Fault { at, kind: Kind::Undecodable, what: "expected a map" }),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = taken
                && !self.skip_broken(at, fault)
            {
                return;
            }
        }
    }

    /// Of a value of its own.
    fn first_token(&mut self) -> Result<Token<'p>, Fault> {
        self.walk.tree.clear();
        self.walk.tokens.token(&mut self.walk.tree.arena)
    }

    /// Refuses the value that starts there and goes on behind it; with all that follows it if its
    /// end cannot be found: then false.
    fn skip_broken(&mut self, start: usize, fault: Fault) -> bool {
        self.walk.tokens.seek(start);
        let found = skip(&mut self.walk.tokens, &mut String::new(), 0).is_ok();
        if !found {
            self.walk.tokens.seek(self.len);
        }
        let place = self.next_place(start, self.walk.tokens.at());
        self.offers.refuse(place, fault.into());
        found
    }

    fn map(
        &mut self,
        start: usize,
        count: Count,
        defaults: Option<&Defaults>,
    ) -> Result<(), Fault> {
        if defaults.is_none() && self.mapped_map(start, count)? {
            return Ok(());
        }
        self.walk.batch_allowed = defaults.is_none();
        self.walk.outermost_map(count)?;
        let end = self.walk.tokens.at();
        let Some(batch) = self.walk.batch.take() else {
            let place = self.next_place(start, end);
            shape::offer(&self.walk.tree, defaults, place, &mut self.offers);
            return Ok(());
        };
        match shape::defaults(&self.walk.tree, self.index, &mut self.offers) {
            Ok(defaults) => {
                self.walk.tokens.seek(batch.start);
                // Its end was found before, so the ends of its elements are found too.
                if let Token::Array(count) = self.first_token()? {
                    self.array(count, Some(&defaults));
                }
            }
            Err(reason) => {
                let place = self.next_place(start, end);
                self.offers.refuse(place, reason);
            }
        }
        self.walk.tokens.seek(end);
        Ok(())
    }

    /// What a rule says that looks inside. False: there is none, or it does not concern this map.
    fn mapped_map(&mut self, start: usize, count: Count) -> Result<bool, Fault> {
        let context = self.offers.context;
        let Some(mapping) = context.mapping.filter(|mapping| mapping.is_structural()) else {
            return Ok(false);
        };
        let inside = self.walk.tokens.at();
        let nested = self.nested.get_or_insert_with(|| Nested::new(context));
        nested.clear();
        self.walk.nested(Piece::Plain(""), Token::Map(count), nested)?;
        if mapping.takes_explicit() && nested.is_explicit() {
            self.walk.tokens.seek(inside);
            return Ok(false);
        }
        let span = start..self.walk.tokens.at();
        read::offer(nested, mapping, &span, &mut self.index, &mut self.offers);
        Ok(true)
    }

    fn lone_value(&mut self, start: usize, token: Token<'p>) -> Result<(), Fault> {
        let name = self.offers.context.field;
        self.walk.lone_value(name, token)?;
        let place = self.next_place(start, self.walk.tokens.at());
        shape::offer(&self.walk.tree, None, place, &mut self.offers);
        Ok(())
    }

    fn next_place(&mut self, start: usize, end: usize) -> Place {
        let index = self.index;
        self.index = index.saturating_add(1);
        Place { index, span: start..end }
    }
}
