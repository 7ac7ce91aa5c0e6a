//! Is what was acknowledged still there after the process was killed at its N-th disk call?
//!
//! `strace` sends the SIGKILL as the call begins, so each place where the journal touches the disk
//! is cut before it. It counts for each thread: from the start the first calls are those of opening
//! and recovery, later ones the writer's; the writer's and the keeper's first calls come by a tracer
//! that is put on that thread alone while the gateway runs. Each round recovers from the one before.

use std::{os::unix::process::ExitStatusExt as _, process::Command, time::Duration};

use super::{
    tools::{DISK_CALLS, has_strace},
    trial::{clean_end, database, devices, more_acknowledged, thread_of, with_database},
};
use crate::support::{
    gateway::Gateway,
    process::Process,
    rig::{Rig, is_long},
};

/// For the N-th call to come.
const KILLED_MAX: Duration = Duration::from_mins(1);
const SIGKILL: i32 = 9;

/// `strace` that kills at the `nth` disk call of a thread.
fn killing(nth: u32) -> [String; 6] {
    let trace = format!("trace={DISK_CALLS}");
    let inject = format!("inject={DISK_CALLS}:signal=SIGKILL:when={nth}");
    ["-qq", "-o/dev/null", "-e", &trace, "-e", &inject].map(str::to_owned)
}

/// Started under the tracer, which steps aside (`-D`): the gateway is our own child. (Not with
/// `--seccomp-bpf`, under which strace 6.1 injects nothing here.)
fn started_to_be_killed(gateway: &mut Gateway, nth: u32) {
    let killing = killing(nth);
    let mut wrapper = vec!["strace", "-D", "-f"];
    wrapper.extend(killing.iter().map(String::as_str));
    let command = gateway.run_command(&wrapper);
    gateway.launch(command);
}

/// A running gateway's thread of that name gets the tracer. It ends with the thread.
fn kill_in_thread(gateway: &Gateway, thread: &str, nth: u32) -> Process {
    let id = thread_of(gateway, thread);
    let mut command = Command::new("strace");
    command.args(killing(nth)).args(["-p", &id]);
    Process::spawn("strace", command, &gateway.dir().join("log"))
}

fn was_killed(gateway: &mut Gateway, round: &str) {
    let status = gateway.ended(KILLED_MAX);
    assert_eq!(status.signal(), Some(SIGKILL), "{round}: {status}\n{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_sigkill_at_the_nth_disk_call() {
    if !has_strace() {
        return;
    }
    let from_the_start: Vec<u32> = if is_long() {
        (1..=300).collect()
    } else {
        vec![1, 2, 3, 5, 7, 10, 14, 19, 25, 40, 80, 160]
    };
    let (writer, keeper) = if is_long() { (40, 20) } else { (4, 2) };

    let mut rig = Rig::start("bytes_max = \"128MiB\"\n").await;
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    more_acknowledged(&watch, 100);
    rig.gateway.kill();
    for (round, nth) in from_the_start.into_iter().enumerate() {
        // Half of the rounds leave what they acknowledged in the journal alone.
        database(&rig, round % 2 == 1).await;
        started_to_be_killed(&mut rig.gateway, nth);
        was_killed(&mut rig.gateway, &format!("call {nth} from the start"));
        println!("killed at call {nth}: {} acknowledged", watch.look().acknowledged);
    }
    with_database(&rig).await;
    let threads = (1..=writer).map(|n| ("journal-writer", n));
    for (thread, nth) in threads.chain((1..=keeper).map(|n| ("journal-keeper", n))) {
        rig.gateway.run();
        let mut tracer = kill_in_thread(&rig.gateway, thread, nth);
        was_killed(&mut rig.gateway, &format!("call {nth} of {thread}"));
        tracer.ended(KILLED_MAX);
        println!("killed at call {nth} of {thread}: {} acknowledged", watch.look().acknowledged);
    }
    rig.gateway.run();
    let verdict = clean_end(&rig, fleet).await;
    assert!(verdict.acknowledged > 1_000, "{verdict}");
}
