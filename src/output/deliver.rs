//! Sends batches: up to `requests_max` at once, each until all of its lines are stored or guilty.
//!
//! One loop owns the state; requests and dead letters run beside it and come back as events. What may
//! leave is `retry::Pace`'s to say, what a batch wants next its `Episode`'s.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::Output;
use super::batch::Batch;
use super::bisect::{Episode, Finding, Want};
use super::lease::Receipt;
use super::lines::{Lines, count};
use super::log::StateLog;
use super::replay::{Asker, Replay};
use super::retention::Retention;
use super::retry::{May, Pace, Sent};
use super::settle::{settle, settle_stored};
use super::size::Size;
use crate::sink::{Answer, Sink, Written};

const EXPIRE_EVERY: Duration = Duration::from_hours(1);

/// Runs until the last batch that `batches` brings is settled. Dropped half way: receipts drop, and
/// what was in flight is in the journal.
pub(super) async fn run<S: Sink, R: Receipt>(
    output: Output<S>,
    mut batches: mpsc::Receiver<Batch<R>>,
    mut replays: mpsc::Receiver<Replay>,
) {
    let mut deliver = Deliver::new(output);
    let mut expire_at = Instant::now();
    let mut ended = false;
    loop {
        deliver.launch();
        if ended && deliver.is_empty() {
            break;
        }
        let wake = deliver.wake().unwrap_or(expire_at).min(expire_at);
        let event = tokio::select! {
            biased;
            Some(done) = deliver.running.join_next() => Event::Done(done),
            Some(replay) = replays.recv(), if deliver.has_room() => Event::Replay(replay),
            batch = batches.recv(), if !ended && deliver.has_room() => Event::Batch(batch),
            () = sleep_until(wake) => Event::Time,
        };
        match event {
            Event::Done(done) => deliver.done(done),
            Event::Replay(replay) => deliver.replay(replay),
            Event::Batch(Some(batch)) => deliver.batch(batch),
            Event::Batch(None) => ended = true,
            Event::Time => {}
        }
        if Instant::now() >= expire_at {
            expire_at = Instant::now() + EXPIRE_EVERY;
            deliver.expire();
        }
    }
    while deliver.running.join_next().await.is_some() {}
}

enum Event<R> {
    Done(Result<Done, JoinError>),
    /// `None`: there will be no more.
    Batch(Option<Batch<R>>),
    Replay(Replay),
    Time,
}

/// What ran beside the loop and has ended.
enum Done {
    Written {
        number: u64,
        lines: Lines,
        how: Sent,
        written: Written,
        took: Duration,
    },
    /// For the batch of that number, or for the output as a whole.
    Probed {
        number: Option<u64>,
        how: Sent,
        written: Written,
        took: Duration,
    },
    Settled,
    Expired,
}

/// A batch on its way.
struct Delivery<R> {
    number: u64,
    batch: Batch<R>,
    episode: Episode,
    /// A request for it is out.
    out: bool,
    /// Of dead letters, whoever asked for them to be offered again.
    asker: Option<Asker>,
}

struct Deliver<S, R> {
    output: Output<S>,
    pace: Pace,
    size: Size,
    retention: Retention,
    /// Oldest first.
    deliveries: Vec<Delivery<R>>,
    /// It holds a point that is still in flight.
    waiting: Option<Delivery<R>>,
    /// Batches whose dead letters are being written.
    settling: usize,
    running: JoinSet<Done>,
    numbers: u64,
    log: StateLog,
}

