//! What the writer, the keeper and the readers share.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::watch;

use crate::Books;
use crate::Counts;
use crate::Frame;
use crate::Room;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::desk::Desk;
use crate::disk::{Disk, Lock};
use crate::options::{Limits, Mutant};
use crate::position::Position;
use crate::spare::Spares;
use crate::stats::Stats;

/// Beyond so many the list ends; the counter goes on.
const GAPS_MAX: usize = 1024;

/// The books as of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BooksAt {
    pub(crate) books: Books,
    /// The last frame that is counted in.
    pub(crate) seq: u64,
}

/// Why nothing is acknowledged; each asks something else of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FullBecause {
    /// Outputs lag: bring the database back, or give the journal more bytes.
    #[error("the journal is full")]
    NoRoom,
    /// Degraded: writes or syncs fail twice in a row. Look at the disk.
    #[error("the journal's disk fails")]
    DiskFails,
}

/// How far the journal is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) durable: u64,
    /// The writer has finished: nothing more comes.
    pub(crate) ended: bool,
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) limits: Limits,
    /// The journal's uuid.
    pub(crate) journal: [u8; 16],
    pub(crate) catalog: Catalog,
    pub(crate) clock: Clock,
    pub(crate) head: watch::Sender<Head>,
    pub(crate) room: watch::Sender<Room>,
    /// No segment can be prepared because the disk fails, not because it is full.
    pub(crate) cannot_prepare: AtomicBool,
    /// Why there is no room.
    pub(crate) full_because: Mutex<Option<FullBecause>>,
    pub(crate) books: Mutex<BooksAt>,
    /// Intake's counts that no frame carries yet.
    pub(crate) carried: Mutex<Counts>,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) positions: Mutex<Vec<Arc<Position>>>,
    pub(crate) desk: Desk,
    /// Recycled files, ready to become segments again.
    pub(crate) spares: Spares,
    pub(crate) stats: Stats,
    /// Bytes of everything in the directory.
    pub(crate) allocated: AtomicU64,
    /// The next segment's id.
    pub(crate) next_id: AtomicU64,
    /// Somebody said so, a submission has come, or an output's receipt: by then every configured output has asked for its
    /// reader. Before, nothing is freed: an output whose position never reached the disk may
    /// still need it.
    pub(crate) in_use: AtomicBool,
    /// Frames up to here were given up under `drop-oldest`: what is missing among them is no damage.
    pub(crate) dropped_upto: AtomicU64,
    /// Segments from this id on were written since the journal was opened.
    pub(crate) own_from: u64,
    /// The segment being written, 0 if none.
    pub(crate) active: AtomicU64,
    /// The writer's thread, the keeper's or the task that settles ended by a panic.
    pub(crate) died: watch::Sender<bool>,
    /// Gaps that have been reported: several readers meet the same one.
    pub(crate) gaps: Mutex<Vec<(u64, u64)>>,
    /// Held until the journal is closed, or all of it is dropped.
    pub(crate) lock: Mutex<Option<Lock>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("head", &*self.head.borrow()).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.limits.is(mutant)
    }

    pub(crate) fn durable(&self) -> u64 {
        self.head.borrow().durable
    }

    pub(crate) fn books(&self) -> BooksAt {
        *lock(&self.books)
    }

    pub(crate) fn positions(&self) -> Vec<Arc<Position>> {
        lock(&self.positions).clone()
    }

    /// Takes note of lost frames. `true` if any of them was not known yet: then the caller says so.
    pub(crate) fn name_gap(&self, first: u64, last: u64) -> bool {
        let mut gaps = lock(&self.gaps);
        let known: u64 = gaps.iter().map(|gap| overlap(*gap, (first, last))).sum();
        let new = last + 1 - first - known;
        if new == 0 {
            return false;
        }
        // Ranges never overlap: what the new one meets becomes part of it.
        let (mut from, mut to) = (first, last);
        gaps.retain(|gap| {
            let meets = overlap(*gap, (first, last)) > 0;
            if meets {
                (from, to) = (from.min(gap.0), to.max(gap.1));
            }
            !meets
        });
        if gaps.len() < GAPS_MAX {
            gaps.push((from, to));
        }
        self.stats.damaged_frames.fetch_add(new, Ordering::Relaxed);
        true
    }

    pub(crate) fn allocate(&self, bytes: u64) {
        self.allocated.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.allocated.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }
}

/// Just-written frames for readers at the head, bounded in bytes. Consecutive numbers.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    frames: VecDeque<TailFrame>,
    bytes: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct TailFrame {
    pub(crate) seq: u64,
    pub(crate) at: FrameAt,
    pub(crate) frame: Frame,
}

/// Where a frame lies on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameAt {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Tail {
    /// Only frames that are durable.
    pub(crate) fn push(&mut self, frame: TailFrame, bytes_max: usize) {
        self.bytes += frame.frame.payload.len();
        self.frames.push_back(frame);
        while self.bytes > bytes_max {
            let Some(gone) = self.frames.pop_front() else { break };
            self.bytes -= gone.frame.payload.len();
        }
    }

    /// Frames from `seq` on, up to `bytes_max`; none if `seq` is not in memory (any more).
    pub(crate) fn from(&self, seq: u64, bytes_max: usize) -> Vec<TailFrame> {
        let Some(first) = self.frames.front().map(|frame| frame.seq) else { return Vec::new() };
        let Some(skip) = seq.checked_sub(first).and_then(|skip| usize::try_from(skip).ok()) else {
            return Vec::new();
        };
        let mut bytes = 0;
        let within = |frame: &&TailFrame| {
            bytes += frame.frame.payload.len();
            bytes <= bytes_max || bytes == frame.frame.payload.len()
        };
        self.frames.iter().skip(skip).take_while(within).cloned().collect()
    }
}

/// Numbers that both ranges have.
fn overlap(one: (u64, u64), other: (u64, u64)) -> u64 {
    (one.1.min(other.1) + 1).saturating_sub(one.0.max(other.0))
}

/// A panic while the lock was held ends the process elsewhere; what it guards stays usable.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
