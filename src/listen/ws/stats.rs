//! What the streams count.

use prometheus_client::{encoding::EncodeLabelSet, registry::Registry};

use crate::stats::ACK_LATENCY_BUCKETS;
use crate::stats::Counter;
use crate::stats::Family;
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
    ended: Family<EndedLabels, Counter>,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The peer said goodbye.
    Left,
    /// The peer went without a word.
    HungUp,
    /// A peer that does not read what it is sent.
    Unread,
    /// No sign of life.
    Silent,
    /// Not what RFC 6455 asks for.
    Protocol,
    /// Text that is not UTF-8.
    Utf8,
    TooLarge,
    /// Too many large messages at a time, over all streams.
    Memory,
    /// A named stream of which a message was not taken: it is to begin again from there.
    SentBack,
    /// The journal failed.
    Journal,
    ShuttingDown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedLabels {
    reason: &'static str,
}

impl Default for Stats {
    fn default() -> Self {
        let ended = Family::default();
        for one in Ended::ALL {
            // There from the beginning: a reason that is seen for the first time is a rise.
            drop(ended.get_or_create(&EndedLabels { reason: one.label() }));
        }
        Self {
            ended,
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
        let help = "WebSockets that ended, by reason";
        registry.register("websocket_ended", help, self.ended.clone());
    }

    /// Streams that ended for this reason, by its label.
    pub fn ended(&self, reason: &'static str) -> u64 {
        self.ended.get(&EndedLabels { reason }).map_or(0, |counter| counter.get())
    }

    pub(super) fn ended_one(&self, ended: Ended) {
        self.ended.get_or_create(&EndedLabels { reason: ended.label() }).inc();
    }
}

impl Ended {
    const ALL: [Self; 11] = [
        Self::Left,
        Self::HungUp,
        Self::Unread,
        Self::Silent,
        Self::Protocol,
        Self::Utf8,
        Self::TooLarge,
        Self::Memory,
        Self::SentBack,
        Self::Journal,
        Self::ShuttingDown,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::HungUp => "hung_up",
            Self::Unread => "unread",
            Self::Silent => "silent",
            Self::Protocol => "protocol",
            Self::Utf8 => "utf8",
            Self::TooLarge => "too_large",
            Self::Memory => "memory",
            Self::SentBack => "sent_back",
            Self::Journal => "journal",
            Self::ShuttingDown => "shutting_down",
        }
    }
}
