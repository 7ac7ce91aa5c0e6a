//! One record, resolved with the base values before it and in it (RFC 8428 section 4).

use std::time::Duration;

use crate::{
    Kind, Place, Reason, Time, Timestamp, ValueRef,
    decimal::Decimal,
    offer::{Offers, Parts},
    scratch::reuse,
    timestamp::text::out_of_range,
    tree::{Leaf, Scalar, Tree, Written},
    value::is_empty_word,
};

/// Label in JSON, label in CBOR (section 4.3).
const LABELS: [(&str, &str); 15] = [
    ("bver", "-1"),
    ("bn", "-2"),
    ("bt", "-3"),
    ("bu", "-4"),
    ("bv", "-5"),
    ("bs", "-6"),
    ("n", "0"),
    ("u", "1"),
    ("v", "2"),
    ("vs", "3"),
    ("vb", "4"),
    ("vd", "8"),
    ("s", "5"),
    ("t", "6"),
    ("ut", "7"),
];

/// The bits of the versions up to 10, and that of the secondary units (RFC 9100), of which nothing
/// but the unit's name is asked here.
const VERSION_MAX: f64 = 31.0;

/// A time below is relative to the time of arrival, one above since 1970 (section 4.5.3).
const RELATIVE_BELOW: i128 = (1 << 28) * SECOND;
const SECOND: i128 = 1_000_000_000;

/// What a name may end in that is no part of the device's.
const SEPARATORS: [char; 5] = [':', '/', '.', '-', '_'];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    Texts,
    /// CBOR's table, its numbers being decimal texts; texts are taken too.
    NumbersToo,
}

/// What holds for the record that says it and all that follow.
#[derive(Debug, Default)]
pub(super) struct Base {
    name: String,
    unit: String,
    nanos: i128,
    value: Option<Number>,
    sum: Option<Number>,
}

#[derive(Default)]
struct Record<'s> {
    name: &'s str,
    unit: &'s str,
    nanos: i128,
    value: Option<Value<'s>>,
    sum: Option<Number>,
    /// A label that is no base value.
    is_regular: bool,
    /// A value that says "no value".
    empty: bool,
}

