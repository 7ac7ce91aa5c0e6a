//! Sparkplug's nodes: their births, what their aliases mean, and what waits for a birth.
//!
//! ```text
//!  message --hear--> sessions (proto) --readings--> gather
//!                       |   |  `------- ask ------> whoever can send it to the node
//!                       |   `---- births, held ---> records --keep--> file of births, synced
//!                       `-------- next number ----> note in the frame of the readings
//!  birth, death, time --> due --settle (care.rs)--> readings or refusals and a note, in the journal
//! ```
//! Promises: nothing is acknowledged before the births it was read with, and what of it waits for a
//! birth, are on the disk. After a restart an alias is trusted only if the node's next message is the
//! one that follows the last that is in the journal. What waits is delivered or refused with a reason,
//! within `hold_max`, whatever comes.
//!
//! Messages of other formats never come here. Leaves out how a node is reached: a collector takes what
//! is to be asked out of its gather.

pub mod care;
mod held;
mod note;
mod record;
mod state;
pub mod stats;
mod store;
#[cfg(test)]
mod tests;
mod told;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use proto::sparkplug::{self, Heard, Message as Kind, SessionLimits, Topic};
use proto::{Context, Kind as Why, Readings, Reason, Rejects};
use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};

use self::held::Entry;
use self::record::Record;
use self::state::State;
use self::stats::Stats;
use self::store::{Failure, Store};

pub(super) use self::held::{Fate, Waiting};
pub(super) use self::store::Wanted;
pub use self::told::Rebirth;
pub(super) use self::told::{Gathered, Told};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ask nodes for their births.
    pub rebirth: bool,
    /// A node is asked once in this time.
    pub rebirth_every: Duration,
    pub nodes_max: usize,
    /// What births tell, as it is kept in memory.
    pub births_bytes_max: usize,
    /// How long data may wait for a birth that explains it.
    pub hold_max: Duration,
    pub held_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let SessionLimits { nodes_max, bytes_max, rebirth_every, .. } = SessionLimits::default();
        Self {
            rebirth: true,
            rebirth_every,
            nodes_max,
            births_bytes_max: bytes_max,
            hold_max: Duration::from_mins(2),
            held_bytes_max: 4 * 1024 * 1024,
        }
    }
}

/// All nodes, whatever listener or collector they come by.
#[derive(Debug)]
pub struct Nodes {
    limits: Limits,
    state: Mutex<State>,
    /// `None`: what is known goes with the process.
    store: Option<Store>,
    /// Something may be due.
    wake: Notify,
    /// What `Duration`s count from.
    began: Instant,
    stats: Stats,
}

/// A message on a topic of Sparkplug's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'m> {
    pub(super) topic: &'m str,
    pub(super) speaker: Topic<'m>,
    pub(super) payload: &'m [u8],
    pub(super) source: &'m Arc<str>,
    /// By a clock that is believed.
    pub(super) arrival_ms: Option<u64>,
}

impl Default for Nodes {
    /// Knows nothing, and forgets it with the process.
    fn default() -> Self {
        Self::with(Limits::default(), None)
    }
}

impl Nodes {
    fn with(limits: Limits, store: Option<Store>) -> Self {
        Self {
            limits,
            state: Mutex::new(State::new(&limits)),
            store,
            wake: Notify::new(),
            began: Instant::now(),
            stats: Stats::default(),
        }
    }

    /// With what an earlier run left in that directory. Blocks on the disk.
    pub fn open(dir: &Path, limits: Limits) -> Self {
        let (store, file) = Store::open(dir);
        let nodes = Self::with(limits, Some(store));
        let mut state = nodes.state();
        let damaged = state.recall(&file);
        nodes.damaged(damaged);
        let (known, waiting) = (state.sessions.nodes(), state.held.messages());
        nodes.shown(&state);
        drop(state);
        if known + waiting > 0 {
            info!(nodes = known, waiting, "sparkplug: births are known from before");
        }
        nodes
    }

    fn damaged(&self, stretches: u64) {
        if stretches == 0 {
            return;
        }
        self.stats.damaged.inc_by(stretches);
        let kept = self.store.as_ref().map(Store::set_aside);
        warn!(
            stretches,
            ?kept,
            "sparkplug: the file of births is damaged; what is left is taken, nodes are asked for births"
        );
    }

