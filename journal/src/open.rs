//! Opening a journal, and holding it open.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tracing::{error, warn};

use crate::Appender;
use crate::ForgetError;
use crate::Options;
use crate::OutputId;
use crate::Reader;
use crate::Room;
use crate::Start;
use crate::Status;
use crate::care::Care;
use crate::catalog::Catalog;
use crate::clock::{Clock, ClockBook};
use crate::desk::Desk;
use crate::disk::{Disk, RealDisk};
use crate::forget;
use crate::keeper::{self, Trouble};
use crate::ledger::Ledger;
use crate::note;
use crate::options::Limits;
use crate::position::{Position, Slots};
use crate::queue::Queue;
use crate::receipt::Fates;
use crate::recover;
use crate::shared::{BooksAt, Head, Shared, lock};
use crate::spare::Spares;
use crate::stats::Stats;
use crate::writer::Writer;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another gateway runs on this directory: stop one of them.
    #[error("another process holds {}", .0.display())]
    Locked(PathBuf),
    /// The directory itself is unusable: permissions, a missing mount.
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// Two outputs with one id: a fault in the configuration.
    #[error("a reader of `{0}` is open already")]
    Taken(OutputId),
}

const JOIN_MAX: Duration = Duration::from_secs(30);
const JOIN_LOOK_EVERY: Duration = Duration::from_millis(1);

/// What opening found, for one log line and for `journal verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that the journal goes on with.
    pub segments: u64,
    /// In segments that had not been sealed.
    pub frames_scanned: u64,
    /// Of groups that a crash cut short: never acknowledged.
    pub torn_bytes: u64,
    /// Ranges of sequence numbers that were durable once and are damaged now. What is damaged in
    /// sealed segments is found and named by the readers.
    pub corrupt: Vec<(u64, u64)>,
    /// Files that went to `quarantine/` whole.
    pub quarantined: Vec<String>,
    /// Files of a later release, or unreadable today: left alone, readers stop before them.
    pub closed: Vec<String>,
}

/// The journal's owner: readers, status, the end. Dropped without [`Journal::close`], its threads
/// end by themselves, without a word about how.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
}

/// Opens (or creates) the journal in `options.dir` on the real disk and starts its threads.
/// Blocks. Inside a tokio runtime, large groups are settled by one of its tasks.
pub fn open(options: &Options) -> Result<(Journal, Appender, Recovery), OpenError> {
    open_with(Arc::new(RealDisk::new(&options.dir)), options)
}

/// The same on any disk; `options.dir` is only named in errors.
pub fn open_with(
    disk: Arc<dyn Disk>,
    options: &Options,
) -> Result<(Journal, Appender, Recovery), OpenError> {
    open_within(disk, options, options.limits())
}

pub(crate) fn open_within(
    disk: Arc<dyn Disk>,
    options: &Options,
    limits: Limits,
) -> Result<(Journal, Appender, Recovery), OpenError> {
    let failed = |action| move |source| OpenError::Io { action, path: options.dir.clone(), source };
    let (shared, report) = prepare(disk, &options.dir, limits)?;
    let queue = Arc::new(Queue::new(options.queue_bytes_max));
    let writer = Writer::new(Arc::clone(&shared), Arc::clone(&queue), options.sync_wait)
        .map_err(failed("compress in"))?;
    let writer = spawn("journal-writer", move || writer.run()).map_err(failed("write"))?;
    let keeper = {
        let shared = Arc::clone(&shared);
        spawn("journal-keeper", move || keeper::run(&shared)).map_err(failed("keep"))?
    };
    let appender = Appender::new(Arc::clone(&queue), Arc::clone(&shared));
    let journal = Journal { shared, queue, writer: Some(writer), keeper: Some(keeper) };
    Ok((journal, appender, report))
}

/// Everything up to the threads: directory, lock, recovery, the first prepared segment.
pub(crate) fn prepare(
    disk: Arc<dyn Disk>,
    dir: &Path,
    limits: Limits,
) -> Result<(Arc<Shared>, Recovery), OpenError> {
    let failed = |action| move |source| OpenError::Io { action, path: dir.to_owned(), source };
    disk.prepare().map_err(failed("make"))?;
    let held = match disk.lock() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(OpenError::Locked(dir.to_owned()));
        }
        other => other.map_err(failed("lock"))?,
    };
    let found = recover::recover(&disk, &limits).map_err(failed("list"))?;
    let durable = found.next_seq - 1;
    let oldest = found.places.first().map(|place| place.begin().first_seq);
    let clock = Clock::open(&*disk, found.journal, durable, oldest, found.last_begun_ns)
        .map_err(failed("read the clock epochs in"))?;
    let shared = Arc::new(Shared {
        disk,
        limits,
        journal: found.journal,
        catalog: Catalog::new(found.places),
        clock,
        head: watch::Sender::new(Head { durable, ended: false }),
        room: watch::Sender::new(Room::Free),
        cannot_prepare: AtomicBool::new(false),
        full_because: Mutex::default(),
        books: Mutex::new(BooksAt { books: found.books, seq: durable }),
        carried: Mutex::default(),
        tail: Mutex::default(),
        positions: Mutex::new(found.positions),
        desk: Desk::default(),
        spares: Spares::default(),
        stats: Stats::default(),
        allocated: AtomicU64::new(found.allocated),
        next_id: AtomicU64::new(found.next_id),
        in_use: AtomicBool::new(false),
        dropped_upto: AtomicU64::new(0),
        own_from: found.next_id,
        active: AtomicU64::new(0),
        died: watch::Sender::new(false),
        gaps: Mutex::default(),
        lock: Mutex::new(Some(held)),
    });
    for position in shared.positions() {
        position.care.begin(durable);
    }
    for (first, last) in &found.report.corrupt {
        shared.name_gap(*first, *last);
    }
    find_position(&shared, &OutputId::intake_dead(), Start::Oldest);
    keeper::round(&shared, Instant::now(), &mut Trouble::default());
    Ok((shared, found.report))
}

