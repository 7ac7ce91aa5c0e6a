//! One output's position: its ledger in memory, and the two records on the disk.
//!
//! Promises: the record on the disk may lag behind the ledger, never lead it; the newest valid
//! record is never the one being written; a slot whose write or sync failed is made anew under the
//! same generation (a generation that rose without a good write would send the next one into the
//! slot of the last valid record).

mod files;
pub(crate) mod record;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

pub(crate) use files::{Read, id_of, name, newest_generation, read_slot};

use crate::Books;
use crate::Kind;
use crate::OutputId;
use crate::care::Care;
use crate::disk::{self, File};
use crate::forget;
use crate::ledger::Ledger;
use crate::options::{Mutant, PAGE};
use crate::position::record::Record;

use crate::receipt::Fates;
use crate::restart::{Counted, Restart};
use crate::shared::{Shared, lock};

const WRITE_EVERY: Duration = Duration::from_secs(1);
const PASSED_BY_EVERY: Duration = Duration::from_secs(30);
const WRITE_BYTES: u64 = 8 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) id: OutputId,
    /// Frames of other kinds are passed by.
    pub(crate) kind: Kind,
    ledger: Mutex<Ledger>,
    /// Held while a record is written and synced: only the keeper may wait for it.
    slots: Mutex<Slots>,
    /// The newest durable record's low mark; 0 if there is none.
    low_on_disk: AtomicU64,
    /// Payload bytes that the newest record counts as done.
    bytes_on_disk: AtomicU64,
    /// A lease was given up: the reader must look at its ledger.
    pub(crate) given_up: Notify,
    /// A reader lives.
    pub(crate) taken: AtomicBool,
    /// An output has asked for it since the journal was opened.
    claimed: AtomicBool,
    /// Why its reader stands before something that it does not read.
    pub(crate) stopped: Mutex<Option<PositionAlarm>>,
    found: Option<PositionAlarm>,
    /// Its output says that a later release wrote its state.
    has_newer_state: AtomicBool,
    pub(crate) care: Care,
}

/// Something about a position that its owner should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionAlarm {
    #[error("its files are there but none is valid: started from the oldest frame")]
    Damaged,
    #[error("its files belong to another journal: started from the oldest frame")]
    OtherJournal,
    #[error("a later release wrote it: it waits for that release, and keeps its frames")]
    Newer,
    #[error("it stands before a segment that cannot be read: look at the disk")]
    Stopped,
    #[error("it stands before what a later release wrote, and waits for that release")]
    NewerFrames,
}

/// What is on the disk.
#[derive(Debug)]
pub(crate) struct Slots {
    pub(crate) generation: u64,
    /// The file of generation g is `files[g % 2]`; `None` is made anew before it is written.
    pub(crate) files: [Option<Arc<dyn File>>; 2],
    /// The newest durable record's low mark; `None` if there is none.
    pub(crate) low: Option<u64>,
    /// What that record says became of the readings up to there.
    fates: Fates,
    working_on: u64,
    /// Which checkpoint it holds.
    checkpoint: u64,
    written_at: Option<Instant>,
    /// Of each file.
    sizes: [u64; 2],
    is_forgotten: bool,
}

impl Slots {
    pub(crate) fn none() -> Self {
        Self {
            generation: 0,
            files: [None, None],
            low: None,
            fates: Fates::default(),
            working_on: 0,
            checkpoint: 0,
            written_at: None,
            sizes: [0, 0],
            is_forgotten: false,
        }
    }

    pub(crate) fn found(
        generation: u64,
        files: [Option<Arc<dyn File>>; 2],
        low: Option<u64>,
        fates: Fates,
        working_on: u64,
        sizes: [u64; 2],
    ) -> Self {
        Self { generation, files, low, fates, working_on, sizes, ..Self::none() }
    }

    fn set_size(&mut self, slot: u64, bytes: u64) {
        if let Some(size) = self.sizes.get_mut(usize::from(slot == 1)) {
            *size = bytes;
        }
    }

    fn is_news(&self, restart: &Restart, working_on: u64) -> bool {
        self.low != Some(restart.at.low)
            || self.fates != restart.at.fates
            || self.checkpoint != restart.number
            || self.working_on != working_on
    }
}

