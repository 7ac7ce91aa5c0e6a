//! Segment files before they are in use: prepared for the next frames, and recycled.
//!
//! ```text
//! freed: seg-<old> -> free-<old>  (at most two)      prepared: free-<old>, or a new file, -> seg-<new>
//! ```
//! Promises: a prepared segment is allocated, synced and in the directory before the writer gets
//! it, so that a missing byte of space shows here and not in the middle of a group; nothing is
//! allocated beyond the journal's bound, nor from the reserve of the file system. A recycled file
//! is whole blocks already: writing to it changes no metadata, and it never makes the journal grow.
//! What it holds of its earlier life has another id and another salt, and is nobody's.

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
};

use tracing::{debug, warn};

use crate::desk::Prepared;
use crate::disk::{self, File};
use crate::options::Mutant;
use crate::segment::{self, Header, HeaderPage, PAGE_BYTES};
use crate::shared::{Shared, lock};

const SPARES_MAX: usize = 2;

/// Ids of the files `free-<id>`, each as long as a segment.
pub(crate) type Spares = Mutex<Vec<u64>>;

pub(crate) fn name(id: u64) -> String {
    format!("free-{id:016x}")
}

/// Keeps a freed segment's file for the next one, if there are not enough. Only one that was
/// allocated since the journal was opened: recovery cuts files, or tries to. A crash may undo the renaming: every position on the disk has passed what comes back then.
pub(crate) fn recycle(shared: &Shared, id: u64) -> bool {
    let mut spares = lock(&shared.spares);
    if id < shared.own_from || spares.len() >= SPARES_MAX || is_over(shared) {
        return false;
    }
    match shared.disk.rename(&segment::name(id), &name(id)) {
        Ok(()) => {
            spares.push(id);
            true
        }
        Err(error) => {
            debug!(segment = segment::name(id), %error, "segment is not recycled");
            false
        }
    }
}

/// The next segment; `None` if the journal's bound, or what must stay free on the file system,
/// forbids it.
pub(crate) fn prepare(shared: &Shared) -> io::Result<Option<Prepared>> {
    give_back_what_is_over(shared);
    let spare = lock(&shared.spares).pop();
    match spare {
        Some(old) => reuse(shared, old).map(Some),
        None => match allocate(shared) {
            // Somebody else took the space since we asked for it.
            Err(error) if is_full(&error) => Ok(None),
            other => other,
        },
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn allocate(shared: &Shared) -> io::Result<Option<Prepared>> {
    let bytes = shared.limits.segment_bytes;
    if allocated(shared) + bytes > shared.limits.bytes_max
        || shared.disk.free_bytes()? < bytes.saturating_add(shared.limits.free_bytes_min)
    {
        return Ok(None);
    }
    let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
    let name = segment::name(id);
    let file = shared.disk.create(&name)?;
    let made = file.allocate(bytes).and_then(|()| file.sync()).and_then(|()| sync_names(shared));
    if let Err(error) = made {
        if !remove(shared, &name) {
            shared.allocate(bytes);
        }
        return Err(error);
    }
    shared.allocate(bytes);
    Ok(Some(Prepared { id, file, bytes, salt: shared.disk.entropy() }))
}

fn reuse(shared: &Shared, old: u64) -> io::Result<Prepared> {
    let bytes = shared.limits.segment_bytes;
    let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
    let named = shared.disk.rename(&name(old), &segment::name(id));
    let opened = named.and_then(|()| {
        sync_names(shared)?;
        shared.disk.open(&segment::name(id))
    });
    match opened {
        Ok(file) => {
            let salt = salt(shared, &file);
            Ok(Prepared { id, file, bytes, salt })
        }
        Err(error) => {
            // Whichever of its names it has.
            if remove(shared, &name(old)) && remove(shared, &segment::name(id)) {
                shared.release(bytes);
            }
            Err(error)
        }
    }
}

/// Until its name is durable, an acknowledged frame in it could vanish with it.
fn sync_names(shared: &Shared) -> io::Result<()> {
    if shared.is(Mutant::NoDirectorySync) { Ok(()) } else { shared.disk.sync_dir("") }
}

fn salt(shared: &Shared, file: &Arc<dyn File>) -> u64 {
    if shared.is(Mutant::OldSaltKept) {
        let mut page = vec![0; PAGE_BYTES];
        let read = disk::read_exact_at(&**file, &mut page, 0);
        if let (Ok(()), HeaderPage::Valid(Header { salt, .. })) = (read, Header::parse(&page)) {
            return salt;
        }
    }
    shared.disk.entropy()
}

/// Recycled files are the first thing that goes when something else took their room.
fn give_back_what_is_over(shared: &Shared) {
    let mut spares = lock(&shared.spares);
    while is_over(shared)
        && let Some(id) = spares.pop()
    {
        if remove(shared, &name(id)) {
            shared.release(shared.limits.segment_bytes);
        }
    }
}

fn is_over(shared: &Shared) -> bool {
    allocated(shared) > shared.limits.bytes_max
}

/// A position must never find the journal full: what its files will still take is counted.
fn allocated(shared: &Shared) -> u64 {
    let reserved: u64 = shared.positions().iter().map(|position| position.unallocated()).sum();
    shared.allocated() + reserved
}

fn remove(shared: &Shared, name: &str) -> bool {
    match shared.disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(name, %error, "an unusable segment cannot be removed");
            false
        }
        _ => true,
    }
}
