//! The keeper: everything around the log that must not delay a group.
//!
//! ```text
//! one round:  seal what is full -> remove what was given up -> write due positions
//!             -> free what every position on the disk has passed -> prepare the next segment
//!             -> if there is no room for one: let positions give way, and try again
//! ```
//! Promises: a position is on the disk before a segment that it has passed is removed or recycled.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::catalog::{Place, Segment};
use crate::desk::Work;
use crate::giving_way::{GivingWay, SHOWS_AFTER};
use crate::options::PAGE;
use crate::position::Position;
use crate::quarantine;
use crate::segment::{self, Trailer};
use crate::shared::Shared;
use crate::spare;

const REST: Duration = Duration::from_secs(1);
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The keeper's thread: rounds until the writer has finished, and then the last things.
pub(crate) fn run(shared: &Arc<Shared>) {
    let _last_words = LastWords(Arc::clone(shared));
    let mut trouble = Trouble::default();
    while !shared.desk.is_ending() {
        #[cfg(feature = "faults")]
        crate::fault::point("journal-keeper");
        round(shared, Instant::now(), &mut trouble);
        let is_waiting = trouble.giving_way.is_waiting(Instant::now());
        shared.desk.rest(if is_waiting { SHOWS_AFTER } else { REST });
    }
    finish(shared);
}

/// Without a keeper no segment is prepared or freed any more: the journal would be full for good.
struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.died.send_replace(true);
        }
    }
}

/// At the end: what is confirmed is on the disk.
pub(crate) fn finish(shared: &Arc<Shared>) {
    do_work(shared, shared.desk.take_work());
    for position in shared.positions() {
        write(shared, &position, Instant::now());
    }
}

/// What the keeper remembers from one round to the next.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// What went wrong, so that it is said once.
    preparing: Option<String>,
    /// Attempts to prepare a segment that the disk failed, in a row; and when to try again.
    failures: u32,
    not_before: Option<Instant>,
    giving_way: GivingWay,
}

pub(crate) fn round(shared: &Arc<Shared>, now: Instant, trouble: &mut Trouble) {
    do_work(shared, shared.desk.take_work());
    for position in shared.positions() {
        if position.is_due(now) {
            write(shared, &position, now);
        }
    }
    free(shared, now);
    while !shared.desk.has_prepared() && trouble.not_before.is_none_or(|at| at <= now) {
        match spare::prepare(shared) {
            Ok(Some(prepared)) => {
                trouble.disk_works(shared);
                trouble.giving_way.helped();
                shared.desk.put_prepared(prepared);
            }
            // Full: the writer says so when it matters.
            Ok(None) => {
                trouble.disk_works(shared);
                let wanted = shared.desk.is_wanted();
                if !(wanted && trouble.giving_way.step(shared, now) && free(shared, now)) {
                    break;
                }
            }
            Err(error) => trouble.disk_fails(shared, now, &error),
        }
    }
}

impl Trouble {
    fn disk_works(&mut self, shared: &Shared) {
        (self.preparing, self.failures, self.not_before) = (None, 0, None);
        shared.cannot_prepare.store(false, Ordering::Release);
    }

    fn disk_fails(&mut self, shared: &Shared, now: Instant, error: &io::Error) {
        let error = error.to_string();
        if self.preparing.as_ref() != Some(&error) {
            warn!(error, "no segment could be prepared; trying again every 1 to 30 s");
            self.preparing = Some(error);
        }
        self.failures += 1;
        self.not_before = Some(now + pause_after(self.failures));
        shared.cannot_prepare.store(self.failures > 1, Ordering::Release);
    }
}

/// After so many errors in a row: 1, 2, 4 and so on, at most 30 s.
pub(crate) fn pause_after(failures: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(5)).min(PAUSE_MAX)
}

fn do_work(shared: &Shared, work: Work) {
    for segment in work.retired {
        if let Err(error) = seal(shared, &segment) {
            // The next open scans it instead.
            warn!(segment = segment::name(segment.id), %error, "segment stays unsealed");
        }
    }
    for discarded in &work.discarded {
        if !remove(shared, discarded.id, discarded.bytes) {
            shared.desk.put_off(*discarded);
        }
    }
    // What was never acknowledged must not come back under a number that is used again.
    if !work.discarded.is_empty()
        && let Err(error) = shared.disk.sync_dir("")
    {
        warn!(%error, "directory cannot be synced");
    }
}

/// Every frame in it is durable already: a trailer is never synced with what it vouches for.
fn seal(shared: &Shared, segment: &Segment) -> io::Result<()> {
    let extent = segment.extent();
    let trailer = Trailer {
        id: segment.id,
        salt: segment.salt,
        first: segment.first_seq,
        last: extent.last,
        end: extent.end,
        readings: extent.books.journaled.saturating_sub(segment.books.journaled),
        books: extent.books,
        torn: extent.torn,
    };
    let Some(page) = trailer.page() else { return Ok(()) };
    let file = match shared.disk.open(&segment::name(segment.id)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()), // Freed already.
        other => other?,
    };
    file.write_all_at(&page, extent.allocated - PAGE)?;
    file.sync()
}

fn write(shared: &Shared, position: &Position, now: Instant) {
    if let Err(error) = position.write(shared, now) {
        warn!(output = %position.id, %error, "position is not written; trying again");
    }
}

/// Removes the oldest segments, as far as every position that is on the disk has passed them.
/// `true` if there was any.
fn free(shared: &Shared, now: Instant) -> bool {
    let mut freed = false;
    if !shared.in_use.load(Ordering::Acquire) {
        return freed;
    }
    let places = shared.catalog.places();
    // The newest stays, whatever is done with it: it tells the next open where ids go on.
    for place in places.iter().take(places.len().saturating_sub(1)) {
        let Place::Known(segment) = place else { return freed };
        if segment.id == shared.active.load(Ordering::Acquire) || !is_passed(shared, segment, now) {
            return freed;
        }
        if segment.is_kept() {
            if !set_aside(shared, segment) {
                return freed;
            }
            shared.catalog.remove(segment.id);
            continue;
        }
        let bytes = segment.extent().allocated;
        if !spare::recycle(shared, segment.id) && !remove(shared, segment.id, bytes) {
            return freed; // In order, or a gap would open before what stays.
        }
        shared.catalog.remove(segment.id);
        freed = true;
        debug!(segment = segment::name(segment.id), "segment freed");
    }
    freed
}

/// Into quarantine, as a whole.
fn set_aside(shared: &Shared, segment: &Segment) -> bool {
    let name = segment::name(segment.id);
    match quarantine::take(&*shared.disk, &name, shared.limits.bytes_max) {
        Ok(removed) => {
            shared.release(removed);
            warn!(name, "a segment with pages that cannot be read goes to quarantine");
            true
        }
        Err(error) => {
            warn!(name, %error, "segment cannot be set aside");
            false
        }
    }
}

fn is_passed(shared: &Shared, segment: &Segment, now: Instant) -> bool {
    let last = segment.last();
    let positions = shared.positions();
    if positions.iter().any(|position| position.low() < last) {
        return false;
    }
    for position in &positions {
        if position.low_on_disk() < last {
            write(shared, position, now);
        }
    }
    positions.iter().all(|position| position.low_on_disk() >= last)
}

fn remove(shared: &Shared, id: u64, bytes: u64) -> bool {
    match shared.disk.remove(&segment::name(id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(segment = segment::name(id), %error, "segment cannot be removed");
            false
        }
        _ => {
            shared.release(bytes);
            true
        }
    }
}
