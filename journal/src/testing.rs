//! For tests, here and in crates above: a disk whose syncs can be held, failed or faked.
//!
//! What it proves: while a sync is held, nothing may be acknowledged. With [`Control::lie`] it is
//! the mutant that acknowledges before the sync, and such a test must fail.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::Epoch;
use crate::Epochs;
use crate::disk::{Disk, Entry, File, Lock, RealDisk};
use crate::shared::lock;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Wraps another disk; everything goes through until told otherwise.
#[derive(Debug)]
pub struct HeldDisk {
    inner: Arc<dyn Disk>,
    control: Arc<Control>,
}

/// The handle that a test keeps.
#[derive(Debug, Default)]
pub struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: bool,
    /// Threads that stand in a held sync.
    waiting: usize,
    /// Held syncs that may go nevertheless.
    passes: usize,
    failing: u32,
    lying: bool,
    /// The error that an allocation gets.
    no_space: Option<i32>,
}

#[derive(Debug)]
struct HeldFile {
    inner: Arc<dyn File>,
    control: Arc<Control>,
    is_segment: bool,
    /// Written since the last sync.
    written: AtomicBool,
}

impl HeldDisk {
    pub fn new(dir: impl Into<std::path::PathBuf>) -> (Arc<Self>, Arc<Control>) {
        Self::over(Arc::new(RealDisk::new(dir)))
    }

    pub fn over(inner: Arc<dyn Disk>) -> (Arc<Self>, Arc<Control>) {
        let control = Arc::new(Control::default());
        (Arc::new(Self { inner, control: Arc::clone(&control) }), control)
    }

    fn wrap(&self, name: &str, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(HeldFile {
            inner,
            control: Arc::clone(&self.control),
            is_segment: name.starts_with("seg-"),
            written: AtomicBool::new(false),
        })
    }
}

impl Control {
    /// Every sync from now on waits. Release before the journal is closed.
    pub fn hold(&self) {
        lock(&self.state).held = true;
    }

    pub fn release(&self) {
        lock(&self.state).held = false;
        self.changed.notify_all();
    }

    /// Lets the syncs go that are held now; those after them wait.
    pub fn step(&self) {
        let mut state = lock(&self.state);
        state.passes = state.waiting;
        self.changed.notify_all();
    }

    /// The next so many syncs of a segment that was written to fail with EIO, without having
    /// synced. (Not those of positions, nor of segments being prepared.)
    pub fn fail_syncs(&self, times: u32) {
        lock(&self.state).failing = times;
    }

    /// Syncs return at once, held or not, without having synced: what an acknowledgement before
    /// the sync looks like from outside.
    pub fn lie(&self) {
        lock(&self.state).lying = true;
        self.changed.notify_all();
    }

    /// From now on there is no space for new segments (or there is again).
    pub fn refuse_space(&self, refused: bool) {
        lock(&self.state).no_space = refused.then_some(ENOSPC);
    }

    /// From now on no segment can be prepared, because the disk fails (or it works again).
    pub fn fail_preparing(&self, fails: bool) {
        lock(&self.state).no_space = fails.then_some(EIO);
    }

    /// Blocks until a sync is being held, at most so long. `true` if one is.
    pub fn wait_until_held(&self, at_most: Duration) -> bool {
        let state = lock(&self.state);
        let waited = self.changed.wait_timeout_while(state, at_most, |state| state.waiting == 0);
        waited.is_ok_and(|(state, _)| state.waiting > 0)
    }

    fn sync(&self, file: &dyn File, may_fail: bool) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.waiting += 1;
        self.changed.notify_all();
        while state.held && !state.lying && state.passes == 0 {
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.waiting -= 1;
        state.passes = state.passes.saturating_sub(1);
        if state.lying {
            return Ok(());
        }
        if may_fail && state.failing > 0 {
            state.failing -= 1;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        drop(state);
        file.sync()
    }
}

impl Disk for HeldDisk {
    fn prepare(&self) -> io::Result<()> {
        self.inner.prepare()
    }

    fn lock(&self) -> io::Result<Lock> {
        self.inner.lock()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Entry>> {
        self.inner.list(folder)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(name, self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        self.inner.sync_dir(folder)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn entropy(&self) -> u64 {
        self.inner.entropy()
    }
}

impl File for HeldFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.written.store(true, Ordering::Relaxed);
        self.inner.write_all_at(bytes, at)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if let Some(error) = lock(&self.control.state).no_space {
            return Err(io::Error::from_raw_os_error(error));
        }
        self.inner.allocate(bytes)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.inner.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let written = self.written.swap(false, Ordering::Relaxed);
        self.control.sync(&*self.inner, self.is_segment && written)
    }
}

/// As if these were durable.
pub fn publish(epochs: &Epochs, durable: Vec<Epoch>) {
    epochs.publish(durable);
}
