//! Tickets and marks: how a connection learns that what it handed over is durable.
//!
//! Promises: a mark never passes a hole. A ticket that is dropped unsettled (refused, panicked,
//! shut down) breaks its mark for good, and only the journal's writer, holding the proof of a
//! sync, settles one. No wake-up is lost: the writer raises the value and *then* wakes; the
//! connection loads, registers, and loads again.
//!
//! ```text
//!  value: | broken (1 bit) | number of the newest settled ticket (63 bits) |
//! ```
//!
//! Leaves out who waits for what: a connection keeps its own list of packet identifiers by ticket.

use std::{
    future::poll_fn,
    task::{Poll, Waker},
};

#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

#[cfg(not(loom))]
use atomic_waker::AtomicWaker;
#[cfg(loom)]
use loom::{
    future::AtomicWaker,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const BROKEN: u64 = 1 << 63;

/// One connection's mark: hands out tickets in order and tells how far they are kept.
#[derive(Debug, Default)]
pub struct Mark {
    state: Arc<State>,
    /// The newest ticket's number.
    issued: u64,
    /// What `moved` returned last.
    seen: u64,
}

/// All tickets of this mark up to and including this number are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept(pub u64);

/// A ticket was dropped unsettled: nothing after it can be acknowledged. Close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a submission failed; what is not acknowledged must be sent again")]
pub struct Broken;

/// Settled by the journal's writer after the sync, or broken when dropped.
#[derive(Debug)]
#[must_use = "dropping a ticket breaks its mark"]
pub struct Ticket {
    number: u64,
    /// `None` for nobody's, and once it is settled.
    state: Option<Arc<State>>,
}

/// Shared by a mark and its tickets.
struct State {
    /// Raised by the writer, broken by a ticket's drop, read by the connection.
    value: AtomicU64,
    /// The connection's task.
    waker: AtomicWaker,
}

impl Mark {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next ticket; the first is number 1. Submissions of one mark must be appended in the
    /// order of their tickets.
    pub fn ticket(&mut self) -> Ticket {
        self.issued += 1;
        Ticket { number: self.issued, state: Some(Arc::clone(&self.state)) }
    }

    /// How far the mark stands now.
    pub fn kept(&self) -> Result<Kept, Broken> {
        let value = self.state.value.load(Ordering::Acquire);
        if value & BROKEN == 0 { Ok(Kept(value)) } else { Err(Broken) }
    }

    /// Waits until the mark stands beyond what the last call of `moved` returned (0 at first).
    /// What was kept before the mark broke is told first, once. Cancel safe.
    pub async fn moved(&mut self) -> Result<Kept, Broken> {
        let seen = self.seen;
        let state = &self.state;
        let moved = poll_fn(|context| {
            if let Some(moved) = state.beyond(seen) {
                return Poll::Ready(moved);
            }
            state.register(context.waker());
            // Again: the writer may have raised the value and found no waker to wake.
            state.beyond(seen).map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        if let Ok(Kept(number)) = moved {
            self.seen = number;
        }
        moved
    }
}

impl Ticket {
    /// For submissions that nobody waits for: QoS 0, polls.
    pub fn nobody() -> Self {
        Self { number: 0, state: None }
    }

    /// 0 for nobody's.
    pub fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn is_nobody(&self) -> bool {
        self.state.is_none()
    }

    /// First half of settling: the mark stands at least here.
    fn raise(&self) {
        if let Some(state) = &self.state {
            state.value.fetch_max(self.number, Ordering::AcqRel);
        }
    }

    /// Second half: the newest ticket of a mark, and only that one, wakes the connection.
    fn wake(mut self) {
        if let Some(state) = self.state.take()
            && state.value.load(Ordering::Acquire) & !BROKEN == self.number
        {
            state.waker.wake();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            state.value.fetch_or(BROKEN, Ordering::AcqRel);
            state.waker.wake();
        }
    }
}

impl State {
    #[cfg(not(loom))]
    fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    #[cfg(loom)]
    fn register(&self, waker: &Waker) {
        self.waker.register_by_ref(waker);
    }

    fn beyond(&self, seen: u64) -> Option<Result<Kept, Broken>> {
        let value = self.value.load(Ordering::Acquire);
        match value & !BROKEN {
            kept if kept > seen => Some(Ok(Kept(kept))),
            _ if value & BROKEN != 0 => Some(Err(Broken)),
            _ => None,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self { value: AtomicU64::new(0), waker: AtomicWaker::new() }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.value.load(Ordering::Relaxed))
    }
}

/// Proof that a group's sync returned. Only the log makes one.
#[derive(Debug)]
pub(crate) struct Durable(());

impl Durable {
    pub(crate) fn synced() -> Self {
        Self(())
    }
}

/// Settles a group's tickets: every mark in it is raised first, then woken once.
pub(crate) fn settle(tickets: &mut Vec<Ticket>, _proof: &Durable) {
    for ticket in tickets.iter() {
        ticket.raise();
    }
    for ticket in tickets.drain(..) {
        ticket.wake();
    }
}

#[cfg(all(test, loom))]
mod interleavings;
#[cfg(all(test, not(loom)))]
mod tests;
