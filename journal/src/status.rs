//! What the journal tells about itself, for `status`, metrics and alarms.

use std::sync::{Arc, atomic::Ordering};

use crate::Books;
use crate::OutputId;
use crate::Room;
use crate::catalog::Place;
use crate::position::{Position, PositionAlarm};
use crate::reader::Seq;
use crate::receipt::Fates;
use crate::shared::{FullBecause, Shared, lock};
use crate::stats::SyncStats;

#[derive(Clone, Debug)]
pub struct Status {
    /// Allocated, of everything in the directory.
    pub bytes: u64,
    pub bytes_max: u64,
    pub segments: usize,
    /// Something here was written by a later release: readers stop before it, and it is kept.
    pub newer: bool,
    /// The newest durable frame; `Seq(0)` if there is none.
    pub durable: Seq,
    /// What the next frame will be.
    pub next: Seq,
    pub room: Room,
    /// While `room` is `Full`. `DiskFails` is the degraded state: nothing is acknowledged, a new
    /// segment is tried every 1 to 30 s, and it ends by itself when one can be written.
    pub full_because: Option<FullBecause>,
    /// Intake's books since the journal was made; with the counts of the last minute at most, which
    /// no frame carries yet and a crash would lose.
    pub books: Books,
    pub positions: Vec<PositionStatus>,
    /// Since the journal was opened, as is all below.
    pub groups: u64,
    pub frames: u64,
    pub bytes_written: u64,
    pub syncs: SyncStats,
    /// Groups that had to be written again.
    pub commit_errors: u64,
    /// Frames that recovery or readers found damaged or missing, each counted once.
    pub damaged_frames: u64,
    /// Frames on which the process crashed twice, and that are in quarantine since.
    pub set_aside_frames: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionStatus {
    pub id: OutputId,
    /// Everything at or below it is done with.
    pub low: Seq,
    /// The same, as it is on the disk.
    pub low_on_disk: Seq,
    /// Readings journaled for this output: fates and pending together.
    pub journaled: u64,
    /// Readings that are not done with.
    pub pending: u64,
    pub fates: Fates,
    /// A reader lives: an output claims it.
    pub claimed: bool,
    pub alarm: Option<PositionAlarm>,
}

impl Status {
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        let stats = &shared.stats;
        // Positions before books: what is done was journaled before, so pending is never negative.
        let looked: Vec<_> = shared.positions().iter().map(look).collect();
        let mut books = shared.books().books;
        books.count(&lock(&shared.carried));
        let durable = shared.durable();
        let places = shared.catalog.places();
        Self {
            bytes: shared.allocated(),
            bytes_max: shared.limits.bytes_max,
            segments: places.len(),
            newer: places.iter().any(|place| matches!(place, Place::Closed { by_newer: true, .. }))
                || looked.iter().any(Looked::is_newer)
                || shared.clock.is_newer(),
            durable: Seq(durable),
            next: Seq(durable + 1),
            room: *shared.room.borrow(),
            full_because: *lock(&shared.full_because),
            books,
            positions: looked.into_iter().map(|looked| looked.with(&books)).collect(),
            groups: stats.groups.load(Ordering::Relaxed),
            frames: stats.frames.load(Ordering::Relaxed),
            bytes_written: stats.bytes_written.load(Ordering::Relaxed),
            syncs: stats.syncs(),
            commit_errors: stats.commit_errors.load(Ordering::Relaxed),
            set_aside_frames: stats.set_aside.load(Ordering::Relaxed),
            damaged_frames: stats.damaged_frames.load(Ordering::Relaxed),
        }
    }
}

struct Looked {
    position: Arc<Position>,
    low: u64,
    base: u64,
    done: u64,
    fates: Fates,
}

fn look(position: &Arc<Position>) -> Looked {
    let (low, base, (done, fates)) =
        position.ledger(|ledger| (ledger.low, ledger.base, ledger.done()));
    Looked { position: Arc::clone(position), low, base, done, fates }
}

impl Looked {
    fn is_newer(&self) -> bool {
        let alarm = self.position.alarm();
        matches!(alarm, Some(PositionAlarm::Newer | PositionAlarm::NewerFrames))
    }

    fn with(self, books: &Books) -> PositionStatus {
        let journaled = books.of(self.position.kind).saturating_sub(self.base);
        PositionStatus {
            id: self.position.id.clone(),
            low: Seq(self.low),
            low_on_disk: Seq(self.position.low_on_disk()),
            journaled,
            pending: journaled.saturating_sub(self.done),
            fates: self.fates,
            claimed: self.position.taken.load(Ordering::Acquire),
            alarm: self.position.alarm(),
        }
    }
}
