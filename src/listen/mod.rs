//! Devices connect to us.

pub mod accept;
pub mod http;
mod memory;
pub mod mqtt;
mod room;
mod wire;
pub mod ws;
