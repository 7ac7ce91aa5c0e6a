//! One simulated device: it measures on its own schedule, sends over its link, keeps what was not
//! acknowledged, and comes back after a break.
//!
//! ```text
//!  signals (pure) --> Outbox --> session: mqtt | ws | http --> gateway
//!                       ^                    |
//!                       +---- answers -------+--> ledger, watch
//! ```
//! A session ends when the device has nothing left to do, when its connection breaks, or when it
//! breaks it on purpose. After a break everything unanswered is sent again, on a fresh client:
//! the client libraries' own replay is not used, so what is sent again, and when, is decided here.

mod backoff;
pub(crate) mod http;
mod mqtt;
mod outbox;
mod ws;

use std::{collections::BTreeMap, io, num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::{
    backoff::Backoff,
    outbox::{Next, Outbox},
};
use crate::{
    fleet::{Gateway, Group, Link},
    ledger::Ledger,
    signals::Device,
    watch::Watch,
};

/// What all devices of a fleet share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ledger: Ledger,
    pub(crate) watch: Arc<Watch>,
    pub(crate) gateway: Gateway,
    /// No new readings once this is cancelled.
    pub(crate) draining: CancellationToken,
    /// The monotonic and the wall clock at one moment: due times are told by the first.
    pub(crate) clock: (Instant, i64),
}

#[derive(Debug)]
pub(crate) struct Runner {
    shared: Arc<Shared>,
    group: Arc<Group>,
    device: Device,
    /// Its place in the ledger.
    index: usize,
    outbox: Outbox,
    backoff: Backoff,
    random: fastrand::Rng,
    /// Tells this device from one of the same name in another fleet.
    run: u64,
    /// HTTP: readings of the last post, if it was not answered for good: to go again together.
    posted: Option<NonZeroUsize>,
    /// When what is not answered yet was sent first; as bounded as the outbox.
    sent_at: BTreeMap<u64, Instant>,
    /// How many connections in a row it left on purpose before anything was acknowledged.
    left_early: i32,
}

/// How a session ended.
#[derive(Debug)]
enum Ended {
    /// Everything was sent and answered.
    Finished,
    /// The device broke the connection on purpose.
    Left,
    Failed(String),
}

impl Runner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        group: Arc<Group>,
        device: Device,
        index: usize,
    ) -> Self {
        Self {
            outbox: Outbox::new(group.unacknowledged_max.get(), group.readings_max),
            backoff: Backoff::new(group.retry_first, group.retry_max),
            random: fastrand::Rng::with_seed(device.seed),
            run: fastrand::u64(..),
            posted: None,
            sent_at: BTreeMap::new(),
            left_early: 0,
            shared,
            group,
            device,
            index,
        }
    }

    /// Runs until everything was sent and answered; an error only if the ledger cannot be written.
    ///
    /// Cancel safe: what was under way stays unacknowledged in the ledger.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        loop {
            let group = Arc::clone(&self.group);
            let ended = match &group.link {
                Link::Mqtt(link) => mqtt::session(&mut self, link).await?,
                Link::WebSocket => ws::session(&mut self).await?,
                Link::Http(link) => http::session(&mut self, link).await?,
            };
            self.outbox.disconnected();
            match ended {
                Ended::Finished => return Ok(()),
                Ended::Left => {}
                Ended::Failed(why) => {
                    self.shared.watch.failed();
                    debug!(device = self.device.name, why, "connection failed");
                }
            }
            if self.is_finished() {
                return Ok(());
            }
            sleep(self.backoff.next(self.random.f64())).await;
        }
    }

    fn is_finished(&mut self) -> bool {
        if self.shared.draining.is_cancelled() {
            self.outbox.stop();
        }
        self.outbox.is_finished()
    }

    /// Up to `max` readings that are to be sent now, written down as sent; and what comes after.
    fn take(&mut self, max: usize) -> io::Result<(Vec<u64>, Next)> {
        let mut taken = Vec::new();
        loop {
            let next = self.outbox.next(&self.device, self.now_ns());
            match next {
                Next::Send { seq, again } if taken.len() < max => {
                    self.outbox.sending(seq);
                    taken.push(seq);
                    if again {
                        self.shared.watch.resent();
                    } else {
                        self.sent_at.insert(seq, Instant::now());
                        self.shared.watch.sent(self.device.kind, self.device.headline(seq));
                    }
                }
                next => {
                    self.shared.ledger.sent(self.index, &taken)?;
                    return Ok((taken, next));
                }
            }
        }
    }

    fn acknowledged(&mut self, seqs: &[u64]) -> io::Result<()> {
        self.left_early = 0;
        let count = seqs.iter().filter(|&&seq| self.outbox.answered(seq)).count();
        self.shared.watch.acknowledged(count as u64);
        for seq in seqs {
            if let Some(sent) = self.sent_at.remove(seq) {
                self.shared.watch.answered_after(sent.elapsed());
            }
        }
        self.shared.ledger.acknowledged(self.index, seqs)
    }

    fn refused(&mut self, seqs: &[u64], why: &str) -> io::Result<()> {
        let count = seqs.iter().filter(|&&seq| self.outbox.answered(seq)).count();
        self.shared.watch.refused(count as u64);
        for seq in seqs {
            self.sent_at.remove(seq);
        }
        info!(device = self.device.name, why, "a reading was refused");
        self.shared.ledger.refused(self.index, seqs)
    }

    /// QoS 0: nobody will say what became of it.
    fn unanswerable(&mut self, seq: u64) {
        self.outbox.answered(seq);
        self.sent_at.remove(&seq);
    }

    fn now_ns(&self) -> i64 {
        let (instant, ns) = self.shared.clock;
        ns.saturating_add(i64::try_from(instant.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }

    /// Returns when there may be something to send; never for `Full` and `Done`, whose end is an
    /// answer, except that the order to drain ends them too. Cancel safe.
    async fn due(&self, next: Next) {
        let draining = &self.shared.draining;
        tokio::select! {
            () = draining.cancelled(), if !draining.is_cancelled() => {}
            () = async {
                match next {
                    Next::Send { .. } => {}
                    Next::At(ns) => sleep_until(self.instant(ns)).await,
                    Next::Full | Next::Done => std::future::pending().await,
                }
            } => {}
        }
    }

    fn instant(&self, ns: i64) -> Instant {
        let (instant, start) = self.shared.clock;
        instant + Duration::from_nanos(u64::try_from(ns - start).unwrap_or(0))
    }

    /// When this connection is to be broken on purpose: at random, `leave_every` apart in the mean. Twice
    /// as long after each one that was left with nothing acknowledged: it would never end where answers
    /// take longer than that.
    fn leave_at(&mut self) -> Instant {
        let never = Duration::from_hours(24 * 365);
        let Some(mean) = self.group.leave_every else { return Instant::now() + never };
        let part = -(1.0 - self.random.f64()).ln();
        let patience = 2.0_f64.powi(self.left_early.min(20));
        self.left_early = self.left_early.saturating_add(1);
        Instant::now() + mean.mul_f64(part.min(20.0) * patience).min(never)
    }
}

/// Counts a connection as open for as long as it lives.
#[derive(Debug)]
struct Connected(Arc<Watch>);

impl Connected {
    fn new(watch: &Arc<Watch>) -> Self {
        watch.connected();
        Self(Arc::clone(watch))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}
