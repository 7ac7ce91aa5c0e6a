//! Leases frames, decodes them, and fills batches.
//!
//! A frame that cannot be decoded (our fault, or a panic) costs what is left of it: that is
//! quarantined, counted, kept as a dead letter, and the output goes on.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use journal::{Fates, Frame, Kind};
use proto::frame::Cursor;
use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{Instant, sleep_until},
};
use tracing::{debug, error};

use super::batch::{Batch, Batcher, From, Pushed};
use super::clock::{Clock, Stopped};
use super::dead::{Entry, Expired};
use super::lease::{Lease, Leases, Loan, Receipt};
use super::{Output, dead};
use crate::sink::Sink;

/// Readings that are decoded and encoded without a pause: well below a millisecond.
const CHUNK: usize = 512;

/// Runs until there are no more leases, or nobody takes batches any more. Not cancel safe in the
/// sense that what it holds is dropped: the journal hands it out again.
pub(super) async fn run<S: Sink, L: Leases>(
    output: Output<S>,
    mut leases: L,
    sealed: mpsc::Sender<Batch<L::Receipt>>,
) {
    let Ok(room) = sealed.reserve().await else { return };
    let batcher = Batcher::new(output.limits.batch());
    let mut gather = Gather { output, batcher, sealed: &sealed, room: Some(room) };
    loop {
        let due = gather.batcher.deadline();
        let lease = tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
            // Cancel safe.
            lease = leases.next() => match lease {
                Some(lease) => Some(lease),
                None => break,
            },
        };
        let going = match lease {
            Some(lease) => gather.take(lease).await,
            None => gather.flush().await,
        };
        if going.is_err() {
            return;
        }
    }
    if gather.flush().await.is_err() {
        debug!("nobody took the last batch; the journal keeps it");
    }
}

/// Nobody takes batches any more.
struct Gone;

struct Gather<'a, S, R> {
    output: Output<S>,
    batcher: Batcher<R>,
    sealed: &'a mpsc::Sender<Batch<R>>,
    /// For the batch that is being filled. A batch is begun only when there is room for it.
    room: Option<mpsc::Permit<'a, Batch<R>>>,
}

/// How far the decoding of one submission came.
enum Step {
    /// All of it.
    Done,
    /// As many readings as were asked for.
    Paused,
    /// The batch is full; the reading at this offset comes next.
    Full { at: usize },
    /// The rest cannot be read.
    Broken(String),
}

