//! One request's way into the journal: its pieces under one mark, and what was refused of it.
//!
//! Every piece is a submission with a ticket of its own; the request is durable when the mark stands
//! at the last one. Trouble on the way (no room, no sync) is a refusal of the whole request: nothing
//! was acknowledged, although a part of it may arrive, and a part of it once more when it is resent.
//!
//! A request with an `Idempotency-Key` goes on where an earlier attempt at it was (see `again`).
//!
//! Cancelled (the client hung up): what was submitted stays, the rest is forgotten.

use std::time::Duration;

use journal::{Broken, Closed, Mark};
use proto::{Kind, Reason};
use tokio::time::{Instant, sleep};

use super::{
    Port,
    again::{Again, another_body, superseded},
    body::Reading,
    key::Key,
    refusal::{Refusal, Why},
    report::Report,
};
use crate::intake::Body;
use crate::intake::Gather;
use crate::intake::pieces::{PIECE_BYTES_MAX, Piece, Pieces};
use crate::listen::memory::Held;
use crate::listen::room;

#[derive(Debug)]
pub(super) struct Delivery<'p> {
    port: &'p Port,
    mark: Mark,
    /// Number of the last ticket; 0 while nothing was submitted.
    last: u64,
    /// How long this request has waited for the journal already.
    waited: Duration,
    report: Report,
    /// Of a request with an `Idempotency-Key`.
    again: Option<Box<Again>>,
}

/// Where a piece ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Behind the last whole line.
    Lines,
    /// Where it did the first time.
    Part,
    Body,
}

/// Refused while the journal has been full for too long, and at the end.
pub(super) fn may_take(port: &Port) -> Result<(), Refusal> {
    if port.shutdown.is_cancelled() {
        return Err(Refusal::new(Why::ShuttingDown, "the gateway is shutting down; send again"));
    }
    if room::is_full_for(&port.intake, port.limits.full_wait) {
        return Err(full());
    }
    Ok(())
}

impl<'p> Delivery<'p> {
    /// Refused at once while the journal has been full for too long: before the body is read. With a
    /// key, an earlier attempt that is handing something on is waited for, and stops then.
    pub(super) async fn begin(port: &'p Port, key: Option<&Key>) -> Result<Self, Refusal> {
        may_take(port)?;
        let mut again = key.map(|key| Box::new(Again::new(&port.intake, key)));
        let mut waited = Duration::ZERO;
        if let Some(again) = &mut again {
            let stored = within_reason(port, &mut waited, again.attempt.stored()).await?;
            again.goes_on_after(stored);
        }
        let (mark, report) = (Mark::new(), Report::default());
        Ok(Self { port, mark, last: 0, waited, report, again })
    }

    /// Reads past what earlier attempts have stored, and counts it. `bytes` gets what comes after
    /// that, beginning with what was stored in part. `true`: there is nothing else.
    pub(super) async fn pass_stored(
        &mut self,
        reading: &mut Reading<'_>,
        bytes: &mut Vec<u8>,
        held: &mut Held,
    ) -> Result<bool, Refusal> {
        let Some(again) = self.again.as_deref_mut().filter(|again| again.is_begun()) else {
            return Ok(false);
        };
        while !again.pass(bytes)? {
            if !reading.next(bytes).await? {
                return Err(another_body());
            }
            if !held.grow_to(bytes.capacity() + reading.memory()) {
                return Err(busy());
            }
        }
        let stored = again.stored();
        self.report = Report::decode(&stored.answer);
        let (is_whole, is_anything) = (stored.is_whole, stored.from > 0);
        if is_whole && (!bytes.is_empty() || reading.next(bytes).await?) {
            return Err(another_body());
        }
        if is_anything {
            // Not decoded again; whatever it was, it is answered only after it is durable.
            let mut gather = self.port.intake.gather(&self.port.http);
            gather.duplicates((self.report.taken + self.report.refused).max(1));
            self.hand_on(gather, false).await?;
        }
        Ok(is_whole)
    }

    /// Hands on a body that was held whole.
    pub(super) async fn take(&mut self, body: &Body<'_>) -> Result<(), Refusal> {
        let gather = self.gather(body, 0);
        if let Some(again) = &mut self.again {
            again.take(body.bytes);
            again.advance((0, false), true, self.report.encode());
        }
        self.submit(gather).await
    }

    /// Reads a body of lines to its end and hands it on in pieces as large as they may be: one
    /// piece, one submission, one sync. While memory is short they are smaller.
    pub(super) async fn take_lines(
        &mut self,
        reading: &mut Reading<'_>,
        mut pieces: Pieces,
        body: &Body<'_>,
    ) -> Result<(), Refusal> {
        let mut held = self.port.memory.hold_nothing();
        if self.pass_stored(reading, pieces.bytes(), &mut held).await? {
            return Ok(());
        }
        self.take_in_part(&mut pieces, body).await?;
        loop {
            let more = reading.next(pieces.bytes()).await?;
            let has_memory = held.grow_to(pieces.capacity() + reading.memory());
            if more && has_memory && !pieces.is_full() {
                continue;
            }
            let end = if more { End::Lines } else { End::Body };
            let is_cut = self.take_piece(&mut pieces, end, body).await?;
            if !is_cut && !has_memory {
                return Err(busy());
            }
            if !more {
                return self.end().await;
            }
            if !has_memory {
                pieces.shrink();
            }
            // Decoding is work without waiting: let others have their turn.
            tokio::task::yield_now().await;
        }
    }

