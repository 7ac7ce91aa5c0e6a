//! What one socket read brought, gathered into one submission.
//!
//! ```text
//!  message --route--> Matched --+                       +--> readings, stamped --> parts <= 1 MiB --+
//!  body ------------------------+--decode (scratch of --+                                           +--> Gathered
//!                                    this thread)       +--> refusals, bounded ---------------------+
//! ```
//!
//! A `Gather` owns no buffer until the first reading, so an idle connection costs nothing; the
//! scratch that decoders need belongs to the thread. It holds what its caller puts in between two
//! looks at `is_large`; whatever that is, no submission exceeds what the journal takes.

#[cfg(test)]
mod tests;

use std::{cell::Cell, mem};

use bytes::Bytes;
use journal::{Counts, Source, Submission, Ticket};
use proto::{Context, Readings, Reason, Rejects, Timestamp};

use super::clock::Arrival;
use super::meaning::Meaning;
use super::parts::{self, Parts};
use super::refusals::{Payload, Refusals};
use super::route::Routes;
use super::sparkplug::{Fate, Rebirth, Waiting, Wanted};
use super::stats::{Refused, SourceKind};
use super::{Body, Intake, Outcome, sparkplug, watch};

/// From here on a caller should seal.
const LARGE_BYTES: usize = 256 * 1024;
/// Scratch that grew above this goes with the payload that needed it.
const SCRATCH_BYTES_MAX: usize = 256 * 1024;

/// Gathers what one socket read brought into one submission.
#[derive(Debug)]
pub struct Gather {
    origin: Origin,
    content: Content,
}

/// Where the payloads come from.
#[derive(Debug)]
struct Origin {
    intake: Intake,
    source: Source,
    /// When the gather began: the stamp of what carries no time, and what ages count back from.
    arrival: Arrival,
}

/// What came of the payloads so far.
#[derive(Debug, Default)]
struct Content {
    parts: Parts,
    refusals: Refusals,
    /// How many, for the metrics; most gathers have none.
    refused: Option<Box<Refused>>,
    /// Readings, whatever became of them: for the metrics.
    received: u64,
    /// Those of them that are to be stored.
    readings: u64,
    filtered: u64,
    /// Messages that are stored already.
    duplicates: u64,
    /// So many readings of the payload that is being taken are stored already.
    passing: u64,
    /// Boxed: most gathers have nothing of Sparkplug.
    sparkplug: Option<Box<sparkplug::Gathered>>,
    /// `filtered` is in the counts of a submission.
    is_sealed: bool,
    /// What was refused of the last payload.
    rejects: Rejects,
}

/// A gathered submission, ready for the journal.
#[derive(Debug)]
pub struct Gathered {
    /// What it weighs, refusals included.
    pub bytes: usize,
    /// Parts that go before `last` and that nobody waits for: the journal keeps order, so the
    /// ticket of the last speaks for all.
    pub(super) first: Vec<Submission>,
    pub(super) last: Submission,
    pub(super) unsent: Unsent,
    /// What must be kept elsewhere first; boxed, as a connection holds room for this while it is idle.
    pub(super) wanted: Option<Box<Vital>>,
}

/// What has not reached the journal. Dropped so (a connection that ended for want of room, a journal
/// that is closed), it goes to the books as returned: nobody was told that it is stored.
#[derive(Debug)]
pub(super) struct Unsent {
    intake: Intake,
    source: SourceKind,
    readings: u64,
    refused: Option<Box<Refused>>,
    filtered: u64,
    duplicates: u64,
}

/// What must be in the file of births before this goes on.
#[derive(Debug)]
pub(super) struct Vital {
    pub(super) wanted: Wanted,
    /// It is nowhere else, and somebody waits to hear that it is kept.
    pub(super) is_all_there_is: bool,
}

impl Gathered {
    pub fn note(&self) -> &Bytes {
        &self.last.note
    }
}

impl Gather {
    pub(super) fn new(intake: Intake, source: Source) -> Self {
        let arrival = intake.arrive();
        Self { origin: Origin { intake, source, arrival }, content: Content::default() }
    }