    /// Takes back what a note from the journal says; notes come in the journal's order. Another's
    /// says nothing here.
    pub fn recall(&self, note: &[u8]) {
        let mut state = self.state();
        state.settled.extend(note::parse_settled(note));
        for (node, next_seq) in note::parse(note) {
            state.sessions.resume(node, next_seq);
        }
    }

    /// That was the last note. What the journal was given before a crash waits no longer, and the file
    /// says so before the frame that does may go. Blocks on the disk.
    pub fn recalled(&self) {
        let wanted = {
            let mut state = self.state();
            let settled = std::mem::take(&mut state.settled);
            let forgotten = state.held.forget(&settled);
            if forgotten.is_empty() {
                return;
            }
            info!(messages = forgotten.len(), "sparkplug: what waited was in the journal already");
            for number in &forgotten {
                state.put(Record::Settled { number: *number });
            }
            self.shown(&state);
            Wanted { upto: state.records, synced: true }
        };
        if !self.write(wanted) {
            self.state().owed = Some(wanted);
        }
    }

    /// What the file is still to be told of the time before this process. Once.
    fn owed(&self) -> Option<Wanted> {
        self.state().owed.take()
    }

    /// What was recalled, to be noted again at the journal's new end. `None`: nothing was.
    pub(super) fn note(&self) -> Option<Bytes> {
        let state = self.state();
        let mut known = state.sessions.next_seqs().filter(|(_, next)| next.is_some()).peekable();
        known.peek()?;
        Some(note::put(known))
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Who has waited longest for a birth, and for how long.
    pub fn oldest(&self) -> Option<(String, Duration)> {
        let state = self.state();
        let (speaker, since) = state.held.oldest()?;
        Some((speaker.to_owned(), self.now().saturating_sub(since)))
    }

    /// Takes note of a message and decodes it. To be called once for each, in the order in which they
    /// came.
    pub(super) fn hear(
        &self,
        message: &Message<'_>,
        context: &Context<'_>,
        out: &mut Readings,
        bad: &mut Rejects,
    ) -> Told {
        let Message { speaker, payload, .. } = *message;
        let now = self.now();
        let mut state = self.state();
        let heard =
            sparkplug::hear((&speaker, payload), &mut state.sessions, now, context, out, bad);
        let before = state.records;
        let mut told = Told {
            node: [speaker.group, "/", speaker.node].concat(),
            next_seq: state.sessions.next_seq(&speaker),
            ..Told::default()
        };
        match speaker.message {
            Kind::Birth if heard.born => self.born(&mut state, message, &heard, bad),
            Kind::Death if !heard.is_outdated && bad.is_empty() => self.died(&mut state, message),
            Kind::Data if heard.unresolved > 0 => {
                told.held = self.hold(&mut state, message, heard.unresolved, now, bad);
            }
            _ => {}
        }
        if heard.ask_rebirth {
            let payload = sparkplug::rebirth_command(message.arrival_ms.unwrap_or_default());
            told.ask = Some(Rebirth { topic: speaker.command(), payload });
        }
        let synced = speaker.message != Kind::Data;
        let upto = state.records;
        told.wanted = (upto > before).then_some(Wanted { upto, synced });
        self.shown(&state);
        told
    }

    fn born(&self, state: &mut State, message: &Message<'_>, heard: &Heard, bad: &mut Rejects) {
        let Message { topic, speaker, .. } = *message;
        self.stats.births.inc();
        self.stats.forgotten.inc_by(heard.forgotten.into());
        if heard.unresolved > 0 {
            let text = format!("{} metrics of a birth have no name", heard.unresolved);
            bad.reading(0, 0..0, Reason::new(Why::Alias, text));
        }
        state.born(&speaker, heard);
        let payload = state.sessions.birth(&speaker);
        state.put(Record::Heard { topic, payload: &payload });
        self.wake.notify_one();
    }

    fn died(&self, state: &mut State, message: &Message<'_>) {
        self.stats.deaths.inc();
        state.held.died(&message.speaker);
        state.put(Record::Heard { topic: message.topic, payload: &[] });
        self.wake.notify_one();
    }

    /// How many metrics wait now: all of them, or none if they had to be refused.
    fn hold(
        &self,
        state: &mut State,
        message: &Message<'_>,
        metrics: u32,
        now: Duration,
        bad: &mut Rejects,
    ) -> u32 {
        let Message { topic, speaker, payload, source, arrival_ms } = *message;
        self.stats.unresolved.inc_by(metrics.into());
        let payload = sparkplug::unresolved((&speaker, payload), &state.sessions, arrival_ms);
        let number = state.number.wrapping_add(1);
        let source = Arc::clone(source);
        let waiting = Waiting { number, source, topic: topic.to_owned(), payload };
        let bytes = state::held(&waiting);
        let can = !state.has_failed && !self.limits.hold_max.is_zero();
        let record = state.records + 1;
        let entry = Entry { waiting, since: now, record, is_doubtful: false };
        if !can || !state.held.hold(&speaker, entry) {
            let text = format!(
                "{metrics} metrics by an alias that no birth has explained, and no room to keep them \
                 until one does"
            );
            bad.reading(0, 0..0, Reason::new(Why::Alias, text));
            return 0;
        }
        state.number = number;
        state.put_bytes(&bytes);
        self.stats.held.inc();
        self.wake.notify_one();
        metrics
    }

    /// What is wanted is in the file of births, or on the disk. False: it is not; what was there still is.
    pub(super) async fn keep(self: &Arc<Self>, wanted: Wanted) -> bool {
        if self.store.as_ref().is_none_or(|store| store.has(wanted)) {
            return true;
        }
        let nodes = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || nodes.write(wanted));
        kept.await.unwrap_or(false)
    }

