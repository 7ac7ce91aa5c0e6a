//! Devices connect to us.

pub mod accept;
pub mod http;
pub mod mqtt;
pub mod ws;
