//! The log: one attempt to make a group durable.
//!
//! Promises: a [`Durable`] exists only after `fdatasync` returned for the whole group; a group is
//! never split over segments; after any error the file is given up at its last durable offset and
//! never synced again. The caller tries again with the same group: it goes to a new segment whose
//! `first_seq` is `durable + 1`, which supersedes whatever the failed one still got onto the disk.

use std::{io, sync::Arc, sync::atomic::Ordering, time::SystemTime};

use tokio::time::Instant;

use crate::catalog::{Extent, Segment};
use crate::desk::{Discarded, Prepared};
use crate::disk::File;
use crate::group::Group;
use crate::mark::Durable;
use crate::options::{Mutant, PAGE};
use crate::segment::{self, HEADER_END, Header};
use crate::shared::{BooksAt, FrameAt, Shared, TailFrame, lock};

#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    active: Option<Active>,
    durable: u64,
}

#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    /// Durable up to here, the next group goes here.
    end: u64,
    capacity: u64,
}

/// Why a group is not durable. Nothing of it may be acknowledged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// No segment is prepared: wait for the keeper, or for readers to free one.
    #[error("no segment with room")]
    NoSegment,
    /// The file is given up: try again, in the next segment.
    #[error("{action} {name}: {source}")]
    Io { action: &'static str, name: String, source: io::Error },
}

impl Log {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let durable = shared.durable();
        Self { shared, active: None, durable }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// Writes and syncs the group, or leaves everything as it was but for the file it gave up.
    pub(crate) fn commit(&mut self, group: &mut Group) -> Result<Durable, CommitError> {
        if group.frames.is_empty() {
            return Ok(Durable::synced()); // All before it is durable, and it has no bytes.
        }
        self.shared.in_use.store(true, Ordering::Release);
        let mut active = match self.active.take() {
            Some(active) if active.has_room(group) => active,
            other => {
                self.retire(other);
                self.activate()?
            }
        };
        match self.write(&mut active, group) {
            Ok(written) => {
                self.publish(&active, group, written);
                self.active = Some(active);
                Ok(Durable::synced())
            }
            Err((action, source)) => {
                let name = segment::name(active.segment.id);
                self.abandon(&active);
                Err(CommitError::Io { action, name, source })
            }
        }
    }

    fn write(
        &self,
        active: &mut Active,
        group: &mut Group,
    ) -> Result<u64, (&'static str, io::Error)> {
        let bytes = group.place(active.segment.salt, active.end);
        active.file.write_all_at(bytes, active.end).map_err(|error| ("write", error))?;
        if !self.shared.is(Mutant::AckBeforeSync) {
            self.sync(&*active.file)?;
        }
        active.end += bytes.len() as u64;
        Ok(bytes.len() as u64)
    }

    fn sync(&self, file: &dyn File) -> Result<(), (&'static str, io::Error)> {
        let started = Instant::now();
        let mut synced = file.sync();
        if synced.is_err() && self.shared.is(Mutant::SyncRetriedAfterFailure) {
            synced = file.sync();
        }
        self.shared.stats.synced(started.elapsed());
        synced.map_err(|error| ("sync", error))
    }

    /// Lets the world see it: catalogue, memory, books, and then the durable mark.
    fn publish(&mut self, active: &Active, group: &Group, written: u64) {
        let shared = &self.shared;
        let segment = &active.segment;
        let start = active.end - written;
        let last = self.durable + group.frames.len() as u64;
        let mut books = shared.books().books;
        group.count_into(&mut books);
        segment.grow(active.end, last, books);
        {
            let mut tail = lock(&shared.tail);
            for frame in &group.frames {
                let at = FrameAt { segment: segment.id, offset: start + frame.at as u64 };
                let frame = TailFrame { seq: frame.seq, at, frame: frame.frame.clone() };
                tail.push(frame, shared.limits.tail_bytes_max);
            }
        }
        *lock(&shared.books) = BooksAt { books, seq: last };
        shared.stats.groups.fetch_add(1, Ordering::Relaxed);
        shared.stats.frames.fetch_add(group.frames.len() as u64, Ordering::Relaxed);
        shared.stats.bytes_written.fetch_add(written, Ordering::Relaxed);
        self.durable = last;
        shared.head.send_modify(|head| head.durable = last);
    }

    /// Takes the prepared segment into use. Its header is durable before any frame is written, so
    /// a file without a header never held anything that was acknowledged.
    fn activate(&mut self) -> Result<Active, CommitError> {
        let shared = &self.shared;
        let Some(Prepared { id, file, bytes, salt }) = shared.desk.take_prepared() else {
            return Err(CommitError::NoSegment);
        };
        let header = Header {
            id,
            salt,
            first_seq: self.durable + 1,
            capacity: bytes,
            journal: shared.journal,
            books: shared.books().books,
            created_ns: now_ns(),
        };
        let written = file.write_all_at(&header.page(), 0).and_then(|()| file.sync());
        if let Err(source) = written {
            shared.desk.discard(Discarded { id, bytes });
            return Err(CommitError::Io { action: "begin", name: segment::name(id), source });
        }
        let extent = Extent {
            end: HEADER_END,
            last: self.durable,
            allocated: bytes,
            books: header.books,
            torn: Vec::new(),
        };
        let segment = Segment::new(id, header.salt, header.first_seq, header.books, extent);
        let segment = Arc::new(segment);
        shared.active.store(id, Ordering::Release);
        shared.catalog.push(Arc::clone(&segment));
        Ok(Active { segment, file, end: HEADER_END, capacity: bytes })
    }

    /// Full: every frame in it is durable, the keeper seals it.
    fn retire(&self, active: Option<Active>) {
        if let Some(active) = active {
            self.shared.active.store(0, Ordering::Release);
            self.shared.desk.retire(active.segment);
        }
    }

    /// Failed: stays as it is up to its last durable offset, unsealed. One without a durable frame
    /// goes.
    fn abandon(&self, active: &Active) {
        let segment = &active.segment;
        self.shared.active.store(0, Ordering::Release);
        if segment.is_empty() {
            self.shared.catalog.remove(segment.id);
            self.shared.desk.discard(Discarded { id: segment.id, bytes: active.capacity });
        }
    }
}

impl Active {
    fn has_room(&self, group: &Group) -> bool {
        self.end + group.body_len() + PAGE <= self.capacity
    }
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
