//! What is known of the nodes and what waits, and which of it the file of births does not have yet.

use std::collections::HashSet;

use proto::sparkplug::{SessionLimits, Sessions, Topic};

use super::Limits;
use super::held::{Held, Waiting};
use super::record::{Record, records};
use super::store::Batch;

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
    /// `unwritten` is not all: the file must be written anew.
    is_behind: bool,
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
            is_behind: false,
            has_failed: false,
        }
    }

    pub(super) fn put(&mut self, record: Record<'_>) {
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        self.put_bytes(&bytes);
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
        Batch { bytes, upto: self.records, is_whole }
    }

    /// All that is worth keeping.
    fn whole(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (topic, payload) in self.sessions.births() {
            Record::Heard { topic: &topic, payload: &payload }.put(&mut bytes);
        }
        for waiting in self.held.all() {
            bytes.extend_from_slice(&held(waiting));
        }
        bytes
    }

    /// What a file says. No alias is trusted until the journal's notes say how far its node came.
    pub(super) fn recall(&mut self, file: &[u8]) {
        let settled = |record| match record {
            Record::Settled { number } => Some(number),
            Record::Heard { .. } | Record::Held { .. } => None,
        };
        let settled: HashSet<u64> = records(file).filter_map(settled).collect();
        for record in records(file) {
            match record {
                Record::Heard { topic, payload } => {
                    if let Some(speaker) = Topic::parse(topic) {
                        self.sessions.recall((&speaker, payload));
                    }
                }
                Record::Held { number, source, topic, payload } if !settled.contains(&number) => {
                    let Some(speaker) = Topic::parse(topic) else { continue };
                    let (topic, payload) = (topic.to_owned(), payload.to_vec());
                    let waiting = Waiting { number, source: source.into(), topic, payload };
                    self.held.hold(&speaker, waiting, std::time::Duration::ZERO);
                }
                Record::Held { .. } | Record::Settled { .. } => {}
            }
        }
        self.sessions.suspend();
    }
}

pub(super) fn held(waiting: &Waiting) -> Vec<u8> {
    let Waiting { number, source, topic, payload } = waiting;
    let mut bytes = Vec::new();
    Record::Held { number: *number, source, topic, payload }.put(&mut bytes);
    bytes
}
