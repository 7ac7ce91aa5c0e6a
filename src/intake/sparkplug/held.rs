//! Metrics that wait for the birth that explains their aliases. Pure: `now` is passed in.
//!
//! ```text
//!  data --hold--> waiting, by speaker --born--> due: explained
//!                          |  `----died, another life--> due: nothing will explain them
//!                          `--------until-------------> due: too late
//! ```
//! Bounded in bytes, over all and for a node, and in time. What is due goes on to count until it is
//! settled. Leaves out what becomes of it then.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use proto::sparkplug::Topic;

/// What an entry costs beside its texts and bytes.
const ENTRY_BYTES: usize = 256;
/// So much is handed out at once.
const DUE_MAX: usize = 64;

/// Metrics of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::intake) struct Waiting {
    /// What the file calls it.
    pub(super) number: u64,
    pub(in crate::intake) source: Arc<str>,
    pub(in crate::intake) topic: String,
    /// A payload of these metrics alone.
    pub(in crate::intake) payload: Vec<u8>,
}

/// Why the waiting is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::intake) enum Fate {
    Explained,
    /// Whoever sent it has died, and begins with aliases of its own.
    Died,
    TooLate,
}

#[derive(Debug)]
pub(super) struct Held {
    hold_max: Duration,
    bytes_max: usize,
    /// By `group/node` or `group/node/device`; no queue is empty.
    waiting: BTreeMap<String, VecDeque<Entry>>,
    due: VecDeque<(Waiting, Fate)>,
    /// Handed out, not settled yet, by number.
    settling: BTreeMap<u64, Waiting>,
    messages: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    waiting: Waiting,
    since: Duration,
}

impl Fate {
    /// What was told since may be asked what it means.
    pub(in crate::intake) fn is_explained(self) -> bool {
        match self {
            Self::Explained | Self::TooLate => true,
            Self::Died => false,
        }
    }

    /// Why it is refused, if it must be.
    pub(in crate::intake) fn why(self) -> &'static str {
        match self {
            Self::Explained => "metrics by an alias that the birth of their node does not name",
            Self::Died => {
                "metrics by an alias that no birth had explained when whoever sent them died"
            }
            Self::TooLate => "metrics by an alias that no birth explained in time",
        }
    }
}

impl Waiting {
    fn cost(&self) -> usize {
        ENTRY_BYTES + self.topic.len() + self.payload.len()
    }
}

impl Held {
    pub(super) fn new(hold_max: Duration, bytes_max: usize) -> Self {
        let (waiting, due, settling) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        Self { hold_max, bytes_max, waiting, due, settling, messages: 0, bytes: 0 }
    }

    /// Waiting and due.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is room for it. A node may have a quarter of all.
    pub(super) fn hold(&mut self, speaker: &Topic<'_>, waiting: Waiting, now: Duration) -> bool {
        let cost = waiting.cost();
        let of_node = self.of_node(speaker).map(cost_of).sum::<usize>();
        if self.bytes + cost > self.bytes_max || of_node + cost > self.bytes_max / 4 {
            return false;
        }
        self.bytes += cost;
        self.messages += 1;
        let queue = self.waiting.entry(key(speaker)).or_default();
        queue.push_back(Entry { waiting, since: now });
        true
    }

    /// The speaker's own metrics have names now.
    pub(super) fn born(&mut self, speaker: &Topic<'_>) {
        if let Some(queue) = self.waiting.remove(&key(speaker)) {
            self.due.extend(queue.into_iter().map(|entry| (entry.waiting, Fate::Explained)));
        }
    }

    /// A device alone, or a node with all its devices.
    pub(super) fn died(&mut self, speaker: &Topic<'_>) {
        let keys: Vec<String> = match speaker.device {
            Some(_) => vec![key(speaker)],
            None => self.of_node(speaker).map(|(key, _)| key.clone()).collect(),
        };
        for queue in keys.iter().filter_map(|key| self.waiting.remove(key)) {
            self.due.extend(queue.into_iter().map(|entry| (entry.waiting, Fate::Died)));
        }
    }

