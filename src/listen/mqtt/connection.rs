//! One device's connection: a thin loop around `Session`.
//!
//! ```text
//!  read --> packets --> session --> gather --> one submission, one ticket --> intake
//!                          |                                                    |
//!  write <-- answers <-----+--------------- mark moves: durable <---------------+
//! ```
//!
//! Promises: reading goes on while a submission waits for room, up to the limits, so that PINGREQ is
//! answered; all answers that a moving mark sets free leave in one write; every wait has a deadline.
//! Generic over the stream, so that tests run over pipes with a paused clock.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use journal::{Closed, Source};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use brake::Brake;
use input::Part;
use outbox::Outbox;
use output::Output;

use crate::intake::Gathered;
use crate::intake::Intake;
use crate::intake::resends::Sender;
use crate::listen::mqtt::Limits;
use crate::listen::mqtt::clients::{Clients, Registration};
use crate::listen::mqtt::gate::Gate;
use crate::listen::mqtt::held::{Held, Pool};
use crate::listen::mqtt::session::{Ending, Refusal, Session};
use crate::listen::mqtt::stats::Stats;

mod brake;
mod end;
mod input;
mod outbox;
mod output;

/// What all connections of the listener have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) intake: Intake,
    pub(super) source: Source,
    pub(super) limits: Limits,
    pub(super) stats: Arc<Stats>,
    pub(super) clients: Arc<Clients>,
    pub(super) gate: Gate,
    pub(super) pool: Arc<Pool>,
    pub(super) shutdown: CancellationToken,
}

#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    shared: Arc<Shared>,
    /// Fires at shutdown, and when another connection takes over.
    stop: CancellationToken,
    session: Session,
    part: Part,
    output: Output,
    outbox: Outbox,
    brake: Brake,
    held: Held,
    /// The client identifier in use, once there is one.
    registration: Option<Registration>,
    /// What the client may send again. Boxed: an idle connection is small.
    sender: Option<Box<Sender>>,
}

type Submitting = Pin<Box<dyn Future<Output = Result<(), Closed>> + Send>>;

