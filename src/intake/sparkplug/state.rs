//! What is known of the nodes and what waits, and which of it the file of births does not have yet.

use std::collections::HashSet;

use proto::sparkplug::{Heard, Message as Kind, Names, SessionLimits, Sessions, Topic};

use super::Limits;
use super::held::{Entry, Fate, Held, Waiting};
use super::record::{Found, Record, records};
use super::store::{Batch, Wanted};

/// Records that nobody has written yet; beyond that all is written anew when somebody does.
const UNWRITTEN_MAX: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct State {
    pub(super) sessions: Sessions,
    pub(super) held: Held,
    /// Of what was held last. Each process counts from a number of its own, drawn by lot: the journal
    /// remembers numbers, and a file that was lost must not give one of them to something else.
    pub(super) number: u64,
    /// What the journal's notes say is in it.
    pub(super) settled: HashSet<u64>,
    unwritten: Vec<u8>,
    /// Records so far.
    pub(super) records: u64,
    /// Of those the last birth or death.
    last_heard: u64,
    /// `unwritten` is not all: the file must be written anew.
    is_behind: bool,
    /// What could not be told the file at the start.
    pub(super) owed: Option<Wanted>,
    /// The file could not be written: nothing can be held.
    pub(super) has_failed: bool,
}

impl State {
    pub(super) fn new(limits: &Limits) -> Self {
        let sessions = Sessions::new(SessionLimits {
            nodes_max: limits.nodes_max,
            bytes_max: limits.births_bytes_max,
            rebirth_every: limits.rebirth_every,
            ..SessionLimits::default()
        });
        Self {
            sessions,
            held: Held::new(limits.hold_max, limits.held_bytes_max),
            number: fastrand::u64(..),
            settled: HashSet::new(),
            unwritten: Vec::new(),
            records: 0,
            last_heard: 0,
            is_behind: false,
            owed: None,
            has_failed: false,
        }
    }

    pub(super) fn put(&mut self, record: Record<'_>) {
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        self.put_bytes(&bytes);
        if matches!(record, Record::Heard { .. }) {
            self.last_heard = self.records;
        }
    }

    pub(super) fn put_bytes(&mut self, record: &[u8]) {
        self.records += 1;
        if self.is_behind || self.unwritten.len() + record.len() > UNWRITTEN_MAX {
            self.is_behind = true;
            self.unwritten = Vec::new();
        } else {
            self.unwritten.extend_from_slice(record);
        }
    }

    pub(super) fn take(&mut self, whole: bool) -> Batch {
        let unwritten = std::mem::take(&mut self.unwritten);
        let is_whole = std::mem::take(&mut self.is_behind) || whole;
        let bytes = if is_whole { self.whole() } else { unwritten };
        Batch { bytes, upto: self.records, heard: self.last_heard, is_whole }
    }

    /// A birth: what waited for it is due, and how depends on whose life it begins or repeats.
    pub(super) fn born(&mut self, speaker: &Topic<'_>, heard: &Heard) {
        let Self { sessions, held, .. } = self;
        if heard.is_another_life {
            return held.died(speaker);
        }
        if heard.is_same_life {
            held.trust(speaker);
        }
        held.born(speaker, || sessions.told(speaker));
    }

    /// All that is worth keeping, so that whoever recalls it comes to the same. What is due goes first,
    /// with the birth that explains it and a death that ends it: what is known now stands behind.
    fn whole(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let due = self.held.due().filter(|(_, fate)| !matches!(fate, Fate::TooLate));
        let mut due: Vec<_> = due.map(|(waiting, fate)| (waiting, fate.names())).collect();
        // A birth may be large: once for all that it explains.
        let birth = |(_, names): &(&Waiting, Option<&Names>)| names.map(std::ptr::from_ref);
        due.sort_by_key(birth);
        for group in due.chunk_by(|one, next| birth(one).is_some() && birth(one) == birth(next)) {
            put_due(group, &mut bytes);
        }
        for (topic, payload) in self.sessions.births() {
            Record::Heard { topic: &topic, payload: &payload }.put(&mut bytes);
        }
        let doubtful = self.held.waiting().filter(|(_, is_doubtful)| *is_doubtful);
        let doubtful: Vec<u8> = doubtful.flat_map(|(waiting, _)| held(waiting)).collect();
        if !doubtful.is_empty() {
            bytes.extend_from_slice(&doubtful);
            Record::Doubt.put(&mut bytes);
        }
        let clear = self.held.waiting().filter(|(_, is_doubtful)| !is_doubtful);
        let late = self.held.due().filter(|(_, fate)| matches!(fate, Fate::TooLate));
        for waiting in clear.map(|(waiting, _)| waiting).chain(late.map(|(waiting, _)| waiting)) {
            bytes.extend_from_slice(&held(waiting));
        }
        bytes
    }

