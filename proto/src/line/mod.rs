//! Line protocol, in and out.
//!
//! ```text
//! measurement[,tag=value...] field=value[,field=value...] [timestamp]\n
//! measurement   a backslash before comma and space          (before = it is taken away as well)
//! tag, field    a backslash before comma, space and =; any other backslash is itself
//! value         1.5 | 1i | 1u | t | "text": there a backslash before " and backslash
//! ```
//! What a real influxd 1.6.7 makes of 500 lines lies in `tests/fixtures/line-protocol`; where we
//! differ from it `docs/formats.md` says so.

mod number;
mod parse;
pub mod read;
pub mod write;

pub use read::{decode, looks_like, whole};
pub use write::{Dialect, write, write_as};
