//! `quarantine/`: what was durable once and does not check any more, kept for a human.
//!
//! Bounded: copies stop when a sixteenth of the journal's bytes is used up (what is lost is still
//! named in the log and counted).

use std::{io, sync::Arc};

use tracing::{error, warn};

use crate::disk::{self, Disk};
use crate::segment;
use crate::shared::Shared;

pub(crate) const FOLDER: &str = "quarantine";
const SHARE: u64 = 16;
const COPY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Copies a damaged stretch of a segment, once.
pub(crate) fn keep(shared: &Arc<Shared>, id: u64, from: u64, to: u64) {
    match copy(&*shared.disk, id, from, to, shared.limits.bytes_max / SHARE) {
        Ok(bytes) => shared.allocate(bytes),
        Err(error) => warn!(segment = id, from, to, %error, "damaged bytes could not be kept"),
    }
}

/// Returns how many bytes were added.
pub(crate) fn copy(
    disk: &dyn Disk,
    id: u64,
    from: u64,
    to: u64,
    bytes_max: u64,
) -> io::Result<u64> {
    let len = to.saturating_sub(from).min(COPY_BYTES_MAX);
    let name = format!("{}.{from:x}-{to:x}", segment::name(id));
    let there = disk.list(FOLDER)?;
    let used: u64 = there.iter().map(|entry| entry.bytes).sum();
    if there.iter().any(|entry| entry.name == name) {
        return Ok(0);
    }
    if used + len > bytes_max {
        warn!(used, bytes_max, name, "quarantine is full; damaged bytes are not kept");
        return Ok(0);
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    disk::read_exact_at(&*disk.open(&segment::name(id))?, &mut bytes, from)?;
    let file = disk.create(&format!("{FOLDER}/{name}"))?;
    file.write_all_at(&bytes, 0)?;
    file.sync()?;
    disk.sync_dir(FOLDER)?;
    error!(name, bytes = len, "damaged bytes of the journal are in quarantine");
    Ok(len)
}
