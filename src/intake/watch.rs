//! What becomes of payloads, shown while it happens: for `tidegate watch`.
//!
//! Nobody watches: one load of an atomic for each payload. Somebody does: what matches is told as
//! line protocol over a bounded channel that is never waited for. What a slow terminal has no room
//! for, and what comes faster than anybody reads, is not told but counted.
//!
//! Leaves out whether a reading became durable: that is said to its sender, and by `status`.

#[cfg(test)]
mod tests;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use proto::Rejects;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::{Duration, Instant, timeout},
};

use super::described::{self, Described};
use super::explain;
use super::route::{Route, Routes, Rule};

/// Watchers at the same time.
const WATCHERS_MAX: usize = 8;
/// Payloads that wait for one watcher.
const WAITING_MAX: usize = 256;
/// Payloads told to one watcher in a second.
const SECOND_MAX: u32 = 1_000;
/// Of one payload, what is told in full.
const TOLD_BYTES_MAX: usize = 16 * 1024;
/// How soon it is said that something was not told, if nothing else is.
const MISSED_EVERY: Duration = Duration::from_secs(1);

/// What became of one payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The listener or collector that took it.
    pub source: String,
    /// The topic, or the path of an HTTP or WebSocket endpoint.
    pub topic: String,
    /// What gave the topic its meaning; empty where no topic is routed.
    pub rule: String,
    /// Line protocol, one point a line.
    pub lines: Vec<String>,
    /// What was refused, and why.
    pub refused: Vec<String>,
    /// Points and refusals that are not told, to keep this short.
    pub more: u64,
    /// Taken note of, nothing stored, not a refusal.
    pub filtered: bool,
    /// Metrics that are kept until a birth explains their aliases.
    #[serde(default)]
    pub held: u32,
    /// What discovery says of the values of this topic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub described: Vec<described::Told>,
}

/// What a watcher asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// A topic filter (MQTT 5, 4.7) or a rule's pattern, for paths of endpoints too. `None`: all.
    pub filter: Option<String>,
    /// Only payloads of which something was refused.
    pub refused: bool,
}

/// What `Watch::next` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Seen(Seen),
    /// So many payloads were not told.
    Missed(u64),
}

/// All who watch.
#[derive(Debug, Default)]
pub struct Watchers {
    is_watched: AtomicBool,
    list: Mutex<Vec<Watcher>>,
}

#[derive(Debug)]
struct Watcher {
    filter: Option<Routes>,
    refused: bool,
    seen: mpsc::Sender<Seen>,
    missed: Arc<AtomicU64>,
    /// Which second this is, and what was told in it.
    second: Instant,
    told: u32,
}

/// One who watches, until this drops.
#[derive(Debug)]
pub struct Watch {
    seen: mpsc::Receiver<Seen>,
    missed: Arc<AtomicU64>,
}

/// A payload on its way through the intake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    pub(super) source: &'a str,
    pub(super) topic: &'a str,
    pub(super) bytes: &'a [u8],
    /// The routes that gave its topic a meaning.
    pub(super) routes: Option<&'a Routes>,
    /// In frame form, stamped.
    pub(super) readings: &'a [u8],
    pub(super) rejects: &'a Rejects,
    /// Metrics that wait for a birth.
    pub(super) held: u32,
    /// Looked at only if somebody wants to know.
    pub(super) described: &'a Described,
}

impl Watchers {
    /// Begins to watch. Fails with words for the one who asked.
    pub fn watch(&self, wanted: &Wanted) -> Result<Watch, String> {
        let filter = wanted.filter.as_deref().map(compile).transpose()?;
        let (sender, seen) = mpsc::channel(WAITING_MAX);
        let missed = Arc::<AtomicU64>::default();
        let mut list = self.list();
        list.retain(|watcher| !watcher.seen.is_closed());
        if list.len() >= WATCHERS_MAX {
            return Err(format!("{WATCHERS_MAX} are watching already"));
        }
        list.push(Watcher {
            filter,
            refused: wanted.refused,
            seen: sender,
            missed: Arc::clone(&missed),
            second: Instant::now(),
            told: 0,
        });
        self.is_watched.store(true, Ordering::Relaxed);
        Ok(Watch { seen, missed })
    }