    /// When there is something due: then, or before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.oldest().map(|(_, since)| since + self.hold_max)
    }

    /// Who has waited longest, and since when.
    pub(super) fn oldest(&self) -> Option<(&str, Duration)> {
        let first = |(key, queue): (_, &VecDeque<Entry>)| Some((key, queue.front()?.since));
        let oldest = self.waiting.iter().filter_map(first).min_by_key(|(_, since)| *since);
        oldest.map(|(key, since): (&String, _)| (key.as_str(), since))
    }

    /// What is not to wait any longer, some at a time. To be settled.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<(Waiting, Fate)> {
        if self.due.is_empty() && self.deadline().is_some_and(|deadline| deadline <= now) {
            self.expire(now);
        }
        let due: Vec<_> = self.due.drain(..self.due.len().min(DUE_MAX)).collect();
        let settling = due.iter().map(|(waiting, _)| (waiting.number, waiting.clone()));
        self.settling.extend(settling);
        due
    }

    /// It is in the journal.
    pub(super) fn settled(&mut self, number: u64) {
        if let Some(waiting) = self.settling.remove(&number) {
            self.bytes -= waiting.cost();
            self.messages -= 1;
        }
    }

    /// These are in the journal although nobody was told; those that were still waiting.
    pub(super) fn forget(&mut self, settled: &HashSet<u64>) -> Vec<u64> {
        let mut forgotten = Vec::new();
        for queue in self.waiting.values_mut() {
            queue.retain(|Entry { waiting, .. }| {
                let goes = settled.contains(&waiting.number);
                if goes {
                    forgotten.push(waiting.number);
                    self.bytes -= waiting.cost();
                    self.messages -= 1;
                }
                !goes
            });
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
        forgotten
    }

    /// Nothing is to wait any longer.
    pub(super) fn give_up(&mut self) {
        let all = std::mem::take(&mut self.waiting).into_values().flatten();
        self.due.extend(all.map(|entry| (entry.waiting, Fate::TooLate)));
    }

    /// All that is not settled.
    pub(super) fn all(&self) -> impl Iterator<Item = &Waiting> {
        let waiting = self.waiting.values().flatten().map(|entry| &entry.waiting);
        let due = self.due.iter().map(|(waiting, _)| waiting);
        waiting.chain(due).chain(self.settling.values())
    }

    fn expire(&mut self, now: Duration) {
        for queue in self.waiting.values_mut() {
            while queue.front().is_some_and(|entry| entry.since + self.hold_max <= now) {
                let late = queue.pop_front().map(|entry| (entry.waiting, Fate::TooLate));
                self.due.extend(late);
            }
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
    }

    /// The node's own, and those of its devices.
    fn of_node(&self, speaker: &Topic<'_>) -> impl Iterator<Item = (&String, &VecDeque<Entry>)> {
        let node = key(&Topic { device: None, ..*speaker });
        let own = self.waiting.get_key_value(&node);
        let devices = format!("{node}/");
        let from = self.waiting.range(devices.clone()..);
        own.into_iter().chain(from.take_while(move |(key, _)| key.starts_with(&devices)))
    }
}

fn cost_of((_, queue): (&String, &VecDeque<Entry>)) -> usize {
    queue.iter().map(|entry| entry.waiting.cost()).sum()
}

fn key(speaker: &Topic<'_>) -> String {
    let Topic { group, node, device, .. } = speaker;
    match device {
        None => format!("{group}/{node}"),
        Some(device) => format!("{group}/{node}/{device}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn held() -> Held {
        Held::new(10 * SECOND, 8 * 1024)
    }

    fn hold(held: &mut Held, topic: &str, number: u64, at: u32) -> bool {
        let speaker = Topic::parse(topic).unwrap();
        let payload = vec![0; 100];
        let waiting = Waiting { number, source: "mqtt".into(), topic: topic.into(), payload };
        held.hold(&speaker, waiting, at * SECOND)
    }

    fn due(held: &mut Held, at: u32) -> Vec<(u64, Fate)> {
        let due = held.take_due(at * SECOND);
        assert!(held.all().count() >= due.len(), "until it is settled");
        for (waiting, _) in &due {
            held.settled(waiting.number);
        }
        due.into_iter().map(|(waiting, fate)| (waiting.number, fate)).collect()
    }

    #[test]
    fn a_birth_explains_what_its_own_speaker_sent() {
        let mut held = held();
        for (number, topic) in ["g/NDATA/n", "g/DDATA/n/d", "g/DDATA/n/e", "g/NDATA/n2"]
            .map(|topic| format!("spBv1.0/{topic}"))
            .iter()
            .enumerate()
        {
            assert!(hold(&mut held, topic, number as u64, 0));
        }
        held.born(&Topic::parse("spBv1.0/g/DBIRTH/n/d").unwrap());
        assert_eq!(due(&mut held, 0), [(1, Fate::Explained)]);
        held.died(&Topic::parse("spBv1.0/g/NDEATH/n").unwrap());
        assert_eq!(due(&mut held, 0), [(0, Fate::Died), (2, Fate::Died)]);
        assert_eq!((held.messages(), held.oldest()), (1, Some(("g/n2", Duration::ZERO))));
        held.born(&Topic::parse("spBv1.0/g/NBIRTH/n2").unwrap());
        assert_eq!(due(&mut held, 0), [(3, Fate::Explained)]);
        assert_eq!((held.messages(), held.bytes(), held.deadline()), (0, 0, None));
    }

    #[test]
    fn a_device_dies_alone() {
        let mut held = held();
        hold(&mut held, "spBv1.0/g/DDATA/n/d", 1, 0);
        hold(&mut held, "spBv1.0/g/DDATA/n/e", 2, 0);
        held.died(&Topic::parse("spBv1.0/g/DDEATH/n/d").unwrap());
        assert_eq!(due(&mut held, 0), [(1, Fate::Died)]);
    }

    #[test]
    fn nothing_waits_for_ever() {
        let mut held = held();
        hold(&mut held, "spBv1.0/g/NDATA/n", 1, 0);
        hold(&mut held, "spBv1.0/g/NDATA/n", 2, 5);
        assert_eq!(held.deadline(), Some(10 * SECOND));
        assert_eq!(due(&mut held, 9), []);
        assert_eq!(due(&mut held, 10), [(1, Fate::TooLate)]);
        assert_eq!(held.deadline(), Some(15 * SECOND));
        assert_eq!(due(&mut held, 60), [(2, Fate::TooLate)]);
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn there_is_room_for_so_much_and_for_a_quarter_of_it_from_one_node() {
        let mut held = held();
        let topics = ["spBv1.0/g/NDATA/a", "spBv1.0/g/DDATA/a/d"];
        let took = (0..100).filter(|at| hold(&mut held, topics[at % 2], *at as u64, 0)).count();
        assert_eq!(took, 5, "2 KiB");
        let other = |at: usize| format!("spBv1.0/g/NDATA/n{at}");
        let took = (0..100).filter(|at| hold(&mut held, &other(*at), *at as u64, 0)).count();
        assert_eq!(took, 16);
        assert!(held.bytes() <= 8 * 1024);
        assert_eq!(held.all().count(), 21);
        held.died(&Topic::parse("spBv1.0/g/NDEATH/a").unwrap());
        assert!(!hold(&mut held, "spBv1.0/g/NDATA/a", 1, 0), "what is due is not gone");
        due(&mut held, 0);
        assert!(hold(&mut held, "spBv1.0/g/NDATA/a", 1, 0));
    }
}
