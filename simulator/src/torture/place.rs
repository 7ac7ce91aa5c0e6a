//! The directory of a run: a new one, on the disk that is to be tried, gone at the end unless it is
//! to be looked at.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process,
};

use rustix::fs::{statfs, statvfs};

use super::Error;

/// Less room than this is no trial of a journal: its smallest form and the rest of a run.
const ROOM_MIN: u64 = 128 * 1024 * 1024;
/// A Unix socket's path must fit into 108 bytes.
const DIR_BYTES_MAX: usize = 90;

#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    keep: bool,
    pub(super) remarks: Vec<String>,
}

impl Place {
    /// In `wanted`, or else beside the journal, on its file system.
    pub(super) fn new(wanted: Option<&Path>, journal: &Path) -> Result<Self, Error> {
        let parent = match wanted {
            Some(dir) => fs::canonicalize(dir)
                .map_err(|error| Error::Usage(format!("--dir {}: {error}", dir.display())))?,
            None => beside(journal)?,
        };
        let dir = make(&parent)?;
        let mut place = Self { dir, keep: false, remarks: Vec::new() };
        place.look(journal)?;
        Ok(place)
    }

    fn look(&mut self, journal: &Path) -> Result<(), Error> {
        let text = self.dir.display().to_string();
        if text.len() > DIR_BYTES_MAX {
            let words = format!("{text} is too long for a socket in it; give a shorter --dir");
            return Err(Error::Usage(words));
        }
        let room = self.room().map_err(|error| Error::Usage(format!("{text}: {error}")))?;
        if room < ROOM_MIN {
            let (room, least) = (room >> 20, ROOM_MIN >> 20);
            let words = format!("{text}: {room} MiB are free; at least {least} MiB are needed");
            return Err(Error::Usage(words));
        }
        if let (Ok(here), Ok(there)) = (device(&self.dir), device(&ancestor(journal)))
            && here != there
        {
            let words = "another file system than the journal's: the disk that counts is not tried";
            self.remarks.push(words.to_owned());
        }
        // TMPFS_MAGIC of linux/magic.h; the number's type is another one on each architecture.
        if statfs(&self.dir).is_ok_and(|system| system.f_type == 0x0102_1994) {
            self.remarks.push("a file system in memory: no disk is tried".to_owned());
        }
        Ok(())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes free for us.
    pub(super) fn room(&self) -> io::Result<u64> {
        let system = statvfs(&self.dir)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    /// It stays when this drops.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.keep || std::thread::panicking() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, dir = %self.dir.display(), "cannot remove the directory");
        }
    }
}

/// The directory that the journal's directory lies in, or would.
fn beside(journal: &Path) -> Result<PathBuf, Error> {
    let parent = ancestor(journal.parent().unwrap_or(Path::new("/")));
    if let (Ok(inside), Ok(outside)) = (device(journal), device(&parent))
        && inside != outside
    {
        let journal = journal.display();
        return Err(Error::Usage(format!(
            "{journal} is a file system of its own; make a directory on it and name that with --dir"
        )));
    }
    fs::canonicalize(&parent)
        .map_err(|error| Error::Usage(format!("{}: {error}", parent.display())))
}

/// The nearest directory upwards that is there.
fn ancestor(path: &Path) -> PathBuf {
    let is_dir = |path: &&Path| path.is_dir();
    path.ancestors().find(is_dir).unwrap_or(Path::new("/")).to_owned()
}

fn device(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|found| found.dev())
}

/// For our eyes only: it holds a copy of the configuration.
fn make(parent: &Path) -> Result<PathBuf, Error> {
    for number in 0..1_000 {
        let dir = parent.join(format!("tidegate-torture-{}-{number}", process::id()));
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(Error::Usage(format!(
                    "cannot make a directory in {}: {error}; run this as the gateway's user, or name \
                     a directory on the same file system with --dir",
                    parent.display()
                )));
            }
        }
    }
    Err(Error::Usage(format!("{}: too many left-over directories", parent.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_beside_the_journal_and_goes_unless_it_is_kept() {
        let disk = tempfile::tempdir().unwrap();
        let journal = disk.path().join("not yet/journal");
        let place = Place::new(None, &journal).unwrap();
        let dir = place.dir().to_owned();
        assert_eq!(dir.parent(), Some(fs::canonicalize(disk.path()).unwrap().as_path()));
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert!(place.room().unwrap() >= ROOM_MIN);
        drop(place);
        assert!(!dir.try_exists().unwrap());

        let mut place = Place::new(Some(disk.path()), &journal).unwrap();
        let dir = place.dir().to_owned();
        place.keep();
        drop(place);
        assert!(dir.try_exists().unwrap());
    }

    #[test]
    fn a_directory_that_cannot_be_had_is_refused_with_advice() {
        let missing = Path::new("/proc/no such directory");
        let refused = Place::new(Some(missing), missing).unwrap_err().to_string();
        assert!(refused.contains("--dir /proc/no such directory"), "{refused}");
        // A file system in which nobody makes directories.
        let refused = Place::new(Some(Path::new("/proc")), missing).unwrap_err().to_string();
        assert!(refused.contains("cannot make a directory in /proc"), "{refused}");
    }

    #[test]
    fn a_journal_that_is_a_file_system_of_its_own_asks_for_a_directory() {
        let refused = Place::new(None, Path::new("/proc")).unwrap_err().to_string();
        assert!(refused.contains("a file system of its own"), "{refused}");
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_refused() {
        let disk = tempfile::tempdir().unwrap();
        let long = disk.path().join("x".repeat(90));
        fs::create_dir(&long).unwrap();
        let refused = Place::new(Some(&long), &long).unwrap_err().to_string();
        assert!(refused.contains("too long"), "{refused}");
        assert_eq!(fs::read_dir(&long).unwrap().count(), 0, "nothing is left behind");
    }
}
