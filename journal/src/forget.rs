//! Forgetting a position: its output is gone for good, and what only it needed may go.
//!
//! Promises: never a position that an output claims, nor the built-in one. The elder record goes
//! first, and durably, so that a crash half way leaves the newest or none: an elder one could name
//! frames that are freed already.

use std::{io, sync::Arc};

use tracing::info;

use crate::OutputId;
use crate::disk::Disk;
use crate::position;
use crate::shared::{Shared, lock};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgetError {
    #[error("the journal has no position of `{0}`")]
    Unknown(OutputId),
    /// Take the output out of the configuration first.
    #[error("an output of the configuration reads as `{0}`")]
    Claimed(OutputId),
    #[error("`{0}` is the journal's own reader")]
    BuiltIn(OutputId),
    #[error("the position's files: {0}")]
    Io(#[from] io::Error),
}

/// On a running journal. What only this position needed is freed at once.
pub(crate) fn forget(shared: &Shared, id: &OutputId) -> Result<(), ForgetError> {
    if *id == OutputId::intake_dead() {
        return Err(ForgetError::BuiltIn(id.clone()));
    }
    // Marked as taken meanwhile: nobody gets a reader of it. The lock is not held over the disk, as
    // `status` takes it.
    let position = {
        let positions = lock(&shared.positions);
        let found = positions.iter().find(|position| position.id == *id);
        Arc::clone(found.ok_or_else(|| ForgetError::Unknown(id.clone()))?)
    };
    if !position.take_to_forget() {
        return Err(ForgetError::Claimed(id.clone()));
    }
    if let Err(error) = position.forget(shared) {
        position.give_back();
        return Err(error.into());
    }
    lock(&shared.positions).retain(|other| !Arc::ptr_eq(other, &position));
    info!(output = %id, "the position is forgotten");
    shared.desk.nudge();
    Ok(())
}

/// Removes an output's two files, that of the newest generation last.
pub(crate) fn remove_files(disk: &dyn Disk, id: &str, newest: u64) -> io::Result<()> {
    for slot in [(newest + 1) % 2, newest % 2] {
        match disk.remove(&position::name(id, slot)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => disk.sync_dir("")?,
        }
    }
    Ok(())
}
