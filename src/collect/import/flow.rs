//! One file's way into the journal: its pieces under one mark, and how far they are durable.

use std::{collections::VecDeque, num::NonZeroU32, ops::ControlFlow, time::Duration};

use bytes::Bytes;
use journal::{Broken, Kept, Mark, Source};
use proto::{Kind, Reason, Reject};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::file::{Event, Piece, Place, newlines};
use super::form::{Form, Format};
use super::{Counts, End, Import, Imported};
use crate::intake::Gather;
use crate::intake::pieces::PIECE_BYTES_MAX;
use crate::intake::resends::{Attempt, Stored};

/// How long a stop waits for the journal.
const STOP_MAX: Duration = Duration::from_secs(5);
const WRITE_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Flow<'i> {
    import: &'i mut Import,
    source: Source,
    attempt: Attempt,
    /// Of the file and the settings, for `Positions`.
    identity: (String, String),
    is_resumable: bool,
    form: Option<Form>,
    mark: Mark,
    /// Handed to the journal and not durable yet, the eldest first.
    under_way: VecDeque<UnderWay>,
    under_way_bytes: usize,
    before: Option<Counts>,
    /// Of everything that was decoded, and of what is durable of it.
    counts: Counts,
    durable_counts: Counts,
    /// How far it is durable; `None` until something is.
    stored: Option<Stored>,
    written: Option<Instant>,
    pace: Option<Pace>,
    end: End,
}

#[derive(Debug)]
struct UnderWay {
    ticket: u64,
    bytes: usize,
    /// Once it is durable.
    counts: Counts,
    stored: Stored,
}

/// When the next reading may come.
#[derive(Debug)]
struct Pace {
    rate: NonZeroU32,
    due: Instant,
}

impl<'i> Flow<'i> {
    pub(super) fn new(
        import: &'i mut Import,
        attempt: Attempt,
        identity: (String, String),
        is_resumable: bool,
    ) -> Self {
        let pace = import.rate.map(|rate| Pace { rate, due: Instant::now() });
        Self {
            import,
            source: "import".into(),
            attempt,
            identity,
            is_resumable,
            form: None,
            mark: Mark::new(),
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            before: None,
            counts: Counts::default(),
            durable_counts: Counts::default(),
            stored: None,
            written: None,
            pace,
            end: End::Stopped,
        }
    }

    /// What the reader says next, while the journal is listened to. `None`: it is to stop.
    ///
    /// Cancel safe: an event that was not returned is still to come.
    pub(super) async fn next(&mut self, events: &mut mpsc::Receiver<Event>) -> Option<Event> {
        loop {
            let is_waiting = !self.under_way.is_empty();
            let moved = tokio::select! {
                biased;
                () = self.import.stop.cancelled() => return None,
                moved = self.mark.moved(), if is_waiting => moved,
                event = events.recv() => return event,
            };
            if self.durable(moved).await.is_break() {
                return None;
            }
        }
    }

