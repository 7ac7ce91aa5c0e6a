//! The real disk: std and rustix (`fallocate`, `fdatasync`, `flock`, `fstatvfs`).

use std::{
    fs::{self, DirBuilder, OpenOptions},
    hash::{BuildHasher, RandomState},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};

use super::{Disk, Entry, File, Lock};

/// A directory of the real file system.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
}

#[derive(Debug)]
struct RealFile(fs::File);

impl RealDisk {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.clone() } else { self.dir.join(name) }
    }
}

impl Disk for RealDisk {
    fn prepare(&self) -> io::Result<()> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(self.dir.join("quarantine"))?;
        self.sync_dir("")?;
        // The directory's own name; a parent that may not be opened is its owner's business.
        if let Some(parent) = self.dir.parent().filter(|parent| parent.as_os_str() != "")
            && let Ok(parent) = fs::File::open(parent)
        {
            parent.sync_all()?;
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<Lock> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.dir.join("LOCK"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // A living journal removes files while `verify` walks.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                found.push(Entry { name, bytes: metadata.len() });
            }
        }
        Ok(found)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(RealFile(options.open(self.path(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let path = self.path(name);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            // `journal verify` by somebody who may only look.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => fs::File::open(&path)?,
            Err(error) => return Err(error),
        };
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        fs::File::open(self.path(folder))?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(Path::new(&self.dir))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn entropy(&self) -> u64 {
        // Keys from the operating system, hashed: as unpredictable as a salt needs to be.
        RandomState::new().hash_one("tidegate")
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => fill_with_zeros(&self.0, bytes),
            other => Ok(other?),
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// For file systems without `fallocate`.
fn fill_with_zeros(file: &fs::File, bytes: u64) -> io::Result<()> {
    const ZEROS: &[u8] = &[0; 64 * 1024];
    let mut at = file.metadata()?.len();
    while at < bytes {
        let left = usize::try_from(bytes - at).unwrap_or(usize::MAX);
        let part = ZEROS.get(..left).unwrap_or(ZEROS);
        file.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(())
}
