//! Brings what waited for a birth into the journal: as readings, or as a refusal with its reason.
//!
//! ```text
//!  due --Gather::settle--> submission, ticket --> journal --durable--> settled, in the file of births
//! ```
//! A crash in between: a note beside the readings says what waits no longer. A refusal has none, as it lies
//! in a frame of its own behind, which a power cut may take alone: it may be told, and counted, twice.
//! What the file could not be told it is told again, until it holds.

use std::time::Duration;

use bytes::Bytes;
use journal::{Closed, Mark};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::held::{Fate, Waiting};
use super::note;
use crate::intake::Intake;

/// At a stop, for what is on its way into the journal.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// Between attempts to tell the file what is settled.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Runs until `shutdown`. What waits then waits on the disk.
pub async fn run(intake: Intake, shutdown: CancellationToken) {
    let nodes = intake.nodes();
    let (mut owed, mut pause) = (nodes.owed(), AGAIN_FIRST);
    loop {
        let due = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            due = nodes.due() => due,
            () = sleep(pause), if owed.is_some() => Vec::new(),
        };
        if !due.is_empty() {
            let overstayed = async {
                shutdown.cancelled().await;
                sleep(LEAVE_MAX).await;
            };
            let settled = tokio::select! {
                biased;
                settled = settle(&intake, &due) => settled,
                () = overstayed => return,
            };
            if settled.is_err() {
                return shutdown.cancelled().await; // The journal is closed: it is in the file.
            }
            owed = Some(nodes.settled(&due));
        }
        let Some(wanted) = owed else { continue };
        if nodes.keep(wanted).await {
            (owed, pause) = (None, AGAIN_FIRST);
        } else {
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }
    if let Some(wanted) = owed {
        nodes.keep(wanted).await;
    }
}

/// Returns when they are durable.
async fn settle(intake: &Intake, due: &[(Waiting, Fate)]) -> Result<(), Closed> {
    let mut mark = Mark::new();
    for (waiting, fate) in due {
        let mut gather = intake.gather(&waiting.source);
        let outcome = gather.settle(waiting, fate);
        let is_refused = outcome.refused > 0;
        let stats = intake.nodes().stats();
        if is_refused { &stats.given_up } else { &stats.resolved }.inc();
        let note = if is_refused { Bytes::new() } else { note::put_settled(waiting.number) };
        intake.submit(gather.seal_with(mark.ticket(), note)).await?;
    }
    let last = due.len() as u64;
    while mark.moved().await.map_err(|_| Closed)?.0 < last {}
    Ok(())
}
