//! Where frames come from, and who holds them: the journal's reader, behind a trait so that tests
//! can drive an output under a paused clock (the journal's own thread would let it run away).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use journal::{Fates, Frame, Seq};

/// Leases in order; `None` when there will be no more.
pub trait Leases: Send {
    type Receipt: Receipt;

    /// Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Lease<Self::Receipt>>> + Send;

    /// Nothing durable waits to be handed out.
    fn at_head(&self) -> bool;

    /// What this output knew as of the frames before the first lease.
    fn state(&self) -> Arc<[u8]>;

    /// That it knew something is known, but not what.
    fn has_lost_state(&self) -> bool;

    /// A later release wrote the state: no lease comes, and nothing of it changes.
    fn leave_to_newer(&mut self);

    /// Only checkpoints move the position from now on. Before the first lease. `held`: readings that
    /// were absorbed and are nowhere but in the state.
    fn keep_state(&mut self, held: u64);

    fn is_checkpoint_due(&self) -> bool;

    /// The state as of exactly this frame. Whoever confirms it says that everything else that came
    /// of frames up to it is where it belongs. `held`: as with [`Self::keep_state`].
    fn checkpoint(&mut self, upto: Seq, state: Vec<u8>, held: u64) -> Confirm;
}

pub type Confirm = Box<dyn FnOnce() + Send>;

/// Dropped: the frame comes again. Every share must confirm.
pub trait Receipt: Send + Sync + 'static {
    #[must_use]
    fn share(&self) -> Self;
    fn confirm(self, fates: &Fates);
}

#[derive(Debug)]
pub struct Lease<R> {
    pub seq: Seq,
    pub frame: Frame,
    pub receipt: R,
}

impl Leases for journal::Reader {
    type Receipt = journal::Receipt;

    async fn next(&mut self) -> Option<Lease<journal::Receipt>> {
        let journal::Lease { seq, frame, receipt } = self.next().await?;
        Some(Lease { seq, frame, receipt })
    }

    fn at_head(&self) -> bool {
        self.at_head()
    }

    fn state(&self) -> Arc<[u8]> {
        self.state()
    }

    fn has_lost_state(&self) -> bool {
        self.has_lost_state()
    }

    fn leave_to_newer(&mut self) {
        self.leave_to_newer();
    }

    fn keep_state(&mut self, held: u64) {
        self.keep_state(held);
    }

    fn is_checkpoint_due(&self) -> bool {
        self.is_checkpoint_due()
    }

    fn checkpoint(&mut self, upto: Seq, state: Vec<u8>, held: u64) -> Confirm {
        let checkpoint = self.checkpoint(upto, state, held);
        Box::new(move || checkpoint.confirm())
    }
}

impl Receipt for journal::Receipt {
    fn share(&self) -> Self {
        self.share()
    }

    fn confirm(self, fates: &Fates) {
        self.confirm(fates);
    }
}

/// A frame while readings of it are on their way. Batches read it again to merge readings.
#[derive(Debug)]
pub struct Loan {
    pub seq: Seq,
    pub payload: Bytes,
    unconfirmed: Option<Arc<Unconfirmed>>,
    /// The frame that this was made of: it is unconfirmed until this is.
    whole: Option<Arc<Self>>,
}

impl Loan {
    pub fn new(seq: Seq, payload: Bytes) -> Self {
        Self { seq, payload, unconfirmed: None, whole: None }
    }

    /// What came of some readings of a frame, which is unconfirmed until this is.
    pub fn part_of(whole: &Arc<Self>, payload: Bytes) -> Self {
        Self { seq: whole.seq, payload, unconfirmed: None, whole: Some(Arc::clone(whole)) }
    }

    /// A frame's readings as they lie in the journal.
    pub fn is_frame(&self) -> bool {
        self.whole.is_none()
    }

    /// Counts as unconfirmed until it is dropped.
    #[must_use]
    pub fn counted(mut self, arrival_ns: i64, unconfirmed: &Arc<Unconfirmed>) -> Self {
        unconfirmed.lock().insert(self.seq, arrival_ns);
        self.unconfirmed = Some(Arc::clone(unconfirmed));
        self
    }

    /// Where `part` lies in the payload; past its end if it lies elsewhere.
    pub fn offset_of(&self, part: &[u8]) -> usize {
        part.as_ptr().addr().wrapping_sub(self.payload.as_ptr().addr())
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(unconfirmed) = &self.unconfirmed {
            unconfirmed.lock().remove(&self.seq);
        }
    }
}

/// When the frames arrived that this output holds: its lag is the age of the first.
#[derive(Debug, Default)]
pub struct Unconfirmed(Mutex<BTreeMap<Seq, i64>>);

impl Unconfirmed {
    /// Arrival of the oldest unconfirmed frame, nanoseconds since the epoch. `None`: all that was
    /// leased is confirmed.
    pub fn oldest_ns(&self) -> Option<i64> {
        self.lock().values().next().copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Seq, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
