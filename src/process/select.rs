//! `select`: which readings an output is for, and which of their fields.

use proto::ReadingRef;

use super::glob::{Glob, Globs};

/// Everything that is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub measurements: Globs,
    /// Tag and pattern for its value. A reading without the tag does not fit.
    pub tags: Vec<(String, Glob)>,
    pub fields: Globs,
}

impl Settings {
    /// Takes away from `kept` the fields that were not chosen; all of them if the reading was not.
    pub(super) fn apply(&self, reading: &ReadingRef<'_>, kept: &mut [bool]) {
        let has = |(tag, glob): &(String, Glob)| reading.tag(tag).is_some_and(|it| glob.fits(it));
        if !self.measurements.fits(reading.measurement) || !self.tags.iter().all(has) {
            kept.fill(false);
        } else if !self.fields.is_empty() {
            for (kept, (name, _)) in kept.iter_mut().zip(reading.fields) {
                *kept &= self.fields.fits(name);
            }
        }
    }
}
