//! What is known of the nodes: who was born, what their aliases mean, which message comes next.
//!
//! ```text
//!             NBIRTH                      seq as expected
//!  unknown ------------> born, names known ---------------> born
//!     ^   ask a rebirth       |  ^ NBIRTH      gap: ask a rebirth, aliases are stale
//!     +-----------------------+  +---------- stale <--------+
//!             NDEATH
//! ```
//! Pure: `now` is passed in, any monotonic time. Bounded: nodes and bytes; the node that was heard
//! longest ago leaves first, and says its births again when it is asked to.

use std::{collections::HashMap, time::Duration};

use super::{
    names::Names,
    payload::{Metric, Payload},
    topic::{Message, Topic},
};

/// What is kept at most, and how often nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub nodes_max: usize,
    /// Of all that births have told. One node may have a quarter of it.
    pub bytes_max: usize,
    /// A node is asked for its births once in this time,
    pub rebirth_every: Duration,
    /// and no more nodes than these.
    pub rebirths_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nodes_max: 1024,
            bytes_max: 16 * 1024 * 1024,
            rebirth_every: Duration::from_secs(30),
            rebirths_max: 100,
        }
    }
}

/// What a message means for the session of its node.
#[expect(clippy::struct_excessive_bools, reason = "facts of their own; most messages have none")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Send `rebirth_command` to `Topic::command`.
    pub ask_rebirth: bool,
    /// Metrics by an alias that no birth has named, neither taken nor refused. Keep the payload, and
    /// `resolve` it when its node is born; what was taken already becomes the same point.
    pub unresolved: u32,
    /// A birth: what was kept for want of it can be resolved now.
    pub born: bool,
    /// A death that belongs to an earlier birth of its node: it says nothing.
    pub is_outdated: bool,
    /// A node's birth that is not of the life it was known to have: what was kept before has been said
    /// with aliases that nothing will explain.
    pub is_another_life: bool,
    /// A node's birth that says itself to be of the life that was known.
    pub is_same_life: bool,
    /// The devices that a node's death takes with it.
    pub died: Vec<String>,
    /// Metrics of a birth for whose names there was no room.
    pub forgotten: u32,
}

#[derive(Debug)]
pub struct Sessions {
    limits: Limits,
    /// By `group/node`.
    nodes: HashMap<String, Node>,
    bytes: usize,
    /// When the first of the last `asked` rebirths was asked for.
    asking_since: Duration,
    asked: u32,
    nothing: Names,
}

#[derive(Debug, Default)]
struct Node {
    names: Names,
    devices: HashMap<String, Names>,
    bd_seq: Option<u64>,
    /// `None`: not born, as far as is known.
    next_seq: Option<u8>,
    /// The same while it is not born as far as is known: its devices may have been.
    next_unborn: Option<u8>,
    heard: Duration,
    asked: Option<Duration>,
    /// Of all its names.
    bytes: usize,
}

/// A table's room for a node or a device, its name apart.
const ENTRY_BYTES: usize = 256;

