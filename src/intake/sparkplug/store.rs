//! The file of births: what must be known after a crash, before anything that depends on it is
//! acknowledged.
//!
//! ```text
//! <journal>/sparkplug/births       appended to, synced where somebody waits
//! <journal>/sparkplug/births.new   all of it anew, then renamed: at the start, and when twice as
//!                                  much was appended as is worth keeping
//! ```
//! Whoever comes while another one syncs finds his own part synced with it. After a failure the file is
//! what was synced, and the next call writes it anew. What is held in it was acknowledged, so it stays; but
//! an old birth that passes for the newest would give wrong names, so where a birth or a death is missing
//! one byte says so, in place: that needs no room. One that cannot be read at the start, or not even told
//! so, is kept as `births.unread`; what was damaged when it was read, as `births.damaged`.
//!
//! Everything here blocks: call it off the reactor.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::error;

use super::record::{BEHIND, MAGIC};

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
    /// Of `appended`.
    synced: u64,
}

/// Records for the file.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// How many there have been, these included.
    pub(super) upto: u64,
    /// Which of these was the last birth or death.
    pub(super) heard: u64,
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

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: io::Error,
    /// How many records are on the disk all the same; `None`: none, and none from before either.
    pub(super) kept: Option<u64>,
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
    pub(super) fn keep(
        &self,
        wanted: Wanted,
        take: impl FnOnce(bool) -> Batch,
    ) -> Result<(), Failure> {
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
            Err(error) => Err(Failure { error, kept: self.fall_back(open.take(), &batch) }),
        }
    }

    fn put(&self, open: &mut Option<Open>, batch: &Batch, synced: bool) -> io::Result<()> {
        match open {
            Some(open) if !batch.is_whole => {
                open.file.write_all(&batch.bytes)?;
                open.appended += batch.bytes.len() as u64;
                if synced {
                    open.file.sync_data()?;
                    open.synced = open.appended;
                }
                Ok(())
            }
            _ => {
                *open = Some(self.write_anew(&batch.bytes)?);
                Ok(())
            }
        }
    }

    /// Back to what was synced, and how many records that is.
    fn fall_back(&self, open: Option<Open>, batch: &Batch) -> Option<u64> {
        drop(fs::remove_file(self.dir.join("births.new")));
        let synced = self.synced.load(Ordering::Acquire);
        self.written.store(synced, Ordering::Release);
        // A whole file that failed touched nothing of the one before, or took its place.
        let upto = open.filter(|_| !batch.is_whole);
        let upto = upto.map(|open| MAGIC.len() as u64 + open.whole + open.synced);
        let births = self.dir.join("births");
        let told = match OpenOptions::new().write(true).open(&births) {
            Ok(file) => cut(&file, upto, batch.heard > synced),
            Err(error) => Err(error),
        };
        match told {
            Ok(()) => Some(synced),
            Err(error) if is_absent(&error) => Some(synced),
            Err(error) => {
                self.give_up(&births, &error);
                None
            }
        }
    }

    /// What is held in it can be had by hand; what it says of births must not be believed.
    fn give_up(&self, births: &Path, why: &io::Error) {
        self.synced.store(0, Ordering::Release);
        self.written.store(0, Ordering::Release);
        let kept = self.dir.join("births.unread");
        let kept = fs::rename(births, &kept).and_then(|()| sync_dir(&self.dir)).map(|()| kept);
        error!(
            error = %why, ?kept,
            "sparkplug: the file of births cannot be told that it is behind; what waits in it is not \
             taken after a crash"
        );
    }

    /// Another name for the file as it is, until the next one that is set aside: the new one replaces
    /// the first.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let kept = self.dir.join("births.damaged");
        if let Err(error) = fs::remove_file(&kept)
            && !is_absent(&error)
        {
            return Err(error);
        }
        fs::hard_link(self.dir.join("births"), &kept)?;
        Ok(kept)
    }

    fn write_anew(&self, bytes: &[u8]) -> io::Result<Open> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let new = self.dir.join("births.new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(MAGIC)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let births = self.dir.join("births");
        let before = OpenOptions::new().write(true).open(&births).ok();
        fs::rename(&new, &births)?;
        // The directory may be new itself.
        let synced = sync_dir(&self.dir).and_then(|()| self.dir.parent().map_or(Ok(()), sync_dir));
        if let (Err(_), Some(before)) = (&synced, before) {
            drop(cut(&before, None, true)); // It may be back after a crash.
        }
        synced.map(|()| Open { file, whole: bytes.len() as u64, appended: 0, synced: 0 })
    }
}

