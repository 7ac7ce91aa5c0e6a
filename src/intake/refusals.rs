//! What was refused, on its way to the dead letters: bounded in entries and bytes.
//!
//! A submission keeps the first refusals in full; beyond the bound they are counted in one last
//! entry, so that the sum over the entries is always what the books say.

use journal::Rejected;
use proto::Rejects;

/// Over the whole submission; with the readings it stays below what the journal takes.
const BYTES_MAX: usize = 256 * 1024;
const ENTRIES_MAX: usize = 128;
const TOPIC_BYTES_MAX: usize = 1024;
const REASON_BYTES_MAX: usize = 512;
/// What an entry costs beside its texts and bytes.
const ENTRY_BYTES: usize = 64;

/// The refusals of one submission.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    entries: Vec<Rejected>,
    bytes: usize,
    /// What found no room as an entry of its own.
    beyond: Option<Rejected>,
    /// Refused readings, in entries or beyond.
    readings: u64,
}

/// The payload that `Rejects` speak of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    pub(super) topic: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) bytes_max: usize,
}

impl Refusals {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.beyond.is_none()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Refused readings.
    pub(super) fn readings(&self) -> u64 {
        self.readings
    }

    /// Takes over what was refused of one payload.
    pub(super) fn add(&mut self, payload: Payload<'_>, rejects: &Rejects) {
        self.readings += rejects.readings();
        let mut listed = 0;
        let mut is_quoted = false;
        for reject in rejects.listed() {
            let readings = u64::from(reject.field.is_none());
            listed += readings;
            let part = payload.bytes.get(reject.span.clone()).unwrap_or_default();
            // A refusal without a part of its own quotes the whole payload, but only once.
            let quoted = if part.is_empty() && !is_quoted {
                is_quoted = true;
                payload.bytes
            } else {
                part
            };
            let reason = match &reject.field {
                Some(field) => format!("field {field:?}: {}", reject.reason),
                None => reject.reason.to_string(),
            };
            self.push(Rejected {
                topic: cut(payload.topic, TOPIC_BYTES_MAX).to_owned(),
                index: reject.index,
                kind: reject.reason.kind.label(),
                reason: cut(&reason, REASON_BYTES_MAX).to_owned(),
                bytes: quoted.get(..payload.bytes_max).unwrap_or(quoted).to_vec(),
                readings,
            });
        }
        let unlisted = rejects.readings().saturating_sub(listed);
        if unlisted > 0 {
            self.beyond(payload.topic, unlisted);
        }
    }

    /// All entries, the count of what found no room last.
    pub(super) fn take(&mut self) -> Vec<Rejected> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.extend(self.beyond.take());
        *self = Self::default();
        entries
    }

    fn push(&mut self, entry: Rejected) {
        let bytes = ENTRY_BYTES + entry.topic.len() + entry.reason.len() + entry.bytes.len();
        if self.entries.len() >= ENTRIES_MAX || self.bytes + bytes > BYTES_MAX {
            self.beyond(&entry.topic, entry.readings);
            return;
        }
        self.bytes += bytes;
        self.entries.push(entry);
    }

    fn beyond(&mut self, topic: &str, readings: u64) {
        let beyond = self.beyond.get_or_insert_with(|| Rejected {
            topic: cut(topic, TOPIC_BYTES_MAX).to_owned(),
            index: 0,
            kind: proto::Kind::Limit.label(),
            reason: "more was refused than is kept; here it is counted only".into(),
            bytes: Vec::new(),
            readings: 0,
        });
        beyond.readings += readings;
    }
}

/// The start of `text`, at most `max` bytes, whole characters.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}
