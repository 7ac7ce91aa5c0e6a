//! Metrics that wait for the birth that explains their aliases. Pure: `now` is passed in.
//!
//! ```text
//!  data --hold--> waiting, by speaker --born--> due: explained, by that birth and no later one
//!                          |  `----died, another life--> due: nothing will explain them
//!                          `--------until-------------> due: too late
//! ```
//! Bounded in bytes, over all and for a node, and in time. What is due goes on to count until it is
//! settled. What a file brings back is taken beyond the bounds: somebody was told that it is kept.
//! Leaves out what becomes of it then.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use proto::sparkplug::{Names, Topic};

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
#[derive(Clone, Debug)]
pub(in crate::intake) enum Fate {
    /// By these names: a birth that comes before it is delivered may mean something else.
    Explained(Arc<Names>),
    /// A birth or a death between it and the birth that came was not kept.
    Unclear,
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
    settling: BTreeMap<u64, (Waiting, Fate)>,
    messages: usize,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) waiting: Waiting,
    pub(super) since: Duration,
    /// Which record of this process it is; 0: the file had it before.
    pub(super) record: u64,
    /// Births or deaths were missed since: only a birth that says itself to be of the life that was known
    /// explains it.
    pub(super) is_doubtful: bool,
}

impl Fate {
    /// What names it, if something does.
    pub(in crate::intake) fn names(&self) -> Option<&Names> {
        match self {
            Self::Explained(names) => Some(names),
            Self::Unclear | Self::Died | Self::TooLate => None,
        }
    }

    /// Why it is refused, if it must be.
    pub(in crate::intake) fn why(&self) -> &'static str {
        match self {
            Self::Explained(_) => "metrics by an alias that the birth of their node does not name",
            Self::Unclear => {
                "metrics by an alias that another birth may have explained, which was not kept"
            }
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
    pub(super) fn hold(&mut self, speaker: &Topic<'_>, entry: Entry) -> bool {
        let cost = entry.waiting.cost();
        let of_node = self.of_node(speaker).map(cost_of).sum::<usize>();
        if self.bytes + cost > self.bytes_max || of_node + cost > self.bytes_max / 4 {
            return false;
        }
        self.recall(speaker, entry);
        true
    }

    /// It was held before, so there is room for it.
    pub(super) fn recall(&mut self, speaker: &Topic<'_>, entry: Entry) {
        self.bytes += entry.waiting.cost();
        self.messages += 1;
        self.waiting.entry(key(speaker)).or_default().push_back(entry);
    }

    /// The speaker's own metrics have names now.
    pub(super) fn born(&mut self, speaker: &Topic<'_>, names: impl FnOnce() -> Names) {
        let Some(queue) = self.waiting.remove(&key(speaker)) else { return };
        let names = Arc::new(names());
        let fate = |entry: &Entry| {
            if entry.is_doubtful { Fate::Unclear } else { Fate::Explained(Arc::clone(&names)) }
        };
        let due = queue.into_iter().map(|entry| (fate(&entry), entry));
        self.due.extend(due.map(|(fate, entry)| (entry.waiting, fate)));
    }

    /// Births or deaths may have been missed.
    pub(super) fn doubt(&mut self) {
        self.waiting.values_mut().flatten().for_each(|entry| entry.is_doubtful = true);
    }

    /// They were none of the node's, nor of its devices'.
    pub(super) fn trust(&mut self, speaker: &Topic<'_>) {
        let keys: Vec<String> = self.of_node(speaker).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let queue = self.waiting.get_mut(&key).into_iter().flatten();
            queue.for_each(|entry| entry.is_doubtful = false);
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
        self.settling.extend(due.iter().map(|due| (due.0.number, due.clone())));
        due
    }

    /// It is in the journal.
    pub(super) fn settled(&mut self, number: u64) {
        if let Some((waiting, _)) = self.settling.remove(&number) {
            self.bytes -= waiting.cost();
            self.messages -= 1;
        }
    }

    /// These are in the journal although nobody was told; those that were not handed out.
    pub(super) fn forget(&mut self, settled: &HashSet<u64>) -> Vec<u64> {
        let mut forgotten = Vec::new();
        let mut stays = |waiting: &Waiting| {
            let goes = settled.contains(&waiting.number);
            if goes {
                forgotten.push(waiting.number);
                self.bytes -= waiting.cost();
                self.messages -= 1;
            }
            !goes
        };
        for queue in self.waiting.values_mut() {
            queue.retain(|entry| stays(&entry.waiting));
        }
        self.due.retain(|(waiting, _)| stays(waiting));
        self.waiting.retain(|_, queue| !queue.is_empty());
        forgotten
    }

    /// Nothing is to wait that is not on the disk: of the records, those up to `kept`. `None`: nothing is
    /// there.
    pub(super) fn give_up(&mut self, kept: Option<u64>) {
        for queue in self.waiting.values_mut() {
            let is_kept = |entry: &Entry| kept.is_some_and(|kept| entry.record <= kept);
            let (stay, go): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(queue).into_iter().partition(is_kept);
            *queue = stay;
            self.due.extend(go.into_iter().map(|entry| (entry.waiting, Fate::TooLate)));
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
    }

    /// What waits, each with whether it is in doubt.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Waiting, bool)> {
        self.waiting.values().flatten().map(|entry| (&entry.waiting, entry.is_doubtful))
    }

    /// What is due and not settled.
    pub(super) fn due(&self) -> impl Iterator<Item = &(Waiting, Fate)> {
        self.due.iter().chain(self.settling.values())
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
mod tests;
