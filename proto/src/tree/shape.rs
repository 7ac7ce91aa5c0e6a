//! What a flattened object says: which of its members are fields, tags, device and time.

use std::{borrow::Cow, mem, time::Duration};

use super::{Leaf, Scalar, Tree, Written};
use crate::{
    Context, Kind, Place, Reason, Time, Timestamp, Untrusted, ValueRef,
    context::Told,
    offer::{Offers, Parts},
    scratch::{Scratch, reuse},
    timestamp::text::{age_from_millis_text, out_of_range},
    value::is_empty_word,
};

/// What the object around an array of readings says for all of them.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    measurement: String,
    tags: Vec<(String, String)>,
    time: Option<Time>,
    untrusted: Option<Untrusted>,
}

/// What becomes of one object, its lists being scratch.
struct Shape<'s> {
    measurement: &'s str,
    tags: Vec<(&'s str, &'s str)>,
    fields: Vec<(&'s str, ValueRef<'s>)>,
    at: Option<Timestamp>,
    age: Option<Duration>,
    /// Why the time that it names is not in `at`.
    untrusted: Option<Untrusted>,
    /// Values that say "no value".
    empty: bool,
    left_out: Vec<(&'s str, Reason)>,
}

/// Offers the reading that an object, or a value without one, is.
pub(crate) fn offer(
    tree: &Tree<'_>,
    defaults: Option<&Defaults>,
    place: Place,
    offers: &mut Offers<'_>,
) {
    let mut shape = Shape::new(&mut offers.scratch);
    if let Err(reason) = shape.read(tree, offers) {
        offers.refuse(place, reason);
    } else {
        shape.add_defaults(defaults);
        shape.offer(defaults, place, offers);
    }
    offers.scratch.tags = reuse(shape.tags);
    offers.scratch.fields = reuse(shape.fields);
}

/// What an object with an array of readings says besides; `index`: of its first reading.
pub(crate) fn defaults(
    tree: &Tree<'_>,
    index: u32,
    offers: &mut Offers<'_>,
) -> Result<Defaults, Reason> {
    let mut shape = Shape::new(&mut Scratch::default());
    for leaf in &tree.leaves {
        shape.explicit_leaf(leaf, tree, offers)?;
    }
    for (name, _) in mem::take(&mut shape.fields) {
        shape.unknown(name);
    }
    for (name, reason) in &shape.left_out {
        offers.leave_out(index, name, reason.clone());
    }
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Ok(Defaults {
        measurement: shape.measurement.to_owned(),
        tags: shape.tags.iter().map(owned).collect(),
        time: shape.time(),
        untrusted: shape.untrusted,
    })
}

impl<'s> Shape<'s> {
    fn new(scratch: &mut Scratch) -> Self {
        Self {
            measurement: "",
            tags: reuse(mem::take(&mut scratch.tags)),
            fields: reuse(mem::take(&mut scratch.fields)),
            at: None,
            age: None,
            untrusted: None,
            empty: false,
            left_out: Vec::new(),
        }
    }

    fn read(&mut self, tree: &'s Tree<'_>, offers: &Offers<'_>) -> Result<(), Reason> {
        let named = |key: &str| {
            tree.tops.iter().rposition(|top| top.is_object && tree.text(&top.key) == key)
        };
        if named("fields").is_some() {
            return tree.leaves.iter().try_for_each(|leaf| self.explicit_leaf(leaf, tree, offers));
        }
        tree.leaves.iter().try_for_each(|leaf| self.plain_leaf(leaf, tree, offers))
    }

    /// `{"device":"d1","measurement":"climate","tags":{"room":"a"},"fields":{"t":21.5},"ts":1.7e9}`
    fn explicit_leaf(
        &mut self,
        leaf: &'s Leaf<'_>,
        tree: &'s Tree<'_>,
        offers: &Offers<'_>,
    ) -> Result<(), Reason> {
        let name = tree.text(&leaf.name);
        let top = leaf.top.and_then(|top| tree.tops.get(top));
        if let Some(top) = top.filter(|top| top.is_object) {
            let key = tree.text(&top.key);
            let inner = name.get(key.len() + 1..).unwrap_or_default();
            match key {
                "fields" => self.field(inner, &leaf.value, tree),
                "tags" => self.tag(inner, &leaf.value, tree, offers.limits().tags_max),
                _ => self.unknown(name),
            }
            return Ok(());
        }
        match name {
            "measurement" => match &leaf.value {
                Scalar::Text(text) => self.measurement = tree.text(text),
                Scalar::Null => {}
                _ => return Err(Reason::new(Kind::Name, "the measurement is not a text")),
            },
            "device" => self.tag("device", &leaf.value, tree, usize::MAX),
            "age_ms" => self.age(&leaf.value, tree)?,
            _ if is_time(name) => self.time_of(&leaf.value, tree, offers)?,
            _ => self.unknown(name),
        }
        Ok(())
    }

