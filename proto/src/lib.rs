//! What a reading is, and how it looks as bytes. No tokio, no I/O.
//!
//! ```text
//!  bytes --json|cbor|msgpack|senml|sparkplug|plain|line|csv|frame--> Readings (one encoder) --> bytes in the journal --frame::Cursor--> ReadingRef --line--> text
//! ```

pub mod cbor;
pub mod collectd;
pub mod context;
pub mod csv;
mod decimal;
mod fault;
pub mod frame;
pub mod json;
pub mod line;
pub mod mapping;
pub mod msgpack;
mod names;
mod offer;
pub mod plain;
pub mod reading;
pub mod readings;
pub mod refusal;
mod scratch;
pub mod senml;
pub mod sparkplug;
#[cfg(test)]
mod testing;
pub mod timestamp;
mod tree;
pub mod value;

pub use context::{Context, TimeLimits, WhenBeyond};
pub use mapping::Mapping;
pub use reading::{Reading, ReadingRef};
pub use readings::{Limits, Place, Readings};
pub use refusal::{Beyond, Kind, Reason, Reject, Rejects, Untrusted};
pub use timestamp::{Precision, Time, Timestamp};
pub use value::{Value, ValueRef};