    /// Routes and decodes one message. Never fails: what is refused becomes a rejection in the
    /// same submission.
    pub fn message(&mut self, topic: &str, payload: &[u8]) -> Outcome {
        let Self { origin, content } = self;
        let routes = Some(origin.intake.routes());
        let mut told = None;
        let outcome = content.take(origin, (topic, routes), payload, |out, bad| {
            let at = origin.arrival.at;
            told = origin.meaning().message(topic, payload, at, out, bad);
            told.as_ref().map_or(0, |told| told.held)
        });
        if let Some(told) = told {
            content.sparkplug.get_or_insert_default().add(told);
        }
        // An ignored topic, an empty payload, `[]`: not even a reading without a value.
        if outcome == Outcome::default() { content.filter() } else { outcome }
    }

    /// Takes metrics that have waited for a birth.
    pub(super) fn settle(&mut self, waiting: &Waiting, fate: &Fate) -> Outcome {
        let Self { origin, content } = self;
        let (topic, payload) = (waiting.topic.as_str(), waiting.payload.as_slice());
        let routes = Some(origin.intake.routes());
        let outcome = content.take(origin, (topic, routes), payload, |out, bad| {
            origin.meaning().waited((topic, payload), fate, origin.arrival.at, out, bad);
            0
        });
        if outcome == Outcome::default() { content.filter() } else { outcome }
    }

    /// The nodes that are to be asked for their births, for whoever can reach them.
    pub fn rebirths(&mut self) -> Vec<Rebirth> {
        let is_wanted = self.origin.intake.nodes().asks();
        let sparkplug = self.content.sparkplug.as_mut().filter(|_| is_wanted);
        sparkplug.map_or_else(Vec::new, |gathered| gathered.take_asks())
    }

    /// Decodes a body (or a part of one) whose format the endpoint knows.
    pub fn body(&mut self, body: &Body<'_>) -> Outcome {
        let Self { origin, content } = self;
        content.take(origin, (body.path, None), body.bytes, |out, bad| {
            origin.meaning().body(body, origin.arrival.at, out, bad);
            0
        })
    }

    /// The same for a body whose first `stored` readings are stored already.
    pub fn body_after(&mut self, body: &Body<'_>, stored: u64) -> Outcome {
        self.content.passing = stored;
        let outcome = self.body(body);
        self.content.passing = 0;
        outcome
    }

