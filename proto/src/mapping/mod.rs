//! What a rule says about the inside of a payload: which part of it is a reading, what its fields
//! are called and what type they have, where its time and its tags stand.
//!
//! ```text
//!  {"meta":{"id":"d1","ts":1700000000},"ports":{"a":{"t":215},"b":{"t":20}}}
//!
//!    select = /ports   split = port   tags = device: /meta/id   times = /meta/ts   scale = t: 0.1
//!
//!  m,device=d1,port=a t=21.5 1700000000000000000
//!  m,device=d1,port=b t=2 1700000000000000000
//! ```
//!
//! `path` says how a part is pointed to, `glob` how fields are named, `fields` what becomes of each
//! of them, whatever its format; `nested` holds an object of JSON with its structure, and `read`
//! makes readings of it. A mapping is put together once, by whoever reads the configuration.

pub(crate) mod fields;
mod glob;
pub(crate) mod nested;
mod path;
pub(crate) mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::timestamp::{Timestamp, Zone};

pub use self::fields::{FieldType, Fields, Scale};
pub use self::glob::Glob;
pub use self::path::{Path, PathError};

/// Where a rule looks in a payload.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// Of several, the first whose `select` is in the payload. Never empty but in `default`.
    pub cases: Vec<Case>,
    /// What local times mean; `None`: they are not trusted.
    pub zone: Option<Arc<dyn Zone>>,
    /// Times before this are a clock that was never set, and not trusted.
    pub trusted_from: Option<Timestamp>,
    /// A payload that no case fits is nothing to store, and nothing wrong.
    pub optional: bool,
}

/// One way to see a payload.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// The part that is the reading; an array of objects is a reading each.
    pub select: Path,
    /// `None`: the route's.
    pub measurement: Option<String>,
    /// Each object in the part is a reading of its own, and its key is this tag.
    pub split: Option<String>,
    /// Tags whose value stands in the payload.
    pub tags: Vec<(String, Path)>,
    /// Fields from elsewhere in the payload.
    pub extra: Vec<(String, Path)>,
    /// Where the time stands; the first that can be trusted counts. `None`: `ts`, `time` or
    /// `timestamp` in any case; none at all: the time of arrival.
    pub times: Option<Vec<Path>>,
    pub fields: Fields,
}

impl Mapping {
    /// What becomes of the fields of a payload without structure: the last case is the one that
    /// takes what none before it fits.
    pub(crate) fn flat_fields(&self) -> Option<&Fields> {
        self.cases.last().map(|case| &case.fields).filter(|fields| !fields.is_empty())
    }

    /// Whether an object has to be seen with its structure, and its numbers with their digits.
    pub(crate) fn is_structural(&self) -> bool {
        self.cases.iter().any(Case::is_structural)
    }

    /// Whether a reading that is written with `fields`, or an array of `readings`, is seen as one.
    pub(crate) fn takes_explicit(&self) -> bool {
        matches!(self.cases.as_slice(), [case] if !case.points())
    }
}

impl Case {
    fn is_structural(&self) -> bool {
        self.points() || self.fields.is_exact() || self.fields.drops_by_path()
    }

    fn points(&self) -> bool {
        !self.select.is_empty()
            || self.split.is_some()
            || !self.tags.is_empty()
            || !self.extra.is_empty()
            || self.times.is_some()
    }
}
