//! The MQTT codec and session on arbitrary bytes.

#![no_main]

#[path = "../checks/mqtt.rs"]
mod mqtt;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mqtt::packets(bytes));
