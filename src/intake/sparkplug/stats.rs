//! What is counted of Sparkplug's nodes; for the metrics and for `status`.

use prometheus_client::registry::Registry;

use crate::stats::Counter;
use crate::stats::Gauge;

#[derive(Debug, Default)]
pub struct Stats {
    pub births: Counter,
    pub deaths: Counter,
    /// Nodes that were asked for their births.
    pub rebirths_asked: Counter,
    /// Those that were to be asked, and nothing leads to them.
    pub rebirths_unasked: Counter,
    /// Metrics by an alias that no birth had explained when they came.
    pub unresolved: Counter,
    /// Messages of which something was kept for a birth.
    pub held: Counter,
    /// Of those: explained by a birth, and refused in the end.
    pub resolved: Counter,
    pub given_up: Counter,
    /// Messages that wait for a birth now.
    pub waiting: Gauge,
    pub waiting_bytes: Gauge,
    /// Nodes of which something is known.
    pub nodes: Gauge,
    /// Names of births for which there was no room.
    pub forgotten: Counter,
    /// Stretches of the file of births that said nothing any more when it was read.
    pub damaged: Counter,
}

impl Stats {
    pub fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("sparkplug_{name}"), help, counter.clone());
        };
        counter("births", "Births of nodes and devices", &self.births);
        counter("deaths", "Deaths of nodes and devices", &self.deaths);
        let help = "Times a node was asked for its births";
        counter("rebirths_asked", help, &self.rebirths_asked);
        let help = "Times a node was to be asked for its births and could not be reached";
        counter("rebirths_unasked", help, &self.rebirths_unasked);
        let help = "Metrics by an alias that no birth had explained when they came";
        counter("metrics_unresolved", help, &self.unresolved);
        let help = "Messages of which something was kept until a birth explains it";
        counter("messages_held", help, &self.held);
        let help = "Kept messages that a birth explained";
        counter("messages_resolved", help, &self.resolved);
        let help = "Kept messages refused in the end, at least in part: no birth explained them";
        counter("messages_given_up", help, &self.given_up);
        let help = "Names of births for which there was no room";
        counter("names_forgotten", help, &self.forgotten);
        let help =
            "Damaged stretches of the file of births, of a record or more, found at the start";
        counter("file_damages", help, &self.damaged);
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(format!("sparkplug_{name}"), help, gauge.clone());
        };
        gauge("messages_waiting", "Messages that wait for a birth now", &self.waiting);
        gauge(
            "waiting_bytes",
            "What waits for a birth, as it is kept in memory",
            &self.waiting_bytes,
        );
        gauge("nodes", "Nodes of which something is known", &self.nodes);
    }
}