    /// What a file says, and how many stretches of it say nothing any more. No alias is trusted until the
    /// journal's notes say how far its node came; what births said before a damaged stretch, not even
    /// then.
    pub(super) fn recall(&mut self, file: &[u8]) -> u64 {
        let settled = |found| match found {
            Found::Record(Record::Settled { number }) => Some(number),
            Found::Record(_) | Found::Damaged | Found::Behind => None,
        };
        let settled: HashSet<u64> = records(file).filter_map(settled).collect();
        let mut damaged = 0;
        for found in records(file) {
            match found {
                Found::Record(Record::Heard { topic, payload }) => self.hear_again(topic, payload),
                Found::Record(Record::Held { number, source, topic, payload }) => {
                    if settled.contains(&number) {
                        continue;
                    }
                    let (topic, payload) = (topic.to_owned(), payload.to_vec());
                    let waiting = Waiting { number, source: source.into(), topic, payload };
                    self.hold_again(waiting, damaged > 0);
                }
                Found::Record(Record::Settled { .. }) => {}
                Found::Record(Record::Doubt) => self.held.doubt(),
                Found::Damaged | Found::Behind => {
                    damaged += u64::from(found == Found::Damaged);
                    self.sessions.doubt();
                    self.held.doubt();
                }
            }
        }
        self.sessions.suspend();
        damaged
    }

    /// As it was heard then, with all that it meant for what was held.
    fn hear_again(&mut self, topic: &str, payload: &[u8]) {
        let Some(speaker) = Topic::parse(topic) else { return };
        let heard = self.sessions.recall((&speaker, payload));
        match speaker.message {
            Kind::Birth if heard.born => self.born(&speaker, &heard),
            Kind::Death if !heard.is_outdated => self.held.died(&speaker),
            _ => {}
        }
    }

    /// Where a birth may be missing, one that comes later explains only what it says is of its life.
    fn hold_again(&mut self, waiting: Waiting, was_damaged: bool) {
        let topic = waiting.topic.clone();
        let Some(speaker) = Topic::parse(&topic) else { return };
        let is_doubtful = was_damaged && !self.sessions.knows_life(&speaker);
        let since = std::time::Duration::ZERO;
        self.held.recall(&speaker, Entry { waiting, since, record: 0, is_doubtful });
    }
}

/// What one birth explains, or nothing does, so that it is due again: with that birth, and a death, so
/// that nothing else explains it and the birth explains nothing else.
fn put_due(group: &[(&Waiting, Option<&Names>)], bytes: &mut Vec<u8>) {
    bytes.extend(group.iter().flat_map(|(waiting, _)| held(waiting)));
    let Some((waiting, names)) = group.last() else { return };
    let Some(Topic { group, node, device, .. }) = Topic::parse(&waiting.topic) else { return };
    if let Some(names) = names {
        let topic = match device {
            None => format!("spBv1.0/{group}/NBIRTH/{node}"),
            Some(device) => format!("spBv1.0/{group}/DBIRTH/{node}/{device}"),
        };
        Record::Heard { topic: &topic, payload: &names.birth(None) }.put(bytes);
    }
    Record::Heard { topic: &format!("spBv1.0/{group}/NDEATH/{node}"), payload: &[] }.put(bytes);
}

pub(super) fn held(waiting: &Waiting) -> Vec<u8> {
    let Waiting { number, source, topic, payload } = waiting;
    let mut bytes = Vec::new();
    Record::Held { number: *number, source, topic, payload }.put(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