/// The output's position, on the disk if the disk lets us.
pub(crate) fn find_position(shared: &Arc<Shared>, id: &OutputId, start: Start) -> Arc<Position> {
    let mut positions = lock(&shared.positions);
    if let Some(position) = positions.iter().find(|position| position.id == *id) {
        return Arc::clone(position);
    }
    let position =
        Position::new(id.clone(), Ledger::default(), Slots::none(), None, Care::default());
    let (low, base) = match (start, shared.catalog.oldest()) {
        (Start::Oldest, Some(first)) => (first.first_seq - 1, first.books.of(position.kind)),
        (Start::Oldest, None) | (Start::New, _) => {
            let at = shared.books();
            (at.seq, at.books.of(position.kind))
        }
    };
    position.ledger(|ledger| *ledger = Ledger::new(low, base, 0, Fates::default()));
    let position = Arc::new(position);
    if let Err(error) = position.write(shared, Instant::now()) {
        warn!(output = %id, %error, "a new position is not on the disk yet");
    }
    positions.push(Arc::clone(&position));
    position
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

impl Journal {
    /// The reader of one output; one at a time for each id. Blocks when the output was never seen
    /// before: its position is written first, so that nothing it needs is freed. Ask for all
    /// readers before the first submission.
    pub fn reader(&self, id: &OutputId, start: Start) -> Result<Reader, OpenError> {
        let position = find_position(&self.shared, id, start);
        if position.take() {
            Ok(Reader::new(Arc::clone(&self.shared), position))
        } else {
            Err(OpenError::Taken(id.clone()))
        }
    }

    /// The reader of `rejected` frames (`intake-dead`). While nobody reads them, nothing is freed.
    pub fn rejects(&self) -> Result<Reader, OpenError> {
        self.reader(&OutputId::intake_dead(), Start::Oldest)
    }

    /// Every output has asked for its reader: from now on what none of them needs is freed, also
    /// before the first submission.
    pub fn begin(&self) {
        self.shared.in_use.store(true, Ordering::Release);
        self.shared.desk.nudge();
    }

    /// The same for as long as the journal lives.
    pub fn id(&self) -> [u8; 16] {
        self.shared.journal
    }

    /// Shows `take` the notes of earlier submissions, oldest first: those in the last `bytes_max`
    /// bytes of the journal. Whatever was acknowledged and is not too long ago is among them; of
    /// what was not acknowledged, just what will be delivered. Blocks on the disk.
    pub fn notes(&self, bytes_max: u64, take: impl FnMut(&[u8])) {
        note::tail(&self.shared, bytes_max, take);
    }

    /// What is known of the clocks that stamped its submissions.
    pub fn clock(&self) -> ClockBook {
        ClockBook::new(Arc::clone(&self.shared))
    }

    pub fn status(&self) -> Status {
        Status::of(&self.shared)
    }

    /// Drops the position of an output that is gone for good, and frees what only it needed.
    /// Blocks on the disk.
    pub fn forget(&self, id: &OutputId) -> Result<(), ForgetError> {
        forget::forget(&self.shared, id)
    }

    /// A handle for `status` that outlives borrows of the journal.
    pub fn watcher(&self) -> Watcher {
        Watcher { shared: Arc::clone(&self.shared) }
    }

    /// Resolves if one of its threads dies, which only a fault of ours does: end the process.
    /// Never resolves otherwise. Cancel safe.
    pub async fn died(&self) {
        let mut died = self.shared.died.subscribe();
        if died.wait_for(|died| *died).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// After the last appender and reader are gone: what waits is made durable (or given up, if
    /// there is no room for it or the disk fails: the log says how much), positions are written,
    /// the lock is released. Seals nothing early. Blocks, on a disk that does not answer for a
    /// minute at most; call it off the reactor.
    pub fn close(mut self) {
        self.queue.close();
        self.shared.desk.close();
        let writer = join(self.writer.take());
        self.shared.desk.end();
        let keeper = join(self.keeper.take());
        if writer && keeper {
            lock(&self.shared.lock).take();
        } else {
            error!("the disk does not answer; the directory stays locked while the process lives");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue.close();
        self.shared.desk.close();
        self.shared.desk.end();
    }
}

/// `false`: it hangs in a call to the disk, and nothing can end it.
fn join(thread: Option<JoinHandle<()>>) -> bool {
    let Some(thread) = thread else { return true };
    let started = Instant::now();
    while !thread.is_finished() {
        if started.elapsed() > JOIN_MAX {
            return false;
        }
        std::thread::sleep(JOIN_LOOK_EVERY);
    }
    if thread.join().is_err() {
        error!("a thread of the journal died");
    }
    true
}

/// Looks at the journal from elsewhere.
#[derive(Clone, Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
}

impl Watcher {
    pub fn status(&self) -> Status {
        Status::of(&self.shared)
    }

    /// As [`Journal::forget`].
    pub fn forget(&self, id: &OutputId) -> Result<(), ForgetError> {
        forget::forget(&self.shared, id)
    }
}
