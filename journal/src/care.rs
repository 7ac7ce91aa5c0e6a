//! A frame on which the process itself crashes, again and again.
//!
//! ```text
//! crash 1   nobody knows on which frame: from the next start on, each frame that was there is marked
//!           in the position's record ("working on seq N") before it is handed out, and the mark
//!           goes when the next one is asked for
//! crash 2   the record names N: it is set aside to `quarantine/`, and the output goes on after it
//! ```
//! A crash is an abort, which the owner tells of at open ([`crate::Options::crashed`]); SIGKILL and a
//! lost power are none, and find frames handed out all the time. What `catch_unwind` catches is the
//! output's own business. The marks cost a sync a frame, so only frames that were there at the open
//! after a crash get one.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::Instant;
use tracing::{error, warn};

use crate::Frame;
use crate::position::Position;
use crate::quarantine;
use crate::shared::Shared;

/// How carefully one output goes on.
#[derive(Debug, Default)]
pub(crate) struct Care {
    is_careful: bool,
    /// Frames up to here are marked.
    upto: AtomicU64,
    /// To be set aside; 0: none.
    condemned: AtomicU64,
    /// What the next record says; 0: nothing.
    working_on: AtomicU64,
}

/// What must be on the disk before a frame is handed out.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Mark { seq: u64 },
    SetAside { seq: u64, frame: Frame },
    Clear,
}

impl Care {
    /// `working_on`: what the record on the disk says.
    pub(crate) fn new(crashed: bool, working_on: u64) -> Self {
        Self {
            is_careful: crashed || working_on > 0,
            upto: AtomicU64::new(0),
            condemned: AtomicU64::new(if crashed { working_on } else { 0 }),
            working_on: AtomicU64::new(working_on),
        }
    }

    /// The journal is open, and durable so far.
    pub(crate) fn begin(&self, durable: u64) {
        if self.is_careful {
            self.upto.store(durable, Ordering::Relaxed);
        }
    }

    pub(crate) fn working_on(&self) -> u64 {
        self.working_on.load(Ordering::Acquire)
    }

    pub(crate) fn is_condemned(&self, seq: u64) -> bool {
        self.condemned.load(Ordering::Relaxed) == seq
    }

    /// `None` in an ordinary life.
    pub(crate) fn step(&self, seq: u64, frame: &Frame) -> Option<Step> {
        if self.is_condemned(seq) {
            return Some(Step::SetAside { seq, frame: frame.clone() });
        }
        (seq <= self.upto.load(Ordering::Relaxed)).then_some(Step::Mark { seq })
    }

    /// It was set aside, and is done with.
    pub(crate) fn acquit(&self) {
        self.condemned.store(0, Ordering::Relaxed);
        self.working_on.store(0, Ordering::Release);
    }
}

impl Step {
    /// Blocks. A mark that cannot be written costs the mark, never the frame.
    pub(crate) fn take(&self, shared: &Shared, position: &Position) {
        match self {
            Self::Mark { seq } => mark(shared, position, *seq),
            Self::Clear => mark(shared, position, 0),
            Self::SetAside { seq, frame } => {
                let (output, readings) = (&position.id, frame.readings);
                error!(%output, seq, readings, "the process crashed twice on this frame");
                quarantine::keep_frame(shared, output.as_str(), *seq, &frame.payload);
                shared.stats.set_aside.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn seq(&self) -> Option<u64> {
        match self {
            Self::Mark { seq } | Self::SetAside { seq, .. } => Some(*seq),
            Self::Clear => None,
        }
    }
}

fn mark(shared: &Shared, position: &Position, seq: u64) {
    position.care.working_on.store(seq, Ordering::Release);
    let written: io::Result<()> = position.write(shared, Instant::now());
    if let Err(error) = written {
        warn!(output = %position.id, seq, %error, "the mark of a frame is not on the disk");
    }
}

/// On a blocking thread.
pub(crate) fn take(shared: &Arc<Shared>, position: &Arc<Position>, step: Step) -> CareTask {
    let (shared, position) = (Arc::clone(shared), Arc::clone(position));
    tokio::task::spawn_blocking(move || {
        step.take(&shared, &position);
        step.seq()
    })
}

/// Returns the frame it was about.
pub(crate) type CareTask = tokio::task::JoinHandle<Option<u64>>;