impl Sessions {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            nodes: HashMap::new(),
            bytes: 0,
            asking_since: Duration::ZERO,
            asked: 0,
            nothing: Names::default(),
        }
    }

    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Of all that births have told; never more than the limit.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the births have told, as topics and payloads of births that tell the same: the node that
    /// was heard longest ago first, and itself before its devices. Hear them to know it again.
    pub fn births(&self) -> Vec<(String, Vec<u8>)> {
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_key(|(_, node)| node.heard);
        let mut births = Vec::new();
        for (key, node) in nodes {
            let Some((group, name)) = key.split_once('/') else { continue };
            if node.next_seq.is_some() || node.bd_seq.is_some() || !node.names.is_empty() {
                let payload = node.names.birth(node.bd_seq);
                births.push((format!("spBv1.0/{group}/NBIRTH/{name}"), payload));
            }
            for (device, names) in &node.devices {
                let topic = format!("spBv1.0/{group}/DBIRTH/{name}/{device}");
                births.push((topic, names.birth(None)));
            }
        }
        births
    }

    /// What the speaker's births have told, as a payload that tells the same.
    pub fn birth(&self, topic: &Topic<'_>) -> Vec<u8> {
        let bd_seq = self.nodes.get(&key(topic)).and_then(|node| node.bd_seq);
        self.names(topic).birth(bd_seq.filter(|_| topic.device.is_none()))
    }

    /// The number of a node's next message; `None`: it is not known, or what its aliases mean is not.
    pub fn next_seq(&self, topic: &Topic<'_>) -> Option<u8> {
        let node = self.nodes.get(&key(topic))?;
        node.next_seq.filter(|_| !node.names.is_stale)
    }

    /// Of all nodes, by `group/node`.
    pub fn next_seqs(&self) -> impl Iterator<Item = (&str, Option<u8>)> {
        let next = |node: &Node| node.next_seq.filter(|_| !node.names.is_stale);
        self.nodes.iter().map(move |(key, node)| (key.as_str(), next(node)))
    }

    /// Hears a birth or a death again, as `births` told it or with an empty payload. What is to be asked
    /// then is nobody's business any more.
    pub fn recall(&mut self, (topic, payload): (&Topic<'_>, &[u8])) -> Heard {
        let payload = Payload::parse(payload);
        payload.map_or_else(|_| Heard::default(), |it| self.hear(topic, &it, Duration::ZERO))
    }

    /// Births or deaths may have been missed for good: what was told is told no more, whatever `resume`
    /// says. Which life each node was in stays known.
    pub fn doubt(&mut self) {
        for (key, node) in &mut self.nodes {
            self.bytes -= node.cost(key);
            let bd_seq = node.bd_seq;
            node.forget();
            node.bd_seq = bd_seq;
            self.bytes += node.cost(key);
        }
    }

    /// Whether it is known in which of its lives the node is.
    pub fn knows_life(&self, topic: &Topic<'_>) -> bool {
        self.nodes.get(&key(topic)).is_some_and(|node| node.bd_seq.is_some())
    }

    /// What the speaker's births have told until now, whatever they tell later.
    pub fn told(&self, topic: &Topic<'_>) -> Names {
        self.names(topic).clone()
    }

    /// Messages may have been missed since: no alias is trusted until `resume` says otherwise.
    pub fn suspend(&mut self) {
        self.asked = 0;
        for node in self.nodes.values_mut() {
            node.suspend();
            node.asked = None;
        }
    }

    /// After `suspend`, what `next_seq` said last of the node `group/node`.
    pub fn resume(&mut self, node: &str, next_seq: Option<u8>) {
        let Some(node) = self.nodes.get_mut(node) else { return };
        node.suspend();
        if next_seq.is_some() {
            node.next_seq = next_seq;
            node.trust(true);
        }
    }

    /// What a speaker's births have told; nothing if it is not known.
    pub(super) fn names(&self, topic: &Topic<'_>) -> &Names {
        let node = self.nodes.get(&key(topic));
        let names = node.and_then(|node| match topic.device {
            None => Some(&node.names),
            Some(device) => node.devices.get(device),
        });
        names.unwrap_or(&self.nothing)
    }

    /// Takes note of a message. To be called once for each, in the order in which they came.
    pub(super) fn hear(
        &mut self,
        topic: &Topic<'_>,
        payload: &Payload<'_>,
        now: Duration,
    ) -> Heard {
        if topic.message == Message::Command {
            return Heard::default();
        }
        let key = key(topic);
        let mut node = self.take(&key);
        node.heard = now;
        let mut heard = match (topic.message, topic.device) {
            (Message::Birth, None) => node.birth(payload, self.share()),
            (Message::Birth, Some(device)) => node.device_birth(device, payload, self.share()),
            (Message::Death, None) => node.death(payload),
            (Message::Death, Some(device)) => node.device_death(device, payload),
            (Message::Data, device) => node.data(device, payload),
            (Message::Command, _) => Heard::default(),
        };
        heard.ask_rebirth = heard.ask_rebirth && self.may_ask(&mut node, now);
        self.put(key, node);
        heard
    }

    fn take(&mut self, key: &str) -> Node {
        let Some(node) = self.nodes.remove(key) else { return Node::default() };
        self.bytes -= node.cost(key);
        node
    }

    /// Makes room first: whoever was heard longest ago leaves.
    fn put(&mut self, key: String, node: Node) {
        let cost = node.cost(&key);
        while self.nodes.len() >= self.limits.nodes_max || self.bytes + cost > self.limits.bytes_max
        {
            let oldest = self.nodes.iter().min_by_key(|(_, node)| node.heard);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            self.take(&oldest);
        }
        self.bytes += cost;
        self.nodes.insert(key, node);
    }

    fn share(&self) -> usize {
        self.limits.bytes_max / 4
    }

    fn may_ask(&mut self, node: &mut Node, now: Duration) -> bool {
        let every = self.limits.rebirth_every;
        if node.asked.is_some_and(|asked| now.saturating_sub(asked) < every) {
            return false;
        }
        if now.saturating_sub(self.asking_since) >= every || self.asked == 0 {
            (self.asking_since, self.asked) = (now, 0);
        }
        if self.asked >= self.limits.rebirths_max {
            return false;
        }
        self.asked += 1;
        node.asked = Some(now);
        true
    }
}

impl Node {
    fn cost(&self, key: &str) -> usize {
        key.len() + ENTRY_BYTES + self.bytes
    }

