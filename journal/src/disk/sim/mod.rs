//! A simulated disk, as treacherous as a real one may be, and the same each time for a seed.
//!
//! ```text
//! a file    cache (what reads see) | durable (what a power cut leaves) | dirty 512-byte sectors between
//! a folder  names now              | durable names                     | links, unlinks, renames between
//! ```
//! A power cut keeps any part of what is dirty: none, all, a beginning, or sectors and names at
//! random. A failing sync keeps a random part, drops the rest *and calls all of it clean*. After
//! the n-th operation the power may fail by itself (`cut_after`): then every call is an error
//! until `reboot`. Space is limited; bits may flip; any call may be an I/O error.

mod state;
mod tests;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use state::{Inode, NameChange, SECTOR, State, eio, folder_of, off};

use super::{Disk, Entry, File, Lock};
use crate::shared::lock;

#[derive(Clone, Debug)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    life: u64,
}

#[derive(Debug)]
struct SimLock {
    state: Arc<Mutex<State>>,
    life: u64,
}

impl SimDisk {
    pub(crate) fn new(seed: u64, space: u64) -> Self {
        let state = State::new(seed, space);
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The power fails now: nothing reaches the disk until `reboot`.
    pub(crate) fn cut(&self) {
        lock(&self.state).off = true;
    }

    /// The power fails by itself after so many more operations that change something.
    pub(crate) fn cut_after(&self, operations: u64) {
        lock(&self.state).cut_after = Some(operations);
    }

    pub(crate) fn is_off(&self) -> bool {
        lock(&self.state).off
    }

    /// Power comes back: what was not durable is there in part, or not.
    pub(crate) fn reboot(&self) {
        lock(&self.state).reboot();
    }

    /// The process died, the machine did not: what was written is there.
    pub(crate) fn kill(&self) {
        let mut state = lock(&self.state);
        state.life += 1;
        state.locked = false;
    }

    pub(crate) fn set_space(&self, space: u64) {
        lock(&self.state).space = space;
    }

    pub(crate) fn set_sync_failures(&self, one_in: u32) {
        lock(&self.state).sync_fails_one_in = one_in;
    }

    /// One call in so many that changes something is an I/O error, and one read in so many.
    pub(crate) fn set_call_failures(&self, change_one_in: u32, read_one_in: u32) {
        let mut state = lock(&self.state);
        (state.call_fails_one_in, state.read_fails_one_in) = (change_one_in, read_one_in);
    }

    pub(crate) fn used(&self) -> u64 {
        lock(&self.state).used()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.state).names.keys().cloned().collect()
    }

    /// From now on a page of that file cannot be read (or all can be again).
    pub(crate) fn set_bad_page(&self, bad: Option<(&str, u64)>) {
        let mut state = lock(&self.state);
        state.bad_page = bad.and_then(|(name, at)| Some((*state.names.get(name)?, at)));
    }

    /// More open files than that, and opening one is an error.
    pub(crate) fn set_files_max(&self, files_max: usize) {
        lock(&self.state).files_max = files_max;
    }

    pub(crate) fn open_files(&self) -> usize {
        lock(&self.state).open_files
    }

    /// All there is, as reads see it.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = lock(&self.state);
        let content = |id| state.inodes.get(id).map_or_else(Vec::new, |it| it.cache.clone());
        state.names.iter().map(|(name, id)| (name.clone(), content(id))).collect()
    }

    /// Damages what is on the platter: `damage` gets the file's bytes.
    pub(crate) fn damage(&self, name: &str, damage: impl FnOnce(&mut [u8])) {
        let mut state = lock(&self.state);
        let Some(id) = state.names.get(name).copied() else { return };
        if let Some(inode) = state.inodes.get_mut(&id) {
            damage(&mut inode.durable);
            inode.cache.clone_from(&inode.durable);
        }
    }
}

impl Disk for SimDisk {
    fn prepare(&self) -> io::Result<()> {
        let state = lock(&self.state);
        state.look(state.life)
    }

