//! Brings what waited for a birth into the journal: as readings, or as a refusal with its reason.
//!
//! ```text
//!  due --Gather::settle--> submission, ticket --> journal --durable--> settled, in the file of births
//! ```
//! A crash in between: a note beside the readings says what waits no longer.

use std::time::Duration;

use journal::{Closed, Mark};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::held::{Fate, Waiting};
use super::note;
use crate::intake::Intake;

/// At a stop, for what is on its way into the journal.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// Runs until `shutdown`. What waits then waits on the disk.
pub async fn run(intake: Intake, shutdown: CancellationToken) {
    let nodes = intake.nodes();
    while let Some(due) = shutdown.run_until_cancelled(nodes.due()).await {
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
        let wanted = nodes.settled(&due);
        nodes.keep(wanted).await;
    }
}

/// Returns when they are durable.
async fn settle(intake: &Intake, due: &[(Waiting, Fate)]) -> Result<(), Closed> {
    let mut mark = Mark::new();
    for (waiting, fate) in due {
        let mut gather = intake.gather(&waiting.source);
        let outcome = gather.settle(waiting, fate);
        let stats = intake.nodes().stats();
        if outcome.refused > 0 { &stats.given_up } else { &stats.resolved }.inc();
        let note = note::put_settled(waiting.number);
        intake.submit(gather.seal_with(mark.ticket(), note)).await?;
    }
    let last = due.len() as u64;
    while mark.moved().await.map_err(|_| Closed)?.0 < last {}
    Ok(())
}
