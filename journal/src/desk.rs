//! What the writer leaves for the keeper to do, and what the keeper has ready for the writer.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::catalog::Segment;
use crate::disk::File;
use crate::shared::lock;

/// A segment file that is allocated, synced and in the directory, but has no header yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) id: u64,
    pub(crate) file: Arc<dyn File>,
    pub(crate) bytes: u64,
    /// What the header will say; anew for each activation, so that frames of an earlier life of a
    /// recycled file never check.
    pub(crate) salt: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Desk {
    notes: Mutex<Notes>,
    for_keeper: Condvar,
    for_writer: Condvar,
}

#[derive(Debug, Default)]
struct Notes {
    prepared: Option<Prepared>,
    /// Full, every frame in it durable: to be sealed.
    retired: Vec<Arc<Segment>>,
    /// Given up before anything in it became durable: to be removed.
    discarded: Vec<Discarded>,
    /// Something happened that the keeper should look at now.
    nudged: bool,
    /// The writer waits for a segment: every confirmed frame may be the one that frees it.
    wanted: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Open,
    /// The journal closes: the writer gives up waiting.
    Closing,
    /// The writer has finished: so may the keeper.
    Ending,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Discarded {
    pub(crate) id: u64,
    pub(crate) bytes: u64,
}

/// A round's work.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) retired: Vec<Arc<Segment>>,
    pub(crate) discarded: Vec<Discarded>,
}

impl Notes {
    fn enter(&mut self, stage: Stage) {
        self.stage = self.stage.max(stage);
    }
}

impl Desk {
    pub(crate) fn take_prepared(&self) -> Option<Prepared> {
        let mut notes = lock(&self.notes);
        let prepared = notes.prepared.take();
        notes.nudged = true;
        self.for_keeper.notify_one();
        prepared
    }

    pub(crate) fn has_prepared(&self) -> bool {
        lock(&self.notes).prepared.is_some()
    }

    pub(crate) fn put_prepared(&self, prepared: Prepared) {
        lock(&self.notes).prepared = Some(prepared);
        self.for_writer.notify_one();
    }

    pub(crate) fn retire(&self, segment: Arc<Segment>) {
        lock(&self.notes).retired.push(segment);
        self.nudge();
    }

    pub(crate) fn discard(&self, discarded: Discarded) {
        lock(&self.notes).discarded.push(discarded);
        self.nudge();
    }

    /// It could not be removed: the next round tries again.
    pub(crate) fn put_off(&self, discarded: Discarded) {
        lock(&self.notes).discarded.push(discarded);
    }

    pub(crate) fn take_work(&self) -> Work {
        let mut notes = lock(&self.notes);
        Work {
            retired: std::mem::take(&mut notes.retired),
            discarded: std::mem::take(&mut notes.discarded),
        }
    }

    /// Wakes the keeper.
    pub(crate) fn nudge(&self) {
        lock(&self.notes).nudged = true;
        self.for_keeper.notify_one();
    }

    /// As the writer's waits do.
    #[cfg(test)]
    pub(crate) fn want(&self, wanted: bool) {
        lock(&self.notes).wanted = wanted;
    }

    pub(crate) fn is_wanted(&self) -> bool {
        lock(&self.notes).wanted
    }

    /// The writer finishes what can be written, and waits for nothing any more.
    pub(crate) fn close(&self) {
        lock(&self.notes).enter(Stage::Closing);
        self.for_writer.notify_one();
    }

    /// The keeper ends.
    pub(crate) fn end(&self) {
        lock(&self.notes).enter(Stage::Ending);
        self.for_keeper.notify_one();
    }

    pub(crate) fn is_ending(&self) -> bool {
        lock(&self.notes).stage == Stage::Ending
    }

    /// The keeper's rest: until a nudge, the close, or `at_most`.
    pub(crate) fn rest(&self, at_most: Duration) {
        let notes = lock(&self.notes);
        let mut notes = wait(&self.for_keeper, notes, at_most, |notes| {
            !notes.nudged && notes.stage < Stage::Ending
        });
        notes.nudged = false;
    }

    /// The writer's short wait for a segment that is being prepared, also while the journal closes.
    pub(crate) fn await_prepared_briefly(&self, at_most: Duration) {
        let notes = self.ask();
        let mut notes = wait(&self.for_writer, notes, at_most, |notes| notes.prepared.is_none());
        notes.wanted = false;
    }

    /// The writer's wait for room; `false` once the journal closes.
    pub(crate) fn await_prepared(&self, at_most: Duration) -> bool {
        let notes = self.ask();
        let mut notes = wait(&self.for_writer, notes, at_most, |notes| {
            notes.prepared.is_none() && notes.stage == Stage::Open
        });
        notes.wanted = false;
        notes.stage == Stage::Open
    }

    /// Wish and nudge at once: a keeper that is awake before it sees the wish gives nothing away.
    fn ask(&self) -> MutexGuard<'_, Notes> {
        let mut notes = lock(&self.notes);
        (notes.wanted, notes.nudged) = (true, true);
        self.for_keeper.notify_one();
        notes
    }

    /// The writer's pause after errors; only the close cuts it short. `false` once it closes.
    pub(crate) fn pause(&self, length: Duration) -> bool {
        let notes = lock(&self.notes);
        let still = |notes: &mut Notes| notes.stage == Stage::Open;
        wait(&self.for_writer, notes, length, still).stage == Stage::Open
    }
}

fn wait<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    at_most: Duration,
    still: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    condvar.wait_timeout_while(guard, at_most, still).unwrap_or_else(PoisonError::into_inner).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, sim::SimDisk};

    #[test]
    fn a_keeper_that_the_waiting_writer_wakes_knows_what_it_wants() {
        let file = SimDisk::new(1, 1 << 20).create("seg").unwrap();
        for _ in 0..2000 {
            let desk = Desk::default();
            std::thread::scope(|scope| {
                scope.spawn(|| desk.await_prepared_briefly(Duration::from_secs(30)));
                let wanted = loop {
                    let notes = lock(&desk.notes);
                    if notes.nudged {
                        break notes.wanted;
                    }
                };
                let file = Arc::clone(&file);
                desk.put_prepared(Prepared { id: 1, file, bytes: 0, salt: 0 });
                assert!(wanted);
            });
        }
    }
}
