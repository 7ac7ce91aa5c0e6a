//! `quarantine/`: what was durable once and does not check any more, kept for a human.
//!
//! Bounded: copies stop when a sixteenth of the journal's bytes is used up, or when the journal is
//! full (what is lost is still named in the log and counted).

use std::{io, sync::Arc};

use tracing::{error, warn};

use crate::disk::{self, Disk};
use crate::segment;
use crate::shared::Shared;

pub(crate) const FOLDER: &str = "quarantine";
pub(crate) const COPY_SHARE: u64 = 16;
const WHOLE_SHARE: u64 = 4;
const COPY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Copies a damaged stretch of a segment, once.
pub(crate) fn keep(shared: &Arc<Shared>, id: u64, from: u64, to: u64) {
    let room = shared.limits.bytes_max.saturating_sub(shared.allocated());
    let limits = &shared.limits;
    shared.allocate(copy(&*shared.disk, id, from, to, room.min(limits.bytes_max / COPY_SHARE)));
}

/// Keeps a frame's payload, decompressed, if there is room.
pub(crate) fn keep_frame(shared: &Shared, output: &str, seq: u64, payload: &[u8]) {
    let name = format!("{FOLDER}/frame-{seq:016x}.{output}");
    let room = shared.limits.bytes_max.saturating_sub(shared.allocated());
    let len = payload.len() as u64;
    let kept = if len > room.min(shared.limits.bytes_max / COPY_SHARE) {
        Err(io::ErrorKind::QuotaExceeded.into())
    } else {
        write_new(&*shared.disk, &name, payload)
    };
    match kept {
        Ok(()) => shared.allocate(len),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => warn!(name, %error, "a frame that is set aside could not be kept"),
    }
}

/// Moves a whole file there. What is in quarantine longest gives way when a quarter of the
/// journal's bytes would be exceeded: the journal must stay able to take. Returns how many bytes gave way.
pub(crate) fn take(disk: &dyn Disk, name: &str, bytes_max: u64) -> io::Result<u64> {
    let mut there = disk.list(FOLDER)?;
    there.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let bytes = disk.open(name)?.len()?;
    let mut used: u64 = there.iter().map(|entry| entry.bytes).sum();
    let before = used;
    for entry in there {
        if used + bytes <= bytes_max / WHOLE_SHARE {
            break;
        }
        error!(name = entry.name, "quarantine is full; its oldest file is removed");
        disk.remove(&format!("{FOLDER}/{}", entry.name))?;
        used -= entry.bytes;
    }
    disk.rename(name, &format!("{FOLDER}/{name}"))?;
    disk.sync_dir(FOLDER)?;
    disk.sync_dir("")?;
    Ok(before - used)
}

/// Copies a damaged stretch of a segment, unless there is a copy, or the folder would take more
/// than `room`. Returns how many bytes were added.
pub(crate) fn copy(disk: &dyn Disk, id: u64, from: u64, to: u64, room: u64) -> u64 {
    let name = format!("{FOLDER}/{}.{from:x}-{to:x}", segment::name(id));
    match try_copy(disk, id, from, to.min(from + COPY_BYTES_MAX), room, &name) {
        Ok(0) => 0,
        Ok(bytes) => {
            error!(name, bytes, "damaged bytes of the journal are in quarantine");
            bytes
        }
        Err(error) => {
            warn!(name, %error, "damaged bytes could not be kept");
            0
        }
    }
}

fn try_copy(
    disk: &dyn Disk,
    id: u64,
    from: u64,
    to: u64,
    room: u64,
    name: &str,
) -> io::Result<u64> {
    let len = to.saturating_sub(from);
    let there = disk.list(FOLDER)?;
    let used: u64 = there.iter().map(|entry| entry.bytes).sum();
    if there.iter().any(|entry| name.ends_with(&entry.name)) {
        return Ok(0);
    }
    if used + len > room {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    disk::read_exact_at(&*disk.open(&segment::name(id))?, &mut bytes, from)?;
    write_new(disk, name, &bytes)?;
    Ok(len)
}

fn write_new(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = disk.create(name)?;
    let written = file.write_all_at(bytes, 0).and_then(|()| file.sync());
    if written.and_then(|()| disk.sync_dir(FOLDER)).is_err() {
        disk.remove(name)?;
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}
