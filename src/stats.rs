//! Counting primitives. Each stage owns its own `Stats`; `app` gathers them into one registry.

pub use prometheus_client::metrics::{
    counter::Counter, family::Family, gauge::Gauge, histogram::Histogram,
};