    fn write(&self, wanted: Wanted) -> bool {
        let Some(store) = &self.store else { return true };
        let kept = store.keep(wanted, |whole| self.state().take(whole));
        // Another's write may have made up for it by now.
        let kept = kept.or_else(|failure| if store.has(wanted) { Ok(()) } else { Err(failure) });
        let mut state = self.state();
        let had_failed = std::mem::replace(&mut state.has_failed, kept.is_err());
        let Err(Failure { error, kept }) = kept else { return true };
        if !had_failed {
            warn!(%error, "sparkplug: births cannot be kept; after a restart nodes are asked for them");
        }
        // What is on no disk is not to wait: the journal shall have it.
        state.held.give_up(kept);
        self.wake.notify_one();
        false
    }

    /// Waits until something is due. Cancel safe: what was handed out comes again after a restart.
    async fn due(&self) -> Vec<(Waiting, Fate)> {
        const LONG: Duration = Duration::from_hours(1);
        loop {
            let (due, deadline) = {
                let mut state = self.state();
                (state.held.take_due(self.now()), state.held.deadline())
            };
            if !due.is_empty() {
                return due;
            }
            let until = self.began + deadline.unwrap_or_else(|| self.now() + LONG);
            drop(tokio::time::timeout_at(until, self.wake.notified()).await);
        }
    }

    /// These are in the journal.
    fn settled(&self, all: &[(Waiting, Fate)]) -> Wanted {
        let mut state = self.state();
        for (waiting, _) in all {
            state.held.settled(waiting.number);
            state.put(Record::Settled { number: waiting.number });
        }
        self.shown(&state);
        Wanted { upto: state.records, synced: true }
    }

    fn shown(&self, state: &State) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.stats.waiting.set(count(state.held.messages()));
        self.stats.waiting_bytes.set(count(state.held.bytes()));
        self.stats.nodes.set(count(state.sessions.nodes()));
    }

    pub(super) fn asks(&self) -> bool {
        self.limits.rebirth
    }

    /// A node was asked for its births.
    pub fn asked(&self) {
        self.stats.rebirths_asked.inc();
    }

    /// Nodes that were to be asked for their births by somebody who cannot.
    pub(super) fn not_asked(&self, asks: &[Rebirth]) {
        self.stats.rebirths_unasked.inc_by(asks.len() as u64);
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// What runs under it leaves the tables whole, even if a decoder panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
