//! What the formats with nested names share: an object's scalars with their joined names (`leaf`),
//! what they say of a reading (`shape`), and the walk over formats that are tokens (`binary`).
//!
//! A format's own reader fills a `Tree`, one object at a time; `shape::offer` makes it a reading.

pub(crate) mod binary;
mod leaf;
pub(crate) mod shape;
#[cfg(test)]
mod tests;

pub(crate) use leaf::{DEPTH_MAX, Leaf, Scalar, Tree, Written};
pub(crate) use shape::{is_time, odd_value, time_of};
