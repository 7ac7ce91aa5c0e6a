//! An output's steps (`process`) between its frames and its batches, and the checkpoints of what they
//! remember.
//!
//! Readings are worked on some hundred at a time; what comes out waits as items and goes into batches
//! in order. A reading that goes on as it is is read once more from its frame then.

use std::sync::Arc;

use bytes::Bytes;
use journal::{Fates, Seq};
use proto::{Timestamp, frame::Cursor};
use tokio::time::{Duration, Instant};
use tracing::error;

use super::Output;
use super::epoch::Epoch;
use super::lease::{Leases, Loan};
use crate::process::{Kept, Process, StateError, Verdict};

/// While there is something to write down, look so often whether it is time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The shortest wait, should the output be busy when it is time.
const WAIT_MIN: Duration = Duration::from_millis(50);
/// The same while it is not at the journal's head: it may stand before what cannot be read.
const PUT_OFF: Duration = Duration::from_millis(250);

/// One thing that goes into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// The reading at this byte of the frame, as it is.
    Whole { at: usize, index: u32 },
    /// With fewer fields: at this byte of what came out.
    Part { at: usize, index: u32 },
    /// A point that a window became.
    Point { at: usize },
}

/// How far the readings of a submission were worked on.
pub(super) enum Worked {
    All,
    Some,
    /// The rest cannot be read.
    Broken(String),
}

#[derive(Debug)]
pub(super) struct Steps {
    process: Process,
    out: Kept,
    items: Vec<Item>,
    epoch: Arc<Epoch>,
    /// The last frame that was worked on.
    upto: Option<Seq>,
    /// Something was worked on since the last checkpoint.
    is_news: bool,
    /// What was remembered is lost, so that windows may have been closed before.
    has_forgotten: bool,
    /// The position moves by checkpoints: there is something to remember, or there was, and what the
    /// journal keeps of it has to go.
    holds: bool,
    tick_at: Option<Instant>,
}

impl Steps {
    /// `None` if there is nothing to do with the readings of this output.
    pub(super) fn begin<S, L: Leases>(output: &Output<S>, leases: &mut L) -> Option<Self> {
        let state = leases.state();
        let settings = &output.process;
        if settings.is_empty() && state.is_empty() {
            return None;
        }
        let mut has_forgotten = settings.has_state() && leases.has_lost_state();
        let process = match Process::restore(settings.clone(), &state) {
            Ok(process) => process,
            Err(error) => {
                output.stats.note_error(&format!("what the output knew: {error}").into());
                if error == StateError::Newer {
                    error!(
                        output = &*output.id,
                        "a later release wrote what the output knew: it waits"
                    );
                    leases.leave_to_newer();
                    return None;
                }
                error!(output = &*output.id, %error, "what the output knew is lost: it begins anew");
                output.stats.states_lost.inc();
                has_forgotten = true;
                Process::new(settings.clone())
            }
        };
        let holds = process.has_state() || !state.is_empty();
        if holds {
            leases.keep_state(process.held());
        }
        let mut steps = Self {
            process,
            out: Kept::default(),
            items: Vec::new(),
            epoch: Arc::default(),
            upto: None,
            is_news: false,
            has_forgotten,
            holds,
            tick_at: None,
        };
        steps.wind();
        Some(steps)
    }

    /// Works on so many readings; `offset` is where the cursor began in the frame.
    pub(super) fn work(
        &mut self,
        cursor: &mut Cursor<'_>,
        (offset, arrival, most): (usize, Timestamp, usize),
        index: &mut u32,
        fates: &mut Fates,
    ) -> Worked {
        if std::mem::take(&mut self.has_forgotten) {
            self.process.forget_before(arrival);
        }
        for _ in 0..most {
            let at = offset + cursor.position();
            let reading = match cursor.next() {
                None => return Worked::All,
                Some(Err(error)) => return Worked::Broken(error.to_string()),
                Some(Ok(reading)) => reading,
            };
            match self.process.apply(&reading, arrival, &mut self.out) {
                Verdict::Pass => self.items.push(Item::Whole { at, index: *index }),
                Verdict::Changed { at } => self.items.push(Item::Part { at, index: *index }),
                Verdict::Filtered => fates.filtered += 1,
                Verdict::Absorbed => fates.absorbed += 1,
            }
            *index += 1;
        }
        Worked::Some
    }

    /// The output waits at the journal's head: windows of silent series may close.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.process.tick(now, &mut self.out);
        self.is_news |= !self.out.emitted.is_empty();
    }

    /// What came out so far, and the bytes that it lies in, as parts of `whole`.
    pub(super) fn take(&mut self, whole: &Arc<Loan>) -> Outcome {
        let points = self.out.emitted.drain(..).map(|at| Item::Point { at });
        self.items.extend(points);
        let bytes = Bytes::from(std::mem::take(&mut self.out.bytes));
        Outcome {
            items: std::mem::take(&mut self.items),
            parts: Arc::new(Loan::part_of(whole, bytes.clone())),
            points: Arc::new(Loan::new(whole.seq, bytes)),
            epoch: Arc::clone(&self.epoch),
        }
    }

    /// All of this frame was worked on.
    pub(super) fn done(&mut self, seq: Seq) {
        self.upto = Some(seq);
        self.is_news = true;
        self.wind();
    }

    pub(super) fn upto(&self) -> Seq {
        self.upto.unwrap_or(Seq(0))
    }

    /// When to look what the time has brought.
    pub(super) fn tick_at(&self) -> Option<Instant> {
        self.tick_at
    }

    /// It was looked.
    pub(super) fn wind_again(&mut self) {
        self.tick_at = None;
        self.wind();
    }

    /// It was not: frames wait to be worked on first, perhaps for long.
    pub(super) fn put_off(&mut self) {
        self.tick_at = Some(Instant::now() + PUT_OFF);
    }

    fn wind(&mut self) {
        let look = (self.is_news && self.holds).then_some(LOOK_EVERY);
        let wait = self.process.due_in().into_iter().chain(look).min();
        let at = wait.map(|wait| Instant::now() + wait.max(WAIT_MIN));
        self.tick_at = self.tick_at.into_iter().chain(at).min();
    }

    /// Hands what is remembered to the journal, if there is anything new.
    pub(super) fn checkpoint<L: Leases>(&mut self, leases: &mut L) {
        let Some(upto) = self.upto.filter(|_| self.is_news && self.holds) else {
            return;
        };
        let confirm = leases.checkpoint(upto, self.process.snapshot(), self.process.held());
        self.epoch = std::mem::take(&mut self.epoch).end(confirm);
        self.is_news = false;
    }

    /// Counted since the last time, and what the state takes now.
    pub(super) fn note<S>(&mut self, output: &Output<S>) {
        output.stats.note_steps(&std::mem::take(&mut self.out.counts), self.process.size());
    }
}

/// What came of some readings.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) items: Vec<Item>,
    pub(super) parts: Arc<Loan>,
    pub(super) points: Arc<Loan>,
    pub(super) epoch: Arc<Epoch>,
}
