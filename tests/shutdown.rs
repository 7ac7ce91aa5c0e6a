//! Does the gateway stop in time, and keep what it has acknowledged?

use std::time::Duration;

use rustix::process::Signal;
use simulator::faulty::{Answer, Behaviour};

use crate::support::{
    books::Sent,
    rig::{OUTPUT, Rig, more_acknowledged, mqtt, websocket},
    wait_for,
};

/// The default `grace`, and a little for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(10 + 5);

async fn ends_in_time_and_loses_nothing(signal: Signal, name: &str) {
    let mut rig = Rig::start("").await;
    let period = Duration::from_millis(20);
    let fleet = rig.fleet(vec![mqtt("m", 20, period), websocket("w", 20, period)]);
    let watch = fleet.watch();
    wait_for("a fleet at work", STOP_MAX, || {
        let now = watch.look();
        if now.acknowledged > 1_000 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    rig.gateway.process().signal(signal);
    let status = rig.gateway.ended(STOP_MAX);
    assert!(status.success(), "{status}\n{}", rig.gateway.log());
    let said = format!("signal=\"{name}\"");
    assert!(rig.gateway.log().contains(&said), "no `{said}` in\n{}", rig.gateway.log());

    rig.gateway.run();
    let ledger = fleet.stop_and_drain(Duration::from_mins(1)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    assert!(verdict.is_clean() && verdict.acknowledged > 1_000, "{verdict}");
    rig.books_are_right(Sent::by(&ledger, &watch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_in_time_and_loses_nothing() {
    ends_in_time_and_loses_nothing(Signal::TERM, "SIGTERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_under_load_ends_in_time_and_loses_nothing() {
    ends_in_time_and_loses_nothing(Signal::INT, "SIGINT").await;
}

/// A database that answers after the grace is over: all that was acknowledged is pending, and said to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_with_a_slow_database_says_what_is_pending() {
    let mut rig = Rig::start("").await;
    rig.behave(Behaviour { delay_ms: 3_600_000, ..Behaviour::default() }).await;
    let fleet = rig.fleet(vec![mqtt("m", 20, Duration::from_millis(50))]);
    let watch = fleet.watch();
    wait_for("a fleet at work", STOP_MAX, || {
        let now = watch.look();
        if now.acknowledged > 500 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let status = rig.gateway.terminate(STOP_MAX);
    assert!(status.success(), "{status}\n{}", rig.gateway.log());
    // Devices that were not told keep trying, but nobody tells them anything: this stands still.
    let (now, log) = (watch.look(), rig.gateway.log());
    let said = format!("output=\"{OUTPUT}\" pending_readings=");
    let said = log.split(&said).nth(1).unwrap_or_else(|| panic!("{log}"));
    let digits: String = said.chars().take_while(char::is_ascii_digit).collect();
    let pending: u64 = digits.parse().unwrap();
    assert!((now.acknowledged..=now.sent).contains(&pending), "{pending} pending, {now:?}\n{log}");

    rig.behave(Behaviour::default()).await;
    rig.gateway.run();
    let ledger = fleet.stop_and_drain(Duration::from_mins(1)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    assert!(verdict.is_clean(), "{verdict}");
    rig.books_are_right(Sent::by(&ledger, &watch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_with_the_database_hung_says_what_is_pending_and_delivers_it_next_time() {
    let mut rig = Rig::start("").await;
    rig.behave(Behaviour { answer: Answer::Hang, ..Behaviour::default() }).await;
    let fleet = rig.fleet(vec![mqtt("m", 10, Duration::from_millis(50))]);
    let watch = fleet.watch();
    more_acknowledged(&watch, 101);
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
    rig.books_are_right(Sent::by(&ledger, &watch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_stops_at_once() {
    let mut rig = Rig::start("").await;
    rig.behave(Behaviour { answer: Answer::Hang, ..Behaviour::default() }).await;
    let fleet = rig.fleet(vec![mqtt("m", 5, Duration::from_millis(50))]);
    more_acknowledged(&fleet.watch(), 1);
    let ledger = fleet.stop_and_drain(Duration::from_secs(30)).await.unwrap();
    rig.gateway.process().signal(Signal::TERM);
    wait_for("the first signal to be heard", STOP_MAX, || {
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
