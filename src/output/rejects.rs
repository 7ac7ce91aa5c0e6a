//! What intake refused, from the journal into dead letters: the same files and the same rule as for
//! an output, written and synced before the position moves.
//!
//! Frames are gathered for a second or a megabyte before the sync: garbage that keeps coming must not
//! wear out the disk.

use std::{sync::Arc, time::Duration};

use journal::{Fates, Reader, RejectedRef};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::dead::{self, DeadLetters, Entry, Expired};
use super::lease::{Lease, Leases, Loan, Receipt};
use super::stats::{State, Stats};

const GATHER_MAX: Duration = Duration::from_secs(1);
const GATHER_BYTES_MAX: usize = 1024 * 1024;
const EXPIRE_EVERY: Duration = Duration::from_hours(1);

/// Runs until the journal's input has ended and everything is written, or until `deadline` fires.
/// Without dead letters what was refused is counted as dropped; somebody must read it all the same,
/// or the journal cannot free its segments.
pub async fn run(
    reader: Reader,
    dead: Option<DeadLetters>,
    stats: Arc<Stats>,
    deadline: CancellationToken,
) {
    run_from(reader, dead, stats, deadline).await;
}

async fn run_from<L: Leases>(
    leases: L,
    dead: Option<DeadLetters>,
    stats: Arc<Stats>,
    deadline: CancellationToken,
) {
    stats.enter(State::Running);
    let rejects = Rejects { dead, stats: Arc::clone(&stats), gathered: Gathered::default() };
    tokio::select! {
        biased;
        () = deadline.cancelled() => {}
        () = rejects.run(leases) => {}
    }
    stats.enter(State::Ended);
}

struct Rejects<R> {
    dead: Option<DeadLetters>,
    stats: Arc<Stats>,
    gathered: Gathered<R>,
}

/// Entries that wait for a sync, and the receipts that wait for them.
struct Gathered<R> {
    entries: Vec<Entry>,
    bytes: usize,
    frames: Vec<Held<R>>,
    deadline: Option<Instant>,
}

struct Held<R> {
    receipt: R,
    readings: u64,
    quarantined: u64,
    /// Shows it as unconfirmed.
    _loan: Loan,
}

// Not derived: that would ask for receipts that have a default.
impl<R> Default for Gathered<R> {
    fn default() -> Self {
        Self { entries: Vec::new(), bytes: 0, frames: Vec::new(), deadline: None }
    }
}

impl<R: Receipt> Rejects<R> {
    async fn run<L: Leases<Receipt = R>>(mut self, mut leases: L) {
        let mut expire_at = Instant::now();
        loop {
            let wake = self.gathered.deadline.unwrap_or(expire_at).min(expire_at);
            let lease = tokio::select! {
                biased;
                () = sleep_until(wake) => None,
                // Cancel safe.
                lease = leases.next() => match lease {
                    Some(lease) => Some(lease),
                    None => break,
                },
            };
            if let Some(lease) = lease {
                self.take(lease);
            }
            let now = Instant::now();
            let is_due = self.gathered.deadline.is_some_and(|deadline| deadline <= now);
            if is_due || self.gathered.bytes >= GATHER_BYTES_MAX {
                self.flush().await;
            }
            if expire_at <= now {
                expire_at = now + EXPIRE_EVERY;
                self.expire().await;
            }
        }
        self.flush().await;
    }

    fn take(&mut self, lease: Lease<R>) {
        #[cfg(feature = "faults")]
        journal::fault::point("rejects");
        let Lease { seq, frame, receipt } = lease;
        let gathered = &mut self.gathered;
        let mut arrival_ns = i64::MAX;
        let mut readings = 0;
        let mut problem = None;
        for rejected in frame.rejected() {
            match rejected {
                Ok(rejected) => {
                    arrival_ns = arrival_ns.min(rejected.arrival_ns);
                    readings += rejected.readings;
                    gathered.entries.push(entry(seq.0, &rejected));
                    gathered.bytes += 256 + rejected.bytes.len();
                }
                Err(error) => problem = Some(error),
            }
        }
        let quarantined = match &problem {
            Some(_) => u64::from(frame.readings).saturating_sub(readings),
            None => 0,
        };
        if let Some(error) = problem {
            error!(seq = seq.0, %error, "a frame of refused payloads cannot be read to its end");
        }
        gathered.deadline.get_or_insert(Instant::now() + GATHER_MAX);
        let loan = Loan::new(seq, frame.payload).counted(arrival_ns, self.stats.unconfirmed());
        gathered.frames.push(Held { receipt, readings, quarantined, _loan: loan });
    }

    async fn flush(&mut self) {
        let Gathered { entries, frames, .. } = std::mem::take(&mut self.gathered);
        let expired = |gone: Expired| _ = self.stats.dead_letters_expired.inc_by(gone.readings);
        let kept =
            entries.is_empty() || dead::append_or_warn(self.dead.as_ref(), entries, expired).await;
        for Held { receipt, readings, quarantined, .. } in frames {
            let (dead, dropped) = if kept { (readings, 0) } else { (0, readings) };
            receipt.confirm(&Fates { dead, dropped, quarantined, ..Fates::default() });
        }
    }

    async fn expire(&self) {
        let Some(dead) = &self.dead else { return };
        match dead.expire().await {
            Ok(expired) => _ = self.stats.dead_letters_expired.inc_by(expired.readings),
            Err(error) => warn!(%error, "could not expire dead letters"),
        }
    }
}

fn entry(seq: u64, rejected: &RejectedRef<'_>) -> Entry {
    let entry = Entry {
        time: dead::rfc3339(rejected.arrival_ns),
        source: Some(rejected.source.to_owned()),
        topic: Some(rejected.topic.to_owned()),
        seq,
        index: rejected.index,
        readings: rejected.readings,
        reason: rejected.kind.to_owned(),
        answer: rejected.reason.to_owned(),
        ..Entry::default()
    };
    entry.with_payload(rejected.bytes)
}
