//! The way out: leases in order, receipts in any order, a position that only proof moves.
//!
//! A frame has at most one live lease. Dropping a receipt makes the reader go back to that frame;
//! those behind it that are still out, or done, are not handed out twice.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::Frame;
use crate::care::{self, CareTask, Step};
use crate::fetch::{Fetcher, Item};
use crate::ledger::{Ledger, Offer, Way};
use crate::position::Position;
use crate::position::PositionAlarm;
use crate::receipt::{Fates, Receipt};
use crate::restart::Checkpoint;
use crate::shared::{Head, Shared, lock};

/// A segment that cannot be opened is tried again so often.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// A state up to this is written as often as a position.
const SMALL_STATE: usize = 64 * 1024;
const SMALL_STATE_EVERY: Duration = Duration::from_secs(1);
const LARGE_STATE_EVERY: Duration = Duration::from_secs(30);
/// While the journal is full.
const PRESSED_EVERY: Duration = Duration::from_millis(200);

/// A frame's sequence number: rises by one per frame, never reused. The first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// One frame on loan to one output. Dropping the receipt hands it out again.
#[derive(Debug)]
pub struct Lease {
    pub seq: Seq,
    pub frame: Frame,
    pub receipt: Receipt,
}

/// One output's way through the journal. Only frames that are durable.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    position: Arc<Position>,
    head: watch::Receiver<Head>,
    /// Fetched, not yet handed out.
    ready: VecDeque<Item>,
    /// Away while `fetching`.
    fetcher: Option<Fetcher>,
    fetching: Option<JoinHandle<(Fetcher, Vec<Item>)>>,
    /// What must be on the disk before the first of `ready` is handed out; and for which frame that
    /// was done. Only after a crash of the process.
    caring: Option<CareTask>,
    cared: Option<u64>,
    saved: Saved,
}

