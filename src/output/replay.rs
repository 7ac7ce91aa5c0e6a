//! Dead letters offered once more, to the output they are of, with their own time.
//!
//! They go the way of any batch (one at a time, waiting for points in flight, taken apart when
//! refused), but confirm nothing: the journal has counted them. What is refused again stays a letter.
//! Whoever asked hears what became of each; if nobody waits any more and nothing was sent, it is
//! withdrawn.

use std::sync::Arc;

use proto::{Context, Limits, Precision, ReadingRef, Readings, Rejects, Time, Timestamp};
use tokio::sync::oneshot;

use super::amend::Lost;
use super::batch::{Batch, Origins};
use super::dead::{Entry, Letter};
use super::keys::{Key, Keys};
use crate::sink::{Body, Refusal, Sink};

/// What intake let through under whatever limits it had.
const LIMITS: Limits = Limits {
    reading_bytes_max: 16 * 1024 * 1024,
    tags_max: 1_024,
    fields_max: 16_384,
    name_bytes_max: 64 * 1024,
    tag_value_bytes_max: 64 * 1024,
};

/// What became of each letter, in their order; an error is why it is not stored.
pub type Outcomes = Vec<Result<(), String>>;

#[derive(Debug)]
pub struct Replay {
    pub letters: Vec<Letter>,
    pub done: oneshot::Sender<Outcomes>,
}

/// Who waits for a batch of letters.
#[derive(Debug)]
pub(super) struct Asker {
    done: oneshot::Sender<Outcomes>,
    outcomes: Outcomes,
    /// The letter in each line.
    letters: Vec<usize>,
}

impl Replay {
    /// A batch without frames.
    pub(super) fn batch<S: Sink, R>(self, sink: &S) -> (Batch<R>, Asker) {
        let (mut body, mut keys) = (Body::default(), Keys::default());
        let (mut outcomes, mut letters) = (Vec::new(), Vec::new());
        for (at, letter) in self.letters.iter().enumerate() {
            let written = write(&letter.entry, sink, &mut body, &mut keys);
            if written.is_ok() {
                letters.push(at);
            }
            outcomes.push(written);
        }
        let (shares, refused) = (Vec::new(), Vec::new());
        let batch = Batch {
            body: Arc::new(body),
            keys,
            shares,
            origins: Origins::default(),
            refused,
            holds: Vec::new(),
        };
        (batch, Asker { done: self.done, outcomes, letters })
    }
}

impl Asker {
    pub(super) fn is_gone(&self) -> bool {
        self.done.is_closed()
    }

    /// Tells what became of the letters; returns how many were stored, whole.
    pub(super) fn tell(mut self, guilty: Vec<(u32, Refusal)>, lost: Vec<Lost>) -> u64 {
        let lost = lost.into_iter().map(|lost| (lost.line, lost.refusal));
        for (line, refusal) in guilty.into_iter().chain(lost) {
            let letter = self.letters.get(line as usize);
            if let Some(outcome) = letter.and_then(|letter| self.outcomes.get_mut(*letter)) {
                *outcome = Err(refusal.text.to_string());
            }
        }
        let stored = self.outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
        // Gone: then they are not marked, and the next replay writes the same points.
        if self.done.send(self.outcomes).is_ok() { stored } else { 0 }
    }
}

/// Appends the letter's line as the sink writes it, or the one field of it that was refused.
fn write<S: Sink>(entry: &Entry, sink: &S, body: &mut Body, keys: &mut Keys) -> Result<(), String> {
    let line = entry.line.as_deref().ok_or("it holds no line, only what could not be read")?;
    let mut readings = Readings::new(LIMITS);
    let mut bad = Rejects::default();
    let bare = Context::bare(Timestamp::from_nanos(0));
    let context = Context { precision: Some(Precision::Nanoseconds), ..bare };
    readings.begin();
    proto::line::decode(line.as_bytes(), &context, &mut readings, &mut bad);
    let mut cursor = proto::frame::Cursor::new(readings.bytes());
    let reading = match cursor.next() {
        Some(Ok(reading)) if bad.is_empty() => reading,
        _ => return Err("its line cannot be read".to_owned()),
    };
    let Time::At(time) = reading.time else { return Err("its line has no time".to_owned()) };
    let is_wanted = |name: &str| entry.field.as_deref().is_none_or(|field| field == name);
    let fields: Vec<_> =
        reading.fields.iter().copied().filter(|(name, _)| is_wanted(name)).collect();
    let (at, mut lost) = (body.lines(), Vec::new());
    let reading = ReadingRef { fields: &fields, ..reading };
    sink.encode(&reading, body, &mut lost).map_err(|refusal| refusal.text.to_string())?;
    if let Some((_, refusal)) = lost.pop() {
        body.truncate(at as usize);
        return Err(refusal.text.to_string());
    }
    keys.insert(Key::new(reading.series, time.nanos()), time.nanos(), at);
    Ok(())
}
