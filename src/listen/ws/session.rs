//! What a WebSocket session knows and decides, without its socket.

use std::pin::Pin;

use journal::{Broken, Closed, Mark, Source, Ticket};
use proto::Rejects;
use tokio::time::Instant;

use super::{
    Limits, Numbered, Stats,
    stats::Ended,
    unanswered::{Batch, Nack, Unanswered},
};
use crate::intake::Body;
use crate::intake::Format;
use crate::intake::Gather;
use crate::intake::Intake;
use crate::intake::Outcome;
use crate::intake::resends::Stream;
use crate::listen::memory::Held;
use crate::listen::room;

const PATH: &str = "/v1/stream";
/// Messages of one submission at most.
const BATCH_MESSAGES_MAX: usize = 1024;
/// What a message costs beside its bytes.
const MESSAGE_BYTES: usize = 64;

pub(super) struct Session<'a> {
    intake: Intake,
    source: Source,
    device: Option<String>,
    limits: Limits,
    stats: &'a Stats,
    mark: Mark,
    /// Number of the last ticket.
    ticket: u64,
    /// Number of the last message.
    received: u64,
    /// What numbers its messages over all its connections.
    stream: Option<Stream>,
    /// A message of a stream could not be taken: none after it may be.
    is_cut: bool,
    /// Decoded, waiting for the submission before it.
    open: Option<Open>,
    submitting: Option<Submitting>,
    unanswered: Unanswered,
    brake: Brake,
    /// For what waits in `open`.
    held: Held,
    /// To be written as soon as may be.
    pub(super) answers: Vec<String>,
}

type Submitting = Pin<Box<dyn Future<Output = Result<(), Closed>> + Send>>;

#[derive(Debug)]
struct Open {
    gather: Gather,
    messages: usize,
    bytes: usize,
    nacks: Vec<Nack>,
    read: Instant,
}

/// The journal does not go on: nothing more can be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brake {
    Off,
    /// The socket is not read.
    On {
        since: Instant,
    },
    /// It is read again, and messages are sent back.
    SendingBack,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        intake: Intake,
        source: Source,
        device: Option<String>,
        numbered: Option<Numbered>,
        limits: Limits,
        stats: &'a Stats,
        held: Held,
    ) -> Self {
        let (stream, from) = numbered.map_or((None, 1), |n| (Some(n.stream), n.from));
        Self {
            intake,
            source,
            device,
            limits,
            stats,
            mark: Mark::new(),
            ticket: 0,
            received: from - 1,
            stream,
            is_cut: false,
            open: None,
            submitting: None,
            unanswered: Unanswered::default(),
            brake: Brake::Off,
            held,
            answers: Vec::new(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn intake(&self) -> &Intake {
        &self.intake
    }

    pub(super) fn count_end(&self, ended: Ended) {
        self.stats.ended_one(ended);
    }

    /// Decodes one message, or sends it back.
    pub(super) fn take(&mut self, format: Format, bytes: &[u8]) {
        self.received += 1;
        self.stats.messages.inc();
        if let Err(reason) = self.may_take(bytes.len()) {
            // Taken later, it would come after others of its stream, which is to have no holes.
            self.is_cut = self.stream.is_some();
            if self.is_cut {
                self.received -= 1;
                return;
            }
            self.stats.sent_back.inc();
            let nack = Nack { message: self.received, reason: reason.into(), retry: true };
            self.answers.push(nack.text());
            return;
        }
        let body = Body {
            bytes,
            format,
            precision: None,
            device: self.device.as_deref(),
            device_required: true,
            path: PATH,
        };
        let is_stored = self.stream.as_ref().is_some_and(|stream| self.received <= stream.upto());
        let open = self.open.get_or_insert_with(|| Open::new(self.intake.gather(&self.source)));
        if is_stored {
            open.gather.duplicate();
        } else {
            let outcome = open.gather.body(&body);
            if let Some(reason) = complaint(outcome, open.gather.rejects()) {
                self.stats.refused.inc();
                open.nacks.push(Nack { message: self.received, reason, retry: false });
            }
        }
        open.messages += 1;
        open.bytes += bytes.len() + MESSAGE_BYTES;
        open.read = Instant::now();
        self.update_brake();
    }

    /// Enough for one submission, enough to say, or the brake is on.
    pub(super) fn is_batch_full(&self) -> bool {
        let is_large = |open: &Open| open.messages >= BATCH_MESSAGES_MAX || open.gather.is_large();
        self.is_braked()
            || self.answers.len() >= BATCH_MESSAGES_MAX
            || self.open.as_ref().is_some_and(is_large)
    }

    /// Starts the submission of what is open, one at a time.
    pub(super) fn seal(&mut self) {
        if self.submitting.is_some() {
            return;
        }
        let Some(open) = self.open.take() else { return };
        self.held.give_back();
        let Open { gather, messages, bytes, nacks, read } = open;
        let needs_durability = !gather.is_empty();
        if needs_durability {
            let ticket = self.mark.ticket();
            self.ticket = ticket.number();
            self.submitting = Some(self.submit(gather, ticket));
        }
        let (ticket, last) = (self.ticket, self.received);
        self.unanswered.push(Batch { ticket, last, messages, bytes, nacks, read });
        if let (false, Ok(kept)) = (needs_durability, self.mark.kept()) {
            self.settle(kept.0);
        }
    }

    /// If the stream has another connection by now, the ticket drops, and this one ends.
    fn submit(&self, gather: Gather, ticket: Ticket) -> Submitting {
        let intake = self.intake.clone();
        let upto = self.received;
        let Some(stream) = self.stream.as_ref().filter(|stream| upto > stream.upto()) else {
            let gathered = gather.seal(ticket);
            return Box::pin(async move { intake.submit(gathered).await });
        };
        let advance = stream.offer(upto);
        let note = stream.note(gather.arrival().nanos(), upto);
        let gathered = gather.seal_with(ticket, note);
        Box::pin(async move {
            let advance = advance.ok_or(Closed)?;
            intake.submit(gathered).await?;
            advance.arrived(Instant::now());
            Ok(())
        })
    }

    /// Of a stream: a message could not be taken.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Takes note of what the journal has done since, whenever that is. Cancel safe.
    pub(super) async fn journal(&mut self) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            done = submitted(&mut self.submitting) => {
                self.submitting = None;
                done.map_err(|Closed| Stopped)?;
            }
            kept = self.mark.moved(), if !self.unanswered.is_empty() => {
                let kept = kept.map_err(|Broken| Stopped)?;
                self.settle(kept.0);
            }
        }
        self.update_brake();
        Ok(())
    }

    /// Nothing is waited for.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.submitting.is_none() && self.unanswered.is_empty()
    }

    /// Nothing waits to be handed to the journal.
    pub(super) fn is_handed_on(&self) -> bool {
        self.open.is_none() && self.submitting.is_none()
    }

    /// The socket should not be read now.
    pub(super) fn is_braked(&self) -> bool {
        matches!(self.brake, Brake::On { .. })
    }

    /// When the brake has to be looked at again.
    pub(super) fn brake_deadline(&self) -> Option<Instant> {
        match self.brake {
            Brake::On { since } => Some(since + self.limits.full_wait),
            Brake::Off | Brake::SendingBack => None,
        }
    }

    pub(super) fn update_brake(&mut self) {
        let open = self.open.as_ref().map_or((0, 0), |open| (open.messages, open.bytes));
        let messages = self.unanswered.messages() + open.0;
        let bytes = self.unanswered.bytes() + open.1;
        let Limits { unacked_messages_max, unacked_bytes_max, full_wait, .. } = self.limits;
        let is_over = messages >= unacked_messages_max || bytes >= unacked_bytes_max;
        let is_low = messages <= unacked_messages_max / 2 && bytes <= unacked_bytes_max / 2;
        self.brake = match self.brake {
            Brake::Off if is_over => Brake::On { since: Instant::now() },
            Brake::On { .. } | Brake::SendingBack if is_low => Brake::Off,
            Brake::On { since } if since.elapsed() >= full_wait => Brake::SendingBack,
            as_it_was => as_it_was,
        };
    }

    fn settle(&mut self, kept: u64) {
        let latency = &self.stats.ack_latency;
        self.unanswered.settle(kept, &mut self.answers, |batch| {
            latency.observe(batch.read.elapsed().as_secs_f64());
        });
    }

    /// Why a message has to come again later.
    fn may_take(&mut self, bytes: usize) -> Result<(), &'static str> {
        if self.brake == Brake::SendingBack {
            return Err("too much is not acknowledged yet; send it again later");
        }
        if room::is_full_for(&self.intake, self.limits.full_wait) {
            return Err("the journal is full; send it again later");
        }
        let waits = self.submitting.is_some();
        let open = self.open.as_ref().map_or(0, |open| open.bytes);
        if waits && !self.held.grow_to(open + bytes) {
            return Err("too many messages are waiting for the journal; send it again later");
        }
        Ok(())
    }
}

