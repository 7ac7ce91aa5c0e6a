//! The one door: route -> decode -> check -> stamp -> encode -> budget -> journal.
//!
//! A listener or collector gathers what one socket read brought (`Intake::gather`, then a
//! `Gather::message` or `Gather::body` for each payload), seals it with a ticket of its mark and
//! submits it. Nothing that comes in makes this fail: what cannot be taken travels in the same
//! submission as a rejection, becomes durable with it and ends in the dead letters.
//!
//! The books: what was refused is counted in the submission that carries it; what was filtered or
//! dropped needs no durability of its own, so its count rides with whatever is submitted next.
//!
//! Left out for now: what is known of single devices.

mod budget;
pub mod clock;
pub mod decode;
pub mod described;
pub mod explain;
mod gather;
mod meaning;
mod parts;
pub mod pieces;
pub mod presets;
mod refusals;
pub mod resends;
pub mod route;
pub mod sparkplug;
pub mod stamp;
pub mod stats;
#[cfg(test)]
mod tests;
pub mod watch;

use std::sync::Arc;

use bytes::Bytes;
use journal::{Appender, Closed, Counts, Mark, Room, Source, Submission, Ticket};
use proto::Timestamp;
use tokio::time::Instant;

use self::budget::{Budget, Carried};
use self::clock::{Arrival, Timekeeper};
use self::described::Described;
use self::meaning::Meaning;
use self::resends::Resends;
use self::route::Routes;
use self::sparkplug::Nodes;
use self::stamp::Clock;
use self::stats::{SourceKind, Stats};
use self::watch::Watchers;

pub use self::gather::{Gather, Gathered};

/// Of what is remembered of senders, at each start: with all that it costs, less than the journal's
/// queue holds at least.
const RECALLED_BYTES_MAX: usize = 1024 * 1024;

/// What a payload is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Auto,
    Json,
    Cbor,
    MessagePack,
    /// A pack, in JSON or in CBOR.
    Senml,
    /// One payload by itself, without its node's births.
    Sparkplug,
    Plain,
    Line,
    Frame,
    /// `time:value:value`, of collectd's `mqtt` plugin.
    Collectd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub reading: proto::Limits,
    /// Of times in payloads; a rule may have its own.
    pub times: proto::TimeLimits,
    pub json_depth_max: usize,
    pub json_keys_max: usize,
    /// Bytes in flight between the sockets and the journal, over all connections.
    pub budget_bytes: usize,
    /// Bytes of a refused payload that a dead letter keeps.
    pub rejected_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reading: proto::Limits::default(),
            times: proto::TimeLimits::default(),
            json_depth_max: 32,
            json_keys_max: 1024,
            budget_bytes: 32 * 1024 * 1024,
            rejected_bytes_max: 16 * 1024,
        }
    }
}

/// Shared by all listeners and collectors; clones are cheap.
#[derive(Clone, Debug)]
pub struct Intake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    appender: Appender,
    routes: Routes,
    limits: Limits,
    /// `[tags]` of the config, added to every reading that has no such tag from its route.
    site_tags: Vec<(String, String)>,
    time: Arc<Timekeeper>,
    budget: Budget,
    /// Counts that wait for the next submission.
    carried: Carried,
    resends: Resends,
    nodes: Arc<Nodes>,
    described: Arc<Described>,
    watchers: Arc<Watchers>,
    stats: Arc<Stats>,
}

/// A payload whose format the endpoint knows (HTTP, WebSocket), without a topic to route by.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    pub bytes: &'a [u8],
    pub format: Format,
    pub precision: Option<proto::Precision>,
    /// `?device=`.
    pub device: Option<&'a str>,
    /// A JSON or plain reading without a device is refused.
    pub device_required: bool,
    /// Path of the endpoint, for the dead letter.
    pub path: &'a str,
}

/// What became of one payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub readings: u32,
    pub refused: u64,
    /// A command, config or log topic, or a payload that says nothing: taken note of, nothing
    /// stored, not a refusal.
    pub filtered: bool,
    /// Metrics that are kept until a birth explains their aliases. They count when it has.
    pub held: u32,
}

impl Intake {
    pub fn new(
        appender: Appender,
        routes: Routes,
        limits: Limits,
        site_tags: Vec<(String, String)>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let shared = Shared {
            appender,
            routes,
            limits,
            site_tags,
            time: Arc::new(Timekeeper::new(clock)),
            budget: Budget::new(limits.budget_bytes),
            carried: Carried::default(),
            resends: Resends::default(),
            nodes: Arc::default(),
            described: Arc::default(),
            watchers: Arc::default(),
            stats: Arc::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// With what is remembered of an earlier run. Before the first clone: later it does nothing.
    #[must_use]
    pub fn remembering(mut self, resends: Resends) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.resends = resends;
        }
        self
    }

