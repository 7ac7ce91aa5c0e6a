//! Does a stage that panics end the process, say which it was, and keep what was acknowledged?
//!
//! The real binary, built with the feature `faults`; without that feature this module is not there.

use std::time::Duration;

use simulator::verify::Row;

use crate::support::{
    books,
    gateway::Setup,
    http::post,
    mosquitto::{self, Mosquitto},
    rig::{OUTPUT, RULE, Rig, mqtt, websocket},
    wait_for,
};

/// Readings flow before the fault: this many passages of the stage.
const PASSAGE: u64 = 40;
/// To the fault, then the default `grace`, on a busy machine.
const END_MAX: Duration = Duration::from_secs(30);

/// Runs a fleet against a gateway whose `stage` panics at its `passage`; `said` is in the log then.
async fn dies_and_loses_nothing(stage: &str, passage: u64, said: &str) {
    let mut rig = Rig::start("").await;
    let status = rig.gateway.terminate(END_MAX);
    assert!(status.success(), "without a fault it ends well: {status}");
    dies(&mut rig, (stage, passage), said, |_| {}).await;
}

/// The same with a gateway that is stopped; `provoke` brings what the fleet does not, and what it
/// returns is dropped when the gateway has died.
async fn dies<T>(
    rig: &mut Rig,
    (stage, passage): (&str, u64),
    said: &str,
    provoke: impl FnOnce(&Rig) -> T,
) {
    rig.gateway.run_with(&[("TIDEGATE_FAULT", &format!("panic:{stage}:{passage}"))]);
    let period = Duration::from_millis(20);
    let fleet = rig.fleet(vec![mqtt("m", 10, period), websocket("w", 10, period)]);
    let provoked = provoke(rig);
    let status = rig.gateway.ended(END_MAX);
    drop(provoked);
    let log = rig.gateway.log();
    assert_eq!(status.code(), Some(1), "{status}\n{log}");
    assert!(log.contains(said), "no `{said}` in\n{log}");
    let watch = fleet.watch();
    let before = watch.look().acknowledged;

    rig.gateway.run();
    wait_for("more acknowledged readings", END_MAX, || match watch.look().acknowledged {
        now if now > before => Ok(()),
        _ => Err(format!("still {before}")),
    });
    let ledger = fleet.stop_and_drain(Duration::from_mins(1)).await.unwrap();
    rig.delivered();
    let of_fleet = |row: &Row| row.measurement != "mqtt" && !row.device.starts_with("crowd");
    let verdict = rig.verdict_of(&ledger, of_fleet);
    assert!(verdict.is_clean() && verdict.acknowledged > before, "{verdict}");
    books::balanced(&rig.gateway);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_panics_as_it_accepts_ends_the_process() {
    // The connections of the fleet: half of them are in, and have sent something, or have not.
    dies_and_loses_nothing("mqtt", 5, "stage died stage=\"mqtt\"").await;
    dies_and_loses_nothing("http", 8, "stage died stage=\"http\"").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intake_that_panics_ends_the_process() {
    dies_and_loses_nothing("intake", PASSAGE, "a fault was asked for: intake").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_whose_writer_panics_ends_the_process() {
    dies_and_loses_nothing("journal-writer", PASSAGE, "thread 'journal-writer'").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_whose_keeper_panics_ends_the_process() {
    dies_and_loses_nothing("journal-keeper", 10, "thread 'journal-keeper'").await;
}

/// Large groups are settled by a task of the runtime: as many devices as make some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settling_of_acknowledgements_that_panics_ends_the_process() {
    let mut rig = Rig::start("").await;
    rig.gateway.terminate(END_MAX);
    dies(&mut rig, ("journal-settler", PASSAGE), "a fault was asked for: journal-settler", |rig| {
        rig.fleet(vec![mqtt("crowd", 100, Duration::from_millis(20))])
    })
    .await;
}

/// Nobody but whoever asked has anything of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_answer_panics_is_answered_with_an_error_and_nothing_else_happens() {
    let mut rig = Rig::prepare("", "").await;
    rig.gateway.run_with(&[("TIDEGATE_FAULT", "panic:control:1")]);
    let config = rig.gateway.config_file();
    let ask = || rig.gateway.command().args(["status", "-c"]).arg(&config).output().unwrap();
    let said = ask();
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!((said.status.code(), said.stdout.is_empty()), (Some(1), true), "{said:?}");
    assert!(words.contains("a fault in the gateway, see its log"), "{words}");
    let log = rig.gateway.log();
    assert!(log.contains("a command on the control socket could not be answered"), "{log}");
    assert!(ask().status.success(), "{log}");
    let fleet = rig.fleet(vec![mqtt("m", 5, Duration::from_millis(20))]);
    let ledger = fleet.stop_and_drain(Duration::from_mins(1)).await.unwrap();
    rig.delivered();
    assert!(rig.verdict(&ledger).is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_panics_ends_the_process() {
    let said = format!("stage died stage=\"output {OUTPUT}\"");
    dies_and_loses_nothing("output", 5, &said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_reader_that_panics_ends_the_process() {
    let mut rig = Rig::start("").await;
    rig.gateway.terminate(END_MAX);
    dies(&mut rig, ("rejects", 1), "stage died stage=\"rejects\"", |rig| {
        let answer = post(rig.gateway.http_port, "/v1/readings", &[], b"{\"device\":").unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
    })
    .await;
    // What was refused is still in the journal, and comes to the dead letters now.
    let letters = rig.gateway.dir().join("dead-letters/intake/dead.ndjson");
    wait_for("the dead letter", END_MAX, || {
        let text = std::fs::read_to_string(&letters).unwrap_or_default();
        if text.contains("undecodable") { Ok(()) } else { Err(text) }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_panics_ends_the_process() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut rig = Rig::start("").await;
    rig.gateway.terminate(END_MAX);
    let collector = format!(
        "{RULE}[[broker]]\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"tele/#\"]\n{}",
        broker.port,
        rig.output_table()
    );
    rig.gateway.configure(&Setup { journal: "", tables: &collector });
    dies(&mut rig, ("broker", 1), "stage died stage=\"broker:", |_| {
        broker.wait_subscribed("tele/#");
        let message = ["-q", "1", "-t", "tele/kept", "-m", "{\"v\":1}"];
        mosquitto::publish(broker.port, &message).unwrap();
    })
    .await;
    // It was not acknowledged: the broker has kept it, and brings it again.
    wait_for("the broker's message", END_MAX, || {
        let rows = rig.database.rows();
        let found = rows.iter().any(|row| row.measurement == "mqtt");
        if found { Ok(()) } else { Err(format!("{} rows", rows.len())) }
    });
}
