//! What the port counts: by endpoint, class of answer and reason, closed sets all three.

use http::StatusCode;
use prometheus_client::{encoding::EncodeLabelSet, registry::Registry};

use super::refusal::Why;
use crate::listen::accept;
use crate::listen::ws;
use crate::stats::ACK_LATENCY_BUCKETS;
use crate::stats::Counter;
use crate::stats::Family;
use crate::stats::Histogram;

/// Counted by this listener; `app` registers them.
#[derive(Clone, Debug)]
pub struct Stats {
    pub ports: accept::Stats,
    pub websocket: ws::Stats,
    /// Seconds from the last byte of a request to its durability.
    pub ack_latency: Histogram,
    answers: Family<AnswerLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    ended: Family<ReasonLabels, Counter>,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// In order: the peer closed it between two requests, or either side had said it would.
    Closed,
    /// It became a WebSocket.
    WebSocket,
    /// Not a byte in time.
    Silent,
    /// Half a request head in time.
    Trickling,
    /// Nothing for too long after an answer.
    Idle,
    /// A peer that does not read what it is sent.
    Unread,
    /// No HTTP, answered 400 where that can be.
    Malformed,
    /// Answered 431, or 414 for the path.
    HeadTooLarge,
    /// In the middle of a request.
    HungUp,
    ShuttingDown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Write,
    V2Write,
    Readings,
    Stream,
    Ping,
    Metrics,
    Health,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    endpoint: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl Default for Stats {
    fn default() -> Self {
        let ended = Family::default();
        for one in Ended::ALL {
            // There from the beginning: a reason that is seen for the first time is a rise.
            drop(ended.get_or_create(&ReasonLabels { reason: one.label() }));
        }
        Self {
            ports: accept::Stats::default(),
            websocket: ws::Stats::default(),
            ack_latency: Histogram::new(ACK_LATENCY_BUCKETS),
            answers: Family::default(),
            refused: Family::default(),
            ended,
        }
    }
}

impl Stats {
    /// Registers everything but `ports` and the latencies, which all listeners have alike; `registry`
    /// has the prefix `tidegate`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Requests answered, by endpoint and class of status";
        registry.register("http_requests", help, self.answers.clone());
        let help = "Requests refused as a whole, by reason";
        registry.register("http_refused", help, self.refused.clone());
        let help = "Connections of the HTTP port that ended, by reason";
        registry.register("http_ended", help, self.ended.clone());
        self.websocket.register(registry);
    }

    /// Requests answered so far at all endpoints with statuses of this class (`2` for 2xx).
    pub fn answered(&self, class: u16) -> u64 {
        let status = class_label(class);
        let count = |endpoint: Endpoint| {
            let labels = AnswerLabels { endpoint: endpoint.label(), status };
            self.answers.get(&labels).map_or(0, |counter| counter.get())
        };
        Endpoint::ALL.into_iter().map(count).sum()
    }

    /// Connections that ended for this reason, by its label.
    pub fn ended(&self, reason: &'static str) -> u64 {
        self.ended.get(&ReasonLabels { reason }).map_or(0, |counter| counter.get())
    }

    pub(super) fn ended_one(&self, ended: Ended) {
        self.ended.get_or_create(&ReasonLabels { reason: ended.label() }).inc();
    }

    pub(super) fn answered_one(&self, endpoint: Endpoint, status: StatusCode) {
        let status = class_label(status.as_u16() / 100);
        self.answers.get_or_create(&AnswerLabels { endpoint: endpoint.label(), status }).inc();
    }

    pub(super) fn refused_one(&self, why: Why) {
        self.refused.get_or_create(&ReasonLabels { reason: why.label() }).inc();
    }
}

fn class_label(class: u16) -> &'static str {
    match class {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

impl Ended {
    const ALL: [Self; 10] = [
        Self::Closed,
        Self::WebSocket,
        Self::Silent,
        Self::Trickling,
        Self::Idle,
        Self::Unread,
        Self::Malformed,
        Self::HeadTooLarge,
        Self::HungUp,
        Self::ShuttingDown,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::WebSocket => "websocket",
            Self::Silent => "silent",
            Self::Trickling => "trickling",
            Self::Idle => "idle",
            Self::Unread => "unread",
            Self::Malformed => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::HungUp => "hung_up",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

impl Endpoint {
    const ALL: [Self; 8] = [
        Self::Write,
        Self::V2Write,
        Self::Readings,
        Self::Stream,
        Self::Ping,
        Self::Metrics,
        Self::Health,
        Self::Other,
    ];

    pub(super) fn of(path: &str) -> Self {
        match path {
            "/write" => Self::Write,
            "/api/v2/write" => Self::V2Write,
            "/v1/readings" => Self::Readings,
            "/v1/stream" => Self::Stream,
            "/ping" => Self::Ping,
            "/metrics" => Self::Metrics,
            "/health" | "/healthz" | "/readyz" => Self::Health,
            _ => Self::Other,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::V2Write => "v2_write",
            Self::Readings => "readings",
            Self::Stream => "stream",
            Self::Ping => "ping",
            Self::Metrics => "metrics",
            Self::Health => "health",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_chooses_a_label() {
        let stats = Stats::default();
        for path in ["/write", "/%00", "/write/../x", "/api/v2/buckets", "/nö"] {
            stats.answered_one(Endpoint::of(path), StatusCode::OK);
        }
        stats.refused_one(Why::Full);
        let mut registry = Registry::with_prefix("tidegate");
        stats.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "tidegate_http_requests_total{endpoint=\"write\",status=\"2xx\"} 1",
            "tidegate_http_requests_total{endpoint=\"other\",status=\"2xx\"} 4",
            "tidegate_http_refused_total{reason=\"full\"} 1",
            "tidegate_http_ended_total{reason=\"unread\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(stats.answered(2), 5);
    }
}
