//! Does the gateway stop in time, and keep what it has acknowledged?

use std::time::Duration;

use simulator::faulty::{Answer, Behaviour};

use crate::support::rig::{OUTPUT, Rig, mqtt, websocket};

/// The default `grace`, and a little for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(10 + 5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_in_time_and_loses_nothing() {
    let mut rig = Rig::start("").await;
    let period = Duration::from_millis(20);
    let fleet = rig.fleet(vec![mqtt("m", 20, period), websocket("w", 20, period)]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = rig.gateway.terminate(STOP_MAX);
    assert!(status.success(), "{status}\n{}", rig.gateway.log());

    rig.gateway.run();
    let ledger = fleet.stop_and_drain(Duration::from_mins(1)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    assert!(verdict.is_clean() && verdict.acknowledged > 1_000, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_with_the_database_hung_says_what_is_pending_and_delivers_it_next_time() {
    let mut rig = Rig::start("").await;
    rig.behave(Behaviour { answer: Answer::Hang, ..Behaviour::default() }).await;
    let fleet = rig.fleet(vec![mqtt("m", 10, Duration::from_millis(50))]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The devices leave first: nothing is sent while the gateway stops.
    let ledger = fleet.stop_and_drain(Duration::from_secs(30)).await.unwrap();
    let pending = rig.gateway.pending(OUTPUT);
    assert!(pending > 100, "{pending}");
    let status = rig.gateway.terminate(STOP_MAX);
    assert!(status.success(), "{status}\n{}", rig.gateway.log());
    let said = format!("pending_readings={pending}");
    let log = rig.gateway.log();
    assert!(log.contains(&said), "no `{said}` in\n{log}");

    rig.behave(Behaviour::default()).await;
    rig.gateway.run();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_stops_at_once() {
    use rustix::process::Signal;
    let mut rig = Rig::start("").await;
    rig.behave(Behaviour { answer: Answer::Hang, ..Behaviour::default() }).await;
    let fleet = rig.fleet(vec![mqtt("m", 5, Duration::from_millis(50))]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ledger = fleet.stop_and_drain(Duration::from_secs(30)).await.unwrap();
    rig.gateway.process().signal(Signal::TERM);
    crate::support::wait_for("the first signal to be heard", STOP_MAX, || {
        let heard = rig.gateway.log().contains("once more to stop at once");
        heard.then_some(()).ok_or_else(|| rig.gateway.log())
    });
    let status = rig.gateway.terminate(Duration::from_secs(5)); // Half of the grace.
    assert_eq!(status.code(), Some(1), "{status}");

    rig.behave(Behaviour::default()).await;
    rig.gateway.run();
    rig.delivered();
    assert!(rig.verdict(&ledger).is_clean());
}