impl Position {
    pub(crate) fn new(
        id: OutputId,
        ledger: Ledger,
        slots: Slots,
        alarm: Option<PositionAlarm>,
        care: Care,
    ) -> Self {
        Self {
            kind: kind_of(&id),
            id,
            ledger: Mutex::new(ledger),
            low_on_disk: AtomicU64::new(slots.low.unwrap_or(0)),
            bytes_on_disk: AtomicU64::new(0),
            slots: Mutex::new(slots),
            given_up: Notify::new(),
            taken: AtomicBool::new(false),
            claimed: AtomicBool::new(false),
            stopped: Mutex::default(),
            found: alarm,
            has_newer_state: AtomicBool::new(false),
            care,
        }
    }

    pub(crate) fn ledger<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut lock(&self.ledger))
    }

    /// A later release's: nothing of it is read, rewritten or passed.
    pub(crate) fn is_frozen(&self) -> bool {
        self.found == Some(PositionAlarm::Newer) || self.has_newer_state.load(Ordering::Acquire)
    }

    /// From now on it is as if a later release had written all of it.
    pub(crate) fn freeze(&self) {
        self.has_newer_state.store(true, Ordering::Release);
    }

    pub(crate) fn alarm(&self) -> Option<PositionAlarm> {
        let newer = self.is_frozen().then_some(PositionAlarm::Newer);
        newer.or(self.found).or(*lock(&self.stopped))
    }

    /// A lease came back: with its readings' fates, or given up.
    pub(crate) fn settle(&self, seq: u64, fates: Option<Fates>) {
        if self.ledger(|ledger| ledger.settle(seq, fates)) {
            self.given_up.notify_one();
        }
    }

    /// Moves past `last`, whatever is not done up to there; returns how many readings that costs.
    pub(crate) fn give_way(&self, shared: &Shared, last: u64, books: &Books) -> u64 {
        let (kept, state) = self.ledger(|ledger| (ledger.fates.dropped, ledger.recorded().state));
        let dropped = self.ledger(|ledger| ledger.cut(last, books.of(self.kind)));
        if shared.is(Mutant::LossNotCounted) {
            self.ledger(|ledger| ledger.fates.dropped = kept);
        }
        if shared.is(Mutant::StateKeptAcrossAGap) {
            self.ledger(|ledger| ledger.restarts.keep_across_a_gap(state));
        }
        self.given_up.notify_one();
        dropped
    }

    /// Whether a configured output needs it. The built-in reader of what intake refused always
    /// does.
    pub(crate) fn is_claimed(&self) -> bool {
        self.kind == Kind::Rejected || self.claimed.load(Ordering::Acquire)
    }

    /// Everything at or below it may be freed, as far as this output is concerned.
    pub(crate) fn low_on_disk(&self) -> u64 {
        self.low_on_disk.load(Ordering::Acquire)
    }

    /// As a record would say it now.
    pub(crate) fn low(&self) -> u64 {
        self.ledger(|ledger| ledger.restarts.now().map_or(ledger.low, |now| now.at.low))
    }

    /// Bytes that its two files will still take: the one as many as the other.
    pub(crate) fn unallocated(&self) -> u64 {
        let sizes = lock(&self.slots).sizes;
        let each = sizes.into_iter().max().unwrap_or(0).max(PAGE);
        sizes.into_iter().map(|size| each - size).sum()
    }

    /// Whether a record should be written now: it says something new, and a second or 8 MiB passed.
    /// One that only says which frames were passed by can wait: at worst they are passed again.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let restart = self.ledger(|ledger| ledger.recorded());
        let slots = lock(&self.slots);
        let same = slots.fates == restart.at.fates && slots.checkpoint == restart.number;
        let every = if same { PASSED_BY_EVERY } else { WRITE_EVERY };
        let waited = slots.written_at.is_none_or(|at| now.duration_since(at) >= every);
        slots.is_news(&restart, self.care.working_on()) && (waited || self.is_pressing())
    }

    /// Whether so much is done that the keeper should not wait for its second. Never blocks on the
    /// disk.
    pub(crate) fn is_pressing(&self) -> bool {
        let (bytes_done, has_state) =
            self.ledger(|ledger| (ledger.bytes_done, ledger.restarts.now().is_some()));
        // Of a state the reader knows when the next one is due.
        !has_state
            && bytes_done.saturating_sub(self.bytes_on_disk.load(Ordering::Relaxed)) >= WRITE_BYTES
    }

    /// Its files go, and no record is written any more.
    pub(crate) fn forget(&self, shared: &Shared) -> io::Result<()> {
        let mut slots = lock(&self.slots);
        slots.files = [None, None];
        forget::remove_files(&*shared.disk, self.id.as_str(), slots.generation)?;
        slots.is_forgotten = true;
        shared.release(slots.sizes.into_iter().sum());
        slots.sizes = [0, 0];
        Ok(())
    }

    /// Writes and syncs a record, if it would say anything new.
    pub(crate) fn write(&self, shared: &Shared, now: Instant) -> io::Result<()> {
        if self.is_frozen() {
            return Ok(());
        }
        let mut slots = lock(&self.slots);
        if slots.is_forgotten {
            return Ok(());
        }
        let (restart, bytes_done) = self.ledger(|ledger| (ledger.recorded(), ledger.bytes_done));
        if !slots.is_news(&restart, self.care.working_on()) {
            return Ok(());
        }
        let checkpoint = restart.number;
        let record = self.record(shared, slots.generation + 1, restart);
        slots.written_at = Some(now);
        let slot = record.generation % 2;
        let bytes = record.bytes();
        let size = slots.sizes.get(usize::from(slot == 1)).copied().unwrap_or(0);
        let file = slots.files.get_mut(usize::from(slot == 1)).and_then(Option::take);
        let file = if let Some(file) = file.filter(|_| bytes.len() as u64 <= size) {
            file.write_all_at(&bytes, 0)?;
            if !shared.is(Mutant::NoPositionSyncBeforeDelete) {
                file.sync()?;
            }
            file
        } else {
            self.make_anew(shared, &mut slots, slot, &bytes)?
        };
        if let Some(place) = slots.files.get_mut(usize::from(slot == 1)) {
            *place = Some(file);
        }
        slots.generation = record.generation;
        slots.low = Some(record.low);
        slots.fates = record.fates;
        slots.working_on = record.working_on;
        slots.checkpoint = checkpoint;
        self.low_on_disk.store(record.low, Ordering::Release);
        self.bytes_on_disk.store(bytes_done, Ordering::Relaxed);
        Ok(())
    }

    /// The file of that slot, with room for a larger state than this one. The other one holds the
    /// newest record: where there is not enough space for both, this one goes first.
    fn make_anew(
        &self,
        shared: &Shared,
        slots: &mut Slots,
        slot: u64,
        bytes: &[u8],
    ) -> io::Result<Arc<dyn File>> {
        let name = name(self.id.as_str(), slot);
        let mut room = room_for(bytes.len() as u64);
        let mut made = disk::create_whole(&*shared.disk, &name, bytes, room);
        let mut former = slots.sizes.get(usize::from(slot == 1)).copied().unwrap_or(0);
        if made.is_err() && former > 0 && slots.low.is_some() {
            disk::remove_if_there(&*shared.disk, &name)?;
            shared.release(former);
            former = 0;
            slots.set_size(slot, 0);
            room = bytes.len() as u64;
            made = disk::create_whole(&*shared.disk, &name, bytes, room);
        }
        let file = made?;
        shared.release(former);
        shared.allocate(room);
        slots.set_size(slot, room);
        Ok(file)
    }

    fn record(&self, shared: &Shared, generation: u64, restart: Restart) -> Record {
        let Counted { low, passed, fates } = restart.at;
        let base = self.ledger(|ledger| ledger.base);
        // Read after the ledger: what is confirmed was durable before.
        let hint = shared.durable();
        Record {
            generation,
            journal: shared.journal,
            low,
            hint,
            base,
            passed,
            working_on: self.care.working_on(),
            fates,
            is_cut: restart.is_cut,
            state: restart.state,
        }
    }

    pub(crate) fn take(&self) -> bool {
        self.claimed.store(true, Ordering::Release);
        !self.taken.swap(true, Ordering::AcqRel)
    }

    /// As [`Self::take`], but no output claims it by that.
    pub(crate) fn take_to_forget(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn give_back(&self) {
        self.taken.store(false, Ordering::Release);
    }
}

/// What a file takes for a record of so many bytes: one with a state may grow by a quarter.
fn room_for(bytes: u64) -> u64 {
    if bytes > PAGE { (bytes + bytes / 4).next_multiple_of(PAGE) } else { PAGE }
}

pub(crate) fn kind_of(id: &OutputId) -> Kind {
    if *id == OutputId::intake_dead() { Kind::Rejected } else { Kind::Data }
}