    /// Decodes what a source takes apart by a decoder of its own choice, which is told what is known of
    /// any payload here. `path`: for the dead letter. `tags`: added to every reading.
    pub fn by(
        &mut self,
        path: &str,
        bytes: &[u8],
        tags: Vec<(&str, &str)>,
        decoder: impl FnOnce(&Context<'_>, &mut Readings, &mut Rejects),
    ) -> Outcome {
        let Self { origin, content } = self;
        content.take(origin, (path, None), bytes, |out, bad| {
            origin.meaning().by(tags, origin.arrival.at, out, bad, decoder);
            0
        })
    }

    /// Puts into the books what an endpoint refuses by itself, say a line longer than it can hold.
    /// `bytes`: what a dead letter should quote of it.
    pub fn refuse(&mut self, path: &str, bytes: &[u8], reason: Reason) -> Outcome {
        let Self { origin, content } = self;
        content.take(origin, (path, None), bytes, |_, bad| {
            bad.reading(0, 0..0, reason);
            0
        })
    }

    /// A message that is stored already. It counts as one, as it is not decoded again; its resend
    /// is answered with the submission that counts it, so by then the original is durable.
    pub fn duplicate(&mut self) {
        self.duplicates(1);
    }

    /// The same for as many readings.
    pub fn duplicates(&mut self, readings: u64) {
        self.content.received += readings;
        self.content.duplicates += readings;
    }

    /// When the gather began.
    pub fn arrival(&self) -> Timestamp {
        self.origin.arrival.at
    }

    /// What was refused of the last payload.
    pub fn rejects(&self) -> &Rejects {
        &self.content.rejects
    }

    /// Bytes gathered so far, rejections included.
    pub fn bytes(&self) -> usize {
        self.content.parts.bytes() + self.content.refusals.bytes()
    }

    /// Large enough to be sealed, even if more has been read.
    pub fn is_large(&self) -> bool {
        self.bytes() >= LARGE_BYTES
    }

    /// Nothing in it that must become durable. (What was filtered is counted all the same.)
    pub fn is_empty(&self) -> bool {
        let Content { parts, refusals, duplicates, sparkplug, .. } = &self.content;
        let holds = sparkplug.as_ref().is_some_and(|gathered| gathered.holds());
        parts.is_empty() && refusals.is_empty() && *duplicates == 0 && !holds
    }

    pub fn seal(self, ticket: Ticket) -> Gathered {
        self.seal_with(ticket, Bytes::new())
    }

    /// `note`: what is to be found in the journal beside the readings after a crash.
    pub fn seal_with(self, ticket: Ticket, mut note: Bytes) -> Gathered {
        self.seal_noting(
            ticket,
            |first| if first.is_none() { mem::take(&mut note) } else { Bytes::new() },
        )
    }

    /// The same for whoever wants a note beside each part, should there be several: `note` is told
    /// how many readings there are up to the end of a part that goes first, and `None` for the last.
    pub fn seal_noting(
        mut self,
        ticket: Ticket,
        mut note: impl FnMut(Option<u64>) -> Bytes,
    ) -> Gathered {
        let mut bytes = self.bytes();
        let origin = &self.origin;
        let (first, last) = mem::take(&mut self.content.parts).finish();
        let mut readings = 0;
        let first = first.into_iter().map(|part| {
            readings += u64::from(part.1);
            let note = note(Some(readings));
            bytes += note.len();
            Submission { note, ..origin.submission(part, Ticket::nobody()) }
        });
        let mut first: Vec<_> = first.collect();
        let sparkplug = self.content.sparkplug.as_ref();
        if let Some(gathered) = sparkplug {
            let note = gathered.note();
            bytes += note.len();
            let nothing = origin.submission((Vec::new(), 0), Ticket::nobody());
            first.push(Submission { note, ..nothing });
        }
        let is_awaited = ticket.number() > 0;
        let wanted = sparkplug.and_then(|gathered| {
            let wanted = gathered.wanted(is_awaited)?;
            Some(Box::new(Vital { wanted, is_all_there_is: is_awaited && gathered.holds() }))
        });
        let note = note(None);
        bytes += note.len();
        let mut last = origin.submission(last, ticket);
        last.counts.refused = self.content.refusals.readings();
        last.counts.filtered = self.content.filtered;
        last.counts.duplicate = self.content.duplicates;
        last.note = note;
        last.rejected = self.content.refusals.take();
        self.content.is_sealed = true;
        let unsent = Unsent {
            intake: self.origin.intake.clone(),
            source: SourceKind::of(&self.origin.source),
            readings: self.content.readings,
            refused: self.content.refused.take(),
            filtered: self.content.filtered,
            duplicates: self.content.duplicates,
        };
        Gathered { bytes, first, last, unsent, wanted }
    }
}

impl Unsent {
    /// A part that goes first has arrived.
    pub(super) fn less(&mut self, readings: u32) {
        self.readings = self.readings.saturating_sub(readings.into());
    }

    /// All of it has arrived.
    pub(super) fn arrived(mut self) {
        let stats = self.intake.stats().source(self.source);
        if self.duplicates > 0 {
            stats.duplicate.inc_by(self.duplicates);
        }
        if let Some(refused) = self.refused.take() {
            stats.add_refused(&refused);
        }
        (self.readings, self.filtered, self.duplicates) = (0, 0, 0);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let returned = self.readings + readings_of(self.refused.as_deref()) + self.duplicates;
        if returned > 0 {
            self.intake.stats().source(self.source).returned.inc_by(returned);
        }
        if self.filtered > 0 {
            self.intake.carry_filtered(self.filtered);
        }
    }
}

fn readings_of(refused: Option<&Refused>) -> u64 {
    refused.map_or(0, Refused::readings)
}

impl Origin {
    fn meaning(&self) -> Meaning<'_> {
        self.intake.meaning(&self.source, &self.arrival)
    }

