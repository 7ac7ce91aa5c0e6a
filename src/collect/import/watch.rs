//! What an import tells while it runs: how far it is, and what it refused.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Refusals that are named one by one, of each file.
const NAMED_MAX: u64 = 20;
/// Of a refusal's text.
const TEXT_BYTES_MAX: usize = 400;

/// For whoever draws it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Bytes read of the file at hand, compressed as they are.
    raw: Arc<AtomicU64>,
    /// Readings handed to the journal, over all files, and those on its disk.
    taken: AtomicU64,
    durable: AtomicU64,
    refused: AtomicU64,
    /// Lines for a person that were not shown yet; bounded by `NAMED_MAX` a file.
    lines: Mutex<Vec<String>>,
    named: AtomicU64,
}

/// One look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub raw: u64,
    pub taken: u64,
    pub durable: u64,
    pub refused: u64,
}

impl Watch {
    pub fn look(&self) -> Progress {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { raw, taken, durable, refused, .. } = &*self.0;
        Progress { raw: of(raw), taken: of(taken), durable: of(durable), refused: of(refused) }
    }

    /// What was refused since the last call, one a line.
    pub fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn raw(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.raw)
    }

    /// Another file begins.
    pub(super) fn begin(&self) {
        self.0.raw.store(0, Ordering::Relaxed);
        self.0.named.store(0, Ordering::Relaxed);
    }

    pub(super) fn took(&self, taken: u64, refused: u64) {
        self.0.taken.fetch_add(taken, Ordering::Relaxed);
        self.0.refused.fetch_add(refused, Ordering::Relaxed);
    }

    pub(super) fn durable(&self, readings: u64) {
        self.0.durable.fetch_add(readings, Ordering::Relaxed);
    }

    /// Named, if not too many of this file were named already.
    pub(super) fn refused(&self, text: impl FnOnce() -> String) {
        let named = self.0.named.fetch_add(1, Ordering::Relaxed);
        let line = match named {
            ..NAMED_MAX => text(),
            NAMED_MAX => {
                "more was refused than is named here; all of it is in the dead letters".into()
            }
            _ => return,
        };
        let line = line.get(..line.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(&line).to_owned();
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