    pub(super) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    /// Tells whoever wants to know. Never waits for a watcher.
    pub(super) fn saw(&self, payload: &Payload<'_>) {
        let mut permits = Vec::new();
        {
            let mut list = self.list();
            list.retain(|watcher| !watcher.seen.is_closed());
            if list.is_empty() {
                self.is_watched.store(false, Ordering::Relaxed);
            }
            permits.extend(list.iter_mut().filter_map(|watcher| watcher.permit(payload)));
        }
        if permits.is_empty() {
            return;
        }
        let seen = told(payload);
        for permit in permits {
            permit.send(seen.clone());
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    fn permit(&mut self, payload: &Payload<'_>) -> Option<mpsc::OwnedPermit<Seen>> {
        let is_wanted = self.filter.as_ref().is_none_or(|filter| filter.names(payload.topic))
            && !(self.refused && payload.rejects.is_empty());
        if !is_wanted {
            return None;
        }
        if self.second.elapsed() >= Duration::from_secs(1) {
            (self.second, self.told) = (Instant::now(), 0);
        }
        let permit =
            (self.told < SECOND_MAX).then(|| self.seen.clone().try_reserve_owned().ok()).flatten();
        match permit {
            Some(_) => self.told += 1,
            None => _ = self.missed.fetch_add(1, Ordering::Relaxed),
        }
        permit
    }
}

impl Watch {
    /// Cancel safe. Ends with the gateway's intake.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            match self.seen.try_recv() {
                Ok(seen) => return Some(Told::Seen(seen)),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            // The channel is empty, so what is missed came after all that was told.
            let missed = self.missed.swap(0, Ordering::Relaxed);
            if missed > 0 {
                return Some(Told::Missed(missed));
            }
            // Not for ever: something may have been missed, and nothing told since.
            if let Ok(seen) = timeout(MISSED_EVERY, self.seen.recv()).await {
                return seen.map(Told::Seen);
            }
        }
    }
}

/// A filter is a rule of its own, which takes what it matches.
pub(super) fn compile(filter: &str) -> Result<Routes, String> {
    let rule = Rule { topic: filter.to_owned(), ..Rule::default() };
    Routes::compile(vec![rule])
        .map_err(|errors| errors.into_iter().map(|error| error.what).collect::<Vec<_>>().join("; "))
}

fn told(payload: &Payload<'_>) -> Seen {
    let (lines, mut refused) = explain::points(payload.readings);
    refused.extend(explain::refusals(payload.rejects));
    let route = payload.routes.map(|routes| routes.route(payload.topic, payload.bytes));
    let described = match &route {
        Some(Route::Take(matched)) if !lines.is_empty() => {
            payload.described.of(payload.source, payload.topic, &matched.value)
        }
        _ => Vec::new(),
    };
    let mut seen = Seen {
        source: payload.source.to_owned(),
        topic: payload.topic.to_owned(),
        rule: route.as_ref().map_or_else(String::new, explain::rule),
        filtered: lines.is_empty() && refused.is_empty() && payload.held == 0,
        held: payload.held,
        ..Seen::default()
    };
    let mut room = TOLD_BYTES_MAX;
    for (from, to) in [(refused, &mut seen.refused), (lines, &mut seen.lines)] {
        for text in from {
            match room.checked_sub(text.len()) {
                Some(left) => {
                    room = left;
                    to.push(text);
                }
                None => seen.more += 1,
            }
        }
    }
    for told in described {
        let Some(left) = room.checked_sub(told.to_string().len()) else { break };
        room = left;
        seen.described.push(told);
    }
    seen
}
