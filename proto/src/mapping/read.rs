//! An object with its structure, made into the readings that a mapping sees in it: which objects are
//! readings, and what fields they have. `found` sees to their tags and times.

mod found;

use std::ops::Range;

use self::found::Found;
use super::{
    Case, Mapping, Path,
    fields::Raw,
    nested::{Content, Nested, Node},
};
use crate::{
    Kind, Place, Reason, Time, ValueRef,
    offer::{Offers, Parts},
    tree::{Scalar, odd_value},
    value::is_empty_word,
};

/// Offers what the object is; `index`: of its first reading, and then of the next.
pub(crate) fn offer<'m>(
    nested: &Nested<'_>,
    mapping: &'m Mapping,
    span: &Range<usize>,
    index: &mut u32,
    offers: &mut Offers<'_>,
) {
    let before = *index;
    let mut reader = Reader { nested, span, index, offers };
    let found = |case: &'m Case| Some((case, nested.find(0, &case.select.keys)?));
    match mapping.cases.iter().find_map(found) {
        Some((case, at)) => reader.selected(case, at),
        None if mapping.optional => {}
        None => reader.refuse(nothing_there(mapping)),
    }
    if *index == before {
        offers.nothing();
        *index = index.saturating_add(1);
    }
}

fn nothing_there(mapping: &Mapping) -> Reason {
    let wanted = mapping.cases.iter().map(|case| format!("`{}`", case.select));
    let wanted = wanted.collect::<Vec<_>>().join(" or ");
    let text = format!("the payload has no {wanted}, where its rule looks for the reading");
    Reason::new(Kind::NoFields, text)
}

struct Reader<'r, 'o> {
    nested: &'r Nested<'r>,
    /// Of the object in the payload.
    span: &'r Range<usize>,
    index: &'r mut u32,
    offers: &'r mut Offers<'o>,
}

/// One object (or a value without one) that is a reading.
#[derive(Clone, Copy)]
struct Subject<'c> {
    case: &'c Case,
    at: usize,
    /// The object around it, if it was split off; its key is a tag then.
    around: Option<usize>,
    /// Objects in it are readings of their own.
    is_split: bool,
}

/// Fields with their names, which lie in `names`.
#[derive(Default)]
struct Collected {
    names: String,
    fields: Vec<(Range<usize>, usize)>,
    /// How many of them lie in the reading's own object.
    own: usize,
}

