//! Who is connected, by client identifier, so that a new connection takes over from an old one.
//!
//! Promises: at most one connection holds an identifier; the older one is told and ends; bounded by
//! the number of connections. What a connection is owed stays with that connection.

use std::collections::HashMap;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio_util::sync::CancellationToken;

/// The identifiers in use.
#[derive(Debug)]
pub(super) struct Clients {
    holders: Mutex<HashMap<Arc<str>, Holder>>,
    /// Of the next registration, and of the next name that is assigned.
    serial: AtomicU64,
    /// Names assigned by another run of this process are not given again.
    run: u32,
}

#[derive(Debug)]
struct Holder {
    serial: u64,
    /// Ends the connection.
    stop: CancellationToken,
}

/// One connection's hold on its identifier; given up on drop.
#[derive(Debug)]
pub(super) struct Registration {
    clients: Arc<Clients>,
    client_id: Arc<str>,
    serial: u64,
}

impl Default for Clients {
    fn default() -> Self {
        let holders = Mutex::default();
        Self { holders, serial: AtomicU64::new(1), run: fastrand::u32(..) }
    }
}

impl Clients {
    /// Takes `client_id`; whoever held it is stopped.
    pub(super) fn register(
        self: &Arc<Self>,
        client_id: &str,
        stop: CancellationToken,
    ) -> Registration {
        let serial = self.next_serial();
        let client_id: Arc<str> = client_id.into();
        let holder = Holder { serial, stop };
        let older = self.lock().insert(Arc::clone(&client_id), holder);
        if let Some(older) = older {
            older.stop.cancel();
        }
        Registration { clients: Arc::clone(self), client_id, serial }
    }

    /// A name for a client that brings none.
    pub(super) fn assign_name(&self) -> String {
        format!("tidegate-{:08x}-{}", self.run, self.next_serial())
    }

    fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// No code that can panic runs under the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut holders = self.clients.lock();
        if holders.get(&self.client_id).is_some_and(|holder| holder.serial == self.serial) {
            holders.remove(&self.client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_connection_takes_over_and_the_older_one_leaving_does_not_disturb_it() {
        let clients = Arc::new(Clients::default());
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        let older = clients.register("d1", first.clone());
        let newer = clients.register("d1", second.clone());
        let other = clients.register("d2", CancellationToken::new());
        assert!(first.is_cancelled() && !second.is_cancelled());
        assert_eq!(clients.lock().len(), 2);
        drop(older);
        assert_eq!(clients.lock().len(), 2);
        drop((newer, other));
        assert_eq!(clients.lock().len(), 0);
    }

    #[test]
    fn assigned_names_differ() {
        let clients = Clients::default();
        assert_ne!(clients.assign_name(), clients.assign_name());
    }
}
