//! Does the gateway keep what it acknowledged when it is stopped for a while, when it runs out of
//! open files, and when somebody starts it twice?

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::{
    tools::has,
    trial::{clean_end, database, devices, more_acknowledged, with_database},
};
use crate::support::{
    books::Sent,
    http::get,
    rig::{Rig, is_long, mqtt},
    wait_for,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stands_still_for_seconds_goes_on_where_it_was() {
    let rig = Rig::start("").await;
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    let (stops, time) = if is_long() { (10, 20) } else { (2, 2) };
    for stop in 0..stops {
        database(&rig, stop % 2 == 1).await;
        more_acknowledged(&watch, 200);
        rig.gateway.process().signal(Signal::STOP);
        tokio::time::sleep(Duration::from_secs(time)).await;
        rig.gateway.process().signal(Signal::CONT);
    }
    more_acknowledged(&watch, 200);
    with_database(&rig).await;
    clean_end(&rig, fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_open_files_refuse_connections_and_nothing_else() {
    if !has("prlimit", "util-linux") {
        return;
    }
    let mut rig = Rig::prepare("", "").await;
    let command = rig.gateway.run_command(&["prlimit", "--nofile=400:400"]);
    rig.gateway.launch(command);
    rig.gateway.answers("/readyz");
    // More devices than it can have: some are in and are served, the others are sent away.
    let crowd = rig.fleet(vec![mqtt("crowd", 500, Duration::from_millis(500))]);
    let watch = crowd.watch();
    wait_for("refusals", Duration::from_secs(30), || {
        let now = watch.look();
        if now.failures > 100 && now.acknowledged > 20 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    more_acknowledged(&watch, 20);
    assert_eq!(get(rig.gateway.http_port, "/readyz", &[]).unwrap().status, 200);
    let ledger = crowd.kill().await;
    let sent = Sent::by(&ledger, &watch);

    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    more_acknowledged(&watch, 200);
    let ended = fleet.stop_and_drain(Duration::from_mins(1)).await.unwrap();
    rig.delivered();
    let of_crowd = |device: &str| device.starts_with("crowd");
    let verdict = rig.verdict_of(&ended, |row| !of_crowd(&row.device));
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    let verdict = rig.verdict_of(&ledger, |row| of_crowd(&row.device));
    assert!(verdict.is_clean() && verdict.acknowledged > 0, "{verdict}");
    rig.books_are_right(sent.and_by(&ended, &watch));
}

/// So many open files for a running process.
fn limit_open_files(process: u32, files: u64) {
    let id = Pid::from_raw(i32::try_from(process).unwrap());
    let limit = Rlimit { current: Some(files), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(id, Resource::Nofile, limit).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_files_that_run_out_while_it_runs_cost_nothing_that_was_acknowledged() {
    let mut rig = Rig::prepare("", "").await;
    rig.gateway.run();
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    more_acknowledged(&watch, 200);
    let process = rig.gateway.process().id();
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count() as u64;
    limit_open_files(process, open + 2);
    // They take what is left; the gateway lives, and those that are connected are served.
    let crowd = rig.fleet(vec![mqtt("crowd", 20, Duration::from_millis(500))]);
    tokio::time::sleep(Duration::from_secs(if is_long() { 60 } else { 3 })).await;
    assert!(rig.gateway.log().contains("accept failed"), "they never ran out");
    more_acknowledged(&watch, 200);
    let crowd_watch = crowd.watch();
    let crowd = crowd.kill().await;
    limit_open_files(process, 4_096);
    let ledger = fleet.stop_and_drain(Duration::from_mins(1)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict_of(&ledger, |row| !row.device.starts_with("crowd"));
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    rig.books_are_right(Sent::by(&ledger, &watch).and_by(&crowd, &crowd_watch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_the_same_journal_ends_and_does_no_harm() {
    let rig = Rig::start("").await;
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    more_acknowledged(&watch, 200);
    let second = rig.gateway.run_command(&[]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(75), "{said}");
    let words = format!("another process holds {}/journal", rig.gateway.dir().display());
    assert!(said.contains(&words), "no `{words}` in {said}");
    more_acknowledged(&watch, 200);
    clean_end(&rig, fleet).await;
}