    pub(super) async fn take(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Begun(begun) => {
                self.before = begun.after.as_ref().map(|stored| counts(&stored.answer));
                self.stored = begun.after;
                self.form = Some(*begun.form);
                ControlFlow::Continue(())
            }
            Event::Piece(piece) => self.piece(piece).await,
            Event::End(why) => {
                self.end = why.map_or(End::Whole, End::Unreadable);
                ControlFlow::Break(())
            }
        }
    }

    /// Waits until what was handed on is durable, and says what became of the file.
    pub(super) async fn end(mut self) -> Imported {
        let deadline = self.import.stop.is_cancelled().then(|| Instant::now() + STOP_MAX);
        while !self.under_way.is_empty() {
            let stopped = async {
                self.import.stop.cancelled().await;
                sleep_until(deadline.unwrap_or_else(|| Instant::now() + STOP_MAX)).await;
            };
            let moved = tokio::select! {
                biased;
                moved = self.mark.moved() => moved,
                () = stopped => {
                    self.end = End::Stopped;
                    break;
                }
            };
            if self.durable(moved).await.is_break() {
                break;
            }
        }
        self.write().await;
        let (bytes, lines) = self.stored.map_or((0, 0), |stored| (stored.from, stored.lines));
        Imported { counts: self.durable_counts, before: self.before, bytes, lines, end: self.end }
    }

    async fn piece(&mut self, piece: Piece) -> ControlFlow<()> {
        if let Some(pace) = &self.pace {
            let due = sleep_until(pace.due);
            if self.import.stop.run_until_cancelled(due).await.is_none() {
                return ControlFlow::Break(());
            }
        }
        let (gather, readings) = self.decode(&piece);
        if let Some(pace) = &mut self.pace {
            pace.passed(readings);
        }
        self.hand_on(gather, piece.place).await?;
        // One file leaves room for others, and for the keepers of this journal.
        while self.under_way_bytes > self.import.intake.share_bytes() {
            let moved = tokio::select! {
                biased;
                moved = self.mark.moved() => moved,
                () = self.import.stop.cancelled() => return ControlFlow::Break(()),
            };
            self.durable(moved).await?;
        }
        // Decoding is work without waiting: let others have their turn.
        tokio::task::yield_now().await;
        ControlFlow::Continue(())
    }

    /// And how many readings it has.
    fn decode(&mut self, piece: &Piece) -> (Gather, u64) {
        let mut gather = self.import.intake.gather(&self.source);
        let path = self.identity.0.as_str();
        let (outcome, unstamped) = match &self.form {
            Some(form) if !piece.is_too_long => form.decode(&mut gather, path, &piece.bytes),
            _ => {
                let text = format!("the line is longer than {PIECE_BYTES_MAX} bytes");
                let reason = Reason::new(Kind::Limit, text);
                (gather.refuse(path, &piece.bytes, reason), 0)
            }
        };
        let (taken, rejects) = (u64::from(outcome.readings), gather.rejects());
        self.counts.taken += taken;
        self.counts.refused += outcome.refused;
        self.counts.unstamped += unstamped;
        self.counts.fields += rejects.fields();
        self.import.watch.took(taken, outcome.refused);
        for reject in rejects.listed() {
            self.import.watch.refused(|| self.told(piece, reject));
        }
        (gather, taken)
    }

    /// `data.lp:7: no field`, lines as editors number them.
    fn told(&self, piece: &Piece, reject: &Reject) -> String {
        let form = self.form.as_ref().map(|form| form.format);
        let start = reject.span.start.min(piece.bytes.len());
        let line = match form {
            Some(Format::Line | Format::Csv) => u64::from(reject.index),
            _ => newlines(piece.bytes.get(..start).unwrap_or_default()),
        };
        let line = piece.lines_before + line + 1;
        let file = &self.identity.0;
        match &reject.field {
            Some(field) => format!("{file}:{line}: field `{field}` left out: {}", reject.reason),
            None => format!("{file}:{line}: {}", reject.reason),
        }
    }

    async fn hand_on(&mut self, gather: Gather, place: Place) -> ControlFlow<()> {
        let before = self.before.unwrap_or_default();
        let (all, refused) =
            (before.taken + self.counts.taken, before.refused + self.counts.refused);
        let stored = Stored {
            from: place.bytes,
            upto: place.bytes,
            hash: place.hash,
            lines: place.lines,
            is_skipping: place.is_skipping,
            answer: format!("{all} {refused}").into(),
            ..Stored::default()
        };
        let note = if self.is_resumable {
            self.attempt.note(gather.arrival(), &stored)
        } else {
            Bytes::new()
        };
        let ticket = self.mark.ticket();
        let number = ticket.number();
        let gathered = gather.seal_with(ticket, note);
        let bytes = gathered.bytes;
        let stop = self.import.stop.clone();
        let submitted = tokio::select! {
            biased;
            submitted = self.import.intake.submit(gathered) => submitted.is_ok(),
            // The journal is full, or its disk fails.
            () = async { stop.cancelled().await; sleep(STOP_MAX).await } => {
                return ControlFlow::Break(());
            }
        };
        if !submitted {
            self.end = End::Closed;
            return ControlFlow::Break(());
        }
        self.under_way.push_back(UnderWay { ticket: number, bytes, counts: self.counts, stored });
        self.under_way_bytes += bytes;
        ControlFlow::Continue(())
    }

    /// The mark has moved: what is at or below it is durable.
    async fn durable(&mut self, moved: Result<Kept, Broken>) -> ControlFlow<()> {
        let Ok(Kept(kept)) = moved else {
            let is_stopped = self.import.stop.is_cancelled();
            self.end = if is_stopped { End::Stopped } else { End::Closed };
            return ControlFlow::Break(());
        };
        while let Some(done) = self.under_way.pop_front_if(|it| it.ticket <= kept) {
            self.under_way_bytes -= done.bytes;
            self.import.watch.durable(done.counts.taken - self.durable_counts.taken);
            self.durable_counts = done.counts;
            self.stored = Some(done.stored);
        }
        if self.written.is_none_or(|written| written.elapsed() >= WRITE_EVERY) {
            self.write().await;
        }
        ControlFlow::Continue(())
    }

    /// Writes down how far it is durable. If that fails, the journal's notes still know.
    async fn write(&mut self) {
        let Some(stored) = self.stored.as_ref().filter(|_| self.is_resumable) else { return };
        let (file, settings) = &self.identity;
        if self.import.positions.find(file, settings).as_ref() == Some(stored) {
            return;
        }
        self.import.positions.put(file, settings, stored);
        self.written = Some(Instant::now());
        let positions = self.import.positions.clone();
        let written = tokio::task::spawn_blocking(move || positions.write()).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(error.into())) {
            warn!(%error, "how far the import is cannot be written down");
        }
    }
}

impl Pace {
    /// So many readings go at `due`: what comes after them, later by what they take.
    fn passed(&mut self, readings: u64) {
        let nanos = u128::from(readings) * 1_000_000_000 / u128::from(self.rate.get());
        let took = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // A pause before does not make a burst of what comes after.
        self.due = self.due.max(Instant::now()) + took;
    }
}

/// As `hand_on` writes them.
fn counts(answer: &[u8]) -> Counts {
    let text = String::from_utf8_lossy(answer);
    let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    Counts { taken: next(), refused: next(), ..Counts::default() }
}