impl<S: Sink, R: Receipt> Deliver<S, R> {
    fn new(output: Output<S>) -> Self {
        Self {
            pace: Pace::new(output.limits.retry()),
            size: Size::new(output.limits.batch_bytes_max),
            retention: Retention::default(),
            output,
            deliveries: Vec::new(),
            waiting: None,
            settling: 0,
            running: JoinSet::new(),
            numbers: 0,
            log: StateLog::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.waiting.is_none() && self.settling == 0
    }

    fn has_room(&self) -> bool {
        let held = self.deliveries.len() + self.settling;
        self.waiting.is_none() && held < self.output.limits.requests_max.max(1)
    }

    fn batch(&mut self, batch: Batch<R>) {
        let mut episode = Episode::new(Arc::clone(&batch.body));
        self.retention.condemn(&mut episode, Instant::now());
        self.admit(Delivery { number: 0, batch, episode, out: false, asker: None });
    }

    fn replay(&mut self, replay: Replay) {
        let (batch, asker) = replay.batch(&*self.output.sink);
        let episode = Episode::new(Arc::clone(&batch.body));
        self.admit(Delivery { number: 0, batch, episode, out: false, asker: Some(asker) });
    }

    /// Takes a batch in; it waits while it holds a point that is still in flight.
    fn admit(&mut self, delivery: Delivery<R>) {
        let meets = |other: &Delivery<R>| other.batch.keys.meets(&delivery.batch.keys);
        if self.deliveries.iter().any(meets) {
            self.waiting = Some(delivery);
            return;
        }
        self.numbers += 1;
        self.deliveries.push(Delivery { number: self.numbers, ..delivery });
        self.settle_done();
    }

    /// Sends whatever may leave now.
    fn launch(&mut self) {
        let now = Instant::now();
        // Nobody waits for it any more, and nothing of it is on its way.
        let is_withdrawn = |asker: &Option<Asker>| asker.as_ref().is_some_and(Asker::is_gone);
        self.deliveries.retain(|delivery| delivery.out || !is_withdrawn(&delivery.asker));
        for at in 0..self.deliveries.len() {
            if self.deliveries.get(at).is_none_or(|delivery| delivery.out) {
                continue;
            }
            match self.pace.may(now) {
                May::Send | May::Try => self.send(at),
                May::Probe => {
                    let how = self.pace.sent();
                    self.probe(None, how);
                }
                May::WaitUntil(_) | May::WaitForTrial => break,
            }
        }
        self.show();
    }

    /// When there will be something to launch, if nothing else happens.
    fn wake(&self) -> Option<Instant> {
        let idle = self.deliveries.iter().any(|delivery| !delivery.out);
        match self.pace.may(Instant::now()) {
            May::WaitUntil(until) if idle => Some(until),
            _ => None,
        }
    }

    fn send(&mut self, at: usize) {
        let Some(delivery) = self.deliveries.get_mut(at) else { return };
        let number = delivery.number;
        match delivery.episode.next(self.size.bytes_max()) {
            Want::Done => {}
            Want::Probe => {
                delivery.out = true;
                let how = self.pace.sent();
                self.probe(Some(number), how);
            }
            Want::Send(lines) => {
                delivery.out = true;
                let how = self.pace.sent();
                let (sink, body) =
                    (Arc::clone(&self.output.sink), Arc::clone(delivery.episode.body()));
                self.running.spawn(async move {
                    #[cfg(feature = "faults")]
                    journal::fault::point("output");
                    let started = Instant::now();
                    let written = sink.write(&body, &lines).await;
                    Done::Written { number, lines, how, written, took: started.elapsed() }
                });
            }
        }
    }

    fn probe(&mut self, number: Option<u64>, how: Sent) {
        let sink = Arc::clone(&self.output.sink);
        self.running.spawn(async move {
            let started = Instant::now();
            let written = sink.probe().await;
            Done::Probed { number, how, written, took: started.elapsed() }
        });
    }

    fn done(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Written { number, lines, how, written, took }) => {
                self.output.stats.note_request(&written, took);
                self.answered(number, lines, how, written.answer);
            }
            Ok(Done::Probed { number, how, written, took }) => {
                self.output.stats.note_request(&written, took);
                self.probed(number, how, &written.answer);
            }
            Ok(Done::Settled) => self.settling -= 1,
            Ok(Done::Expired) => {}
            // A panic in a sink is a panic of this stage: the process ends.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
        self.settle_done();
        self.show();
    }

