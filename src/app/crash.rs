//! Whether the process that ran before ended by an abort.
//!
//! ```text
//! <journal>/CRASHED   empty while it runs; one byte when it aborts (a stack that overflowed, a panic
//!                     within a panic, memory that could not be had)
//! ```
//! The byte is written by the handler of SIGABRT: SIGKILL and a lost power never leave one. The
//! journal is then careful with the frames that were in hand.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use signal_hook::{consts::SIGABRT, flag, low_level::pipe};

const NAME: &str = "CRASHED";

pub(super) fn happened(journal: &Path) -> bool {
    fs::metadata(journal.join(NAME)).is_ok_and(|file| file.len() > 0)
}

/// From now on an abort leaves its byte, and what an earlier one left is gone. Once in a process,
/// with the journal's lock held.
pub(super) fn watch(journal: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600);
    pipe::register(SIGABRT, file.open(journal.join(NAME))?)?;
    // In this order: then it ends as it would have, also when somebody else sent the signal.
    flag::register_conditional_default(SIGABRT, Arc::new(AtomicBool::new(true)))?;
    Ok(())
}