/// The last checkpoint.
#[derive(Clone, Copy, Debug)]
struct Saved {
    at: Instant,
    state_bytes: usize,
    /// Payload bytes that were done with then.
    done: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, position: Arc<Position>) -> Self {
        position.ledger(Ledger::go_back_to_restart);
        let fetcher = fetcher_at_low(&shared, &position);
        let done = position.ledger(|ledger| ledger.bytes_done);
        let saved = Saved { at: Instant::now(), state_bytes: 0, done };
        let head = shared.head.subscribe();
        Self {
            shared,
            position,
            head,
            ready: VecDeque::new(),
            fetcher: Some(fetcher),
            fetching: None,
            caring: None,
            cared: None,
            saved,
        }
    }

    /// What this output knew as of the frames before the first that it gets. Empty: nothing.
    pub fn state(&self) -> Arc<[u8]> {
        self.position.ledger(|ledger| ledger.recorded().state)
    }

    /// What it knew is lost: the position's files were there, and none was valid; or frames that it
    /// should have seen made room for others before a crash.
    pub fn has_lost_state(&self) -> bool {
        use PositionAlarm::{Damaged, OtherJournal};
        matches!(self.position.alarm(), Some(Damaged | OtherJournal))
            || self.position.ledger(|ledger| ledger.restarts.is_cut())
    }

    /// A later release wrote the state: nothing is handed out, the position and the frames behind it
    /// stay as they are until that release is back. Before the first lease.
    pub fn leave_to_newer(&mut self) {
        self.position.freeze();
    }

    /// From now on only checkpoints move the position. Before the first lease. `held`: readings that
    /// were absorbed and are nowhere but in the state.
    pub fn keep_state(&mut self, held: u64) {
        let state = self.state();
        self.position.ledger(|ledger| {
            let counted = ledger.counted();
            ledger.restarts.hold(counted, state, held);
        });
    }

    /// Whether it is time for the next checkpoint: a second after the last one, or 8 MiB; for a large
    /// state half a minute, or 64 MiB; at most an eighth of the journal; and when it is full.
    pub fn is_checkpoint_due(&self) -> bool {
        let (done, is_pending) =
            self.position.ledger(|ledger| (ledger.bytes_done, ledger.restarts.is_pending()));
        let waited = self.saved.at.elapsed();
        let held_back = done.saturating_sub(self.saved.done);
        let is_large = self.saved.state_bytes > SMALL_STATE;
        let (every, bytes) =
            if is_large { (LARGE_STATE_EVERY, 64 << 20) } else { (SMALL_STATE_EVERY, 8 << 20) };
        let is_pressing = held_back >= bytes.min(self.shared.limits.bytes_max / 8)
            || (self.shared.desk.is_wanted() && waited >= PRESSED_EVERY);
        !is_pending && (waited >= every || is_pressing)
    }

    /// Hands over the state as of exactly `upto`, the last frame that was worked on. The position
    /// moves there once every frame up to it is done with and the checkpoint is confirmed. `held`:
    /// readings that were absorbed and are nowhere but in the state.
    pub fn checkpoint(&mut self, upto: Seq, state: Vec<u8>, held: u64) -> Checkpoint {
        let state_bytes = state.len();
        let (number, done) = self.position.ledger(|ledger| {
            let counted = ledger.counted();
            (ledger.restarts.take(upto.0, state, held, counted), ledger.bytes_done)
        });
        self.saved = Saved { at: Instant::now(), state_bytes, done };
        Checkpoint::new(Arc::clone(&self.shared), Arc::clone(&self.position), number)
    }

    /// The next frame in order; after a dropped receipt, from that frame on again. `None` when the
    /// journal's appenders are gone, the writer has finished and everything was handed out; a
    /// receipt that is dropped after that makes the next call return its frame. Cancel safe. Needs
    /// a tokio runtime: what is no longer in memory is read on a blocking thread.
    pub async fn next(&mut self) -> Option<Lease> {
        loop {
            self.finish_fetch().await?;
            self.finish_care().await?;
            self.go_back();
            if self.start_care() {
                continue;
            }
            while let Some(item) = self.ready.pop_front() {
                if let Some(lease) = apply(&self.shared, &self.position, item)
                    && let Some(lease) = self.judge(lease)
                {
                    return Some(lease);
                }
                if self.start_care() {
                    break;
                }
            }
            if self.caring.is_some() {
                continue;
            }
            let head = *self.head.borrow_and_update();
            if !self.fetch(head.durable).await? {
                if head.ended && !self.position.ledger(|ledger| ledger.has_again()) {
                    return None;
                }
                self.wait().await;
            }
        }
    }

    /// Whether nothing durable waits to be handed out.
    pub fn at_head(&self) -> bool {
        let durable = self.head.borrow().durable;
        self.ready.is_empty()
            && self.fetcher.as_ref().is_some_and(|fetcher| fetcher.next() > durable)
            && !self.position.ledger(|ledger| ledger.has_again())
    }

    /// Something to hand out, the end, or a receipt given up. Cancel safe: looks only.
    async fn wait(&mut self) {
        let given_up = self.position.given_up.notified();
        let changed = async {
            tokio::select! {
                _ = self.head.changed() => (),
                () = given_up => (),
            }
        };
        // The time limit is for segments that could not be opened.
        let closed = self.fetcher.as_ref().is_some_and(|it| it.stopped().is_some());
        if closed {
            timeout(RETRY_EVERY, changed).await.unwrap_or_default();
        } else {
            changed.await;
        }
    }

    /// Brings in more, from memory or disk; `false` if there is nothing.
    async fn fetch(&mut self, durable: u64) -> Option<bool> {
        let Some(fetcher) = self.fetcher.as_mut() else { return Some(true) };
        if self.position.is_frozen() || fetcher.next() > durable {
            return Some(false);
        }
        self.ready.extend(fetcher.take_from_memory(durable));
        if !self.ready.is_empty() {
            return Some(true);
        }
        let mut fetcher = self.fetcher.take()?;
        self.fetching = Some(tokio::task::spawn_blocking(move || {
            let items = fetcher.take_from_disk(durable);
            (fetcher, items)
        }));
        self.finish_fetch().await?;
        Some(!self.ready.is_empty())
    }

    /// `None` if the runtime shuts down. Cancel safe: the handle stays here until it is done.
    async fn finish_fetch(&mut self) -> Option<()> {
        let Some(fetching) = &mut self.fetching else { return Some(()) };
        let done = fetching.await;
        self.fetching = None;
        match done {
            Ok((fetcher, items)) => {
                *lock(&self.position.stopped) = fetcher.stopped();
                self.fetcher = Some(fetcher);
                self.ready.extend(items);
                Some(())
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }

    /// Whether something must reach the disk before the first of `ready` may be handed out.
    fn start_care(&mut self) -> bool {
        let care = &self.position.care;
        let step = match self.ready.front() {
            Some(Item::Frame { seq, .. }) if self.cared == Some(*seq) => return false,
            Some(Item::Frame { seq, frame, .. }) => care.step(*seq, frame),
            Some(_) | None => None,
        };
        // Nothing is being worked on any more. (What an earlier life's mark says stays until then.)
        let step = step.or_else(|| self.cared.map(|_| Step::Clear));
        self.caring = step.map(|step| care::take(&self.shared, &self.position, step));
        self.caring.is_some()
    }

    /// `None` if the runtime shuts down. Cancel safe: the handle stays here until it is done.
    async fn finish_care(&mut self) -> Option<()> {
        let Some(caring) = &mut self.caring else { return Some(()) };
        let done = caring.await;
        self.caring = None;
        self.cared = done.ok()?;
        Some(())
    }

    /// The lease, unless it was set aside: then its readings are counted as quarantined.
    fn judge(&mut self, lease: Lease) -> Option<Lease> {
        let care = &self.position.care;
        if self.cared != Some(lease.seq.0) || !care.is_condemned(lease.seq.0) {
            return Some(lease);
        }
        care.acquit();
        let quarantined = u64::from(lease.frame.readings);
        lease.receipt.confirm(&Fates { quarantined, ..Fates::default() });
        None
    }

    /// Past what was cut off, or to the first frame that was given up, if any was.
    fn go_back(&mut self) {
        let Some(fetcher) = &mut self.fetcher else { return };
        let way = self.position.ledger(|ledger| ledger.take_way(fetcher.next()));
        if way != Way::default() {
            self.ready.clear();
            fetcher.go(&way);
            *lock(&self.position.stopped) = fetcher.stopped();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.position.give_back();
    }
}

/// Where a new reader begins: after what its output is done with.
pub(crate) fn fetcher_at_low(shared: &Arc<Shared>, position: &Position) -> Fetcher {
    let (next, readings) = position.ledger(|ledger| {
        let next = ledger.low + 1;
        (next, ledger.readings_before(next))
    });
    Fetcher::new(Arc::clone(shared), position.kind, next, readings)
}

/// Takes note of one item; a lease if it may be handed out.
pub(crate) fn apply(shared: &Arc<Shared>, position: &Arc<Position>, item: Item) -> Option<Lease> {
    match item {
        Item::Frame { seq, at, frame } => {
            let bytes = frame.payload.len();
            let offer = position.ledger(|ledger| ledger.lease(seq, at, frame.readings, bytes));
            if offer == Offer::Skip {
                return None;
            }
            let receipt = Receipt::new(Arc::clone(shared), Arc::clone(position), seq);
            Some(Lease { seq: Seq(seq), frame, receipt })
        }
        Item::Pass { last, at, readings, fates } => {
            let moved = position.ledger(|ledger| {
                let low = ledger.low;
                ledger.pass(last, readings, &fates, at);
                ledger.low > low
            });
            if moved && shared.desk.is_wanted() {
                shared.desk.nudge(); // It may be what the next segment waits for.
            }
            None
        }
        Item::Correct { missing, surplus } => {
            position.ledger(|ledger| ledger.correct(missing, surplus));
            None
        }
    }
}
