//! One test binary; a module a question.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "what fails here is the test, and it says where"
)]
#![expect(unreachable_pub, reason = "`pub` says what a module offers to the others of this binary")]

mod aborts;
mod answers;
mod backlog;
mod backpressure;
mod clients;
mod collector;
mod commands;
mod connections;
mod corpus;
mod databases;
mod delivery;
mod devices;
mod durability;
mod faults;
mod fleet;
mod giving_way;
mod going_back;
mod hostile;
mod http;
mod metrics;
mod mqtt;
mod outputs;
#[cfg(feature = "faults")]
mod panics;
mod parts;
mod reference;
mod resends;
mod shutdown;
mod sparkplug;
mod support;
mod syncs;
mod tidy;
mod tls;
mod torture;
mod websocket;
mod windows;
