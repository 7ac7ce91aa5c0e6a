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
