//! Does a wall clock that jumps an hour forth and back cost anything?
//!
//! libfaketime, preloaded, gives the gateway another time than the machine has, from a file that the
//! test rewrites. Only the wall clock jumps (`DONT_FAKE_MONOTONIC`), as when somebody sets it. That the
//! jump was seen is shown by a reading without a time of its own, which the gateway stamps. (On the way
//! back such stamps stand still: they come from a counter that only rises.)

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    tools::has,
    trial::{database, devices, more_acknowledged},
};
use crate::support::{
    books::Sent,
    http::post,
    missing,
    rig::{Rig, is_long},
    wait_for,
};

const HOUR: i64 = 3_600;
/// The measurement of the readings that the gateway stamps.
const STAMPED: &str = "stamped";

/// Debian keeps it in the folder of its architecture.
fn library() -> Option<PathBuf> {
    if !has("faketime", "faketime") {
        return None;
    }
    let places = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let found =
        places.map(|dir| dir.join("faketime/libfaketimeMT.so.1")).find(|file| file.is_file());
    if found.is_none() {
        missing("libfaketimeMT.so.1", "Debian package libfaketime");
    }
    found
}

/// So many seconds away from the real time, from now on.
fn set_clock(file: &Path, offset: i64) {
    let new = file.with_extension("new");
    fs::write(&new, format!("{offset:+}\n")).unwrap();
    fs::rename(new, file).unwrap(); // Never half a line.
}

/// Waits until the gateway stamps what comes with a clock that is so far off; how many readings it took.
fn stamps_with(rig: &Rig, offset: i64) -> u64 {
    let mut posted = 0;
    wait_for("the jump", Duration::from_secs(30), || {
        posted += 1;
        let answer = post(rig.gateway.http_port, "/write", &[], b"stamped,device=s v=1").unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        let rows = rig.database.rows();
        let stamped = rows.iter().filter(|row| row.measurement == STAMPED);
        let real = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let wanted = i64::try_from(real).unwrap() + offset;
        let mut away = stamped.map(|row| (row.time / 1_000_000_000 - wanted).abs());
        if away.any(|seconds| seconds < 60) { Ok(()) } else { Err(format!("{offset:+} not seen")) }
    });
    posted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_an_hour_forth_and_back_loses_nothing() {
    let Some(library) = library() else { return };
    let mut rig = Rig::prepare("", "").await;
    let clock = rig.gateway.dir().join("clock");
    set_clock(&clock, 0);
    rig.gateway.run_with(&[
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]);
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    let mut stamped = 0;
    for _ in 0..if is_long() { 20 } else { 1 } {
        for offset in [HOUR, -HOUR, 0] {
            more_acknowledged(&watch, 200);
            set_clock(&clock, offset);
            if offset > 0 {
                stamped += stamps_with(&rig, offset);
            }
            // And with something that waits in the journal over the jump.
            database(&rig, false).await;
            more_acknowledged(&watch, 200);
            database(&rig, true).await;
        }
    }
    let ledger = fleet.stop_and_drain(Duration::from_mins(1)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict_of(&ledger, |row| row.measurement != STAMPED);
    println!("{verdict}");
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    rig.books_are_right(Sent::by(&ledger, &watch).and(stamped..=stamped));
}
