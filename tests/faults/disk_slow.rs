//! What does a disk cost whose every sync takes a fifth of a second, as a worn SD card's do?
//!
//! Time, and nothing else: groups grow by what waits, whoever asks is answered meanwhile, and a process
//! that is killed in the middle of such a sync has lost nothing that was acknowledged. `strace` holds up
//! the syncs of the journal's writer alone.

use std::{fs, process::Command, time::Duration};

use super::{
    tools::has_strace,
    trial::{clean_end, devices, more_acknowledged, thread_of},
};
use crate::support::{
    gateway::Gateway,
    http::get,
    process::Process,
    rig::{Rig, is_long},
    show, wait_for,
};

const SYNC: Duration = Duration::from_millis(200);
const TRACED_MAX: Duration = Duration::from_secs(30);
const TRACER_END_MAX: Duration = Duration::from_secs(20);

/// Until the tracer ends; it ends with the thread.
fn slow_down(gateway: &Gateway) -> Process {
    let id = thread_of(gateway, "journal-writer");
    let inject = format!("inject=fdatasync,fsync:delay_exit={}", SYNC.as_micros());
    let mut command = Command::new("strace");
    command.args(["-qq", "-o/dev/null", "-e", "trace=fdatasync,fsync", "-e", &inject, "-p", &id]);
    let tracer = Process::spawn("strace", command, &gateway.dir().join("log"));
    let status = format!("/proc/{}/task/{id}/status", gateway.process().id());
    wait_for("the tracer", TRACED_MAX, || {
        let status = fs::read_to_string(&status).unwrap();
        let traced_by = status.lines().find_map(|line| line.strip_prefix("TracerPid:\t"));
        if traced_by.unwrap() == "0" { Err("nobody traces it".to_owned()) } else { Ok(()) }
    });
    tracer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_that_take_a_fifth_of_a_second_make_groups_grow_and_lose_nothing() {
    if !has_strace() {
        return;
    }
    let mut rig = Rig::start("").await;
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    more_acknowledged(&watch, 500);
    for round in 0..if is_long() { 20 } else { 2 } {
        let mut tracer = slow_down(&rig.gateway);
        more_acknowledged(&watch, 100); // What was quick before is done.
        let groups = || rig.gateway.count("tidegate_journal_groups_total", &[]);
        let readings = || rig.gateway.count("tidegate_journal_readings_total", &[]);
        let (groups_before, readings_before) = (groups(), readings());
        more_acknowledged(&watch, 1_000);
        let (groups, readings) = (groups() - groups_before, readings() - readings_before);
        show(&format!("a sync of {SYNC:?}: {readings} readings in {groups} groups"));
        // 1,000 a second, five groups a second: some 200 each. A quick sync collects one or two.
        assert!(readings >= 20 * groups, "{readings} readings in {groups} groups");
        assert_eq!(get(rig.gateway.http_port, "/readyz", &[]).unwrap().status, 200);
        if round % 2 == 0 {
            rig.gateway.kill();
            tracer.ended(TRACER_END_MAX);
            rig.gateway.run();
        } else {
            tracer.terminate(TRACER_END_MAX);
        }
        more_acknowledged(&watch, 100);
    }
    clean_end(&rig, fleet).await;
}
