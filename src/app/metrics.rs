//! What `/metrics` shows beyond the stages' own counters: connections, latencies, the journal, alarms.
//!
//! No label has values that a device chooses.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use journal::open::Watcher;
use journal::{Fates, PositionStatus, Room, SYNC_BUCKETS_US, SyncStats};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use tokio::time::Instant;

use super::alarms::{Name, Raised};
use super::fill::Fill;
use crate::collect::broker;
use crate::listen::accept;
use crate::stats::Counter;
use crate::stats::Family;
use crate::stats::Gauge;
use crate::stats::Histogram;

/// The registry in the `OpenMetrics` text format.
pub(super) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => text,
        Err(fmt::Error) => String::new(), // Writing to a string does not fail.
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ListenerLabel {
    listener: &'static str,
}

/// What several parts count alike, by their labels: one family each. Clones share what is in it.
#[derive(Debug)]
pub(super) struct Shared<L, T>(Arc<Mutex<Vec<(L, T)>>>);

impl<L, T> Clone for Shared<L, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L: Clone, T: Clone> Shared<L, T>
where
    Self: Collector,
{
    pub(super) fn register(registry: &mut Registry) -> Self {
        let shared = Self(Arc::default());
        registry.register_collector(Box::new(shared.clone()));
        shared
    }

    fn push(&self, label: L, counted: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((label, counted));
    }

    /// `None` if there is nothing: a family without a series is not valid `OpenMetrics`.
    fn look(&self) -> Option<Vec<(L, T)>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!all.is_empty()).then_some(all)
    }
}

/// The connections of all listeners.
pub(super) type Connections = Shared<ListenerLabel, accept::Stats>;

impl Connections {
    pub(super) fn add(&self, listener: &'static str, ports: &accept::Stats) {
        self.push(ListenerLabel { listener }, ports.clone());
    }
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(listeners) = self.look() else { return Ok(()) };
        let help = "Connections open now";
        let mut open = encoder.encode_descriptor("connections", help, None, MetricType::Gauge)?;
        for (label, ports) in &listeners {
            ports.connections.encode(open.encode_family(label)?)?;
        }
        let mut counters = |name: &str, help: &str, of: fn(&accept::Stats) -> &Counter| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            listeners
                .iter()
                .try_for_each(|(label, ports)| of(ports).encode(family.encode_family(label)?))
        };
        counters("connections_accepted", "Connections accepted", |ports| &ports.accepted)?;
        let help = "Connections refused because the listener was full";
        counters("connections_refused", help, |ports| &ports.refused)
    }
}

/// How long each listener's devices waited for their acknowledgement.
pub(super) type AckLatencies = Shared<ListenerLabel, Histogram>;

impl AckLatencies {
    pub(super) fn add(&self, listener: &'static str, latency: &Histogram) {
        self.push(ListenerLabel { listener }, latency.clone());
    }
}

impl Collector for AckLatencies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(listeners) = self.look() else { return Ok(()) };
        let help = "From the last byte of what was read to its acknowledgement";
        let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
        let mut family = encoder.encode_descriptor("ack_latency", help, unit, kind)?;
        listeners
            .iter()
            .try_for_each(|(label, latency)| latency.encode(family.encode_family(label)?))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BrokerLabel {
    broker: String,
}

/// The broker collectors, by the id that the configuration gives them.
pub(super) type Brokers = Shared<BrokerLabel, Arc<broker::Stats>>;

impl Brokers {
    pub(super) fn add(&self, id: &str, stats: &Arc<broker::Stats>) {
        self.push(BrokerLabel { broker: id.to_owned() }, Arc::clone(stats));
    }
}

impl Collector for Brokers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(brokers) = self.look() else { return Ok(()) };
        let help = "1 while connected and subscribed";
        let mut family =
            encoder.encode_descriptor("broker_connected", help, None, MetricType::Gauge)?;
        for (label, stats) in &brokers {
            stats.connected.encode(family.encode_family(label)?)?;
        }
        let mut counters = |name: &str, help: &str, of: fn(&broker::Stats) -> &Counter| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            brokers
                .iter()
                .try_for_each(|(label, stats)| of(stats).encode(family.encode_family(label)?))
        };
        counters("broker_publishes", "Messages from the broker", |stats| &stats.publishes)?;
        counters("broker_acknowledged", "PUBACKs sent", |stats| &stats.acknowledged)?;
        let help = "Messages that came again although they were durable";
        counters("broker_resends", help, |stats| &stats.resends)?;
        counters("broker_connects", "Connections made", |stats| &stats.connects)?;
        let help = "Times the broker had forgotten the session, and what it kept with it";
        counters("broker_sessions_lost", help, |stats| &stats.sessions_lost)
    }
}

/// The journal's own counts, asked for when somebody looks.
#[derive(Debug)]
pub(super) struct JournalMetrics {
    pub(super) journal: Watcher,
    pub(super) fill: Arc<Mutex<Fill>>,
    pub(super) fates: Counted,
}

/// What became of readings since the process began, by output, as counters: books go back where a crash
/// brings readings again, or where what was counted as dropped got through after all; a counter that
/// goes back would pass for one that began anew.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<HashMap<String, Since>>);

/// In the order of `each`.
#[derive(Clone, Copy, Debug, Default)]
struct Since {
    began: [u64; 6],
    shown: [u64; 6],
}

const FATES: [&str; 6] = ["confirmed", "dead", "dropped", "filtered", "absorbed", "quarantined"];

