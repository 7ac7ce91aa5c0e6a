//! tidegate: readings from devices, durable before they are acknowledged, delivered to InfluxDB.
//!
//! ```text
//!  listen, collect --> intake ==> journal --> process --> batch ==> sink
//!        ^-------- acknowledgements --+          ^- position <- confirm -+
//! ```

pub mod app;
pub mod cli;
pub mod collect;
pub mod config;
pub mod intake;
pub mod listen;
pub mod output;
pub mod process;
pub mod sink;
pub mod stats;
pub mod tls;
