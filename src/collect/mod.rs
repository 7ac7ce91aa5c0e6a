//! We go and fetch.

pub mod broker;