    fn birth(&mut self, payload: &Payload<'_>, bytes_max: usize) -> Heard {
        let (names, forgotten) = Names::learn(payload, bytes_max);
        let bd_seq = payload.bd_seq();
        let is_another_life = self.bd_seq.is_some_and(|known| Some(known) != bd_seq);
        let is_same_life = bd_seq.is_some() && self.bd_seq == bd_seq;
        self.forget();
        self.bytes = names.bytes;
        self.names = names;
        self.bd_seq = bd_seq;
        self.next_seq = Some(seq_of(payload).unwrap_or(0).wrapping_add(1));
        Heard { born: true, is_another_life, is_same_life, forgotten, ..Heard::default() }
    }

    fn device_birth(&mut self, device: &str, payload: &Payload<'_>, bytes_max: usize) -> Heard {
        let ask_rebirth = self.is_out_of_step(payload);
        self.forget_device(device);
        let room = bytes_max.saturating_sub(self.bytes + device.len() + ENTRY_BYTES);
        let (names, forgotten) = Names::learn(payload, room);
        if room > 0 {
            self.bytes += device_cost(device, &names);
            self.devices.insert(device.to_owned(), names);
        }
        Heard { ask_rebirth, born: true, forgotten, ..Heard::default() }
    }

    fn death(&mut self, payload: &Payload<'_>) -> Heard {
        let is_outdated =
            self.bd_seq.zip(payload.bd_seq()).is_some_and(|(born, dead)| born != dead);
        if is_outdated {
            return Heard { is_outdated, ..Heard::default() };
        }
        let died = self.devices.keys().cloned().collect();
        self.forget();
        Heard { died, ..Heard::default() }
    }

    fn device_death(&mut self, device: &str, payload: &Payload<'_>) -> Heard {
        let ask_rebirth = self.is_out_of_step(payload);
        self.forget_device(device);
        Heard { ask_rebirth, ..Heard::default() }
    }

    fn data(&mut self, device: Option<&str>, payload: &Payload<'_>) -> Heard {
        let is_out_of_step = self.is_out_of_step(payload);
        let names = match device {
            None => Some(&self.names),
            Some(device) => self.devices.get(device),
        };
        let resolves = |metric: &Metric<'_>| {
            let says_itself = metric.name.is_some_and(|name| !name.is_empty());
            says_itself || names.is_some_and(|names| names.resolve(metric).is_some())
        };
        let by_alias = payload.metrics().flatten().filter(|metric| metric.alias.is_some());
        let unresolved = by_alias.filter(|metric| !resolves(metric)).count();
        let unresolved = u32::try_from(unresolved).unwrap_or(u32::MAX);
        let ask_rebirth = is_out_of_step || names.is_none() || unresolved > 0;
        Heard { ask_rebirth, unresolved, ..Heard::default() }
    }

    /// Whether a message was missed, or the birth was. A message that is sent again is none.
    fn is_out_of_step(&mut self, payload: &Payload<'_>) -> bool {
        let Some(next) = self.next_seq else {
            self.step_unborn(payload);
            return true;
        };
        match seq_of(payload) {
            Some(seq) if seq == next => self.next_seq = Some(next.wrapping_add(1)),
            Some(seq) if seq == next.wrapping_sub(1) => {}
            None => {}
            Some(seq) => {
                self.next_seq = Some(seq.wrapping_add(1));
                self.trust(false);
                return true;
            }
        }
        self.names.is_stale
    }

    /// A device's birth names its own metrics though the node's is owed, but not across a gap either:
    /// another birth may have been missed.
    fn step_unborn(&mut self, payload: &Payload<'_>) {
        let Some(seq) = seq_of(payload) else { return };
        let next = self.next_unborn.replace(seq.wrapping_add(1));
        if next.is_none_or(|next| seq != next && seq != next.wrapping_sub(1)) {
            self.trust(false);
        }
    }

    fn suspend(&mut self) {
        (self.next_seq, self.next_unborn) = (None, None);
        self.trust(false);
    }

    fn trust(&mut self, is_trusted: bool) {
        self.names.is_stale = !is_trusted;
        self.devices.values_mut().for_each(|names| names.is_stale = !is_trusted);
    }

    fn forget(&mut self) {
        let (heard, asked) = (self.heard, self.asked);
        *self = Self { heard, asked, ..Self::default() };
    }

    fn forget_device(&mut self, device: &str) {
        if let Some(names) = self.devices.remove(device) {
            self.bytes -= device_cost(device, &names);
        }
    }
}

fn device_cost(device: &str, names: &Names) -> usize {
    device.len() + ENTRY_BYTES + names.bytes
}

/// 0 to 255; anything else is none.
fn seq_of(payload: &Payload<'_>) -> Option<u8> {
    payload.seq.and_then(|seq| u8::try_from(seq).ok())
}

fn key(topic: &Topic<'_>) -> String {
    [topic.group, "/", topic.node].concat()
}