impl<'r> Reader<'r, '_> {
    fn selected(&mut self, case: &Case, at: usize) {
        let is_array = matches!(self.nested.get(at), Some(Node { content: Content::Array, .. }));
        let nested = self.nested;
        if !is_array || !nested.children(at).any(|(at, _)| nested.is_object(at)) {
            return self.subject(case, at);
        }
        for (at, _) in nested.children(at) {
            if nested.is_object(at) {
                self.subject(case, at);
            } else {
                self.refuse(Reason::new(Kind::Undecodable, "expected an object"));
            }
        }
    }

    fn subject(&mut self, case: &Case, at: usize) {
        let is_split = case.split.is_some() && self.nested.is_object(at);
        if is_split {
            let nested = self.nested;
            for (part, _) in nested.children(at).filter(|(part, _)| nested.is_object(*part)) {
                self.reading(Subject { case, at: part, around: Some(at), is_split: false });
            }
        }
        self.reading(Subject { case, at, around: None, is_split });
    }

    /// A reading that no field is left of is none.
    fn reading(&mut self, subject: Subject<'_>) {
        let offered = self.found(subject).and_then(|found| {
            let collected = self.collected(subject, &found.used);
            self.offer(subject, &found, &collected)
        });
        if let Err(reason) = offered {
            self.refuse(reason);
        }
    }

    /// A bare name means the reading's own object first, then the one around it.
    fn resolve(&self, subject: Subject<'_>, path: &Path) -> Option<usize> {
        if !path.is_own() {
            return self.nested.find(0, &path.keys);
        }
        let owners = [Some(subject.at), subject.around].into_iter().flatten();
        owners.into_iter().find_map(|owner| self.nested.find(owner, &path.keys))
    }

    fn collected(&self, subject: Subject<'_>, used: &[usize]) -> Collected {
        let mut collected = Collected::default();
        let mut left_out = used.to_vec();
        let dropped = subject.case.fields.drop_paths.iter();
        left_out.extend(dropped.filter_map(|path| self.resolve(subject, path)));
        if self.nested.is_object(subject.at) {
            self.members(subject, subject.at, &(0..0), &left_out, &mut collected);
        } else {
            collected.names.push_str(self.offers.context.field);
            let name = 0..collected.names.len();
            self.value(subject, subject.at, name, &left_out, &mut collected);
        }
        collected.own = collected.fields.len();
        for (name, path) in &subject.case.extra {
            let Some(at) = self.resolve(subject, path) else { continue };
            let from = collected.names.len();
            collected.names.push_str(name);
            self.value(subject, at, from..collected.names.len(), &[], &mut collected);
        }
        collected
    }

    /// Recursion goes as deep as `Nested` allows.
    fn members(
        &self,
        subject: Subject<'_>,
        owner: usize,
        prefix: &Range<usize>,
        left_out: &[usize],
        collected: &mut Collected,
    ) {
        let is_array = !self.nested.is_object(owner);
        let splits_here = subject.is_split && owner == subject.at;
        let mut index = itoa::Buffer::new();
        for (nth, (at, node)) in self.nested.children(owner).enumerate() {
            if left_out.contains(&at) || (splits_here && self.nested.is_object(at)) {
                continue;
            }
            let key = if is_array { index.format(nth) } else { self.nested.text(&node.key) };
            let name = collected.joined(prefix, key, self.offers.limits().name_bytes_max);
            self.value(subject, at, name, left_out, collected);
        }
    }

    fn value(
        &self,
        subject: Subject<'_>,
        at: usize,
        name: Range<usize>,
        left_out: &[usize],
        collected: &mut Collected,
    ) {
        match self.nested.get(at).map(|node| &node.content) {
            Some(Content::Scalar(_)) => collected.fields.push((name, at)),
            Some(_) => self.members(subject, at, &name, left_out, collected),
            None => {}
        }
    }

    /// Nothing is said of a reading that no field is left of.
    fn offer(
        &mut self,
        subject: Subject<'_>,
        found: &Found<'_>,
        collected: &Collected,
    ) -> Result<(), Reason> {
        let rules = &subject.case.fields;
        let (mut kept, mut bad) = (Vec::with_capacity(collected.fields.len()), Vec::new());
        let mut kept_own = 0;
        for (nth, (name, at)) in collected.fields.iter().enumerate() {
            let name = collected.names.get(name.clone()).unwrap_or_default();
            // A list of names is not about what the rule names itself.
            if nth < collected.own && !rules.takes(name) {
                continue;
            }
            let raw = self.scalar(*at).map_or(Ok(None), |value| self.raw(value));
            match raw.and_then(|raw| raw.map(|raw| rules.value(name, raw)).transpose()) {
                Ok(Some(value)) => {
                    kept.push((rules.name(name), value));
                    kept_own += usize::from(nth < collected.own);
                }
                Ok(None) => {}
                Err(reason) => bad.push((name, reason)),
            }
        }
        // What comes from elsewhere makes no part of a payload a reading.
        if kept.is_empty() || (subject.case.split.is_some() && kept_own == 0) {
            return bad.into_iter().next().map_or(Ok(()), |(_, reason)| Err(reason));
        }
        self.check_device(subject, found)?;
        let place = self.next_place();
        let index = place.index;
        let fields: Vec<_> = kept.iter().map(|(name, value)| (*name, value.value())).collect();
        let parts = Parts {
            measurement: subject.case.measurement.as_deref().unwrap_or_default(),
            tags: &found.tags,
            fields: &fields,
            time: found.time.unwrap_or(Time::Unknown),
        };
        if self.offers.put(parts, place) {
            for (name, reason) in bad {
                self.offers.leave_out(index, name, reason);
            }
        }
        Ok(())
    }

    /// `None`: a value that says "no value".
    fn raw(&self, value: &'r Scalar<'r>) -> Result<Option<Raw<'r>>, Reason> {
        let text = |piece| self.nested.text(piece);
        Ok(Some(match value {
            Scalar::Null => return Ok(None),
            Scalar::Text(piece) if is_empty_word(text(piece)) => return Ok(None),
            Scalar::Text(piece) => Raw::Value(ValueRef::Text(text(piece))),
            Scalar::Boolean(value) => Raw::Value(ValueRef::Boolean(*value)),
            Scalar::Number(piece) => Raw::Number(text(piece)),
            value => Raw::Value(odd_value(value)?),
        }))
    }

    fn scalar(&self, at: usize) -> Option<&'r Scalar<'r>> {
        match &self.nested.get(at)?.content {
            Content::Scalar(value) => Some(value),
            Content::Object | Content::Array => None,
        }
    }

    fn refuse(&mut self, reason: Reason) {
        let place = self.next_place();
        self.offers.refuse(place, reason);
    }

    fn next_place(&mut self) -> Place {
        let index = *self.index;
        *self.index = index.saturating_add(1);
        Place { index, span: self.span.clone() }
    }
}

impl Collected {
    /// `prefix_key`. A name that has become too long grows no more: the encoder refuses its field.
    fn joined(&mut self, prefix: &Range<usize>, key: &str, bytes_max: usize) -> Range<usize> {
        if prefix.len() > bytes_max {
            return prefix.clone();
        }
        let from = self.names.len();
        if !prefix.is_empty() {
            self.names.extend_from_within(prefix.clone());
            self.names.push('_');
        }
        let end = key.ceil_char_boundary(bytes_max + 1);
        self.names.push_str(key.get(..end).unwrap_or_default());
        from..self.names.len()
    }
}