enum Value<'s> {
    Number(Number),
    Text(&'s str),
    Boolean(bool),
    Bytes(&'s [u8]),
}

/// A number, and its decimal: with that it is added exactly.
#[derive(Clone, Copy, Debug)]
struct Number {
    float: f64,
    decimal: Option<Decimal>,
}

pub(super) fn is_known(label: &str) -> bool {
    LABELS.iter().any(|(known, _)| *known == label)
}

impl Base {
    /// Takes over what a record says for all that follow. On error nothing that follows can be
    /// resolved.
    pub(super) fn update(&mut self, tree: &Tree<'_>, labels: Labels) -> Result<(), Reason> {
        for leaf in tree.leaves.iter().filter(|leaf| leaf.top.is_none()) {
            let label = label_of(leaf, tree, labels);
            if matches!(leaf.value, Scalar::Null) {
                continue;
            }
            match label {
                "bver" if number(label, leaf, tree)?.float > VERSION_MAX => {
                    return Err(refused("a version of SenML that is not known"));
                }
                "bn" => text(label, leaf, tree)?.clone_into(&mut self.name),
                "bu" => text(label, leaf, tree)?.clone_into(&mut self.unit),
                "bt" => self.nanos = nanos(label, leaf, tree)?,
                "bv" => self.value = Some(number(label, leaf, tree)?),
                "bs" => self.sum = Some(number(label, leaf, tree)?),
                _ if label.starts_with('b') => must_not_matter(label)?,
                _ => {}
            }
        }
        let containers = tree.tops.iter().map(|top| tree.text(&top.key));
        containers.filter(|label| label.starts_with('b')).try_for_each(must_not_matter)
    }

    pub(super) fn offer(
        &self,
        tree: &Tree<'_>,
        labels: Labels,
        place: Place,
        offers: &mut Offers<'_>,
    ) {
        let resolved = Record::read(tree, labels).and_then(|mut record| {
            record.resolve(self)?;
            let time = resolved_time(record.nanos, offers)?;
            Ok((record, time))
        });
        match resolved {
            Ok((record, _)) if record.value.is_none() && record.sum.is_none() => {
                if record.empty && record.is_regular {
                    offers.nothing();
                } else if record.is_regular {
                    let reason = Reason::new(Kind::NoFields, "a record without a value");
                    offers.refuse(place, reason);
                }
            }
            Ok((record, time)) => self.offer_resolved(&record, time, place, offers),
            Err(reason) => offers.refuse(place, reason),
        }
    }

    fn offer_resolved(
        &self,
        record: &Record<'_>,
        time: Time,
        place: Place,
        offers: &mut Offers<'_>,
    ) {
        let (device, field) = match (self.name.as_str(), record.name) {
            ("", "") => {
                let reason = Reason::new(Kind::Name, "a record without a name");
                return offers.refuse(place, reason);
            }
            ("", whole) => (whole, offers.context.field),
            (base, "") => (device_of(base), offers.context.field),
            (base, name) => (device_of(base), name),
        };
        let (data, sum_field);
        let mut fields = reuse(std::mem::take(&mut offers.scratch.fields));
        match &record.value {
            Some(Value::Number(number)) => fields.push((field, ValueRef::Float(number.float))),
            Some(Value::Boolean(value)) => fields.push((field, ValueRef::Boolean(*value))),
            Some(Value::Text(text)) => fields.push((field, ValueRef::Text(text))),
            Some(Value::Bytes(bytes)) => {
                data = data_encoding::BASE64URL_NOPAD.encode(bytes);
                fields.push((field, ValueRef::Text(&data)));
            }
            None => {}
        }
        if let Some(sum) = record.sum {
            sum_field = format!("{field}_sum");
            fields.push((sum_field.as_str(), ValueRef::Float(sum.float)));
        }
        let mut tags = reuse(std::mem::take(&mut offers.scratch.tags));
        self.add_tags(record, device, offers, &mut tags);
        offers.offer(Parts { measurement: "", tags: &tags, fields: &fields, time }, place);
        offers.scratch.tags = reuse(tags);
        offers.scratch.fields = reuse(fields);
    }

    /// Where the topic names the device, what the record is named stays apart from it: a gateway's
    /// pack holds many devices, and none may meet another in one series. A unit that is given for
    /// all is none of a text's or a boolean's.
    fn add_tags<'r>(
        &'r self,
        record: &Record<'r>,
        device: &'r str,
        offers: &Offers<'_>,
        tags: &mut Vec<(&'r str, &'r str)>,
    ) {
        match offers.context.tags.iter().find(|(key, _)| *key == "device") {
            None => tags.push(("device", device)),
            Some((_, named)) if *named == device => {}
            Some(_) => tags.push(("name", device)),
        }
        let measured = record.sum.is_some() || matches!(record.value, Some(Value::Number(_)));
        match record.unit {
            "" if measured => tags.push(("unit", &self.unit)),
            unit => tags.push(("unit", unit)),
        }
    }
}

impl<'s> Record<'s> {
    fn read(tree: &'s Tree<'_>, labels: Labels) -> Result<Self, Reason> {
        let mut record = Self::default();
        for leaf in tree.leaves.iter().filter(|leaf| leaf.top.is_none()) {
            let label = label_of(leaf, tree, labels);
            record.is_regular |= !label.starts_with('b');
            if matches!(leaf.value, Scalar::Null) {
                record.empty = true;
                continue;
            }
            match label {
                "n" => record.name = text(label, leaf, tree)?,
                "u" => record.unit = text(label, leaf, tree)?,
                "t" => record.nanos = nanos(label, leaf, tree)?,
                "s" => record.sum = Some(number(label, leaf, tree)?),
                "v" => record.one_value(Value::Number(number(label, leaf, tree)?))?,
                "vs" => match text(label, leaf, tree)? {
                    word if is_empty_word(word) => record.empty = true,
                    text => record.one_value(Value::Text(text))?,
                },
                "vb" => match leaf.value {
                    Scalar::Boolean(value) => record.one_value(Value::Boolean(value))?,
                    _ => return Err(refused("`vb` is not a boolean")),
                },
                "vd" => match leaf.value {
                    Scalar::Bytes(bytes) => record.one_value(Value::Bytes(bytes))?,
                    _ => record.one_value(Value::Text(text(label, leaf, tree)?))?,
                },
                _ => must_not_matter(label)?,
            }
        }
        tree.tops.iter().map(|top| tree.text(&top.key)).try_for_each(must_not_matter)?;
        Ok(record)
    }