fn each(fates: &Fates) -> [u64; 6] {
    let Fates { confirmed, dead, dropped, filtered, absorbed, quarantined } = *fates;
    [confirmed, dead, dropped, filtered, absorbed, quarantined]
}

impl Counted {
    /// From what the books say now. An output that comes later begins at nothing.
    pub(super) fn from(positions: &[PositionStatus]) -> Self {
        let began = |position: &PositionStatus| {
            let since = Since { began: each(&position.fates), ..Since::default() };
            (position.id.to_string(), since)
        };
        Self(Mutex::new(positions.iter().map(began).collect()))
    }

    fn count(&self, position: &PositionStatus) -> [u64; 6] {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = all.entry(position.id.to_string()).or_default();
        for ((shown, began), now) in
            since.shown.iter_mut().zip(since.began).zip(each(&position.fates))
        {
            *shown = (*shown).max(now.saturating_sub(began));
        }
        since.shown
    }
}

impl Collector for JournalMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = self.journal.status();
        let help =
            "Until the journal is full, if it goes on filling as it did; +Inf while it does not";
        let metric =
            encoder.encode_descriptor("journal_seconds_to_full", help, None, MetricType::Gauge)?;
        ConstGauge::new(seconds_to_full(&self.fill, &status)).encode(metric)?;
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: u64| {
            let metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)
        };
        let bytes = Some(&Unit::Bytes);
        gauge("journal", "Allocated by the journal", bytes, status.bytes)?;
        gauge("journal_max", "What the journal may allocate", bytes, status.bytes_max)?;
        let full = u64::from(matches!(status.room, Room::Full { .. }));
        gauge("journal_full", "1 while the journal takes nothing more", None, full)?;
        let help = "Segments that hold frames";
        gauge("journal_segments", help, None, status.segments as u64)?;

        let mut counter = |name: &str, help: &str, value: u64| {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)
        };
        let help = "Readings made durable since the journal was made";
        counter("journal_readings", help, status.books.journaled)?;
        counter("journal_groups", "Groups committed", status.groups)?;
        counter("journal_frames", "Frames written", status.frames)?;
        counter("journal_written_bytes", "Bytes written for groups", status.bytes_written)?;
        counter("journal_commit_errors", "Groups written again", status.commit_errors)?;
        let help = "Frames found damaged or missing";
        counter("journal_damaged_frames", help, status.damaged_frames)?;
        self.fates(&mut encoder, &status.positions)?;
        pending(&mut encoder, &status.positions)?;
        sync_duration(&mut encoder, &status.syncs)
    }
}

pub(super) fn seconds_to_full(fill: &Mutex<Fill>, journal: &journal::Status) -> f64 {
    let fill = fill.lock().unwrap_or_else(PoisonError::into_inner);
    fill.seconds_to_full(Instant::now(), journal.bytes, journal.bytes_max)
}

impl JournalMetrics {
    /// `dropped`: the journal was full under drop-oldest, or no dead letter could be written.
    fn fates(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        positions: &[PositionStatus],
    ) -> fmt::Result {
        let help = "Readings by what became of them, in input readings";
        let mut metric =
            encoder.encode_descriptor("output_readings", help, None, MetricType::Counter)?;
        for position in positions {
            for (fate, readings) in FATES.into_iter().zip(self.fates.count(position)) {
                let labels = [("output", position.id.as_str()), ("fate", fate)];
                ConstCounter::new(readings).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn pending(encoder: &mut DescriptorEncoder<'_>, positions: &[PositionStatus]) -> fmt::Result {
    let help = "Readings in the journal that an output has not done with";
    let mut metric =
        encoder.encode_descriptor("output_pending_readings", help, None, MetricType::Gauge)?;
    for PositionStatus { id, pending, .. } in positions {
        let pending = ConstGauge::new(i64::try_from(*pending).unwrap_or(i64::MAX));
        pending.encode(metric.encode_family(&[("output", id.as_str())])?)?;
    }
    Ok(())
}

fn sync_duration(encoder: &mut DescriptorEncoder<'_>, syncs: &SyncStats) -> fmt::Result {
    const MICROS: f64 = 1_000_000.0;
    let help = "How long the syncs of groups took";
    let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
    let mut metric = encoder.encode_descriptor("journal_sync_duration", help, unit, kind)?;
    #[expect(clippy::cast_precision_loss, reason = "bounds of buckets, 5 s at most")]
    let bounds = SYNC_BUCKETS_US.iter().map(|micros| *micros as f64 / MICROS);
    let buckets: Vec<(f64, u64)> =
        bounds.chain([f64::INFINITY]).zip(syncs.buckets.iter().copied()).collect();
    metric.encode_histogram::<[(&str, &str); 0]>(
        syncs.sum.as_secs_f64(),
        syncs.count,
        &buckets,
        None,
    )
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabel {
    name: &'static str,
}

/// 1 while an alarm is up, by name.
#[derive(Debug, Default)]
pub(super) struct AlarmMetrics(Family<AlarmLabel, Gauge>);

impl AlarmMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let alarms = Self::default();
        registry.register("alarm", "1 while this alarm is up; see the runbook", alarms.0.clone());
        alarms
    }

    pub(super) fn set(&self, raised: &Raised) {
        for name in Name::ALL {
            let is_up = raised.keys().any(|alarm| alarm.name == name);
            self.0.get_or_create_owned(&AlarmLabel { name: name.label() }).set(i64::from(is_up));
        }
    }
}
