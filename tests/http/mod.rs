//! Does HTTP take what it should, refuse the rest in the right words, and acknowledge only what is durable?
//!
//! A real intake and a real journal, with a disk that a test holds in its hands.

mod again;
mod curl;
mod durable;
mod hostile;
mod influx;
mod readings;
mod watching;

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

/// Sorted, for what may arrive in any order.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