/// Ends a file where it was synced last, and tells it that it is behind.
fn cut(file: &File, upto: Option<u64>, is_behind: bool) -> io::Result<()> {
    if let Some(upto) = upto {
        file.set_len(upto)?;
    }
    if is_behind {
        file.write_all_at(&[BEHIND], MAGIC.len() as u64 - 1)?;
    }
    if upto.is_some() || is_behind { file.sync_all() } else { Ok(()) }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
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

    /// The last of it is a birth.
    fn batch(bytes: &[u8], upto: u64, is_whole: bool) -> Batch {
        Batch { bytes: bytes.to_vec(), upto, heard: upto, is_whole }
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

    /// Whoever writes to it is told that he cannot.
    fn spoil(store: &Store, births: &Path) {
        let mut open = store.open.lock().unwrap();
        open.as_mut().unwrap().file = File::open(births).unwrap();
    }

    fn behind(records: &[u8]) -> Vec<u8> {
        [&MAGIC[..7], &[BEHIND], records].concat()
    }

    #[test]
    fn after_a_failure_what_was_synced_is_left_and_says_that_it_is_behind() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("sparkplug");
        let births = dir.join("births");
        let (store, _) = Store::open(&dir);
        store.keep(synced(1), |whole| batch(b"old", 1, whole)).unwrap();
        store.keep(synced(2), |whole| batch(b" synced", 2, whole)).unwrap();
        store.keep(Wanted { upto: 3, synced: false }, |whole| batch(b" not", 3, whole)).unwrap();
        spoil(&store, &births);
        let failure = store.keep(synced(4), |whole| batch(b"x", 4, whole)).unwrap_err();
        assert_eq!(failure.kept, Some(2));
        assert!(store.has(synced(2)) && !store.has(Wanted { upto: 3, synced: false }));
        assert_eq!(Store::open(&dir).1, behind(b"old synced"));
        store.keep(synced(4), |whole| batch(if whole { b"new" } else { b"?" }, 4, whole)).unwrap();
        assert_eq!(Store::open(&dir).1, [&MAGIC[..], b"new"].concat());
    }

    #[test]
    fn a_file_that_lacks_no_birth_is_not_behind() {
        let dir = tempfile::tempdir().unwrap();
        let births = dir.path().join("births");
        let (store, _) = Store::open(dir.path());
        store.keep(synced(1), |whole| batch(b"birth", 1, whole)).unwrap();
        spoil(&store, &births);
        let held = Batch { heard: 1, ..batch(b"held", 2, false) };
        assert_eq!(store.keep(synced(2), |_| held).unwrap_err().kept, Some(1));
        assert_eq!(fs::read(&births).unwrap(), [&MAGIC[..], b"birth"].concat());
    }

    /// The first write of a process is of a whole file, beside the one that an earlier process left.
    #[test]
    fn a_disk_that_is_full_at_the_start_costs_nothing_of_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let births = dir.path().join("births");
        fs::write(&births, [&MAGIC[..], b"acknowledged"].concat()).unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("births.new")).unwrap();
        let (store, found) = Store::open(dir.path());
        let failure = store.keep(synced(1), |whole| batch(b"new", 1, whole)).unwrap_err();
        assert_eq!(failure.error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(failure.kept, Some(0));
        assert!(found.ends_with(b"acknowledged"));
        assert_eq!(fs::read(&births).unwrap(), behind(b"acknowledged"));
        store.keep(synced(1), |whole| batch(b"new", 1, whole)).unwrap();
        assert_eq!(fs::read(&births).unwrap(), [&MAGIC[..], b"new"].concat());
    }

    #[test]
    fn what_cannot_even_be_told_that_it_is_behind_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let births = dir.path().join("births");
        let (store, _) = Store::open(dir.path());
        store.keep(synced(1), |whole| batch(b"old", 1, whole)).unwrap();
        spoil(&store, &births);
        fs::remove_file(&births).unwrap();
        fs::create_dir(&births).unwrap(); // Writing to it fails, whoever writes.
        assert_eq!(store.keep(synced(2), |whole| batch(b"x", 2, whole)).unwrap_err().kept, None);
        assert!(!store.has(synced(1)) && dir.path().join("births.unread").is_dir());
        assert!(Store::open(dir.path()).1.is_empty());
    }

    #[test]
    fn what_was_damaged_stays_as_it_was_and_the_last_of_them_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (births, kept) = (dir.path().join("births"), dir.path().join("births.damaged"));
        for damaged in [b"first", b"other"] {
            fs::write(&births, damaged).unwrap();
            let (store, _) = Store::open(dir.path());
            assert_eq!(store.set_aside().unwrap(), kept);
            store.keep(synced(1), |whole| batch(b"new", 1, whole)).unwrap();
            assert_eq!(fs::read(&kept).unwrap(), damaged);
            fs::remove_file(&births).unwrap();
        }
    }
}