impl<S: Sink, R: Receipt> Gather<'_, S, R> {
    async fn take(&mut self, lease: Lease<R>) -> Result<(), Gone> {
        let Lease { seq, mut frame, receipt } = lease;
        match frame.kind {
            Kind::Data => {}
            Kind::Rejected | Kind::Clock => {
                receipt.confirm(&Fates::default());
                return Ok(());
            }
        }
        if Clock::concerns(&frame) {
            self.await_clock(&frame).await?;
            frame = self.output.clock.put_right(&frame, &self.output.stats);
        }
        let arrival_ns = match frame.submissions().next() {
            Some(Ok(first)) => first.arrival_ns,
            _ => i64::MAX,
        };
        let loan = Loan::new(seq, frame.payload.clone());
        let loan = Arc::new(loan.counted(arrival_ns, self.output.stats.unconfirmed()));
        let mut index = 0;
        let mut broken = None;
        for submission in frame.submissions() {
            let outcome = match submission {
                Ok(submission) => {
                    self.submission(submission.bytes, &loan, &receipt, &mut index).await?
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(problem) = outcome {
                broken = Some(problem);
                break;
            }
        }
        let fates = Fates {
            quarantined: u64::from(frame.readings.saturating_sub(index)),
            ..Fates::default()
        };
        if fates.quarantined > 0 {
            let problem = broken.unwrap_or_else(|| "fewer readings than the frame says".to_owned());
            self.quarantine(&loan, index, fates.quarantined, problem).await;
        }
        self.output.stats.note_fates(&fates);
        receipt.confirm(&fates);
        Ok(())
    }

    /// Holds a frame back until it is decided what becomes of its stamps. What was taken before it
    /// goes meanwhile.
    async fn await_clock(&mut self, frame: &Frame) -> Result<(), Gone> {
        while let Some(epoch) = self.output.clock.awaited(frame) {
            self.flush().await?;
            self.output.stats.clock_waits.set(1);
            let decided = self.output.clock.decided(epoch).await;
            self.output.stats.clock_waits.set(0);
            if decided == Err(Stopped) {
                debug!("stamps still wait for the right time; the journal keeps them");
                return Err(Gone);
            }
        }
        Ok(())
    }

    /// Takes the readings of one submission into batches. The inner error says why the rest of the
    /// frame cannot be read.
    async fn submission(
        &mut self,
        bytes: &[u8],
        loan: &Arc<Loan>,
        receipt: &R,
        index: &mut u32,
    ) -> Result<Result<(), String>, Gone> {
        let mut base = 0;
        let mut cursor = Cursor::new(bytes);
        loop {
            let offset = loan.offset_of(bytes) + base;
            let step = catch_unwind(AssertUnwindSafe(|| {
                self.fill(&mut cursor, offset, loan, receipt, index)
            }));
            match step {
                Ok(Step::Done) => return Ok(Ok(())),
                Ok(Step::Broken(problem)) => return Ok(Err(problem)),
                Ok(Step::Paused) => yield_now().await,
                Ok(Step::Full { at }) => {
                    self.flush().await?;
                    base += at;
                    cursor = Cursor::new(bytes.get(base..).unwrap_or_default());
                }
                Err(panic) => {
                    self.batcher.mend();
                    return Ok(Err(format!("panic while decoding: {}", panic_text(&*panic))));
                }
            }
        }
    }

    fn fill(
        &mut self,
        cursor: &mut Cursor<'_>,
        offset: usize,
        loan: &Arc<Loan>,
        receipt: &R,
        index: &mut u32,
    ) -> Step {
        let now = Instant::now();
        for _ in 0..CHUNK {
            let at = cursor.position();
            let reading = match cursor.next() {
                None => return Step::Done,
                Some(Err(error)) => return Step::Broken(error.to_string()),
                Some(Ok(reading)) => reading,
            };
            let from = From { loan, receipt, index: *index, at: offset + at };
            match self.batcher.push(&*self.output.sink, &from, &reading, now) {
                Pushed::Taken => *index += 1,
                Pushed::Full => return Step::Full { at },
            }
        }
        Step::Paused
    }

    /// Hands the open batch over, and waits until the next one may be begun.
    async fn flush(&mut self) -> Result<(), Gone> {
        if let Some(batch) = self.batcher.seal(&*self.output.sink)
            && let Some(room) = self.room.take()
        {
            room.send(batch);
            self.room = Some(self.sealed.reserve().await.map_err(|_| Gone)?);
        }
        Ok(())
    }

    /// Keeps what cannot be read where a person can find it.
    async fn quarantine(&self, loan: &Loan, index: u32, readings: u64, problem: String) {
        error!(
            output = &*self.output.id,
            seq = loan.seq.0,
            index,
            readings,
            problem,
            "a frame of ours cannot be read, the rest of it is quarantined"
        );
        let entry = Entry {
            time: dead::rfc3339_now(),
            output: Some(self.output.id.to_string()),
            seq: loan.seq.0,
            index,
            readings,
            reason: "quarantined".to_owned(),
            answer: problem,
            ..Entry::default()
        };
        // Whether it could be kept or not: it counts as quarantined.
        let entries = vec![entry.with_payload(&loan.payload)];
        let expired =
            |gone: Expired| _ = self.output.stats.dead_letters_expired.inc_by(gone.readings);
        dead::append_or_warn(self.output.dead.as_ref(), entries, expired).await;
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