    fn lock(&self) -> io::Result<Lock> {
        let mut state = lock(&self.state);
        let life = state.life;
        state.look(life)?;
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { state: Arc::clone(&self.state), life }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<Entry>> {
        let state = lock(&self.state);
        state.look(state.life)?;
        let within = state.names.iter().filter(|(name, _)| folder_of(name) == folder);
        let entries = within.map(|(name, id)| Entry {
            name: name.rsplit('/').next().unwrap_or(name).to_owned(),
            bytes: state.inodes.get(id).map_or(0, Inode::len),
        });
        Ok(entries.collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = lock(&self.state);
        let life = state.life;
        state.step(life)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(inode, Inode::default());
        state.names.insert(name.to_owned(), inode);
        state.pending.push(NameChange::Link(name.to_owned(), inode));
        state.open_files += 1;
        Ok(Arc::new(SimFile { state: Arc::clone(&self.state), inode, life }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = lock(&self.state);
        let life = state.life;
        state.look(life)?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        if state.open_files >= state.files_max {
            return Err(io::Error::from_raw_os_error(24));
        }
        state.open_files += 1;
        Ok(Arc::new(SimFile { state: Arc::clone(&self.state), inode, life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        let life = state.life;
        state.step(life)?;
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let change = NameChange::Rename(from.to_owned(), to.to_owned(), inode);
        change.apply(&mut state.names);
        state.pending.push(change);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        let life = state.life;
        state.step(life)?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.pending.push(NameChange::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        let life = state.life;
        if state.step(life)? || state.sync_fails() {
            return Err(eio());
        }
        let all = state.pending.iter().any(|change| matches!(change, NameChange::Rename(..)));
        let (synced, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut state.pending)
            .into_iter()
            .partition(|change| all || change.is_in(folder));
        for change in synced {
            change.apply(&mut state.durable_names);
        }
        state.pending = rest;
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = lock(&self.state);
        state.look(state.life)?;
        Ok(state.space.saturating_sub(state.used()))
    }

    fn entropy(&self) -> u64 {
        lock(&self.state).rng.u64(..)
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = lock(&self.state);
        state.look(self.life)?;
        Ok(state.inode(self.inode)?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = lock(&self.state);
        state.look(self.life)?;
        if state.read_fails() || state.is_bad(self.inode, at, buffer.len() as u64) {
            return Err(eio());
        }
        let inode = state.inode(self.inode)?;
        let at = usize::try_from(at).expect("small").min(inode.cache.len());
        let there = &inode.cache[at..];
        let len = there.len().min(buffer.len());
        buffer[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let cut = state.step(self.life)?;
        state.grow(self.inode, at + bytes.len() as u64)?;
        state.inode(self.inode)?.write(bytes, usize::try_from(at).expect("small"));
        if cut { Err(off()) } else { Ok(()) }
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let cut = state.step(self.life)?;
        state.grow(self.inode, bytes)?;
        if cut { Err(off()) } else { Ok(()) }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let cut = state.step(self.life)?;
        state.grow(self.inode, bytes)?;
        let inode = state.inode(self.inode)?;
        let len = usize::try_from(bytes).expect("small");
        inode.cache.truncate(len);
        inode.dirty = inode.dirty.iter().copied().filter(|sector| sector * SECTOR < len).collect();
        inode.length_is_dirty = true;
        if cut { Err(off()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let cut = state.step(self.life)?;
        if cut {
            return Err(off()); // The reboot decides what of it got through.
        }
        let fails = state.sync_fails();
        let dirty = state.inode(self.inode)?.dirty.len();
        let keep = if fails { state.fates(dirty) } else { vec![true; dirty] };
        let (length_kept, evicted) = (!fails || state.rng.bool(), fails && state.rng.bool());
        let inode = state.inode(self.inode)?;
        inode.settle(&keep, length_kept);
        if !fails {
            return Ok(());
        }
        if evicted && inode.durable.len() == inode.cache.len() {
            inode.cache.clone_from(&inode.durable);
        }
        Err(eio())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        lock(&self.state).open_files -= 1;
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if state.life == self.life {
            state.locked = false;
        }
    }
}
