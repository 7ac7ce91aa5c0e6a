//! What becomes of payloads, shown while it happens: for `tidegate watch`.
//!
//! Nobody watches: one load of an atomic for each payload. Somebody does: what matches is told as
//! line protocol over a bounded channel that is never waited for. What a slow terminal has no room
//! for, and what comes faster than anybody reads, is not told but counted.
//!
//! Leaves out whether a reading became durable: that is said to its sender, and by `status`.

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
fn compile(filter: &str) -> Result<Routes, String> {
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

#[cfg(test)]
mod tests {
    use proto::{Kind, Limits, Readings, Reason, Timestamp};

    use super::*;
    use crate::intake::Format;
    use crate::intake::decode::{Named, decode};

    /// A plain value on that topic.
    fn show(watchers: &Watchers, topic: &str, payload: &str) {
        let mut readings = Readings::new(Limits::default());
        let mut rejects = Rejects::default();
        let routes = Routes::default();
        let context = proto::Context {
            times: None,
            measurement: "m",
            tags: &[],
            field: "value",
            precision: None,
            arrival: Timestamp::from_nanos(7),
            device_required: false,
            depth_max: 8,
            keys_max: 8,
            mapping: None,
        };
        let named = Named::default();
        decode(Format::Auto, payload.as_bytes(), &context, named, &mut readings, &mut rejects);
        readings.stamp(Timestamp::from_nanos(7));
        watchers.saw(&Payload {
            source: "mqtt",
            topic,
            bytes: payload.as_bytes(),
            routes: Some(&routes),
            readings: readings.bytes(),
            rejects: &rejects,
            held: 0,
            described: &Described::default(),
        });
    }

    fn only(filter: &str) -> Wanted {
        Wanted { filter: Some(filter.to_owned()), refused: false }
    }

    async fn next(watch: &mut Watch) -> Seen {
        match watch.next().await {
            Some(Told::Seen(seen)) => seen,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_sees_what_its_filter_takes_and_nothing_else() {
        let watchers = Watchers::default();
        assert!(!watchers.is_watched());
        let mut watch = watchers.watch(&only("a/+/t")).unwrap();
        assert!(watchers.is_watched());
        for topic in ["a/x/t", "a/x/u", "b/x/t", "a/y/t"] {
            show(&watchers, topic, "21.5");
        }
        let seen = next(&mut watch).await;
        assert_eq!((seen.topic.as_str(), seen.lines), ("a/x/t", vec!["m value=21.5 7".to_owned()]));
        assert_eq!(next(&mut watch).await.topic, "a/y/t");
        drop(watchers);
        assert_eq!(watch.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_can_be_watched_alone_and_come_with_their_reason() {
        let watchers = Watchers::default();
        let mut watch = watchers.watch(&Wanted { refused: true, filter: None }).unwrap();
        show(&watchers, "a", "1");
        show(&watchers, "b", "{\"t\":");
        let seen = next(&mut watch).await;
        assert_eq!((seen.topic.as_str(), seen.lines.len(), seen.refused.len()), ("b", 0, 1));
        assert!(!seen.filtered);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_watcher_is_told_how_much_it_missed_and_holds_nothing_up() {
        let watchers = Watchers::default();
        let mut watch = watchers.watch(&Wanted::default()).unwrap();
        for _ in 0..WAITING_MAX + 44 {
            show(&watchers, "a", "1");
        }
        for _ in 0..WAITING_MAX {
            next(&mut watch).await;
        }
        assert_eq!(watch.next().await, Some(Told::Missed(44)));
        show(&watchers, "a", "2");
        assert_eq!(next(&mut watch).await.lines, ["m value=2.0 7"]);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_anybody_reads_in_a_second_is_counted_and_the_next_second_begins_anew() {
        let watchers = Watchers::default();
        let mut watch = watchers.watch(&Wanted::default()).unwrap();
        for _ in 0..SECOND_MAX {
            show(&watchers, "a", "1");
            next(&mut watch).await;
        }
        show(&watchers, "a", "1");
        assert_eq!(watch.next().await, Some(Told::Missed(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        show(&watchers, "a", "1");
        next(&mut watch).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_payload_is_told_up_to_a_bound() {
        let watchers = Watchers::default();
        let mut watch = watchers.watch(&Wanted::default()).unwrap();
        show(&watchers, "a", &"measurement,n=1 v=1 123456789\n".repeat(2_000));
        let seen = next(&mut watch).await;
        assert_eq!(seen.lines.len() as u64 + seen.more, 2_000);
        assert!(seen.lines.iter().map(String::len).sum::<usize>() <= TOLD_BYTES_MAX);
        assert!(seen.more > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_makes_room_and_a_bad_filter_is_refused_with_its_reason() {
        let watchers = Watchers::default();
        let mut all: Vec<Watch> =
            (0..WATCHERS_MAX).map(|_| watchers.watch(&Wanted::default()).unwrap()).collect();
        assert!(watchers.watch(&Wanted::default()).is_err());
        all.pop();
        all.push(watchers.watch(&Wanted::default()).unwrap());
        assert!(watchers.watch(&only("a/#/b")).unwrap_err().contains('#'));
        all.clear();
        show(&watchers, "a", "1");
        assert!(!watchers.is_watched());
    }

    #[test]
    fn what_discovery_says_is_told_beside_points_and_only_there() {
        let described = Described::default();
        let config = br#"{"stat_t":"a/b","unit_of_meas":"V"}"#;
        described.hear(&journal::Source::from("mqtt"), "x/config", config);
        let mut readings = Readings::new(Limits::default());
        let mut rejects = Rejects::default();
        let context = proto::Context::bare(Timestamp::from_nanos(7));
        proto::line::decode(b"m value=21.5 7", &context, &mut readings, &mut rejects);
        let payload = Payload {
            source: "mqtt",
            topic: "a/b",
            bytes: b"m value=21.5 7",
            routes: Some(&Routes::default()),
            readings: readings.bytes(),
            rejects: &rejects,
            held: 0,
            described: &described,
        };
        let shown = |payload: &Payload<'_>| -> Vec<String> {
            told(payload).described.iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown(&payload), ["value: V"]);
        assert_eq!(shown(&Payload { topic: "a/c", ..payload }), [""; 0]);
        assert_eq!(shown(&Payload { readings: &[], topic: "a/b", ..payload }), [""; 0]);
        // The path of an endpoint is no topic.
        assert_eq!(shown(&Payload { routes: None, ..payload }), [""; 0]);
    }

    #[test]
    fn an_empty_payload_is_told_as_filtered() {
        let rejects = Rejects::default();
        let payload = Payload {
            source: "mqtt",
            topic: "a",
            bytes: b"",
            routes: None,
            readings: &[],
            rejects: &rejects,
            held: 0,
            described: &Described::default(),
        };
        assert!(told(&payload).filtered);
        assert!(!told(&Payload { held: 1, ..payload }).filtered);
        let mut rejects = Rejects::default();
        rejects.reading(0, 0..0, Reason::new(Kind::Internal, "why"));
        let payload = Payload { rejects: &rejects, ..payload };
        assert!(!told(&payload).filtered);
    }
}