    fn submission(&self, (bytes, readings): (Vec<u8>, u32), ticket: Ticket) -> Submission {
        Submission {
            source: Source::clone(&self.source),
            arrival_ns: self.arrival.at.nanos(),
            clock_epoch: self.arrival.epoch(),
            readings,
            bytes,
            rejected: Vec::new(),
            counts: Counts::default(),
            note: Bytes::new(),
            ticket,
            guard: None,
        }
    }
}

/// What was received is counted however a gather ends; what was filtered needs no durability, so
/// it goes to the books with whatever submission is next.
impl Drop for Gather {
    fn drop(&mut self) {
        let Origin { intake, source, .. } = &self.origin;
        let stats = intake.stats().source(SourceKind::of(source));
        stats.received.inc_by(self.content.received);
        stats.filtered.inc_by(self.content.filtered);
        if let Some(gathered) = &mut self.content.sparkplug {
            intake.nodes().not_asked(&gathered.take_asks());
        }
        if !self.content.is_sealed {
            let Content { readings, refused, duplicates, .. } = &self.content;
            stats.returned.inc_by(readings + readings_of(refused.as_deref()) + duplicates);
            intake.carry_filtered(self.content.filtered);
        }
    }
}

impl Content {
    /// Runs a decoder over one payload and takes what came of it. It says how many metrics wait for a
    /// birth.
    fn take(
        &mut self,
        origin: &Origin,
        (topic, routes): (&str, Option<&Routes>),
        payload: &[u8],
        decoder: impl FnOnce(&mut Readings, &mut Rejects) -> u32,
    ) -> Outcome {
        let Origin { intake, source, arrival } = origin;
        self.rejects.clear();
        let mut held = 0;
        let readings = with_scratch(intake.limits().reading, |scratch| {
            held = decoder(scratch, &mut self.rejects);
            match scratch.stamps_wanted() {
                0 => {}
                wanted => scratch.stamp(arrival.stamps(wanted)),
            }
            let watchers = intake.watchers();
            if watchers.is_watched() {
                let (readings, rejects) = (scratch.bytes(), &self.rejects);
                watchers.saw(&watch::Payload {
                    source,
                    topic,
                    bytes: payload,
                    routes,
                    readings,
                    rejects,
                    held,
                    described: intake.described(),
                });
            }
            let passed = u32::try_from(self.passing).unwrap_or(u32::MAX).min(scratch.count());
            let rest = parts::after(scratch.bytes(), passed);
            self.parts.add(rest, scratch.count() - passed);
            self.duplicates += u64::from(passed);
            self.readings += u64::from(scratch.count() - passed);
            scratch.count()
        });
        let (refused, nothings) = (self.rejects.readings(), self.rejects.nothings());
        self.received += u64::from(readings) + refused + nothings;
        self.filtered += nothings;
        intake.stats().source(SourceKind::of(source)).add_times(&self.rejects);
        if !self.rejects.is_empty() {
            let bytes_max = intake.limits().rejected_bytes_max;
            self.refusals.add(Payload { topic, bytes: payload, bytes_max }, &self.rejects);
            self.refused.get_or_insert_default().add(&self.rejects);
        }
        let filtered = readings == 0 && refused == 0 && nothings > 0;
        Outcome { readings, refused, filtered, held }
    }

    fn filter(&mut self) -> Outcome {
        self.rejects.clear();
        self.received += 1;
        self.filtered += 1;
        Outcome { filtered: true, ..Outcome::default() }
    }
}

thread_local! {
    /// One payload's readings, before they move to the gather; kept for its buffers.
    static SCRATCH: Cell<Option<(proto::Limits, Readings)>> = const { Cell::new(None) };
}

/// `use_it` gets an empty `Readings` of this thread.
fn with_scratch<T>(limits: proto::Limits, use_it: impl FnOnce(&mut Readings) -> T) -> T {
    let kept = SCRATCH.take().filter(|(kept_limits, _)| *kept_limits == limits);
    let mut readings = kept.map_or_else(|| Readings::new(limits), |(_, readings)| readings);
    let result = use_it(&mut readings);
    if readings.bytes().len() <= SCRATCH_BYTES_MAX {
        readings.clear();
        SCRATCH.set(Some((limits, readings)));
    }
    result
}
