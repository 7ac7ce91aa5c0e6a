//! What is on the simulated disk, in the cache and on the platter, and what a power cut makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

pub(super) const SECTOR: usize = 512;

#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: fastrand::Rng,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) next_inode: u64,
    pub(super) names: BTreeMap<String, u64>,
    pub(super) durable_names: BTreeMap<String, u64>,
    pub(super) pending: Vec<NameChange>,
    /// Operations until the power fails.
    pub(super) cut_after: Option<u64>,
    pub(super) off: bool,
    /// Rises with every reboot: handles and locks of an earlier life are dead.
    pub(super) life: u64,
    pub(super) locked: bool,
    pub(super) space: u64,
    /// One sync in so many fails; 0: none.
    pub(super) sync_fails_one_in: u32,
    /// One call in so many that changes something fails, and changes nothing.
    pub(super) call_fails_one_in: u32,
    /// One read in so many fails.
    pub(super) read_fails_one_in: u32,
    /// A file, and a page in it.
    pub(super) bad_page: Option<(u64, u64)>,
    pub(super) open_files: usize,
    pub(super) files_max: usize,
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) cache: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) dirty: BTreeSet<usize>,
    pub(super) length_is_dirty: bool,
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link(String, u64),
    Unlink(String),
    Rename(String, String, u64),
}

impl State {
    pub(super) fn new(seed: u64, space: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            inodes: BTreeMap::new(),
            next_inode: 1,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            cut_after: None,
            off: false,
            life: 0,
            locked: false,
            space,
            sync_fails_one_in: 0,
            call_fails_one_in: 0,
            read_fails_one_in: 0,
            bad_page: None,
            open_files: 0,
            files_max: usize::MAX,
        }
    }

    /// Before anything changes. `Ok(true)`: the power fails while it happens.
    pub(super) fn step(&mut self, life: u64) -> io::Result<bool> {
        self.look(life)?;
        if self.happens(self.call_fails_one_in) {
            return Err(eio());
        }
        let Some(left) = self.cut_after.as_mut() else { return Ok(false) };
        if *left > 0 {
            *left -= 1;
            return Ok(false);
        }
        self.off = true;
        // It may have got into the cache, from where the cut decides.
        if self.rng.bool() { Ok(true) } else { Err(off()) }
    }

    pub(super) fn look(&self, life: u64) -> io::Result<()> {
        if self.off || life != self.life { Err(off()) } else { Ok(()) }
    }

    pub(super) fn reboot(&mut self) {
        let changes = std::mem::take(&mut self.pending);
        let keep = self.fates(changes.len());
        for (change, _) in changes.iter().zip(keep).filter(|(_, kept)| *kept) {
            change.apply(&mut self.durable_names);
        }
        self.names.clone_from(&self.durable_names);
        let mut inodes = std::mem::take(&mut self.inodes);
        inodes.retain(|id, _| self.names.values().any(|named| named == id));
        for inode in inodes.values_mut() {
            let keep = self.fates(inode.dirty.len());
            let length_kept = !inode.length_is_dirty || self.rng.bool();
            inode.settle(&keep, length_kept);
            inode.cache.clone_from(&inode.durable);
        }
        self.inodes = inodes;
        self.off = false;
        self.cut_after = None;
        self.life += 1;
        self.locked = false;
    }

    /// Which of so many changes in a row survive.
    pub(super) fn fates(&mut self, changes: usize) -> Vec<bool> {
        let style = self.rng.u8(0..4);
        let upto = self.rng.usize(0..=changes);
        (0..changes)
            .map(|index| match style {
                0 => false,
                1 => true,
                2 => index < upto,
                _ => self.rng.bool(),
            })
            .collect()
    }

    pub(super) fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.inodes.get(id)).map(Inode::len).sum()
    }

    pub(super) fn inode(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Grows a file to at least `len`, if there is space.
    pub(super) fn grow(&mut self, id: u64, len: u64) -> io::Result<()> {
        let has = self.inode(id)?.len();
        if len <= has {
            return Ok(());
        }
        if self.used() + len - has > self.space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = self.inode(id)?;
        inode.cache.resize(usize::try_from(len).expect("small"), 0);
        inode.length_is_dirty = true;
        Ok(())
    }

    pub(super) fn sync_fails(&mut self) -> bool {
        self.happens(self.sync_fails_one_in)
    }

    pub(super) fn read_fails(&mut self) -> bool {
        self.happens(self.read_fails_one_in)
    }

    pub(super) fn is_bad(&self, inode: u64, at: u64, len: u64) -> bool {
        let meets = |page: u64| at < page + 4096 && page < at + len;
        self.bad_page.is_some_and(|(bad, page)| bad == inode && meets(page))
    }

    fn happens(&mut self, one_in: u32) -> bool {
        one_in > 0 && self.rng.u32(0..one_in) == 0
    }
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.cache.len() as u64
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: usize) {
        self.cache[at..at + bytes.len()].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR..=(at + bytes.len().max(1) - 1) / SECTOR);
    }

    /// Moves the kept ones of the dirty sectors to the platter; nothing is dirty afterwards.
    pub(super) fn settle(&mut self, keep: &[bool], length_kept: bool) {
        if length_kept && self.length_is_dirty {
            self.durable.resize(self.cache.len(), 0);
        }
        let dirty = std::mem::take(&mut self.dirty);
        for (sector, _) in dirty.into_iter().zip(keep).filter(|(_, kept)| **kept) {
            let end = ((sector + 1) * SECTOR).min(self.cache.len()).min(self.durable.len());
            let start = (sector * SECTOR).min(end);
            self.durable[start..end].copy_from_slice(&self.cache[start..end]);
        }
        self.length_is_dirty = false;
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename(from, to, inode) => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
        }
    }

    pub(super) fn is_in(&self, folder: &str) -> bool {
        match self {
            Self::Link(name, _) | Self::Unlink(name) => folder_of(name) == folder,
            Self::Rename(..) => true,
        }
    }
}

pub(super) fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub(super) fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

pub(super) fn off() -> io::Error {
    io::Error::other("the power is off")
}
