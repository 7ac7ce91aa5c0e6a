//! What the formats with nested names share: an object's scalars with their joined names (`leaf`),
//! and what they say of a reading (`shape`).
//!
//! A format's own reader fills a `Tree`, one object at a time; `shape::offer` makes it a reading.

mod leaf;
pub(crate) mod shape;

pub(crate) use leaf::{Leaf, Scalar, Tree};