impl Open {
    fn new(gather: Gather) -> Self {
        Self { gather, messages: 0, bytes: 0, nacks: Vec::new(), read: Instant::now() }
    }
}

/// Cancel safe: what is being submitted stays where it is.
async fn submitted(submitting: &mut Option<Submitting>) -> Result<(), Closed> {
    match submitting {
        Some(submitting) => submitting.await,
        None => std::future::pending().await,
    }
}

/// What a device is told of a message of which something was refused.
fn complaint(outcome: Outcome, rejects: &Rejects) -> Option<String> {
    let first = rejects.listed().first()?;
    let reason = &first.reason;
    let readings = u64::from(outcome.readings) + outcome.refused;
    if readings == 1 {
        return Some(match &first.field {
            Some(field) => format!("field {field:?} was left out: {reason}"),
            None => reason.to_string(),
        });
    }
    let index = first.index;
    let what = match &first.field {
        Some(field) => format!("reading {index}, field {field:?} was left out: {reason}"),
        None => format!("reading {index}: {reason}"),
    };
    Some(match outcome.refused {
        0 | 1 => what,
        refused => format!("{what}; {refused} of {readings} readings were refused"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{Kind, Reason};

    #[test]
    fn a_device_is_told_which_reading_and_why() {
        let outcome = |readings, refused| Outcome { readings, refused, ..Outcome::default() };
        let reason = || Reason::new(Kind::NoFields, "no field is left");
        let mut one = Rejects::default();
        assert_eq!(complaint(outcome(1, 0), &one), None);
        one.reading(0, 0..0, reason());
        assert_eq!(complaint(outcome(0, 1), &one).unwrap(), "no field is left");

        let mut field = Rejects::default();
        field.field(0, "t", Reason::new(Kind::Value, "not finite"));
        let said = complaint(outcome(1, 0), &field).unwrap();
        assert_eq!(said, "field \"t\" was left out: not finite");

        let mut some = Rejects::default();
        some.reading(3, 0..0, reason());
        assert_eq!(complaint(outcome(9, 1), &some).unwrap(), "reading 3: no field is left");
        some.reading(5, 0..0, reason());
        let said = complaint(outcome(8, 2), &some).unwrap();
        assert_eq!(said, "reading 3: no field is left; 2 of 10 readings were refused");
    }
}