    fn one_value(&mut self, value: Value<'s>) -> Result<(), Reason> {
        if self.value.replace(value).is_some() {
            return Err(refused("a record with more than one value"));
        }
        Ok(())
    }

    /// A record of base values only is no reading; in any other the base value and the base sum
    /// count, even without a value and a sum of its own.
    fn resolve(&mut self, base: &Base) -> Result<(), Reason> {
        if !self.is_regular {
            return Ok(());
        }
        self.nanos = self.nanos.checked_add(base.nanos).ok_or_else(out_of_range)?;
        if let Some(sum) = base.sum {
            self.sum = Some(self.sum.map_or(sum, |own| own.plus(sum)));
        }
        match (&self.value, base.value) {
            (Some(Value::Number(own)), Some(value)) => {
                self.value = Some(Value::Number(own.plus(value)));
            }
            (None, Some(value)) if !self.empty => self.value = Some(Value::Number(value)),
            _ => {}
        }
        Ok(())
    }
}

impl Number {
    fn plus(self, other: Self) -> Self {
        let exact = self.decimal.zip(other.decimal).and_then(|(one, two)| one.plus(two));
        Self { float: exact.unwrap_or(self.float + other.float), decimal: None }
    }
}

/// Below 2^28 seconds, the year 1978, a time counts from now: 0 is now, what is less lies in the
/// past.
fn resolved_time(nanos: i128, offers: &Offers<'_>) -> Result<Time, Reason> {
    let unstorable = |_| out_of_range();
    if nanos == 0 {
        return Ok(Time::Unknown);
    }
    if nanos < 0 {
        let age = u64::try_from(-nanos).map_err(unstorable)?;
        return Ok(Time::Age(Duration::from_nanos(age)));
    }
    let from = if nanos < RELATIVE_BELOW { i128::from(offers.context.arrival.nanos()) } else { 0 };
    let at = i64::try_from(from + nanos).map_err(unstorable)?;
    Ok(Time::At(Timestamp::from_nanos(at)))
}

fn device_of(base_name: &str) -> &str {
    match base_name.strip_suffix(SEPARATORS) {
        None | Some("") => base_name,
        Some(device) => device,
    }
}

fn label_of<'s>(leaf: &'s Leaf<'_>, tree: &'s Tree<'_>, labels: Labels) -> &'s str {
    let name = tree.text(&leaf.name);
    if labels == Labels::Texts {
        return name;
    }
    LABELS.iter().find(|(_, number)| *number == name).map_or(name, |(label, _)| label)
}

/// A label that is not known is not looked at, unless it must be understood (section 4.4).
fn must_not_matter(label: &str) -> Result<(), Reason> {
    if label.ends_with('_') {
        return Err(refused("a label that must be understood, and is not"));
    }
    Ok(())
}

fn text<'s>(label: &str, leaf: &'s Leaf<'_>, tree: &'s Tree<'_>) -> Result<&'s str, Reason> {
    match &leaf.value {
        Scalar::Text(text) => Ok(tree.text(text)),
        _ => Err(wrong_type(label, "a text")),
    }
}

fn number(label: &str, leaf: &Leaf<'_>, tree: &Tree<'_>) -> Result<Number, Reason> {
    let mut written = Written::default();
    match &leaf.value {
        Scalar::NotFinite => Ok(Number { float: f64::NAN, decimal: None }),
        value => {
            let text =
                written.decimal(value, &tree.arena).ok_or_else(|| wrong_type(label, "a number"))?;
            Ok(Number { float: text.parse().unwrap_or(f64::NAN), decimal: Decimal::parse(text) })
        }
    }
}

fn nanos(label: &str, leaf: &Leaf<'_>, tree: &Tree<'_>) -> Result<i128, Reason> {
    let seconds = number(label, leaf, tree)?.decimal;
    let seconds = seconds.ok_or_else(|| wrong_type(label, "a finite number"))?;
    seconds.scaled(9).ok_or_else(out_of_range)
}

fn wrong_type(label: &str, expected: &str) -> Reason {
    Reason::new(Kind::Undecodable, format!("`{label}` is not {expected}"))
}

fn refused(what: &'static str) -> Reason {
    Reason::new(Kind::Undecodable, what)
}
