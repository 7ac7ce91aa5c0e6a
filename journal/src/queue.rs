//! The queue before the writer's thread, bounded in bytes.
//!
//! Fair: whoever waits for room gets it in the order of asking. The writer takes what waits as
//! soon as somebody waits for it, or the queue presses, or `sync_wait` has passed since the oldest
//! submission arrived; until then submissions that nobody waits for lie here.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, sync::TryAcquireError, time::Instant};

use crate::Closed;
use crate::Submission;
use crate::group;
use crate::shared::lock;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    /// Bytes that may still be queued.
    room: Semaphore,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(usize, Submission)>,
    bytes: usize,
    /// Submissions in `waiting` with a ticket that somebody waits for.
    somebody: usize,
    /// An append waits for room.
    pressed: bool,
    closed: bool,
    /// Set by the writer when it first sees the queue not empty.
    oldest: Option<Instant>,
    writer: Waits,
}

/// What the writer waits for, so that an append wakes it only when it must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waits {
    #[default]
    No,
    ForAny,
    ForSomebody,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.clamp(1, PERMITS_MAX);
        Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            room: Semaphore::new(bytes_max),
            bytes_max,
        }
    }

    /// Waits for room, first come, first served. Cancelled: the submission drops.
    pub(crate) async fn push(&self, submission: Submission) -> Result<(), Closed> {
        // A submission larger than the queue takes all of it.
        let cost = group::cost(&submission).min(self.bytes_max);
        let permits = u32::try_from(cost).unwrap_or(u32::MAX);
        let permit = match self.room.try_acquire_many(permits) {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(Closed),
            Err(TryAcquireError::NoPermits) => {
                self.press();
                self.room.acquire_many(permits).await.map_err(|_| Closed)?
            }
        };
        permit.forget();
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Closed);
        }
        let is_somebody = !submission.ticket.is_nobody();
        state.somebody += usize::from(is_somebody);
        state.bytes += cost;
        state.waiting.push_back((cost, submission));
        let wake = match state.writer {
            Waits::No => false,
            Waits::ForAny => true,
            Waits::ForSomebody => is_somebody || state.bytes >= self.bytes_max / 2,
        };
        if wake {
            state.writer = Waits::No;
            drop(state);
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Blocks until something is due, and takes up to `bytes_max` of it (or one submission).
    /// `false` when the queue is closed and empty.
    pub(crate) fn take(
        &self,
        out: &mut Vec<Submission>,
        bytes_max: usize,
        sync_wait: Duration,
    ) -> bool {
        let mut state = lock(&self.state);
        while !self.is_due(&mut state, bytes_max, sync_wait) {
            if state.closed && state.waiting.is_empty() {
                return false;
            }
            state = self.wait(state, sync_wait);
        }
        let freed = state.drain(out, bytes_max);
        drop(state);
        self.room.add_permits(freed);
        true
    }

    /// Nothing more is taken; what waits can still be taken out.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.room.close();
        self.arrived.notify_one();
    }

    /// Closes, and drops what waits: its marks break. Returns how many submissions that is.
    pub(crate) fn abandon(&self) -> usize {
        self.close();
        let waiting = std::mem::take(&mut lock(&self.state).waiting);
        waiting.len() // Dropped outside the lock: a ticket's drop wakes its connection.
    }

    fn press(&self) {
        lock(&self.state).pressed = true;
        self.arrived.notify_one();
    }

    fn is_due(&self, state: &mut State, bytes_max: usize, sync_wait: Duration) -> bool {
        if state.waiting.is_empty() {
            return false;
        }
        let oldest = *state.oldest.get_or_insert_with(Instant::now);
        let much = bytes_max.min(self.bytes_max / 2);
        state.somebody > 0
            || state.pressed
            || state.closed
            || state.bytes >= much
            || oldest.elapsed() >= sync_wait
    }

    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        sync_wait: Duration,
    ) -> MutexGuard<'a, State> {
        let Some(oldest) = state.oldest.filter(|_| !state.waiting.is_empty()) else {
            state.writer = Waits::ForAny;
            return self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.writer = Waits::ForSomebody;
        let left = sync_wait.saturating_sub(oldest.elapsed());
        let (mut state, _) =
            self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        state.writer = Waits::No;
        state
    }
}

impl State {
    fn drain(&mut self, out: &mut Vec<Submission>, bytes_max: usize) -> usize {
        let mut taken = 0;
        while let Some((cost, submission)) = self.waiting.pop_front() {
            if taken > 0 && taken + cost > bytes_max {
                self.waiting.push_front((cost, submission));
                break;
            }
            taken += cost;
            self.somebody -= usize::from(!submission.ticket.is_nobody());
            out.push(submission);
        }
        self.bytes -= taken;
        if self.waiting.is_empty() {
            self.oldest = None;
        }
        self.pressed = false;
        taken
    }
}

/// Far below the semaphore's own limit on 32-bit machines.
const PERMITS_MAX: usize = 256 * 1024 * 1024;
