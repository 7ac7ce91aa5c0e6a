//! Bytes from the client: read into scratch that belongs to the thread, parsed where they lie.
//!
//! ```text
//!  socket --> scratch of this thread: [rest of a packet | packet | packet | packet | part of a packet]
//!                                          |                                              |
//!                            joins its part, kept from before              kept for the next read
//! ```
//!
//! Promises: an idle connection owns no buffer; a byte is copied only if its packet came in parts,
//! and then once; a part grows as its bytes come, whatever length they claim.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::Connection;
use super::outbox::{Identity, Message};

use crate::intake::resends::{Known, Sender};
use crate::listen::mqtt::packet::{self, Frame, Framed, Qos};
use crate::listen::mqtt::session::{Ending, Moment, Step};

/// One read brings this much at most; each thread has one such buffer.
const SCRATCH_BYTES: usize = 64 * 1024;
/// The same while memory is tight.
const TIGHT_READ_BYTES: usize = 4 * 1024;
/// From the first byte of a packet to its last: 256 KiB over a very slow line.
const PACKET_TIME_MAX: Duration = Duration::from_mins(1);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// The part of a packet that has come so far; no buffer unless there is one.
#[derive(Debug, Default)]
pub(super) struct Part {
    bytes: Vec<u8>,
    since: Option<Instant>,
}

/// What one read brought, counted once for all of it.
#[derive(Debug, Default)]
struct Tally {
    publishes: [u64; 3],
    repeats: u64,
    dropped: u64,
    pings: u64,
}

