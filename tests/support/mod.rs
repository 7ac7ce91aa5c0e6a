//! Real parts for the tests: the gateway's own binary, brokers, databases and clients that nobody here
//! wrote, each in a temporary directory on free ports of the loopback, killed by its process id on drop.
//!
//! A part that is not on this machine is told loudly, and the test that wants it returns; with `CI=true` or
//! `TIDEGATE_REQUIRE_ALL=1` it fails instead.

pub mod books;
pub mod filler;
pub mod foreign;
pub mod gateway;
pub mod http;
pub mod influx1;
pub mod influx2;
pub mod inside;
pub mod mosquitto;
pub mod output;
pub mod port;
pub mod process;
pub mod raw;
pub mod rig;
pub mod victoria;

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    thread,
    time::Duration,
};

use tokio::time::Instant;

/// Long enough for a part to start on a busy machine; nothing waits longer than it must.
pub const START_MAX: Duration = Duration::from_mins(1);

/// Says that a test is skipped for want of a part; fails where nothing may be skipped.
pub fn missing(part: &str, how: &str) {
    // Straight to the descriptor: the test runner keeps back what a passing test prints.
    let line = format!("\nSKIPPED: {part} is not here ({how})\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
    let is_set = |name: &str, value: &str| env::var(name).is_ok_and(|v| v == value);
    assert!(
        !is_set("CI", "true") && !is_set("TIDEGATE_REQUIRE_ALL", "1"),
        "{part} is not here, and nothing may be skipped: {how}"
    );
}

/// Prints a figure that a test has measured. Straight to the descriptor, like `missing`.
pub fn show(line: &str) {
    io::stderr().write_all(format!("\nMEASURED: {line}\n").as_bytes()).unwrap();
}

/// Where `./check` keeps what it builds and installs outside the tree.
pub fn cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache"),
        PathBuf::from,
    );
    base.join("tidegate")
}

/// The full path of a program in PATH (and in the two places that a plain user's PATH often lacks).
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Asks `probe` until it answers; panics with the last complaint after `limit`.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match probe() {
            Ok(found) => return found,
            Err(why) => assert!(began.elapsed() < limit, "{what}: not in {limit:?}: {why}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}