/// What wakes the loop besides the stream and the mark.
struct Wakers<'p, 'stop> {
    stopped: Pin<&'p mut WaitForCancellationFuture<'stop>>,
    timer: Pin<&'p mut Sleep>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S, shared: Arc<Shared>) -> Self {
        let session = Session::new(shared.limits, Instant::now());
        Self::with_session(stream, shared, session)
    }

    /// Whoever it is will be told `refusal`.
    pub(super) fn refusing(stream: S, shared: Arc<Shared>, refusal: Refusal) -> Self {
        let session = Session::refusing(shared.limits, Instant::now(), refusal);
        Self::with_session(stream, shared, session)
    }

    fn with_session(stream: S, shared: Arc<Shared>, session: Session) -> Self {
        Self {
            stream,
            stop: shared.shutdown.child_token(),
            session,
            part: Part::default(),
            output: Output::default(),
            outbox: Outbox::new(Instant::now()),
            brake: Brake::default(),
            held: Held::new(&shared.pool),
            registration: None,
            sender: None,
            shared,
        }
    }

    /// Serves the device until the end, and says what that was. Cancelled: what was not submitted is
    /// gone, and nothing of it was acknowledged.
    pub(super) async fn run(&mut self) -> Ending {
        let ending = self.serve().await;
        // Boxed, as a submission is: what an idle connection does not need it does not carry along.
        Box::pin(self.end(ending)).await;
        ending
    }

    async fn serve(&mut self) -> Ending {
        let stop = self.stop.clone();
        let mut wakers = Wakers {
            stopped: pin!(stop.cancelled()),
            timer: pin!(sleep_until(self.session.deadline())),
        };
        loop {
            let served = match self.outbox.next() {
                Some(gathered) => self.submit(gathered, &mut wakers).await,
                None => poll_fn(|cx| self.poll(cx, &mut wakers)).await,
            };
            if let Err(ending) = served {
                return ending;
            }
        }
    }

    /// Submits, and meanwhile serves on: other packets are read, other answers written.
    async fn submit(
        &mut self,
        gathered: Gathered,
        wakers: &mut Wakers<'_, '_>,
    ) -> Result<(), Ending> {
        let Some(mut submitting) = self.hand_over(gathered) else { return Err(Ending::TakenOver) };
        let served = poll_fn(|cx| {
            if let Poll::Ready(submitted) = submitting.as_mut().poll(cx) {
                return Poll::Ready(submitted.map_err(|_| Ending::Broken));
            }
            self.charge()?;
            self.poll(cx, wakers)
        });
        let served = served.await;
        if served.is_err_and(Ending::submits) {
            // The end has time for that. If it is not enough, the ticket drops and breaks the mark.
            drop(timeout(end::DRAIN_MAX, submitting).await);
        }
        self.outbox.arrived();
        // What came meanwhile goes next: the client may be silent until it is answered.
        self.seal();
        self.charge()?;
        served
    }

    /// Reads, writes and looks at the clock until nothing more can be done. Ready with `Ok` when
    /// there is something to submit.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wakers: &mut Wakers<'_, '_>,
    ) -> Poll<Result<(), Ending>> {
        if wakers.stopped.as_mut().poll(cx).is_ready() {
            let is_shutdown = self.shared.shutdown.is_cancelled();
            let ending = if is_shutdown { Ending::ShuttingDown } else { Ending::TakenOver };
            return Poll::Ready(Err(ending));
        }
        loop {
            self.poll_answers(cx)?;
            self.set_brake();
            if self.is_listening() && self.poll_read(cx)?.is_ready() {
                if !self.outbox.is_under_way() {
                    self.seal();
                }
                self.charge()?;
                if self.outbox.has_next() {
                    // While one is under way this is never so.
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if self.poll_timer(cx, wakers.timer.as_mut())?.is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Writes what the mark sets free, and whatever else is to be said.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        // Until it is pending, or nothing is owed: only then will the next move wake this task.
        while self.session.owes() && self.outbox.poll_kept(cx)?.is_ready() {
            self.answer();
        }
        let written = self.output.poll_write(cx, &mut self.stream);
        if let sent @ 1.. = self.output.take_sent() {
            self.shared.stats.bytes_sent.inc_by(sent);
        }
        match written {
            Poll::Ready(Err(ending)) => Err(ending),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn set_brake(&mut self) {
        let limits = &self.shared.limits;
        let is_waiting = self.outbox.is_under_way();
        let is_tight = is_waiting && self.held.is_beyond_free() && self.shared.pool.is_tight();
        let is_at_limit = self.session.is_at_limit()
            || self.outbox.bytes() >= limits.unacked_bytes_max
            || is_tight;
        if self.brake.set(is_at_limit, limits.full_wait) {
            self.listened();
        }
    }

    fn is_listening(&self) -> bool {
        !self.brake.holds() && !self.output.is_backed_up()
    }

    /// The client could not be heard for a while; that was not its fault.
    fn listened(&mut self) {
        let now = Instant::now();
        self.session.listened(now);
        self.part.listened(now);
    }

    /// What is held outside the intake's budget. What waits for room brakes by itself; parts of
    /// packets and aliases do not.
    fn charge(&mut self) -> Result<(), Ending> {
        let own = self.part.capacity() + self.output.capacity() + self.session.remembered_bytes();
        let is_waiting = self.outbox.is_under_way();
        self.held.set(if is_waiting { own + self.outbox.bytes() } else { own });
        let is_too_much =
            !is_waiting && self.held.is_beyond_free() && self.shared.pool.is_exhausted();
        if is_too_much { Err(Ending::Memory) } else { Ok(()) }
    }

    /// Ready with `Ok` when time has changed something.
    fn poll_timer(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<Result<(), Ending>> {
        let deadline = self.deadline();
        // A deadline that has moved on is found out when the timer fires: cheaper than to set it
        // again with every packet.
        if deadline < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let now = Instant::now();
        Poll::Ready(self.expired(now).map_or(Ok(()), Err))
    }

    fn deadline(&self) -> Instant {
        let is_listening = self.is_listening();
        let heard = is_listening.then(|| self.session.deadline());
        let part = self.part.deadline().filter(|_| is_listening);
        let write = self.output.deadline(self.shared.limits.write_max);
        let earliest = [heard, part, write, self.brake.deadline()].into_iter().flatten().min();
        earliest.unwrap_or_else(|| Instant::now() + self.shared.limits.write_max)
    }

    fn expired(&mut self, now: Instant) -> Option<Ending> {
        let limits = &self.shared.limits;
        if self.output.deadline(limits.write_max).is_some_and(|at| now >= at) {
            return Some(Ending::Unread);
        }
        if self.brake.look(now, self.shared.gate.is_shut(), limits.write_max) {
            self.listened(); // From now on, to tell what can be dropped from what cannot.
        }
        if !self.is_listening() {
            return None;
        }
        if self.part.deadline().is_some_and(|at| now >= at) {
            return Some(Ending::Trickling);
        }
        self.session.expired(now)
    }
}

impl<S> Connection<S> {
    /// The way into the journal, after which its messages are known as stored. `None`: the client
    /// has another connection by now, and brings them there again.
    fn hand_over(&self, gathered: Gathered) -> Option<Submitting> {
        let offer = match &self.sender {
            Some(sender) => Some(sender.offer(gathered.note())?),
            None => None,
        };
        let shared = Arc::clone(&self.shared);
        Some(Box::pin(async move {
            shared.intake.submit(gathered).await?;
            if let Some(offer) = offer {
                offer.arrived(Instant::now());
            }
            Ok(())
        }))
    }

    fn answer(&mut self) {
        let stats = &self.shared.stats;
        let waited = |time: std::time::Duration| stats.ack_latency.observe(time.as_secs_f64());
        let now = Instant::now();
        let answers = self.session.kept(self.outbox.kept, now, &mut self.output.bytes, waited);
        stats.answers.inc_by(answers);
    }

    /// Closes what was gathered. What needs no storing may be answered at once.
    fn seal(&mut self) {
        let is_owed = self.session.owes_for_open_run();
        if !is_owed && !self.outbox.has_gathered() {
            return;
        }
        let sealed = self.outbox.seal(is_owed, self.sender.as_deref());
        self.session.seal(sealed.ticket, sealed.since);
        if is_owed && sealed.ticket <= self.outbox.kept.0 {
            self.answer();
        }
    }
}

#[cfg(test)]
mod tests;
