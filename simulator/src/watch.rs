//! Live counters of a fleet: fixed in size, written by every device, read by whoever shows them.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{bench::Histogram, signals::Kind};

/// Shared by a fleet's devices and its onlookers.
#[derive(Debug, Default)]
pub struct Watch {
    devices: AtomicU64,
    connected: AtomicU64,
    connects: AtomicU64,
    failures: AtomicU64,
    sent: AtomicU64,
    resent: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    deferred: AtomicU64,
    /// Bits of the last headline value of each kind.
    last: [AtomicU64; Kind::ALL.len()],
    latencies: Mutex<Histogram>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    pub devices: u64,
    /// Connected just now.
    pub connected: u64,
    /// Connections made so far.
    pub connects: u64,
    /// Connections that could not be made, or broke.
    pub failures: u64,
    /// Readings sent, each counted once.
    pub sent: u64,
    /// Further sends of readings sent before.
    pub resent: u64,
    pub acknowledged: u64,
    pub refused: u64,
    /// "Not now" from the gateway: 503, 429, `nack` with retry.
    pub deferred: u64,
    /// The last headline value of each of [`Kind::ALL`], see [`Kind::headline`].
    pub last: [Option<f64>; Kind::ALL.len()],
}

impl Watch {
    pub fn look(&self) -> Summary {
        let mut last = [None; Kind::ALL.len()];
        for (shown, bits) in last.iter_mut().zip(&self.last) {
            // Zero bits: nothing yet. A true 0.0 shows as nothing, which a summary can bear.
            *shown = Some(f64::from_bits(bits.load(Relaxed))).filter(|v| v.to_bits() != 0);
        }
        Summary {
            devices: self.devices.load(Relaxed),
            connected: self.connected.load(Relaxed),
            connects: self.connects.load(Relaxed),
            failures: self.failures.load(Relaxed),
            sent: self.sent.load(Relaxed),
            resent: self.resent.load(Relaxed),
            acknowledged: self.acknowledged.load(Relaxed),
            refused: self.refused.load(Relaxed),
            deferred: self.deferred.load(Relaxed),
            last,
        }
    }

    /// From the first time that a reading was sent to its acknowledgement, whatever lay between.
    pub fn latencies(&self) -> Histogram {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn devices(&self, count: u64) {
        self.devices.store(count, Relaxed);
    }

    pub(crate) fn connected(&self) {
        self.connected.fetch_add(1, Relaxed);
        self.connects.fetch_add(1, Relaxed);
    }

    pub(crate) fn disconnected(&self) {
        self.connected.fetch_sub(1, Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(crate) fn sent(&self, kind: Kind, headline: f64) {
        self.sent.fetch_add(1, Relaxed);
        if let Some(last) = self.last.get(kind.index()) {
            last.store(headline.to_bits(), Relaxed);
        }
    }

    pub(crate) fn resent(&self) {
        self.resent.fetch_add(1, Relaxed);
    }

    pub(crate) fn acknowledged(&self, count: u64) {
        self.acknowledged.fetch_add(count, Relaxed);
    }

    pub(crate) fn answered_after(&self, latency: Duration) {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).add(latency, 1);
    }

    pub(crate) fn refused(&self, count: u64) {
        self.refused.fetch_add(count, Relaxed);
    }

    pub(crate) fn deferred(&self) {
        self.deferred.fetch_add(1, Relaxed);
    }
}