    fn answered(&mut self, number: u64, lines: Lines, how: Sent, answer: Answer) {
        let Some(delivery) = self.deliveries.iter_mut().find(|one| one.number == number) else {
            return;
        };
        delivery.out = false;
        match answer {
            Answer::Stored => {
                self.output.stats.lines.inc_by(u64::from(count(&lines)));
                self.size.passed();
            }
            Answer::Failed(_) | Answer::Unknown(_) | Answer::Busy { .. } => {
                self.output.stats.retries.inc();
            }
            Answer::Bad(_)
            | Answer::Amend { .. }
            | Answer::Suspect { .. }
            | Answer::TooLarge(_)
            | Answer::Misconfigured(_) => {}
        }
        let finding = delivery.episode.answer(lines, answer, Instant::now());
        self.found(finding, how);
    }

    fn probed(&mut self, number: Option<u64>, how: Sent, answer: &Answer) {
        let mine = |delivery: &&mut Delivery<R>| Some(delivery.number) == number;
        if let Some(delivery) = self.deliveries.iter_mut().find(mine) {
            delivery.out = false;
            let finding = delivery.episode.probed(answer, Instant::now());
            self.found(finding, how);
            return;
        }
        match Episode::new(Arc::default()).probed(answer, Instant::now()) {
            Finding::Works | Finding::TooLarge(_) => self.pace.probe_accepted(Instant::now()),
            finding @ (Finding::Fails { .. } | Finding::Misconfigured(_)) => {
                self.found(finding, how);
            }
        }
    }

    fn found(&mut self, finding: Finding, how: Sent) {
        let now = Instant::now();
        match finding {
            Finding::Works => self.pace.answered(how),
            Finding::TooLarge(bytes) => {
                self.size.too_large(bytes);
                self.pace.answered(how);
            }
            Finding::Fails { retry_after, text } => {
                self.output.stats.note_error(&text);
                self.pace.failed(now, how, retry_after, fastrand::f64());
            }
            Finding::Misconfigured(text) => {
                self.output.stats.note_error(&text);
                self.pace.misconfigured(now);
            }
        }
    }

    /// Settles what is done, and lets the waiting batch in if nothing holds it up any more.
    fn settle_done(&mut self) {
        let mut at = 0;
        while let Some(delivery) = self.deliveries.get(at) {
            if delivery.out || !delivery.episode.is_done() {
                at += 1;
                continue;
            }
            let Delivery { batch, mut episode, asker, .. } = self.deliveries.remove(at);
            self.retention.learn(&episode, Instant::now());
            let (guilty, lost) = episode.guilty();
            self.output.stats.fields_coerced.inc_by(episode.amendments.coerced(&guilty));
            if let Some(asker) = asker {
                self.output.stats.letters_replayed.inc_by(asker.tell(guilty, lost));
                continue;
            }
            if guilty.is_empty() && lost.is_empty() && batch.refused.is_empty() {
                settle_stored(batch);
            } else {
                self.settling += 1;
                let output = self.output.clone();
                self.running.spawn(async move {
                    settle(&output, batch, guilty, lost).await;
                    Done::Settled
                });
            }
        }
        if let Some(delivery) = self.waiting.take() {
            self.admit(delivery);
        }
    }

    /// Too old dead letters go, also while nothing new is written.
    fn expire(&mut self) {
        let Some(dead) = self.output.dead.clone() else { return };
        let output = self.output.clone();
        self.running.spawn(async move {
            match dead.expire().await {
                Ok(expired) => _ = output.stats.dead_letters_expired.inc_by(expired.readings),
                Err(error) => warn!(output = &*output.id, %error, "could not expire dead letters"),
            }
            Done::Expired
        });
    }

    /// Shows the state, and says in the log when it changes.
    fn show(&mut self) {
        let state = self.pace.state();
        let Some(former) = self.output.stats.enter(state) else { return };
        let error = self.output.stats.status().last_error.map(|(_, text)| text).unwrap_or_default();
        self.log.entered(&self.output.id, former, state, &error);
    }
}
