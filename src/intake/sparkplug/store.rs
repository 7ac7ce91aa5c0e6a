//! The file of births: what must be known after a crash, before anything that depends on it is
//! acknowledged.
//!
//! ```text
//! <journal>/sparkplug/births       appended to, synced where somebody waits
//! <journal>/sparkplug/births.new   all of it anew, then renamed: at the start, and when twice as
//!                                  much was appended as is worth keeping
//! ```
//! Whoever comes while another one syncs finds his own part synced with it. After a failure the file
//! is removed and the next call writes it anew: a birth that is missing is asked for again, an old one
//! that passes for the newest would give wrong names. One that cannot be read at the start is kept beside
//! the new one, as `births.unread`.
//!
//! Everything here blocks: call it off the reactor.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::error;

use super::record::MAGIC;

/// Appended before it is worth writing all anew.
const APPENDED_MIN: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    open: Mutex<Option<Open>>,
    /// How many records are in the file, and on the disk.
    written: AtomicU64,
    synced: AtomicU64,
}

#[derive(Debug)]
struct Open {
    file: File,
    whole: u64,
    appended: u64,
}

/// Records for the file.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// How many there have been, these included.
    pub(super) upto: u64,
    /// They are all that is worth keeping.
    pub(super) is_whole: bool,
}

/// What whoever submits waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::intake) struct Wanted {
    pub(super) upto: u64,
    /// On the disk, not only in the file.
    pub(super) synced: bool,
}

impl Store {
    /// The file as it was left, and a place for the next.
    pub(super) fn open(dir: &Path) -> (Self, Vec<u8>) {
        let found = read(dir);
        let (written, synced) = (AtomicU64::new(0), AtomicU64::new(0));
        (Self { dir: dir.to_owned(), open: Mutex::new(None), written, synced }, found)
    }

    pub(super) fn has(&self, wanted: Wanted) -> bool {
        let count = if wanted.synced { &self.synced } else { &self.written };
        count.load(Ordering::Acquire) >= wanted.upto
    }

    /// `take` is asked for what is not in the file yet, or for all (`true`).
    pub(super) fn keep(&self, wanted: Wanted, take: impl FnOnce(bool) -> Batch) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if self.has(wanted) {
            return Ok(());
        }
        let batch = take(open.as_ref().is_none_or(Open::is_wasteful));
        match self.put(&mut open, &batch, wanted.synced) {
            Ok(()) => {
                self.written.store(batch.upto, Ordering::Release);
                if wanted.synced || batch.is_whole {
                    self.synced.store(batch.upto, Ordering::Release);
                }
                Ok(())
            }
            Err(error) => {
                *open = None;
                self.remove();
                Err(error)
            }
        }
    }

    fn put(&self, open: &mut Option<Open>, batch: &Batch, synced: bool) -> io::Result<()> {
        match open {
            Some(open) if !batch.is_whole => {
                open.file.write_all(&batch.bytes)?;
                open.appended += batch.bytes.len() as u64;
                if synced { open.file.sync_data() } else { Ok(()) }
            }
            _ => {
                *open = Some(self.write_anew(&batch.bytes)?);
                Ok(())
            }
        }
    }

    fn write_anew(&self, bytes: &[u8]) -> io::Result<Open> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let new = self.dir.join("births.new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(MAGIC)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join("births"))?;
        sync_dir(&self.dir)?;
        // It may be new itself.
        self.dir.parent().map_or(Ok(()), sync_dir)?;
        Ok(Open { file, whole: bytes.len() as u64, appended: 0 })
    }

    /// As far as the disk still lets us.
    fn remove(&self) {
        for name in ["births", "births.new"] {
            drop(fs::remove_file(self.dir.join(name)));
        }
        drop(sync_dir(&self.dir));
    }
}

/// What cannot be read today may hold what was acknowledged: it is kept.
fn read(dir: &Path) -> Vec<u8> {
    let path = dir.join("births");
    fs::read(&path).unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            let kept = dir.join("births.unread");
            let kept = fs::rename(&path, &kept).map(|()| kept);
            error!(%error, ?kept, "sparkplug: the births cannot be read; nodes are asked for them");
        }
        Vec::new()
    })
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

impl Open {
    fn is_wasteful(&self) -> bool {
        self.appended > APPENDED_MIN.max(2 * self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: &[u8], upto: u64, is_whole: bool) -> Batch {
        Batch { bytes: bytes.to_vec(), upto, is_whole }
    }

    const fn synced(upto: u64) -> Wanted {
        Wanted { upto, synced: true }
    }

    #[test]
    fn it_is_written_whole_first_then_appended_to_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("sparkplug");
        let (store, found) = Store::open(&dir);
        assert!(found.is_empty());
        store.keep(synced(1), |whole| batch(b"all", 1, whole)).unwrap();
        store.keep(Wanted { upto: 2, synced: false }, |whole| batch(b" more", 2, whole)).unwrap();
        assert!(!store.has(synced(2)) && store.has(synced(1)));
        store.keep(synced(2), |whole| batch(b"", 2, whole)).unwrap();
        store.keep(synced(2), |_| panic!("it is there")).unwrap();
        assert_eq!(Store::open(&dir).1, [&MAGIC[..], b"all more"].concat());
    }

    #[test]
    fn what_cannot_be_read_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let births = dir.path().join("births");
        fs::create_dir(&births).unwrap(); // Reading it fails, whoever reads.
        fs::write(births.join("waits"), "data").unwrap();
        let (store, found) = Store::open(dir.path());
        assert!(found.is_empty());
        store.keep(synced(1), |whole| batch(b"new", 1, whole)).unwrap();
        assert_eq!(fs::read(dir.path().join("births.unread/waits")).unwrap(), b"data");
    }

    #[test]
    fn what_grows_beyond_what_is_worth_keeping_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path());
        let large = vec![0; 700 * 1024];
        let mut wholes = Vec::new();
        for upto in 1..=6 {
            let take = |whole| {
                wholes.push(whole);
                batch(if whole { b"all" } else { &large }, upto, whole)
            };
            store.keep(synced(upto), take).unwrap();
        }
        assert_eq!(wholes, [true, false, false, true, false, false]);
    }

    #[test]
    fn after_a_failure_nothing_old_is_left_and_the_next_call_writes_all() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("sparkplug");
        let (store, _) = Store::open(&dir);
        store.keep(synced(1), |whole| batch(b"old", 1, whole)).unwrap();
        *store.open.lock().unwrap() = Some(Open {
            file: File::open(dir.join("births")).unwrap(), // Not to be written to.
            whole: 0,
            appended: 0,
        });
        store.keep(synced(2), |whole| batch(b"x", 2, whole)).unwrap_err();
        assert!(!store.has(synced(2)));
        assert!(Store::open(&dir).1.is_empty());
        store.keep(synced(2), |whole| batch(b"new", 2, whole)).unwrap();
        assert_eq!(Store::open(&dir).1, [&MAGIC[..], b"new"].concat());
    }
}
