//! We go and fetch.

pub mod broker;
pub mod import;