impl Part {
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + PACKET_TIME_MAX)
    }

    /// Time in which nobody read does not count.
    pub(super) fn listened(&mut self, now: Instant) {
        self.since = self.since.map(|_| now);
    }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Reads once and takes every whole packet. Ready with `Ok` when something was read.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let is_tight = self.shared.pool.is_tight();
        let bytes_max = if is_tight { TIGHT_READ_BYTES } else { SCRATCH_BYTES };
        SCRATCH.with_borrow_mut(|scratch| {
            let room = scratch.get_mut(..bytes_max).unwrap_or_default();
            let mut scratch = ReadBuf::new(room);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut scratch)) {
                Err(_) => Poll::Ready(Err(Ending::Failed)),
                Ok(()) if scratch.filled().is_empty() => Poll::Ready(Err(Ending::HungUp)),
                Ok(()) => Poll::Ready(self.take_bytes(scratch.filled())),
            }
        })
    }

    fn take_bytes(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        let moment = Moment {
            now: Instant::now(),
            is_full: self.shared.gate.is_shut(),
            is_stuck: self.brake.is_stuck(),
        };
        let mut tally = Tally::default();
        let taken = self.take_packets(bytes, &moment, &mut tally);
        self.count(bytes.len(), &tally);
        taken
    }

    fn take_packets(
        &mut self,
        bytes: &[u8],
        moment: &Moment,
        tally: &mut Tally,
    ) -> Result<(), Ending> {
        let mut bytes = self.complete_part(bytes, moment, tally)?;
        while let Some(first) = bytes.first() {
            self.session.glance(*first)?;
            match packet::frame(bytes, self.session.packet_bytes_max()) {
                Err(violation) => return Err(Ending::Violation(violation)),
                Ok(Framed::Whole(frame)) => {
                    self.take_packet(frame, moment, tally)?;
                    bytes = bytes.get(frame.len..).unwrap_or_default();
                }
                Ok(Framed::Partial { .. }) => {
                    self.part = Part { bytes: bytes.to_vec(), since: Some(moment.now) };
                    break;
                }
            }
        }
        Ok(())
    }

    /// Gives the kept part what it wants of `bytes`; returns what comes after it.
    fn complete_part<'a>(
        &mut self,
        mut bytes: &'a [u8],
        moment: &Moment,
        tally: &mut Tally,
    ) -> Result<&'a [u8], Ending> {
        if self.part.bytes.is_empty() {
            return Ok(bytes);
        }
        let mut part = std::mem::take(&mut self.part);
        loop {
            match packet::frame(&part.bytes, self.session.packet_bytes_max()) {
                Err(violation) => return Err(Ending::Violation(violation)),
                Ok(Framed::Whole(frame)) => {
                    self.take_packet(frame, moment, tally)?;
                    return Ok(bytes);
                }
                Ok(Framed::Partial { wanted }) => {
                    let missing = wanted.saturating_sub(part.bytes.len()).min(bytes.len());
                    if missing == 0 {
                        self.part = part;
                        return Ok(bytes);
                    }
                    let (more, rest) = bytes.split_at(missing);
                    part.bytes.extend_from_slice(more);
                    bytes = rest;
                }
            }
        }
    }

    fn take_packet(
        &mut self,
        frame: Frame<'_>,
        moment: &Moment,
        tally: &mut Tally,
    ) -> Result<(), Ending> {
        let clients = &self.shared.clients;
        let assigned = || clients.assign_name();
        match self.session.take(frame, moment, assigned, &mut self.output.bytes)? {
            Step::Message { topic, payload, delivery, is_resend } => {
                tally.publish(delivery.qos());
                let message = Message { topic, payload, delivery, is_resend };
                let known = known(self.sender.as_deref(), &message, moment.now)?;
                let is_refused = self.outbox.take(&self.shared, moment.now, &message, known);
                self.session.took(delivery, is_refused, frame.len);
                if self.outbox.is_large() {
                    self.seal();
                }
            }
            Step::Connected { client_id } => {
                self.shared.stats.connects.inc();
                self.shared.stats.clients.inc();
                if let Some(id) = client_id {
                    self.registration = Some(clients.register(&id, self.stop.clone()));
                    let resends = self.shared.intake.resends();
                    self.sender = Some(Box::new(resends.connect(&id, moment.now)));
                }
            }
            Step::Released(id) => {
                if let Some(sender) = &self.sender {
                    sender.released(id.get());
                }
            }
            Step::Repeated => tally.repeats += 1,
            Step::Dropped => {
                tally.publish(Qos::AtMostOnce);
                tally.dropped += 1;
            }
            Step::Pinged => tally.pings += 1,
            Step::Answered => {}
            Step::Left => return Err(Ending::Left),
        }
        Ok(())
    }

    fn count(&self, bytes: usize, tally: &Tally) {
        let stats = &self.shared.stats;
        stats.bytes_received.inc_by(bytes as u64);
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            if let Some(messages @ 1..) = tally.publishes.get(qos as usize) {
                stats.published(qos, *messages);
            }
        }
        for (counter, count) in [(&stats.repeats, tally.repeats), (&stats.pings, tally.pings)] {
            if count > 0 {
                counter.inc_by(count);
            }
        }
        if tally.dropped > 0 {
            stats.dropped.inc_by(tally.dropped);
            self.shared.intake.dropped(tally.dropped);
        }
    }
}

/// Whether a message is stored already, and what it is remembered by.
fn known(
    sender: Option<&Sender>,
    message: &Message<'_>,
    now: Instant,
) -> Result<Option<Identity>, Ending> {
    let (Some(sender), Some(id)) = (sender, message.delivery.id()) else { return Ok(None) };
    let is_qos_2 = message.delivery.qos() == Qos::ExactlyOnce;
    let fingerprint = sender.fingerprint(is_qos_2, message.topic, message.payload);
    let is_stored = message.is_resend
        && match sender.look(id.get(), fingerprint, now) {
            Known::Stored => true,
            Known::New => false,
            // The connection before is at work on it: soon it is one or the other.
            Known::Undecided => return Err(Ending::Busy),
        };
    Ok(Some(Identity { id, fingerprint, is_stored }))
}

impl Tally {
    fn publish(&mut self, qos: Qos) {
        if let Some(count) = self.publishes.get_mut(qos as usize) {
            *count += 1;
        }
    }
}
