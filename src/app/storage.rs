//! Opens the journal as the configuration means it.

use std::path::Path;

use journal::{Appender, Journal, OpenError, Recovery};
use tracing::{info, warn};

use super::crash;
use crate::config;

/// Off the reactor: it takes as long as the scan of one unsealed segment.
pub(super) async fn open(settings: &config::Journal) -> Result<(Journal, Appender), OpenError> {
    let mut options = settings.options(room_for(settings.dir()));
    options.crashed = crash::happened(&options.dir);
    let dir = options.dir.clone();
    info!(dir = %options.dir.display(), bytes_max = options.bytes_max, "opening the journal");
    // The journal settles large groups by a task of the runtime it is opened in.
    let runtime = tokio::runtime::Handle::current();
    let opened = tokio::task::spawn_blocking(move || {
        let _inside = runtime.enter();
        journal::open(&options)
    });
    let (journal, appender, recovery) =
        opened.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
    if let Err(error) = crash::watch(&dir) {
        warn!(%error, "a crash of this process will leave no trace");
    }
    tell(&recovery);
    Ok((journal, appender))
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

/// Bytes that the journal may count on: what is free where it lies, and what it holds already.
fn room_for(dir: &Path) -> u64 {
    let nearest = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    let free = rustix::fs::statvfs(nearest).map_or(0, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    let held: u64 = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum();
    free.saturating_add(held)
}
