//! Waiting for the journal to be full for too long.

use std::time::Duration;

use journal::Room;
use tokio::time::sleep_until;

use crate::intake::Intake;

/// Whether the journal has been full for `wait` without a break.
pub(crate) fn is_full_for(intake: &Intake, wait: Duration) -> bool {
    match intake.room() {
        Room::Free => false,
        Room::Full { since } => since.elapsed() >= wait,
    }
}

/// Returns when the journal has been full for `wait` without a break. Cancel safe.
pub(crate) async fn full_for(intake: &Intake, wait: Duration) {
    let mut room = intake.watch_room();
    loop {
        let now = *room.borrow_and_update();
        let changed = match now {
            Room::Free => room.changed().await,
            Room::Full { since } => tokio::select! {
                biased;
                changed = room.changed() => changed,
                () = sleep_until(since + wait) => return,
            },
        };
        if changed.is_err() {
            std::future::pending::<()>().await; // The journal is gone: whoever waits for it knows.
        }
    }
}