    /// With what is known of Sparkplug's nodes. Before the first clone: later it does nothing.
    #[must_use]
    pub fn knowing(mut self, nodes: Arc<Nodes>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.nodes = nodes;
        }
        self
    }

    /// With a time that is kept elsewhere. Before the first clone: later it does nothing.
    #[must_use]
    pub fn keeping(mut self, time: Arc<Timekeeper>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.time = time;
        }
        self
    }

    /// Notes again what was recalled at the start, at the journal's new end. To be called before
    /// anything else is submitted: what the queue takes while it is empty waits for no room, so a full
    /// journal holds up no start.
    pub async fn note_recalled(&self) -> Result<(), Closed> {
        let source = Source::from("gateway");
        let nodes = self.nodes().note();
        let left = RECALLED_BYTES_MAX.saturating_sub(nodes.as_ref().map_or(0, Bytes::len));
        let senders = self.resends().note(left, Instant::now(), self.now());
        // Nobody waits for it, but the sync shall not: the outputs are at work on the segments
        // that it was found in.
        let mut mark = Mark::new();
        for note in nodes.into_iter().chain(senders) {
            self.submit(self.gather(&source).seal_with(mark.ticket(), note)).await?;
        }
        Ok(())
    }

    /// What is known of Sparkplug's nodes.
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.shared.nodes
    }

    /// What discovery says of values.
    pub fn described(&self) -> &Arc<Described> {
        &self.shared.described
    }

    /// What senders may send again.
    pub fn resends(&self) -> &Resends {
        &self.shared.resends
    }

    /// Begins a submission; now is when its payloads arrived.
    pub fn gather(&self, source: &Source) -> Gather {
        Gather::new(self.clone(), Source::clone(source))
    }

    /// Waits for room in the byte budget, then for room in the journal's queue. Cancelled or
    /// failed: the ticket drops and its mark breaks.
    pub async fn submit(&self, gathered: Gathered) -> Result<(), Closed> {
        self.submit_noted(gathered, |_| ()).await
    }

    /// The same; `arrived` is told the note of each part as soon as the journal's queue has that
    /// part. Cancelled in between, those that came later were not taken.
    pub async fn submit_noted(
        &self,
        gathered: Gathered,
        arrived: impl Fn(&Bytes),
    ) -> Result<(), Closed> {
        #[cfg(feature = "faults")]
        journal::fault::point("intake");
        let Gathered { first, last, mut unsent, wanted, .. } = gathered;
        if let Some(vital) = wanted {
            // Boxed: what hardly ever happens shall not make every submission larger.
            let is_kept = Box::pin(self.nodes().keep(vital.wanted)).await;
            if vital.is_all_there_is && !is_kept {
                return Err(Closed); // It is nowhere, so nobody may be told that it is.
            }
        }
        for submission in first {
            let (readings, note) = (submission.readings, submission.note.clone());
            self.hand_over(submission).await?;
            arrived(&note);
            unsent.less(readings);
        }
        let note = last.note.clone();
        self.hand_over(last).await?;
        arrived(&note);
        unsent.arrived();
        Ok(())
    }

    /// What one connection may have in flight at most, so that it leaves room for others.
    pub fn share_bytes(&self) -> usize {
        self.shared.limits.budget_bytes / 8
    }

    pub fn room(&self) -> Room {
        self.shared.appender.room()
    }

    pub fn watch_room(&self) -> tokio::sync::watch::Receiver<Room> {
        self.shared.appender.watch_room()
    }

    /// QoS 0 messages given up while the journal was full: into the books.
    pub fn dropped(&self, messages: u64) {
        let stats = self.stats().source(SourceKind::Mqtt);
        stats.received.inc_by(messages);
        stats.dropped.inc_by(messages);
        self.shared.carried.add(Counts { dropped: messages, ..Counts::default() });
    }

    /// Writes counts that no submission has taken along yet. For the end, after the last listener
    /// is gone; nobody waits for it, so it starts no sync of its own.
    pub async fn settle_counts(&self) -> Result<(), Closed> {
        if self.shared.carried.is_empty() {
            return Ok(());
        }
        let nothing = self.gather(&Source::from("gateway")).seal(Ticket::nobody());
        self.submit(nothing).await
    }

    pub fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }

    /// Who looks at what becomes of payloads.
    pub fn watchers(&self) -> &Arc<Watchers> {
        &self.shared.watchers
    }

    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub fn routes(&self) -> &Routes {
        &self.shared.routes
    }

    /// Cancelled before the journal took the submission: the counts go back, to ride with another.
    async fn hand_over(&self, mut submission: Submission) -> Result<(), Closed> {
        submission.guard = Some(self.shared.budget.take(weight(&submission)).await?);
        let riding = self.shared.carried.take();
        submission.counts.filtered += riding.counts().filtered;
        submission.counts.dropped += riding.counts().dropped;
        self.shared.appender.append(submission).await?;
        riding.arrived();
        Ok(())
    }

    fn meaning<'a>(&'a self, source: &'a Source, arrival: &Arrival) -> Meaning<'a> {
        let Shared { routes, limits, site_tags, nodes, described, .. } = &*self.shared;
        let judges_times = arrival.is_believed();
        Meaning { routes, limits, site_tags, nodes, described, source, judges_times }
    }

    fn now(&self) -> Timestamp {
        self.shared.time.arrive().at
    }

    fn arrive(&self) -> Arrival {
        self.shared.time.arrive()
    }

    fn carry_filtered(&self, messages: u64) {
        self.shared.carried.add(Counts { filtered: messages, ..Counts::default() });
    }
}

/// What a submission holds of the budget; each one costs something even if it is empty.
fn weight(submission: &Submission) -> usize {
    const SUBMISSION_BYTES: usize = 256;
    let rejected = submission.rejected.iter();
    let rejected: usize = rejected.map(|r| r.topic.len() + r.reason.len() + r.bytes.len()).sum();
    SUBMISSION_BYTES + submission.bytes.len() + submission.note.len() + rejected
}
