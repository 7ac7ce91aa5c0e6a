//! What gives way when the journal is full.
//!
//! ```text
//! the oldest segment is held by   outputs that nobody claims only -> they move past it
//!                                 anybody else                    -> block: it stays
//!                                                                    drop-oldest: all move past it
//! ```
//! Promises: one segment goes at a time, the oldest, and only while the writer waits for one; the next
//! only if that did not help after a while, as what it frees may show late (a reader's open file, a
//! file system that frees behind its back); what a
//! position loses is counted in the record that moves it, and that record is on the disk before the
//! segment goes. Leases out of it, and checkpoints, may settle first, for a while; one that settles later takes its
//! readings back out of the count. What a later release wrote never gives way.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{error, warn};

use crate::WhenFull;
use crate::catalog::{Place, Segment};
use crate::frame::SCHEMA;
use crate::position::Position;
use crate::scan::{Scan, Scanned};
use crate::segment;
use crate::shared::Shared;

/// The segment that stands in the way.
#[derive(Debug, Default)]
pub(crate) struct GivingWay {
    at: Option<At>,
    /// When something gave way; and nothing came of it yet.
    last: Option<Instant>,
}

/// What gave way shows after this.
pub(crate) const SHOWS_AFTER: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
struct At {
    segment: u64,
    since: Instant,
    is_newer: bool,
}

impl GivingWay {
    /// `true` if every position has moved past the oldest segment.
    pub(crate) fn step(&mut self, shared: &Shared, now: Instant) -> bool {
        if self.is_waiting(now) {
            return false;
        }
        let Some((oldest, holders)) = held(shared) else { return false };
        let may = |position: &Arc<Position>| {
            !position.is_frozen()
                && (shared.limits.when_full == WhenFull::DropOldest || !position.is_claimed())
        };
        if !holders.iter().all(may) {
            return false;
        }
        let at = match self.at {
            Some(at) if at.segment == oldest.id => at,
            _ => {
                let Some(is_newer) = holds_newer(shared, &oldest) else { return false };
                At { segment: oldest.id, since: now, is_newer }
            }
        };
        self.at = Some(at);
        let last = oldest.last();
        let is_under_way = |it: &Arc<Position>| it.ledger(|ledger| ledger.is_under_way_upto(last));
        let waited = now.duration_since(at.since) >= shared.limits.lease_wait;
        if at.is_newer || (holders.iter().any(is_under_way) && !waited) {
            return false;
        }
        give_way(shared, &oldest, &holders);
        self.last = Some(now);
        true
    }

    /// A segment could be prepared.
    pub(crate) fn helped(&mut self) {
        self.last = None;
    }

    /// Whether it must still show what the last one frees.
    pub(crate) fn is_waiting(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.duration_since(last) < SHOWS_AFTER)
    }
}

/// The oldest segment, unless it is needed anyway, and the positions that have not passed it.
fn held(shared: &Shared) -> Option<(Arc<Segment>, Vec<Arc<Position>>)> {
    if !shared.in_use.load(Ordering::Acquire) {
        return None;
    }
    let places = shared.catalog.places();
    // The newest stays: it tells the next open where ids go on.
    let [Place::Known(oldest), _, ..] = places.as_slice() else { return None };
    if oldest.id == shared.active.load(Ordering::Acquire) {
        return None;
    }
    let mut holders = shared.positions();
    holders.retain(|position| position.low() < oldest.last());
    (!holders.is_empty()).then(|| (Arc::clone(oldest), holders))
}

fn give_way(shared: &Shared, oldest: &Segment, holders: &[Arc<Position>]) {
    let extent = oldest.extent();
    for position in holders {
        let dropped = position.give_way(shared, extent.last, &extent.books);
        warn!(
            output = %position.id, dropped, upto = extent.last,
            "the journal is full: the oldest readings are dropped"
        );
    }
    // After the ledgers know, and before the file goes: a reader that stands in it looks here.
    shared.dropped_upto.fetch_max(extent.last, Ordering::AcqRel);
}

/// Whether a frame of a later release is in it: then it waits for that release. Only what was there
/// when the journal was opened can hold one. `None`: it cannot be read, and may hold one.
fn holds_newer(shared: &Shared, segment: &Segment) -> Option<bool> {
    if segment.id >= shared.own_from {
        return Some(false);
    }
    let file = shared.disk.open(&segment::name(segment.id)).ok()?;
    let mut scan = Scan::new(file, segment.salt, segment.end(), &shared.limits);
    while let Some(scanned) = scan.next(|_| false) {
        if let Scanned::Frame { header, .. } = scanned
            && (header.schema != SCHEMA || header.known_kind().is_none())
        {
            let name = segment::name(segment.id);
            error!(name, seq = header.seq, "a later release wrote it: it does not give way");
            return Some(true);
        }
    }
    (scan.unreadable == 0).then_some(false)
}
