//! Files as a source: line protocol, NDJSON, JSON and tables (CSV) through intake into the journal,
//! like anything a device sends.
//!
//! ```text
//!  file, stdin --reader: a thread--> pieces --bounded--> decode --> intake ==> journal
//!                                    of whole lines          \--- note: how far ---/ |
//!                                    IMPORTS  <---- at most once a second ---- durable
//! ```
//! Promises: holds a few pieces (256 KiB each), however large the file is. Waits while the journal is
//! full. A bad line costs itself only, and is named with its number. How far a file is imported lies
//! in the frame of its readings, so a crash leaves both or none; and, when that is forgotten, in a
//! file of its own, which may lag by a second. After a crash, the same file goes on there: what is
//! imported twice is the same points, if they carry their time.
//!
//! A file that carries no time is stamped as it comes: once, as long as its place is known.
//!
//! Leaves out whether anything is delivered: that is the outputs' affair.

mod file;
mod flow;
mod form;
mod positions;
mod watch;

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::file::{Event, Reading};
use self::flow::Flow;
use self::positions::Positions;
use crate::intake::Intake;
use crate::intake::resends::Stored;

pub use self::file::Source;
pub use self::form::{Format, Settings};
pub use self::watch::{Progress, Watch};

/// Events on their way from the reader.
const EVENTS_MAX: usize = 4;
/// With a rate, a piece is about what comes in a second at most: no line says anything in less bytes.
const LINE_BYTES_MIN: usize = 16;

/// Imports files, one after another.
#[derive(Debug)]
pub struct Import {
    intake: Intake,
    settings: Arc<Settings>,
    positions: Positions,
    /// Readings a second.
    rate: Option<NonZeroU32>,
    /// Begin at the beginning, whatever was imported before.
    anew: bool,
    pub watch: Watch,
    /// Stop reading; what was read becomes durable.
    pub stop: CancellationToken,
}

/// What became of one file, in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub counts: Counts,
    /// What was imported before, and passed over.
    pub before: Option<Counts>,
    /// So many bytes (uncompressed) and lines are durable.
    pub bytes: u64,
    pub lines: u64,
    pub end: End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub taken: u64,
    pub refused: u64,
    /// Readings of `taken` without a time of their own.
    pub unstamped: u64,
    /// Fields left out of readings that were taken.
    pub fields: u64,
}

impl Counts {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// All of it is durable.
    #[default]
    Whole,
    /// Somebody stopped it.
    Stopped,
    /// It cannot be read (further).
    Unreadable(String),
    /// The journal takes nothing more.
    Closed,
}

impl Import {
    /// Into the journal in `dir`. Reads how far files were imported.
    pub async fn new(intake: Intake, dir: &Path, settings: Settings) -> Self {
        let dir = dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || Positions::open(&dir));
        let positions =
            opened.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        Self {
            intake,
            settings: Arc::new(settings),
            positions,
            rate: None,
            anew: false,
            watch: Watch::default(),
            stop: CancellationToken::new(),
        }
    }

    #[must_use]
    pub fn at_rate(self, rate: Option<NonZeroU32>) -> Self {
        Self { rate, ..self }
    }

    #[must_use]
    pub fn anew(self, anew: bool) -> Self {
        Self { anew, ..self }
    }

    /// Imports one file. When it returns, what it says was taken is durable.
    ///
    /// Not cancel safe: dropped half way, what was taken may be durable, and is known then.
    pub async fn file(&mut self, source: &Source) -> Imported {
        self.watch.begin();
        let name = name(source);
        let settings = self.settings.identity();
        let attempt =
            self.intake.resends().attempt(&[b"import", name.as_bytes(), settings.as_bytes()]);
        let is_regular = source.is_regular();
        let known = if is_regular && !self.anew {
            further(attempt.stored().await, self.positions.find(&name, &settings))
        } else {
            None
        };
        let reading = Reading {
            source: source.clone(),
            settings: Arc::clone(&self.settings),
            is_regular,
            known,
            hash: attempt.hash(),
            step: self.rate.map(step),
            raw: self.watch.raw(),
        };
        let mut events = start(reading);
        let mut flow = Flow::new(self, attempt, (name, settings), is_regular);
        while let Some(event) = flow.next(&mut events).await {
            if flow.take(event).await.is_break() {
                break;
            }
        }
        flow.end().await
    }
}

/// Whichever of the two is further.
fn further(one: Option<Stored>, other: Option<Stored>) -> Option<Stored> {
    [one, other].into_iter().flatten().max_by_key(|stored| stored.from)
}

fn step(rate: NonZeroU32) -> usize {
    const STEP_BYTES_MIN: usize = 256;
    let bytes = usize::try_from(rate.get()).unwrap_or(usize::MAX).saturating_mul(LINE_BYTES_MIN);
    bytes.clamp(STEP_BYTES_MIN, crate::intake::pieces::STEP_BYTES)
}

/// The reader ends when nobody listens, or at the end of its file; a pipe that says nothing may keep
/// it for as long as the process lives, so nobody waits for it.
fn start(reading: Reading) -> mpsc::Receiver<Event> {
    let (events, listening) = mpsc::channel(EVENTS_MAX);
    thread::spawn(move || reading.run(|event| events.blocking_send(event).is_ok()));
    listening
}

/// By which a file is known again, from wherever it is called.
fn name(source: &Source) -> String {
    match source {
        Source::Stdin => "-".to_owned(),
        Source::File(path) => {
            let known: PathBuf = path.canonicalize().unwrap_or_else(|_| path.clone());
            known.display().to_string()
        }
    }
}
