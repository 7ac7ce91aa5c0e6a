//! Line protocol, in and out.

pub mod read;
pub mod write;

pub use read::decode;
pub use write::write;
