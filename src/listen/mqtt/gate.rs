//! Whether devices are told to come back later, because the journal has been full for a while.
//!
//! Promises: shut only after the journal was full for `full_wait` without a break, open again only
//! after it had room for a second: a journal at its edge does not make a fleet flap.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use journal::Room;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

const OPEN_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Gate {
    is_shut: AtomicBool,
}

impl Gate {
    pub(super) fn is_shut(&self) -> bool {
        self.is_shut.load(Ordering::Relaxed)
    }

    /// Follows the journal's room, for ever. Cancel safe.
    pub(super) async fn follow(&self, mut room: watch::Receiver<Room>, full_wait: Duration) {
        let mut free_since = Instant::now();
        loop {
            let is_shut = self.is_shut();
            let change_at = match *room.borrow_and_update() {
                Room::Full { since } => (!is_shut).then_some(since + full_wait),
                Room::Free => is_shut.then_some(free_since + OPEN_AFTER),
            };
            let due = async {
                match change_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = room.changed() => match changed {
                    Ok(()) => free_since = Instant::now(),
                    Err(_) => std::future::pending().await, // The journal is gone: so it stays.
                },
                () = due => self.turn(!is_shut),
            }
        }
    }

    pub(super) fn turn(&self, is_shut: bool) {
        self.is_shut.store(is_shut, Ordering::Relaxed);
        if is_shut {
            warn!("the journal is full: new MQTT clients are refused, QoS 0 messages dropped");
        } else {
            info!("the journal has room again: MQTT clients are let in");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::task::JoinSet;
    use tokio::time::sleep;

    const FULL_WAIT: Duration = Duration::from_secs(5);

    fn full() -> Room {
        Room::Full { since: Instant::now() }
    }

    /// The task runs whenever the test sleeps.
    async fn is_shut_after(gate: &Gate, millis: u64) -> bool {
        sleep(Duration::from_millis(millis)).await;
        gate.is_shut()
    }

    #[tokio::test(start_paused = true)]
    async fn it_shuts_after_the_wait_and_opens_with_hysteresis() {
        let gate = Arc::new(Gate::default());
        let (room, watched) = watch::channel(Room::Free);
        let mut tasks = JoinSet::new();
        let theirs = Arc::clone(&gate);
        tasks.spawn(async move { theirs.follow(watched, FULL_WAIT).await });

        room.send_replace(full());
        assert!(!is_shut_after(&gate, 4900).await);
        room.send_replace(Room::Free); // In between: the wait begins anew.
        assert!(!is_shut_after(&gate, 10).await);
        room.send_replace(full());
        assert!(!is_shut_after(&gate, 4900).await);
        assert!(is_shut_after(&gate, 200).await);

        room.send_replace(Room::Free);
        assert!(is_shut_after(&gate, 900).await);
        room.send_replace(full());
        assert!(is_shut_after(&gate, 200).await, "full again before the second is over");
        room.send_replace(Room::Free);
        assert!(is_shut_after(&gate, 900).await);
        assert!(!is_shut_after(&gate, 200).await);
    }
}
