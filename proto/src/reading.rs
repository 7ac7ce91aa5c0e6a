//! A reading: what InfluxDB calls a point.

use crate::{Time, Value, ValueRef};

/// A reading borrowed from a payload (on its way to the encoder, tags in any order) or from a
/// frame (tags sorted and unique).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadingRef<'a> {
    pub measurement: &'a str,
    pub tags: &'a [(&'a str, &'a str)],
    pub fields: &'a [(&'a str, ValueRef<'a>)],
    pub time: Time,
    /// The canonical bytes of measurement and tags: equal bytes, same series. Empty when the
    /// reading did not come out of a frame of ours.
    pub series: &'a [u8],
}

/// An owned reading, for tests, rules and window state; not on the path of every reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub measurement: String,
    pub tags: Vec<(String, String)>,
    pub fields: Vec<(String, Value)>,
    pub time: Time,
}

impl ReadingRef<'_> {
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    pub fn field(&self, name: &str) -> Option<ValueRef<'_>> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
    }

    pub fn to_reading(&self) -> Reading {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        Reading {
            measurement: self.measurement.to_owned(),
            tags: self.tags.iter().map(owned).collect(),
            fields: self.fields.iter().map(|&(name, v)| (name.to_owned(), v.into())).collect(),
            time: self.time,
        }
    }
}

impl From<ReadingRef<'_>> for Reading {
    fn from(reading: ReadingRef<'_>) -> Self {
        reading.to_reading()
    }
}

/// Where `Reading::borrow_into` keeps the two lists that a `ReadingRef` points to.
#[derive(Debug, Default)]
pub struct Borrowed<'a> {
    tags: Vec<(&'a str, &'a str)>,
    fields: Vec<(&'a str, ValueRef<'a>)>,
}

impl Reading {
    /// Borrows this reading, by way of two lists that can be used again for the next one.
    pub fn borrow_into<'a>(&'a self, lists: &'a mut Borrowed<'a>) -> ReadingRef<'a> {
        lists.tags.clear();
        lists.tags.extend(self.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        lists.fields.clear();
        lists
            .fields
            .extend(self.fields.iter().map(|(name, value)| (name.as_str(), value.borrow())));
        ReadingRef {
            measurement: &self.measurement,
            tags: &lists.tags,
            fields: &lists.fields,
            time: self.time,
            series: &[],
        }
    }

    /// Borrows this reading for the length of one call.
    pub fn with_ref<R>(&self, use_it: impl FnOnce(ReadingRef<'_>) -> R) -> R {
        use_it(self.borrow_into(&mut Borrowed::default()))
    }
}