    /// `{"device":"d1","t":21.5,"ts":1.7e9}`
    fn plain_leaf(
        &mut self,
        leaf: &'s Leaf<'_>,
        tree: &'s Tree<'_>,
        offers: &Offers<'_>,
    ) -> Result<(), Reason> {
        let name = tree.text(&leaf.name);
        match &leaf.value {
            _ if leaf.top.is_some() => self.field(name, &leaf.value, tree),
            Scalar::Text(text) if name == "device" => {
                // One that the topic names is not named again.
                if !offers.context.tags.iter().any(|(key, _)| *key == "device") {
                    self.put_tag("device", tree.text(text));
                }
            }
            Scalar::Number(_) | Scalar::Integer(_) | Scalar::Float(_) if name == "age_ms" => {
                self.age(&leaf.value, tree)?;
            }
            Scalar::Number(_)
            | Scalar::Integer(_)
            | Scalar::Float(_)
            | Scalar::Text(_)
            | Scalar::Instant { .. }
            | Scalar::Null
                if is_time(name) =>
            {
                self.time_of(&leaf.value, tree, offers)?;
            }
            value => self.field(name, value, tree),
        }
        Ok(())
    }

    fn field(&mut self, name: &'s str, value: &'s Scalar<'_>, tree: &'s Tree<'_>) {
        let value = match value {
            Scalar::Null => return self.empty = true,
            Scalar::Text(text) if is_empty_word(tree.text(text)) => return self.empty = true,
            Scalar::Text(text) => ValueRef::Text(tree.text(text)),
            Scalar::Boolean(value) => ValueRef::Boolean(*value),
            // What is too large becomes infinite, and the encoder leaves it out.
            Scalar::Number(text) => ValueRef::Float(tree.text(text).parse().unwrap_or(f64::NAN)),
            value => match odd_value(value) {
                Ok(value) => value,
                Err(reason) => return self.left_out.push((name, reason)),
            },
        };
        self.fields.push((name, value));
    }

    /// Of two with one key the last counts.
    fn tag(&mut self, key: &'s str, value: &'s Scalar<'_>, tree: &'s Tree<'_>, tags_max: usize) {
        // One too many is kept, so that it is seen; more would only take time.
        if self.tags.len() > tags_max {
            return;
        }
        match value {
            // Numbers: `Tree::push` wrote them out.
            Scalar::Null | Scalar::NotFinite | Scalar::Integer(_) | Scalar::Float(_) => {}
            Scalar::Bytes(bytes) => self.unstorable(key, no_place_for(bytes)),
            Scalar::Unstorable(what) => self.unstorable(key, *what),
            Scalar::Instant { .. } => self.unstorable(key, "a time where a tag was expected"),
            Scalar::Text(text) | Scalar::Number(text) => self.put_tag(key, tree.text(text)),
            Scalar::Boolean(true) => self.put_tag(key, "true"),
            Scalar::Boolean(false) => self.put_tag(key, "false"),
        }
    }

    fn put_tag(&mut self, key: &'s str, value: &'s str) {
        match self.tags.iter_mut().find(|(earlier, _)| *earlier == key) {
            Some(earlier) => earlier.1 = value,
            None => self.tags.push((key, value)),
        }
    }

    fn unstorable(&mut self, name: &'s str, what: impl Into<Cow<'static, str>>) {
        self.left_out.push((name, Reason::new(Kind::Value, what)));
    }

    fn unknown(&mut self, name: &'s str) {
        let text = "no part of a reading written with `fields`: those go into `fields`";
        self.left_out.push((name, Reason::new(Kind::Name, text)));
    }

    fn age(&mut self, value: &Scalar<'_>, tree: &Tree<'_>) -> Result<(), Reason> {
        if matches!(value, Scalar::Null) {
            return Ok(());
        }
        let mut written = Written::default();
        let Some(text) = written.decimal(value, &tree.arena) else {
            return Err(Reason::new(Kind::Timestamp, "an age that is not a number"));
        };
        self.age = Some(age_from_millis_text(text)?);
        Ok(())
    }

