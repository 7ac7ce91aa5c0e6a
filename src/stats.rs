//! Counting primitives. Each stage owns its own `Stats`; `app` gathers them into one registry.

pub use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};

/// Bounds in seconds for the time from reading to acknowledging, the same for every listener: from a
/// page cache that answers at once to an SD card that stalls.
pub const ACK_LATENCY_BUCKETS: [f64; 14] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0];
