//! Does what was acknowledged arrive under every fault that a box in a cellar meets?
//!
//! Each module is one fault. A fleet of devices of all three kinds, whose readings carry their own
//! time, runs through it, and the ledger has the last word: LOST = PHANTOM = WRONG = 0. The short
//! form of each runs in `./check`, the long one with `TIDEGATE_LONG=1` (`./check --long`). What
//! needs root, a loop device or a Debian package says loudly when it was skipped.

mod mount;
mod namespace;
pub mod tools;
mod trial;

mod clock;
mod disk_error;
mod disk_full;
mod disk_slow;
mod flipped_bits;
mod kill_at_io;
mod memory;
mod network;
mod packets;
mod power_cut;
mod process;
