//! The journal's half of a connection: submits what the network brought, and lets acknowledgements go when the
//! mark has moved. It decides when to leave, and outlives the network until all that was taken is settled.

use std::{
    future::pending,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::{Fuse, FusedFuture as _, FutureExt as _};
use journal::{Broken, Closed, Kept, Mark, Room, Ticket};
use rumqttc::v5::{
    AsyncClient,
    mqttbytes::{QoS, v5::Publish},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::intake::{Gathered, Intake};

use super::{
    Settings,
    gate::{Gate, Message},
    network::Burst,
};

#[derive(Debug)]
pub(super) struct Keeper<'a> {
    pub settings: &'a Settings,
    pub intake: &'a Intake,
    pub client: AsyncClient,
    pub gate: &'a Mutex<Gate<OwnedSemaphorePermit>>,
    /// Told to the network: DISCONNECT is on its way.
    pub leaving: &'a CancellationToken,
    pub shutdown: &'a CancellationToken,
}

/// Why the keeper ended the connection, if it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Shutdown,
    Full,
    /// A submission failed. What was not acknowledged comes again.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Taking,
    /// Shutting down: DISCONNECT follows when everything is durable and acknowledged, or at this time.
    Settling(Instant),
    /// The network is gone or about to be. What was taken still becomes durable, so that it is known when the
    /// broker sends it again.
    Gone,
}

#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Step {
    Kept(Result<Kept, Broken>),
    Submitted(Result<(), Closed>),
    Burst(Option<Burst>),
    Shutdown,
    Full,
    TimeIsUp,
}

impl Keeper<'_> {
    /// Until the connection has ended and everything taken is durable, or never will be. Cancelled: as if
    /// the connection broke.
    pub(super) async fn run(&self, mut bursts: mpsc::Receiver<Burst>) -> Option<Left> {
        let mut mark = Mark::new();
        let mut left = None;
        let mut phase = Phase::Taking;
        let mut submit = pin!(Fuse::terminated());
        let mut full = pin!(full_for(self.intake.watch_room(), self.settings.limits.full_wait));

        let mut is_drained = false;
        while !is_drained || !submit.is_terminated() || !self.gate().is_settled() {
            let step = tokio::select! {
                biased; // Acknowledgements first: they make room.
                kept = mark.moved() => Step::Kept(kept),
                submitted = submit.as_mut(), if !submit.is_terminated() => Step::Submitted(submitted),
                () = self.shutdown.cancelled(), if left != Some(Left::Shutdown) => Step::Shutdown,
                () = full.as_mut(), if phase == Phase::Taking => Step::Full,
                () = time_is_up(phase) => Step::TimeIsUp,
                burst = bursts.recv(), if !is_drained && submit.is_terminated() => Step::Burst(burst),
            };
            match step {
                Step::Kept(Ok(kept)) => self.acknowledge(kept),
                Step::Submitted(Ok(())) => {}
                Step::Kept(Err(Broken)) | Step::Submitted(Err(Closed)) => {
                    left = left.or(Some(Left::Broken));
                    break;
                }
                Step::Burst(Some(burst)) => {
                    if let Some((gathered, guard)) = self.take(burst, &mut mark) {
                        submit.set(self.submit(gathered, guard).fuse());
                    }
                }
                Step::Burst(None) => {
                    is_drained = true;
                    if phase == Phase::Taking {
                        phase = Phase::Gone; // The connection broke.
                    }
                }
                Step::Shutdown => {
                    let was_taking = phase == Phase::Taking;
                    left = Some(Left::Shutdown);
                    if !was_taking {
                        break; // There is no connection to acknowledge anything on.
                    }
                    bursts.close();
                    phase = Phase::Settling(Instant::now() + self.settings.limits.leave_max);
                }
                Step::Full => {
                    let broker = self.settings.id.as_str();
                    warn!(
                        broker,
                        "the journal is full: leaving the broker, which keeps what comes"
                    );
                    left = Some(Left::Full);
                    bursts.close();
                    self.say_goodbye();
                    phase = Phase::Gone;
                }
                Step::TimeIsUp => {
                    let broker = self.settings.id.as_str();
                    warn!(broker, "not everything became durable in time; the rest comes again");
                    break;
                }
            }
        }
        self.say_goodbye();
        left
    }

    /// Seals a burst. `None`: it has nothing to keep.
    fn take(
        &self,
        burst: Burst,
        mark: &mut Mark,
    ) -> Option<(Gathered, Option<OwnedSemaphorePermit>)> {
        let Burst { gather, messages, guard } = burst;
        let Some(gather) = gather else {
            self.took(None, messages, guard, mark);
            return None;
        };
        if gather.is_empty() {
            // Filtered: its count rides with what is submitted next.
            self.took(None, messages, guard, mark);
            return None;
        }
        if messages.is_empty() {
            return Some((gather.seal(Ticket::nobody()), Some(guard))); // QoS 0: nobody waits.
        }
        let ticket = mark.ticket();
        self.took(Some(ticket.number()), messages, guard, mark);
        Some((gather.seal(ticket), None))
    }

    fn took(
        &self,
        ticket: Option<u64>,
        messages: Vec<Message>,
        guard: OwnedSemaphorePermit,
        mark: &Mark,
    ) {
        self.gate().took(ticket, messages, guard);
        if ticket.is_none()
            && let Ok(kept) = mark.kept()
        {
            self.acknowledge(kept);
        }
    }

    /// Waits for room in the journal's queue; cancelled, its ticket drops and the mark breaks.
    async fn submit(
        &self,
        gathered: Gathered,
        guard: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Closed> {
        let submitted = self.intake.submit(gathered).await;
        drop(guard);
        submitted
    }

    /// Into the network's queue, never waiting for it: its room is as large as there are identifiers, and
    /// waiting here while the network waits for us would be for ever.
    fn acknowledge(&self, kept: Kept) {
        let released = self.gate().keep(kept.0);
        for message in released {
            let qos = if message.exactly_once { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            let publish = Publish { qos, pkid: message.packet_id, ..Publish::default() };
            if self.client.try_ack(&publish).is_err() {
                self.say_goodbye();
                return;
            }
        }
    }

    /// DISCONNECT, behind the acknowledgements that are on their way.
    fn say_goodbye(&self) {
        // Fails only when the network is gone already.
        drop(self.client.try_disconnect());
        self.leaving.cancel();
    }

    fn gate(&self) -> MutexGuard<'_, Gate<OwnedSemaphorePermit>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves when the journal has been full for so long without a break. Cancel safe.
async fn full_for(mut room: watch::Receiver<Room>, wait: Duration) {
    loop {
        let now = *room.borrow_and_update();
        let changed = match now {
            Room::Free => Ok(room.changed().await),
            Room::Full { since } => timeout_at(since + wait, room.changed()).await,
        };
        match changed {
            Err(_elapsed) => return,
            Ok(Ok(())) => {}
            Ok(Err(_the_journal_has_ended)) => pending().await,
        }
    }
}

async fn time_is_up(phase: Phase) {
    match phase {
        Phase::Settling(limit) => sleep_until(limit).await,
        Phase::Taking | Phase::Gone => pending().await,
    }
}
