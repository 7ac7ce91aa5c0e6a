//! Line protocol out.

use crate::ReadingRef;

/// What the database at the other end can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Dialect {
    /// InfluxDB 1.x has no `u` type.
    pub unsigned: bool,
}

/// Appends one line with its newline; the timestamp in nanoseconds.
pub fn write(reading: &ReadingRef<'_>, out: &mut Vec<u8>) {
    unimplemented!("{reading:?} {out:?}")
}
