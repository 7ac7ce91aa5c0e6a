//! The writer's thread: take -> encode -> commit -> settle, until the queue ends.
//!
//! It never gives a submission up while the journal lives: without a segment it waits (and says
//! that the journal is full), after an error it writes the same group again into a new segment,
//! after two in a row it pauses 1 to 30 s in between. When the journal closes, what could not be
//! made durable is dropped, and its marks break.

use std::{
    any::Any,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime::Handle, sync::mpsc, time::Instant};
use tracing::{error, info, warn};

use crate::Counts;
use crate::Room;
use crate::Submission;
use crate::Ticket;
use crate::group::{Encoder, Group};
use crate::keeper;
use crate::log::{CommitError, Log};
use crate::mark::{self, Durable};
use crate::queue::Queue;
use crate::shared::{FullBecause, Shared, lock};

/// A missing segment is usually a few milliseconds late; longer than this, the journal is full.
const FULL_AFTER: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waking more connections than this is left to a task of the runtime: it would delay the next
/// group, and costs more from outside than from within (64 connections: 6.3 against 4.8 CPU
/// seconds per million submissions, both unoptimised).
const SETTLE_INLINE_MAX: usize = 4;
/// Groups that may wait for their settling there.
const SETTLE_QUEUE: usize = 16;

pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    sync_wait: Duration,
    encoder: Encoder,
    log: Log,
    group: Group,
    settler: Option<mpsc::Sender<Settlement>>,
}

/// A durable group's tickets, and the budget they hold.
struct Settlement {
    tickets: Vec<Ticket>,
    guards: Vec<Box<dyn Any + Send>>,
    proof: Durable,
}

impl Writer {
    /// Inside a tokio runtime, large groups are settled by one of its tasks.
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: Arc<Queue>,
        sync_wait: Duration,
    ) -> std::io::Result<Self> {
        let settler = Handle::try_current().ok().map(|runtime| {
            let (settler, settlements) = mpsc::channel(SETTLE_QUEUE);
            runtime.spawn(settle_all(settlements, Alive(Arc::clone(&shared))));
            settler
        });
        Ok(Self {
            encoder: Encoder::new(shared.limits)?,
            log: Log::new(Arc::clone(&shared)),
            group: Group::default(),
            shared,
            queue,
            sync_wait,
            settler,
        })
    }

    pub(crate) fn run(mut self) {
        let _last_words = LastWords(Arc::clone(&self.shared), Arc::clone(&self.queue));
        let bytes_max = self.shared.limits.group_bytes_max;
        let mut submissions: Vec<Submission> = Vec::new();
        while self.queue.take(&mut submissions, bytes_max, self.sync_wait) {
            self.encoder.encode(&mut submissions, self.log.durable(), &mut self.group);
            *lock(&self.shared.carried) = self.encoder.carried();
            #[cfg(feature = "faults")]
            crate::fault::point("journal-writer");
            let Some(proof) = self.commit() else { return };
            self.settle(proof);
        }
        if self.encoder.encode_carried(self.log.durable(), &mut self.group) {
            *lock(&self.shared.carried) = Counts::default();
            self.commit();
        }
    }

    /// `None` only when the journal closes.
    fn commit(&mut self) -> Option<Durable> {
        let mut waited = false;
        let mut errors = 0_u32;
        loop {
            let goes_on = match self.log.commit(&mut self.group) {
                Ok(proof) => {
                    self.say_free();
                    return Some(proof);
                }
                Err(CommitError::NoSegment) if !waited => {
                    waited = true;
                    self.shared.desk.await_prepared_briefly(FULL_AFTER);
                    true
                }
                Err(CommitError::NoSegment) => {
                    let disk_fails = self.shared.cannot_prepare.load(Ordering::Acquire);
                    self.say_full(if disk_fails {
                        FullBecause::DiskFails
                    } else {
                        FullBecause::NoRoom
                    });
                    self.shared.desk.await_prepared(LOOK_EVERY)
                }
                Err(error @ CommitError::Io { .. }) => {
                    self.shared.stats.failed();
                    error!(%error, "a group is not durable; writing it again to a new segment");
                    errors += 1;
                    errors < 2 || self.pause(errors)
                }
            };
            if !goes_on {
                let readings = self.group.readings();
                error!(readings, "the journal closes, and these readings are not durable");
                return None;
            }
        }
    }

    fn pause(&self, errors: u32) -> bool {
        self.say_full(FullBecause::DiskFails);
        self.shared.desk.pause(keeper::pause_after(errors - 1))
    }

    fn say_full(&self, why: FullBecause) {
        *lock(&self.shared.full_because) = Some(why);
        self.shared.room.send_if_modified(|room| {
            if *room != Room::Free {
                return false;
            }
            warn!(%why, "nothing is acknowledged until there is room");
            *room = Room::Full { since: Instant::now() };
            true
        });
    }

    fn say_free(&self) {
        self.shared.room.send_if_modified(|room| {
            let Room::Full { since } = *room else { return false };
            *lock(&self.shared.full_because) = None;
            info!(after = ?since.elapsed(), "the journal takes submissions again");
            *room = Room::Free;
            true
        });
    }

    fn settle(&mut self, proof: Durable) {
        let (mut tickets, guards) = self.group.take_settlement();
        if tickets.len() > SETTLE_INLINE_MAX
            && let Some(settler) = &self.settler
        {
            let settlement = Settlement { tickets, guards, proof };
            let Err(refused) = settler.try_send(settlement) else { return };
            refused.into_inner().settle();
        } else {
            mark::settle(&mut tickets, &proof);
        }
    }
}

impl Settlement {
    fn settle(mut self) {
        mark::settle(&mut self.tickets, &self.proof);
        self.guards.clear();
    }
}

/// Ends with the writer. Not awaited at shutdown: what it still holds when the runtime goes is
/// durable, and merely not acknowledged.
async fn settle_all(mut settlements: mpsc::Receiver<Settlement>, _alive: Alive) {
    while let Some(settlement) = settlements.recv().await {
        #[cfg(feature = "faults")]
        crate::fault::point("journal-settler");
        settlement.settle();
    }
}

/// Says so if whoever holds it panics: the process is to end.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.died.send_replace(true);
        }
    }
}

/// Whatever ends the writer's thread: nothing is taken any more, and what still waits breaks.
struct LastWords(Arc<Shared>, Arc<Queue>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let Self(shared, queue) = self;
        let submissions = queue.abandon();
        if submissions > 0 {
            error!(submissions, "the journal closes, and these submissions are not durable");
        }
        if std::thread::panicking() {
            shared.died.send_replace(true);
        } else {
            shared.head.send_modify(|head| head.ended = true);
        }
    }
}
