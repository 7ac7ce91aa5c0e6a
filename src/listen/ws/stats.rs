//! What the streams count.

use prometheus_client::registry::Registry;

use crate::stats::ACK_LATENCY_BUCKETS;
use crate::stats::Counter;
use crate::stats::Gauge;
use crate::stats::Histogram;

#[derive(Clone, Debug)]
pub struct Stats {
    /// Open now; they are connections of the port as well.
    pub open: Gauge,
    pub messages: Counter,
    /// Messages of which something was refused for good.
    pub refused: Counter,
    /// Messages that were not taken and may come again.
    pub sent_back: Counter,
    /// Seconds from the last byte of a batch of messages to its durability.
    pub ack_latency: Histogram,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            open: Gauge::default(),
            messages: Counter::default(),
            refused: Counter::default(),
            sent_back: Counter::default(),
            ack_latency: Histogram::new(ACK_LATENCY_BUCKETS),
        }
    }
}

impl Stats {
    /// Registers everything but `ack_latency`, which all listeners have alike.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("websocket_open", "Open WebSockets", self.open.clone());
        let help = "Messages over WebSockets";
        registry.register("websocket_messages", help, self.messages.clone());
        let help = "Messages over WebSockets of which something was refused for good";
        registry.register("websocket_refused", help, self.refused.clone());
        let help = "Messages over WebSockets that were not taken and may come again";
        registry.register("websocket_sent_back", help, self.sent_back.clone());
    }
}
