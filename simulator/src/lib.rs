//! Simulated devices, a ledger of what they sent, the means to check what arrived, and a database
//! that misbehaves on demand.
//!
//! ```text
//!  signals --> device (mqtt | ws | http) ==> gateway ==> database (real, files, or `faulty`)
//!                 |                                          |
//!                 +-----------> ledger ------> verify <------+     LOST, PHANTOM, WRONG, duplicates
//!  bench ==> gateway                                               messages/s, ack p50/p99, CPU, RSS
//!  torture: all of the upper line against an operator's own configuration, with faults in turn
//! ```
//! Nothing here knows the gateway's insides: what is shared with it is the shape of a reading and
//! the frame's encoder (crate `proto`). Line protocol is read by a checker of its own.

pub mod ranges;
pub mod signals;

pub mod payload;

pub mod fleet;

mod device;

pub mod ledger;
pub mod watch;

pub mod faulty;
pub mod proxy;
pub mod verify;

#[cfg(feature = "verify")]
pub mod torture;

pub mod bench;

pub use device::http::FRAME as FRAME_MEDIA_TYPE;
