//! One request's way into the journal: its pieces under one mark, and what was refused of it.
//!
//! Every piece is a submission with a ticket of its own; the request is durable when the mark stands
//! at the last one. Trouble on the way (no room, no sync) is a refusal of the whole request: nothing
//! was acknowledged, although a part of it may arrive, and a part of it once more when it is resent.
//!
//! Cancelled (the client hung up): what was submitted stays, the rest is forgotten.

use std::time::Duration;

use journal::{Broken, Closed, Mark};
use proto::{Kind, Reason, Rejects};
use tokio::time::{Instant, sleep};

use super::{
    Port,
    body::Reading,
    pieces::{PIECE_BYTES_MAX, Piece, Pieces},
    refusal::{Refusal, Why},
};
use crate::intake::Body;
use crate::intake::Gather;
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
}

/// What became of a request that is durable.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Readings taken.
    pub(super) taken: u64,
    /// Readings refused whole, listed or not.
    pub(super) refused: u64,
    /// Fields left out of readings that were taken, listed or not.
    pub(super) fields: u64,
    /// The first `Rejects::LISTED_MAX` of both.
    pub(super) listed: Vec<Refused>,
}

#[derive(Debug)]
pub(super) struct Refused {
    /// Which reading or line of the request, from 0.
    pub(super) index: u64,
    pub(super) field: Option<String>,
    pub(super) reason: Reason,
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
    /// Refused at once while the journal has been full for too long: before the body is read.
    pub(super) fn begin(port: &'p Port) -> Result<Self, Refusal> {
        may_take(port)?;
        Ok(Self {
            port,
            mark: Mark::new(),
            last: 0,
            waited: Duration::ZERO,
            report: Report::default(),
        })
    }

    /// Hands on one piece, whose first reading (or line) has the index `index`.
    pub(super) async fn take(&mut self, body: &Body<'_>, index: u64) -> Result<(), Refusal> {
        let mut gather = self.port.intake.gather(&self.port.http);
        let outcome = gather.body(body);
        self.report.taken += u64::from(outcome.readings);
        self.report.add(gather.rejects(), index);
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
        loop {
            let more = reading.next(pieces.bytes()).await?;
            let has_memory = held.grow_to(pieces.capacity() + reading.memory());
            if more && has_memory && !pieces.is_full() {
                continue;
            }
            match pieces.cut(!more) {
                Some(piece) => self.take_piece(&piece, body).await?,
                None if !has_memory => return Err(busy()),
                None => {}
            }
            pieces.forget();
            if !more {
                return Ok(());
            }
            if !has_memory {
                pieces.shrink();
            }
            // Decoding is work without waiting: let others have their turn.
            tokio::task::yield_now().await;
        }
    }

    async fn take_piece(&mut self, piece: &Piece<'_>, body: &Body<'_>) -> Result<(), Refusal> {
        let index = piece.index;
        if !piece.is_too_long {
            return self.take(&Body { bytes: piece.bytes, ..*body }, index).await;
        }
        let text = format!("the line is longer than {PIECE_BYTES_MAX} bytes");
        let mut gather = self.port.intake.gather(&self.port.http);
        gather.refuse(body.path, piece.bytes, Reason::new(Kind::Limit, text));
        self.report.add(gather.rejects(), index);
        self.submit(gather).await
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

    async fn submit(&mut self, gather: Gather) -> Result<(), Refusal> {
        if gather.is_empty() {
            return Ok(());
        }
        let ticket = self.mark.ticket();
        self.last = ticket.number();
        let submitted = self.port.intake.submit(gather.seal(ticket));
        match within_reason(self.port, &mut self.waited, submitted).await? {
            Ok(()) => Ok(()),
            Err(Closed) => Err(Refusal::new(Why::Closed, "the journal is closed; send again")),
        }
    }
}

impl Report {
    fn add(&mut self, rejects: &Rejects, index: u64) {
        self.refused += rejects.readings();
        self.fields += rejects.fields();
        let room = Rejects::LISTED_MAX.saturating_sub(self.listed.len());
        self.listed.extend(rejects.listed().iter().take(room).map(|reject| Refused {
            index: index + u64::from(reject.index),
            field: reject.field.clone(),
            reason: reject.reason.clone(),
        }));
    }

    pub(super) fn is_clean(&self) -> bool {
        self.refused == 0 && self.fields == 0
    }

    /// What was refused beyond what is listed.
    pub(super) fn unlisted(&self) -> u64 {
        (self.refused + self.fields).saturating_sub(self.listed.len() as u64)
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
