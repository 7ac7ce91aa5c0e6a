//! Does a wall clock cost anything that jumps an hour forth and back, or starts in 1970?
//!
//! libfaketime, preloaded, gives the gateway another time than the machine has, from a file that the
//! test rewrites. Only the wall clock jumps (`DONT_FAKE_MONOTONIC`), as when somebody sets it. Readings
//! without a time of their own, which the gateway stamps, show what time it goes by.

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
    gateway::{Gateway, Setup},
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

/// Starts it (again) with that clock.
fn run(gateway: &mut Gateway, library: &Path, clock: &Path) {
    gateway.run_with(&[
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]);
}

/// Seconds since 1970, by the machine's own clock.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap()
}

/// Has one reading stamped; it is acknowledged at once. Between which seconds it arrived.
fn stamp(gateway: &Gateway, device: &str) -> std::ops::RangeInclusive<i64> {
    let before = now();
    let line = format!("stamped,device={device} v=1");
    let answer = post(gateway.http_port, "/write", &[], line.as_bytes()).unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    before - 1..=now() + 1
}

/// Waits until the gateway believes its clock.
fn believed(gateway: &Gateway) {
    wait_for("a clock that is believed", Duration::from_secs(30), || {
        let clock = gateway.status().clock;
        if clock.believed { Ok(()) } else { Err(format!("{clock:?}")) }
    });
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
    run(&mut rig.gateway, &library, &clock);
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    let mut stamped = 0;
    for _ in 0..if is_long() { 20 } else { 1 } {
        for offset in [HOUR, -HOUR, 0] {
            more_acknowledged(&watch, 200);
            set_clock(&clock, offset);
            stamped += stamps_with(&rig, offset);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_starts_in_1970_is_waited_for_and_costs_no_reading_its_time() {
    let Some(library) = library() else { return };
    let mut rig = Rig::prepare("", "").await;
    let clock = rig.gateway.dir().join("clock");
    set_clock(&clock, 1_000 - now());
    run(&mut rig.gateway, &library, &clock);
    let mut arrived = vec![("a", stamp(&rig.gateway, "a"))];
    let status = rig.gateway.status();
    assert!(!status.clock.believed && status.clock.wait_left_seconds > Some(60), "{status:?}");
    assert!(status.alarms.iter().any(|alarm| alarm.contains("clock")), "{status:?}");

    // Killed before it is put right, and again when that is decided and nothing has left yet.
    rig.gateway.kill();
    run(&mut rig.gateway, &library, &clock);
    arrived.push(("b", stamp(&rig.gateway, "b")));
    wait_for("the output to wait", Duration::from_secs(30), || {
        match rig.gateway.metric("tidegate_output_clock_waiting", &[]) {
            1.0 => Ok(()),
            other => Err(format!("{other}")),
        }
    });
    assert_eq!(rig.database.rows(), [], "nothing leaves with a wrong time");
    database(&rig, false).await;
    set_clock(&clock, 0);
    believed(&rig.gateway);
    arrived.push(("c", stamp(&rig.gateway, "c")));
    wait_for("the decision", Duration::from_secs(30), || {
        match rig.gateway.count("tidegate_output_stamps_corrected_total", &[]) {
            2 => Ok(()),
            other => Err(format!("{other}")),
        }
    });
    rig.gateway.kill();
    run(&mut rig.gateway, &library, &clock);
    arrived.push(("d", stamp(&rig.gateway, "d")));
    database(&rig, true).await;
    rig.delivered();

    let rows = rig.database.rows();
    let rows: Vec<_> = rows.iter().filter(|row| row.measurement == STAMPED).collect();
    assert_eq!(rows.len(), arrived.len(), "{rows:?}");
    for (device, seconds) in arrived {
        let row = rows.iter().find(|row| row.device == device).expect(device);
        assert!(seconds.contains(&(row.time / 1_000_000_000)), "{row:?} is not in {seconds:?}");
    }
}

#[test]
fn a_clock_that_nobody_sets_is_not_waited_for_longer_than_clock_wait() {
    let Some(library) = library() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("readings.lp");
    let output = format!(
        "[clock]\nclock_wait = \"2s\"\n[[output]]\nid = \"file\"\ntype = \"file\"\npath = \"{}\"\n\
         [output.limits]\nbatch_age_max = \"100ms\"\n",
        file.display()
    );
    let mut gateway = Gateway::prepare(&Setup { journal: "", tables: &output });
    let clock = gateway.dir().join("clock");
    set_clock(&clock, 1_000 - now());
    run(&mut gateway, &library, &clock);
    stamp(&gateway, "early");
    let lines = |count: usize| {
        wait_for("readings in the file", Duration::from_secs(30), || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if lines.len() >= count { Ok(lines) } else { Err(text) }
        })
    };
    let marked = "stamped,clock=unsure,device=early v=1.0 ";
    let seconds =
        |line: &str| line.rsplit(' ').next().unwrap().parse::<i64>().unwrap() / 1_000_000_000;
    let first = lines(1).swap_remove(0);
    assert!(first.starts_with(marked) && (1_000..2_000).contains(&seconds(&first)), "{first}");
    assert_eq!(gateway.count("tidegate_output_stamps_unsure_total", &[]), 1);

    // The right time comes too late for that one, and in time for the next.
    set_clock(&clock, 0);
    believed(&gateway);
    let arrived = stamp(&gateway, "late");
    let second = lines(2).swap_remove(1);
    assert!(second.starts_with("stamped,device=late v=1.0 "), "{second}");
    assert!(arrived.contains(&seconds(&second)), "{second}");
}
