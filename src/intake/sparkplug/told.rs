//! What Sparkplug messages mean beyond their readings, gathered over one submission.

use bytes::Bytes;

use super::note;
use super::store::Wanted;

/// What a message means beyond its readings.
#[derive(Debug, Default)]
pub(in crate::intake) struct Told {
    /// To be sent to the node.
    pub(in crate::intake) ask: Option<Rebirth>,
    /// Metrics that wait for a birth.
    pub(in crate::intake) held: u32,
    pub(super) wanted: Option<Wanted>,
    /// `group/node`, and the number of its next message.
    pub(super) node: String,
    pub(super) next_seq: Option<u8>,
}

/// Asks a node for its births.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebirth {
    pub topic: String,
    pub payload: Vec<u8>,
}

/// What the messages of one gather mean beyond their readings.
#[derive(Debug, Default)]
pub(in crate::intake) struct Gathered {
    asks: Vec<Rebirth>,
    wanted: Option<Wanted>,
    held: u64,
    next_seqs: Vec<(String, Option<u8>)>,
}

impl Gathered {
    pub(in crate::intake) fn add(&mut self, told: Told) {
        self.held += u64::from(told.held > 0);
        self.asks.extend(told.ask);
        if let Some(wanted) = told.wanted {
            let synced = wanted.synced || self.wanted.is_some_and(|before| before.synced);
            self.wanted = Some(Wanted { synced, ..wanted });
        }
        match self.next_seqs.iter_mut().find(|(node, _)| *node == told.node) {
            Some((_, next_seq)) => *next_seq = told.next_seq,
            None => self.next_seqs.push((told.node, told.next_seq)),
        }
    }

    /// Something in it must be kept although it brought no readings.
    pub(in crate::intake) fn holds(&self) -> bool {
        self.held > 0
    }

    pub(in crate::intake) fn take_asks(&mut self) -> Vec<Rebirth> {
        std::mem::take(&mut self.asks)
    }

    pub(in crate::intake) fn note(&self) -> Bytes {
        note::put(self.next_seqs.iter().map(|(node, next_seq)| (node.as_str(), *next_seq)))
    }

    /// What must be kept before it is handed on; on the disk if somebody waits for an answer to what
    /// it holds.
    pub(in crate::intake) fn wanted(&self, is_awaited: bool) -> Option<Wanted> {
        let synced = |wanted: Wanted| wanted.synced || (is_awaited && self.holds());
        self.wanted.map(|wanted| Wanted { synced: synced(wanted), ..wanted })
    }
}