    /// A text that is no time, or a local time, is not trusted, and the time of arrival is taken.
    fn time_of(
        &mut self,
        value: &Scalar<'_>,
        tree: &Tree<'_>,
        offers: &Offers<'_>,
    ) -> Result<(), Reason> {
        match time_of(value, &tree.arena, offers.context)? {
            Some(Ok(at)) => self.at = Some(at),
            Some(Err(why)) => self.untrusted = Some(why),
            None => {}
        }
        Ok(())
    }

    fn time(&self) -> Option<Time> {
        self.at.map(Time::At).or(self.age.map(Time::Age))
    }

    fn add_defaults(&mut self, defaults: Option<&'s Defaults>) {
        let Some(defaults) = defaults else { return };
        if self.measurement.is_empty() {
            self.measurement = &defaults.measurement;
        }
        for (key, value) in &defaults.tags {
            if !self.tags.iter().any(|(own, _)| own == key) {
                self.tags.push((key, value));
            }
        }
    }

    fn offer(&self, defaults: Option<&Defaults>, place: Place, offers: &mut Offers<'_>) {
        if self.fields.is_empty() && self.empty && self.left_out.is_empty() {
            return offers.nothing();
        }
        // Where a value that cannot be kept is all there is, it is what is wrong.
        if let ([], Some((_, reason))) = (self.fields.as_slice(), self.left_out.first())
            && reason.kind == Kind::Value
        {
            return offers.refuse(place, reason.clone());
        }
        let time = self.time().or_else(|| defaults?.time).unwrap_or(Time::Unknown);
        let (measurement, index) = (self.measurement, place.index);
        let parts = Parts { measurement, tags: &self.tags, fields: &self.fields, time };
        if let Some(why) = self.untrusted.or_else(|| defaults?.untrusted) {
            offers.distrust(why);
        }
        if offers.offer(parts, place) {
            for (name, reason) in &self.left_out {
                offers.leave_out(index, name, reason.clone());
            }
        }
    }
}

/// The field that a value is which has no text and is no boolean.
pub(crate) fn odd_value(value: &Scalar<'_>) -> Result<ValueRef<'static>, Reason> {
    match value {
        Scalar::Integer(number) => Ok(ValueRef::Float(float(*number))),
        Scalar::Float(number) => Ok(ValueRef::Float(*number)),
        // A time that is not the reading's own: its seconds.
        Scalar::Instant { seconds, nanos } => {
            Ok(ValueRef::Float(float(*seconds) + f64::from(*nanos) / 1e9))
        }
        Scalar::Bytes(bytes) => Err(Reason::new(Kind::Value, no_place_for(bytes))),
        Scalar::Unstorable(what) => Err(Reason::new(Kind::Value, *what)),
        _ => Ok(ValueRef::Float(f64::NAN)),
    }
}

/// When a reading was taken, by a value at the place of its time. `None`: that says nothing.
pub(crate) fn time_of(
    value: &Scalar<'_>,
    arena: &str,
    context: &Context<'_>,
) -> Result<Option<Told>, Reason> {
    match value {
        Scalar::Instant { seconds, nanos } => Ok(Some(context.trusted(instant(*seconds, *nanos)?))),
        Scalar::Text(text) if is_empty_word(text.get(arena)) => Ok(None),
        Scalar::Text(text) => context.time_of_text(text.get(arena)).map(Some),
        value => match Written::default().decimal(value, arena) {
            Some(text) => context.time_of_number(text).map(Some),
            None => Ok(None),
        },
    }
}

fn no_place_for(bytes: &[u8]) -> String {
    format!("{} bytes, which no field can hold", bytes.len())
}

fn instant(seconds: i64, nanos: u32) -> Result<Timestamp, Reason> {
    let at = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let at = i64::try_from(at).ok().map(Timestamp::from_nanos);
    at.filter(|at| at.is_storable()).ok_or_else(out_of_range)
}

#[expect(clippy::cast_precision_loss, reason = "a JSON number of that size is rounded too")]
fn float(number: i64) -> f64 {
    number as f64
}

pub(crate) fn is_time(name: &str) -> bool {
    ["ts", "time", "timestamp"].iter().any(|known| name.eq_ignore_ascii_case(known))
}
