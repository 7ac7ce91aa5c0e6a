//! An import that is killed, stopped, or told to be slow.

use std::{
    fs::File,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::{IMPORT_MAX, expect_numbered, import, number, numbered, rows, spawn, text, write};
use crate::support::{process::Process, rig::Rig, wait_for};

/// Waits until the database has so many points, while the import runs.
fn wait_points(rig: &Rig, import: &mut Process, points: usize) {
    wait_for("points in the database", IMPORT_MAX, || {
        let found = rig.database.points();
        if found >= points {
            return Ok(());
        }
        import.check_alive();
        Err(format!("{found} points"))
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_goes_on_where_it_was_to_the_reading() {
    const READINGS: i64 = 40_000;
    let rig = Rig::prepare("", "").await;
    let file = write(&rig, "a.lp", numbered(READINGS));
    rig.database.trace();
    for round in 1..=5_usize {
        let mut process = spawn(&rig, &["--rate", "2000", text(&file)]);
        wait_points(&rig, &mut process, round * 1_000);
        process.kill();
    }
    let said = import(&rig, &[&file]);
    assert_eq!(said.code, 0, "{said:?}");
    let taken = number(&said.out, "a.lp: ", " taken");
    let before = number(&said.out, "after ", " taken and 0 refused before");
    assert!(before >= 5_000, "it did not begin again: {said:?}");
    assert_eq!(taken + before, READINGS, "each reading went into the journal once: {said:?}");
    expect_numbered(&rig.database, READINGS);
}

/// Nothing but their place in the file tells such readings apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_it_stamps_no_reading_twice() {
    const READINGS: usize = 20_000;
    let rig = Rig::prepare("", "").await;
    let file = write(&rig, "a.lp", "m,device=d v=1\n".repeat(READINGS));
    for round in 1..=3 {
        let mut process = spawn(&rig, &["--rate", "2000", text(&file)]);
        wait_points(&rig, &mut process, round * 1_000);
        process.kill();
    }
    let said = import(&rig, &[&file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(rows(&rig.database).len(), READINGS, "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_it_says_where_and_goes_on_there_even_if_the_journal_has_forgotten() {
    const READINGS: i64 = 30_000;
    let rig = Rig::prepare("\n[resends]\nrequests_max = 1\n", "").await;
    let file = write(&rig, "a.lp", numbered(READINGS));
    let mut process = spawn(&rig, &["--rate", "5000", text(&file)]);
    wait_points(&rig, &mut process, 2_000);
    let status = process.terminate(IMPORT_MAX);
    let said = process.log();
    assert_eq!(status.code(), Some(75), "{said}");
    assert!(said.contains("stopping (SIGTERM)"), "{said}");
    assert!(said.contains("the same command goes on where this one stopped"), "{said}");
    let taken = number(&said, "a.lp: ", " taken");
    assert_eq!(number(&said, "stopped behind line ", ","), taken, "{said}");
    assert!((2_000..READINGS).contains(&taken), "{said}");

    // The one request that the journal remembers is another one now.
    let other = write(&rig, "b.lp", "other,device=d v=1 1\n");
    assert_eq!(import(&rig, &[&other]).code, 0);
    let said = import(&rig, &[&file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(number(&said.out, "after ", " taken"), taken, "{said:?}");
    assert_eq!(number(&said.out, "a.lp: ", " taken"), READINGS - taken, "{said:?}");
    assert_eq!(rows(&rig.database).len(), usize::try_from(READINGS).unwrap() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_kept_to() {
    let rig = Rig::prepare("", "").await;
    let file = write(&rig, "a.lp", numbered(1_500));
    let began = Instant::now();
    let said = import(&rig, &["--rate", "500", text(&file)]);
    assert_eq!(said.code, 0, "{said:?}");
    // At most a second's worth comes at once.
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    expect_numbered(&rig.database, 1_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pipe_has_is_not_kept_waiting_for_what_it_has_not() {
    let rig = Rig::prepare("", "").await;
    let mut command: Command = rig.gateway.command();
    command.arg("import").arg("-c").arg(rig.gateway.config_file()).arg("-");
    let log = File::create(rig.gateway.dir().join("log")).unwrap();
    let mut child =
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(numbered(3).as_bytes()).unwrap();
    wait_for("three points", IMPORT_MAX, || match rig.database.points() {
        3 => Ok(()),
        points => Err(format!("{points}")),
    });
    // Ctrl-C while the pipe is silent.
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    let status =
        wait_for("the end", IMPORT_MAX, || child.try_wait().unwrap().ok_or("it runs".to_owned()));
    assert_eq!(status.code(), Some(75), "{}", rig.gateway.log());
    drop(pipe);
    let words = "what came over a pipe is not known again";
    assert!(rig.gateway.log().contains(words), "{}", rig.gateway.log());
    expect_numbered(&rig.database, 3);
}
