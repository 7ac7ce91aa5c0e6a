//! What the MQTT listener counts: closed sets only, so that no device chooses a label.
//!
//! Counting takes no lock and no look-up: each counter is a field.

use prometheus_client::registry::Registry;

use crate::listen::accept;
use crate::listen::mqtt::packet::Qos;
use crate::listen::mqtt::packet::Violation;
use crate::listen::mqtt::session::Ending;
use crate::listen::mqtt::session::Refusal;
use crate::stats::ACK_LATENCY_BUCKETS;
use crate::stats::Counter;
use crate::stats::Family;
use crate::stats::Gauge;
use crate::stats::Histogram;

/// Counters since the start of the process.
#[derive(Clone, Debug)]
pub struct Stats {
    pub ports: accept::Stats,
    /// Connected now: their CONNECT was accepted.
    pub clients: Gauge,
    pub connects: Counter,
    /// Connections closed because another came with the same client identifier.
    pub takeovers: Counter,
    pub pings: Counter,
    /// PUBACK and PUBREC.
    pub answers: Counter,
    /// Resends of what was being stored already.
    pub repeats: Counter,
    /// QoS 0 messages given up while the journal was full.
    pub dropped: Counter,
    pub bytes_received: Counter,
    pub bytes_sent: Counter,
    /// From reading a PUBLISH to writing its answer, once per submission.
    pub ack_latency: Histogram,
    publishes: Labelled,
    refusals: Labelled,
    violations: Labelled,
    endings: Labelled,
}

/// A counter for each member of a closed set, in its order.
#[derive(Clone, Debug)]
struct Labelled {
    family: Family<[(&'static str, &'static str); 1], Counter>,
    counters: Vec<Counter>,
}

impl Default for Stats {
    fn default() -> Self {
        let refusals = Refusal::ALL.iter().map(|refusal| refusal.label());
        let violations = Violation::ALL.iter().map(|violation| violation.label());
        Self {
            ports: accept::Stats::default(),
            clients: Gauge::default(),
            connects: Counter::default(),
            takeovers: Counter::default(),
            pings: Counter::default(),
            answers: Counter::default(),
            repeats: Counter::default(),
            dropped: Counter::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
            ack_latency: Histogram::new(ACK_LATENCY_BUCKETS),
            publishes: Labelled::new("qos", ["0", "1", "2"]),
            refusals: Labelled::new("reason", refusals),
            violations: Labelled::new("kind", violations),
            endings: Labelled::new("reason", Ending::LABELS.iter().copied()),
        }
    }
}

impl Stats {
    pub fn published(&self, qos: Qos, messages: u64) {
        if let Some(counter) = self.publishes.counters.get(qos as usize) {
            counter.inc_by(messages);
        }
    }

    pub fn publishes(&self, qos: Qos) -> u64 {
        self.publishes.get(qos as usize)
    }

    /// CONNECT packets that could be read and were refused.
    pub fn refusals(&self, refusal: Refusal) -> u64 {
        self.refusals.get(refusal as usize)
    }

    pub fn violations(&self, violation: Violation) -> u64 {
        self.violations.get(violation as usize)
    }

    /// A connection has ended.
    pub fn ended(&self, ending: Ending) {
        let at = Ending::LABELS.iter().position(|label| *label == ending.label());
        self.endings.inc(at.unwrap_or(usize::MAX));
        match ending {
            Ending::Violation(violation) => self.violations.inc(violation as usize),
            Ending::Refused(refusal) => self.refusals.inc(refusal as usize),
            Ending::TakenOver => {
                self.takeovers.inc();
            }
            _ => {}
        }
    }

    /// Registers everything but `ports` and `ack_latency`, which all listeners have alike; `registry`
    /// has the prefix `tidegate`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("mqtt_clients", "Clients connected now", self.clients.clone());
        for (name, help, counter) in [
            ("connects", "Clients let in", &self.connects),
            ("takeovers", "Connections that gave way to a new one", &self.takeovers),
            ("pings", "PINGREQ packets answered", &self.pings),
            ("acknowledged", "PUBLISH packets acknowledged", &self.answers),
            ("repeats", "PUBLISH packets resent while being stored", &self.repeats),
            ("dropped", "QoS 0 messages given up for want of room", &self.dropped),
            ("received_bytes", "Bytes read from devices", &self.bytes_received),
            ("sent_bytes", "Bytes written to devices", &self.bytes_sent),
        ] {
            registry.register(format!("mqtt_{name}"), help, counter.clone());
        }
        for (name, help, labelled) in [
            ("published", "PUBLISH packets read", &self.publishes),
            ("refused", "CONNECT packets refused", &self.refusals),
            ("violations", "Breaches of the protocol", &self.violations),
            ("ended", "Connections that ended", &self.endings),
        ] {
            registry.register(format!("mqtt_{name}"), help, labelled.family.clone());
        }
    }
}

impl Labelled {
    fn new(name: &'static str, labels: impl IntoIterator<Item = &'static str>) -> Self {
        let family = Family::default();
        let counter = |label| family.get_or_create_owned(&[(name, label)]);
        let counters = labels.into_iter().map(counter).collect();
        Self { family, counters }
    }

    /// Beyond the end there is nothing; what has a place there is not counted.
    fn inc(&self, at: usize) {
        if let Some(counter) = self.counters.get(at) {
            counter.inc();
        }
    }

    fn get(&self, at: usize) -> u64 {
        self.counters.get(at).map_or(0, Counter::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_what_the_metrics_say() {
        let stats = Stats::default();
        stats.published(Qos::AtLeastOnce, 3);
        stats.ended(Ending::Violation(Violation::Topic));
        stats.ended(Ending::Refused(Refusal::Full));
        stats.ended(Ending::TakenOver);
        assert_eq!(stats.violations(Violation::Topic), 1);
        assert_eq!(stats.refusals(Refusal::Full), 1);
        assert_eq!(stats.publishes(Qos::AtLeastOnce), 3);

        let mut registry = Registry::with_prefix("tidegate");
        stats.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "tidegate_mqtt_published_total{qos=\"1\"} 3",
            "tidegate_mqtt_violations_total{kind=\"topic\"} 1",
            "tidegate_mqtt_violations_total{kind=\"auth\"} 0",
            "tidegate_mqtt_refused_total{reason=\"full\"} 1",
            "tidegate_mqtt_ended_total{reason=\"taken_over\"} 1",
            "tidegate_mqtt_takeovers_total 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_member_of_a_closed_set_has_its_own_counter() {
        for (at, violation) in Violation::ALL.iter().enumerate() {
            assert_eq!(*violation as usize, at);
        }
        for (at, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*refusal as usize, at);
        }
    }
}
