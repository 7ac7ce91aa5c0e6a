//! Leases frames, decodes them, and fills batches.
//!
//! A frame that cannot be decoded (our fault, or a panic) costs what is left of it: that is
//! quarantined, counted, kept as a dead letter, and the output goes on.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use journal::{Fates, Frame, Kind};
use proto::{Timestamp, frame::Cursor};
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
use super::steps::{Item, Outcome, Steps, Worked};
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
    let steps = Steps::begin(&output, &mut leases);
    let mut gather = Gather { output, batcher, steps, sealed: &sealed, room: Some(room) };
    loop {
        let due = gather.batcher.deadline();
        let tick = gather.steps.as_ref().and_then(Steps::tick_at);
        let event = tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Event::Due,
            () = sleep_until(tick.unwrap_or_else(Instant::now)), if tick.is_some() => Event::Tick,
            // Cancel safe.
            lease = leases.next() => match lease {
                Some(lease) => Event::Lease(lease),
                None => break,
            },
        };
        let going = match event {
            Event::Lease(lease) => gather.take(lease).await,
            Event::Due => gather.flush().await,
            Event::Tick => gather.tick(leases.at_head()).await,
        };
        if going.is_err() {
            return;
        }
        if let Some(steps) = &mut gather.steps
            && leases.is_checkpoint_due()
        {
            steps.checkpoint(&mut leases);
        }
    }
    // Before the last batch: it can wait for that one, whoever takes it.
    if let Some(steps) = &mut gather.steps {
        steps.checkpoint(&mut leases);
    }
    if gather.flush().await.is_err() {
        debug!("nobody took the last batch; the journal keeps it");
    }
}

enum Event<R> {
    Lease(Lease<R>),
    /// The open batch is old enough.
    Due,
    Tick,
}

/// Nobody takes batches any more.
struct Gone;

struct Gather<'a, S, R> {
    output: Output<S>,
    batcher: Batcher<R>,
    /// `None`: readings go into batches as they are.
    steps: Option<Steps>,
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
        let (mut index, mut fates) = (0, Fates::default());
        let mut broken = None;
        for submission in frame.submissions() {
            let outcome = match submission {
                Ok(it) if self.steps.is_some() => {
                    let from = From { loan: &loan, receipt: Some(&receipt), index: 0, at: 0 };
                    let arrival = Timestamp::from_nanos(it.arrival_ns);
                    self.work(it.bytes, arrival, &from, &mut index, &mut fates).await?
                }
                Ok(it) => self.submission(it.bytes, &loan, &receipt, &mut index).await?,
                Err(error) => Err(error.to_string()),
            };
            if let Err(problem) = outcome {
                broken = Some(problem);
                break;
            }
        }
        let unread = u64::from(frame.readings.saturating_sub(index));
        if unread > 0 {
            let problem = broken.unwrap_or_else(|| "fewer readings than the frame says".to_owned());
            self.quarantine(&loan, index, unread, problem).await;
        }
        fates.quarantined += unread;
        if let Some(steps) = &mut self.steps {
            steps.done(seq);
            steps.note(&self.output);
        }
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
            let from = From { loan, receipt: Some(receipt), index: *index, at: offset + at };
            match self.batcher.push(&*self.output.sink, &from, &reading, now) {
                Pushed::Taken => *index += 1,
                Pushed::Full => return Step::Full { at },
            }
        }
        Step::Paused
    }

    /// As [`Self::submission`], by way of the steps.
    async fn work(
        &mut self,
        bytes: &[u8],
        arrival: Timestamp,
        from: &From<'_, R>,
        index: &mut u32,
        fates: &mut Fates,
    ) -> Result<Result<(), String>, Gone> {
        let mut cursor = Cursor::new(bytes);
        let offset = from.loan.offset_of(bytes);
        loop {
            let Some(steps) = &mut self.steps else { return Ok(Ok(())) };
            let how = (offset, arrival, CHUNK);
            let worked =
                catch_unwind(AssertUnwindSafe(|| steps.work(&mut cursor, how, index, fates)));
            let outcome = steps.take(from.loan);
            fates.quarantined += self.push_all(outcome, from).await?;
            match worked {
                Ok(Worked::All) => return Ok(Ok(())),
                Ok(Worked::Broken(problem)) => return Ok(Err(problem)),
                Ok(Worked::Some) => yield_now().await,
                Err(panic) => {
                    let text = panic_text(&*panic);
                    return Ok(Err(format!("panic while working on a reading: {text}")));
                }
            }
        }
    }

    /// Puts what came out into batches; returns how many readings of the frame were lost to panics.
    async fn push_all(&mut self, outcome: Outcome, whole: &From<'_, R>) -> Result<u64, Gone> {
        let mut items = outcome.items.iter().peekable();
        let mut lost = 0;
        while let Some(item) = items.peek() {
            let pushed = catch_unwind(AssertUnwindSafe(|| self.push(**item, &outcome, whole)));
            match pushed {
                Ok(Pushed::Taken) => _ = items.next(),
                Ok(Pushed::Full) => self.flush().await?,
                Err(panic) => {
                    self.batcher.mend();
                    let (output, seq) = (&*self.output.id, whole.loan.seq.0);
                    error!(output, seq, panic = panic_text(&*panic), "a reading is quarantined");
                    lost += u64::from(!matches!(item, Item::Point { .. }));
                    items.next();
                }
            }
        }
        Ok(lost)
    }

    fn push(&mut self, item: Item, outcome: &Outcome, whole: &From<'_, R>) -> Pushed {
        let (loan, receipt, index, at) = match item {
            Item::Whole { at, index } => (whole.loan, whole.receipt, index, at),
            Item::Part { at, index } => (&outcome.parts, whole.receipt, index, at),
            Item::Point { at } => (&outcome.points, None, 0, at),
        };
        let mut cursor = Cursor::new(loan.payload.get(at..).unwrap_or_default());
        // It was read, or written, a moment ago.
        let Some(Ok(reading)) = cursor.next() else { return Pushed::Taken };
        let from = From { loan, receipt, index, at };
        let pushed = self.batcher.push(&*self.output.sink, &from, &reading, Instant::now());
        if pushed == Pushed::Taken && receipt.is_none() {
            self.batcher.hold(&outcome.epoch);
        }
        pushed
    }

    /// At the journal's head windows of silent series close; what comes of that has waited for long
    /// enough.
    async fn tick(&mut self, at_head: bool) -> Result<(), Gone> {
        let Some(steps) = &mut self.steps else { return Ok(()) };
        if !at_head {
            steps.put_off();
            return Ok(());
        }
        steps.tick(Timestamp::from_system_time(SystemTime::now()));
        steps.wind_again();
        let nothing = Arc::new(Loan::new(steps.upto(), Bytes::new()));
        let outcome = steps.take(&nothing);
        steps.note(&self.output);
        if outcome.items.is_empty() {
            return Ok(());
        }
        let from = From { loan: &nothing, receipt: None, index: 0, at: 0 };
        self.push_all(outcome, &from).await?;
        self.flush().await
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
