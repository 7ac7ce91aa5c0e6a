//! Opens the journal as the configuration means it.

use std::{path::Path, sync::Arc};

use journal::{Appender, Journal, OpenError, Recovery};
use tokio::time::Instant;
use tracing::{info, warn};

use super::crash;
use crate::config;
use crate::intake::resends::{self, Resends};
use crate::intake::sparkplug::{self, Nodes};
use crate::intake::stamp::{Clock as _, SystemClock};

/// What an earlier run knew.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) resends: Resends,
    pub(super) nodes: Arc<Nodes>,
}

/// Off the reactor: it takes as long as the scan of one unsealed segment, and of what the journal
/// remembers of its senders.
pub(super) async fn open(
    settings: &config::Journal,
    limits: resends::Limits,
    sparkplug: sparkplug::Limits,
) -> Result<(Journal, Appender, Remembered), OpenError> {
    let (free, held) = room_for(settings.dir());
    let mut options = settings.options(free, held);
    options.crashed = crash::happened(&options.dir);
    let dir = options.dir.clone();
    info!(dir = %options.dir.display(), bytes_max = options.bytes_max, "opening the journal");
    // The journal settles large groups by a task of the runtime it is opened in.
    let runtime = tokio::runtime::Handle::current();
    let opened = tokio::task::spawn_blocking(move || {
        let _inside = runtime.enter();
        let (journal, appender, recovery) = journal::open(&options)?;
        let nodes = Nodes::open(&options.dir.join("sparkplug"), sparkplug);
        let remembered = recall(&journal, limits, nodes);
        Ok((journal, appender, recovery, remembered))
    });
    let (journal, appender, recovery, remembered) =
        opened.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    if let Err(error) = crash::watch(&dir) {
        warn!(%error, "a crash of this process will leave no trace");
    }
    tell(&recovery);
    let Remembered { resends, .. } = &remembered;
    let (senders, requests) = (resends.senders(), resends.requests());
    info!(senders, requests, "remembered, so that what they send again is known");
    Ok((journal, appender, remembered))
}

fn recall(journal: &Journal, limits: resends::Limits, nodes: Nodes) -> Remembered {
    let resends = Resends::new(limits, journal.id());
    let (now, wall) = (Instant::now(), SystemClock.now());
    journal.notes(limits.tail_bytes_max, |note| {
        resends.recall(note, now, wall);
        nodes.recall(note);
    });
    nodes.recalled();
    Remembered { resends, nodes: Arc::new(nodes) }
}

fn tell(recovery: &Recovery) {
    info!(
        segments = recovery.segments,
        frames_scanned = recovery.frames_scanned,
        torn_bytes = recovery.torn_bytes,
        "journal open"
    );
    for (first, last) in &recovery.corrupt {
        warn!(first, last, "frames that were durable are damaged; what is left is in quarantine");
    }
    for file in &recovery.quarantined {
        warn!(file, "set aside in quarantine");
    }
}

/// Bytes that are free where the journal lies, and what it holds already, quarantine included.
fn room_for(dir: &Path) -> (u64, u64) {
    let nearest = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    let free = rustix::fs::statvfs(nearest).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    let held = [dir.to_owned(), dir.join("quarantine")]
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum();
    (free, held)
}