    /// Goes on where earlier attempts were, with the piece that was stored in part, if there is one.
    async fn take_in_part(&mut self, pieces: &mut Pieces, body: &Body<'_>) -> Result<(), Refusal> {
        let Some(again) = &self.again else { return Ok(()) };
        pieces.go_on_at((again.stored().lines, again.stored().is_skipping));
        match again.in_part() {
            0 => Ok(()),
            in_part => {
                // It was cut here then: only so its readings are the same ones.
                let rest = pieces.bytes().split_off(in_part);
                self.take_piece(pieces, End::Part, body).await?;
                pieces.bytes().extend_from_slice(&rest);
                Ok(())
            }
        }
    }

    /// Cuts a piece, if there is one, and hands it on.
    async fn take_piece(
        &mut self,
        pieces: &mut Pieces,
        end: End,
        body: &Body<'_>,
    ) -> Result<bool, Refusal> {
        let gather = pieces.cut(end != End::Lines).map(|piece| {
            if piece.is_too_long {
                self.gather_too_long(body.path, &piece)
            } else {
                self.gather(&Body { bytes: piece.bytes, ..*body }, piece.index)
            }
        });
        if let Some(again) = &mut self.again {
            again.take(pieces.done());
        }
        pieces.forget();
        if let Some(again) = &mut self.again {
            again.advance(pieces.place(), end == End::Body, self.report.encode());
        }
        match gather {
            Some(gather) => self.submit(gather).await.map(|()| true),
            None => Ok(false),
        }
    }

    fn gather(&mut self, body: &Body<'_>, index: u64) -> Gather {
        let mut gather = self.port.intake.gather(&self.port.http);
        let stored = self.again.as_ref().map_or(0, |again| again.stored().readings);
        let outcome = gather.body_after(body, stored);
        self.report.taken += u64::from(outcome.readings);
        self.report.add(gather.rejects(), index);
        gather
    }

    fn gather_too_long(&mut self, path: &str, piece: &Piece<'_>) -> Gather {
        let text = format!("the line is longer than {PIECE_BYTES_MAX} bytes");
        let mut gather = self.port.intake.gather(&self.port.http);
        gather.refuse(path, piece.bytes, Reason::new(Kind::Limit, text));
        self.report.add(gather.rejects(), piece.index);
        gather
    }

    /// Waits until everything handed on is on the disk. `read`: when the last byte had come in.
    pub(super) async fn durable(mut self, read: Instant) -> Result<Report, Refusal> {
        let port = self.port;
        let reached = reached(&mut self.mark, self.last);
        match within_reason(port, &mut self.waited, reached).await? {
            Ok(()) => {
                port.stats.ack_latency.observe(read.elapsed().as_secs_f64());
                Ok(self.report)
            }
            Err(Broken) => Err(Refusal::new(Why::Closed, Broken.to_string())),
        }
    }

    /// The body has ended. Where its last bytes told the journal nothing, it is told this at least.
    async fn end(&mut self) -> Result<(), Refusal> {
        if !self.again.as_mut().is_some_and(|again| again.end()) {
            return Ok(());
        }
        self.hand_on(self.port.intake.gather(&self.port.http), true).await
    }

    async fn submit(&mut self, gather: Gather) -> Result<(), Refusal> {
        if gather.is_empty() {
            return Ok(());
        }
        self.hand_on(gather, true).await
    }

    /// `is_new`: the journal is to know of it, if the request has a key.
    async fn hand_on(&mut self, gather: Gather, is_new: bool) -> Result<(), Refusal> {
        let again = self.again.as_deref_mut().filter(|_| is_new);
        let offer = again.as_ref().map(|again| again.attempt.offer().ok_or_else(superseded));
        let handover = offer.transpose()?;
        let ticket = self.mark.ticket();
        self.last = ticket.number();
        let arrival = gather.arrival();
        let gathered = match &again {
            Some(again) => gather.seal_noting(ticket, |first| again.note(arrival, first)),
            None => gather.seal(ticket),
        };
        let submitted = self.port.intake.submit_noted(gathered, |note| {
            if let Some(handover) = &handover {
                handover.arrived(note, Instant::now());
            }
        });
        match within_reason(self.port, &mut self.waited, submitted).await? {
            Ok(()) => {}
            Err(Closed) => {
                return Err(Refusal::new(Why::Closed, "the journal is closed; send again"));
            }
        }
        drop(handover);
        if let Some(again) = again {
            again.noted();
        }
        Ok(())
    }
}

/// Waits until the mark stands at `last`. Cancel safe.
async fn reached(mark: &mut Mark, last: u64) -> Result<(), Broken> {
    let mut kept = mark.kept()?;
    while kept.0 < last {
        kept = mark.moved().await?;
    }
    Ok(())
}

/// Waits for the journal, but not while it is full for longer than `full_wait`, nor for longer than
/// `durable_max` over the whole request.
async fn within_reason<T>(
    port: &Port,
    waited: &mut Duration,
    work: impl Future<Output = T>,
) -> Result<T, Refusal> {
    let asked = Instant::now();
    let done = tokio::select! {
        biased;
        done = work => Ok(done),
        () = room::full_for(&port.intake, port.limits.full_wait) => Err(full()),
        () = sleep(port.limits.durable_max.saturating_sub(*waited)) => {
            Err(Refusal::new(Why::Stalled, "the disk does not keep up; send again later"))
        }
    };
    *waited += asked.elapsed();
    done
}

fn full() -> Refusal {
    Refusal::new(Why::Full, "the journal is full; keep your readings and send them again later")
}

pub(super) fn busy() -> Refusal {
    Refusal::new(Why::Busy, "too many large requests at a time; send again")
}
