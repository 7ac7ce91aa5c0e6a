//! The door to the disk: the only way to `std::fs`, so that a simulated disk can stand there.
//!
//! Names are relative to the journal's directory (`seg-0000000000000001.log`,
//! `quarantine/seg-...`). A file's bytes are durable after [`File::sync`], its name after
//! [`Disk::sync_dir`]; until then a power cut may take either, whole or in pieces of 512 bytes.
//! After a failed `sync` nothing is known about what was written since the last good one.

mod real;
#[cfg(test)]
pub(crate) mod sim;

use std::{any::Any, fmt::Debug, io, sync::Arc};

pub use real::RealDisk;

/// Held as long as the journal lives.
pub type Lock = Box<dyn Any + Send + Sync>;

/// A file in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// Bytes the file takes: its length, as segments are allocated whole.
    pub bytes: u64,
}

/// One directory of a file system, with one directory in it: `quarantine`.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Makes the directory and its `quarantine`, private to us.
    fn prepare(&self) -> io::Result<()>;

    /// Takes the lock file for as long as the value lives; `WouldBlock` if another holds it.
    fn lock(&self) -> io::Result<Lock>;

    /// The files in `folder` (`""` is the journal's directory), in any order.
    fn list(&self, folder: &str) -> io::Result<Vec<Entry>>;

    /// A new file; an error if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Replaces what has the name `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names in `folder` durable.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;

    /// What the file system still has for us.
    fn free_bytes(&self) -> io::Result<u64>;

    /// 64 random bits; the simulated disk's are the seed's.
    fn entropy(&self) -> u64;
}

/// An open file. Reads and writes name their place, so one handle serves all threads.
pub trait File: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads what is there, up to the buffer's length; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Reserves space, so that later writes below `bytes` cannot run out of it.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// `fdatasync`. After an error: give this file up, never call it again for the same bytes.
    fn sync(&self) -> io::Result<()>;
}

/// The process, or the machine, has too many files open: nothing is wrong with the file.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let out = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| out.contains(&error))
}

/// Reads exactly the buffer, or fails with `UnexpectedEof`.
pub(crate) fn read_exact_at(file: &dyn File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = file.read_at(buffer, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = buffer.get_mut(read..).unwrap_or_default();
        at += read as u64;
    }
    Ok(())
}

/// Writes a whole small file under a name that appears only once its content is durable. It takes
/// `room` bytes, at least as many as the content.
pub(crate) fn create_whole(
    disk: &dyn Disk,
    name: &str,
    bytes: &[u8],
    room: u64,
) -> io::Result<Arc<dyn File>> {
    let draft = format!("new-{name}");
    remove_if_there(disk, &draft)?;
    let written = write_draft(disk, &draft, bytes, room.max(bytes.len() as u64));
    let file = written.inspect_err(|_| _ = disk.remove(&draft))?;
    disk.rename(&draft, name)?;
    disk.sync_dir("")?;
    Ok(file)
}

fn write_draft(disk: &dyn Disk, draft: &str, bytes: &[u8], room: u64) -> io::Result<Arc<dyn File>> {
    let file = disk.create(draft)?;
    file.allocate(room)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    Ok(file)
}

pub(crate) fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
