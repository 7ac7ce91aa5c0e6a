//! Does the broker collector lose nothing, and store nothing twice, whatever breaks?
//!
//! A real mosquitto on one side, a real journal on the other; a reader of that journal counts what came.

mod bench;
mod scripted;

use std::{num::NonZeroUsize, time::Duration};

use journal::Room;
use tidegate::collect::broker::Settings;
use tokio::time::timeout;

use self::bench::{
    Bench, LIMIT, backlog, incompressible, publish, settings, settings_of, subscribe_once,
};
use crate::support::{
    mosquitto::{self, Mosquitto},
    port, wait_for,
};

/// Held syncs stop the flow in its middle: the broker goes with hundreds of messages unacknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_the_broker_lose_nothing() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let mut settings = settings(&broker);
    settings.limits.unkept_bytes_max = NonZeroUsize::new(20 * 1024).unwrap();
    let bench = backlog(&broker, &settings, 6_000).await;

    bench.held.hold();
    let collector = bench.collect(settings);
    for round in 1..=3 {
        collector.wait_stalled(round);
        broker.stop();
        bench.held.release();
        bench.wait_distinct(usize::try_from(round).unwrap() * 190);
        bench.held.hold();
        broker.run();
    }
    bench.held.release();
    bench.wait_distinct(6_000);
    // Hundreds came again and are known. Only what was acknowledged in the moment of the break is not.
    assert!(collector.stats.resends.get() >= 300, "{:?}", collector.stats);
    assert!(bench.assert_all(6_000) <= 30, "{:?}", collector.stats);
    assert_eq!(collector.stats.connects.get(), 4);
    assert_eq!(collector.stats.sessions_lost.get(), 0);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_killed_at_any_moment_loses_nothing() {
    let Some(broker) = Mosquitto::start() else { return };
    let settings = settings(&broker);
    let bench = backlog(&broker, &settings, 5_000).await;

    for round in 1..=5 {
        let collector = bench.collect(settings.clone());
        bench.wait_distinct(round * 700 + fastrand::usize(..200));
        collector.kill().await;
    }
    let collector = bench.collect(settings);
    bench.wait_distinct(5_000);
    bench.assert_all(5_000);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_in_the_middle_of_a_backlog_stores_nothing_twice() {
    let Some(broker) = Mosquitto::start() else { return };
    let settings = settings(&broker);
    let bench = backlog(&broker, &settings, 5_000).await;

    for round in 1..=4 {
        let collector = bench.collect(settings.clone());
        bench.wait_distinct(round * 700);
        collector.stop().await;
    }
    let collector = bench.collect(settings);
    bench.wait_distinct(5_000);
    collector.stop().await;
    assert_eq!(bench.assert_all(5_000), 0, "all was acknowledged before each DISCONNECT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let collector = bench.collect(settings(&broker));
    collector.wait_connected();

    bench.held.hold();
    publish(&broker, &bench.lines(0, 50));
    wait_for("the messages", LIMIT, || {
        let came = collector.stats.publishes.get();
        if came >= 20 { Ok(()) } else { Err(format!("{came} came")) } // mosquitto's own window
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(collector.stats.acknowledged.get(), 0, "the sync is held");
    bench.held.release();
    collector.wait_acknowledged(50);
    bench.wait_distinct(50);
    assert_eq!(bench.assert_all(50), 0);
    collector.stop().await;
}

/// The journal fills, the collector leaves, the broker keeps; room returns, everything comes, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_leaves_the_messages_with_the_broker() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::with(|options| {
        options.segment_bytes = Some(64 * 1024);
        options.bytes_max = 512 * 1024;
    });
    let reader = bench.reader(); // Confirms nothing yet.
    let mut settings = settings(&broker);
    settings.limits.full_wait = Duration::from_millis(300);
    subscribe_once(&bench, &settings).await;

    let collector = bench.collect(settings);
    collector.wait_connected();
    let mut sent = 0;
    wait_for("a full journal, and the collector gone", LIMIT, || {
        if matches!(bench.intake.room(), Room::Full { .. }) && collector.stats.connected.get() == 0
        {
            return Ok(());
        }
        publish(&broker, &bench.lines_with(sent, sent + 1_000, incompressible));
        sent += 1_000;
        Err(format!("{sent} sent, {:?}", bench.journal.status()))
    });
    publish(&broker, &bench.lines(sent, sent + 500));
    sent += 500;
    assert_eq!(collector.stats.connected.get(), 0, "it waits for room");

    bench.tally(reader);
    bench.wait_distinct(usize::try_from(sent).unwrap());
    assert!(collector.stats.resends.get() > 0, "something was on its way when the journal filled");
    collector.stop().await;
    assert_eq!(bench.assert_all(sent), 0, "what became durable meanwhile is known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_larger_than_the_memory_allowed_comes_through() {
    let Some(broker) = Mosquitto::start_with("max_inflight_messages 0") else { return };
    let mut settings = settings(&broker);
    settings.receive_max = 10;
    settings.limits.unkept_bytes_max = NonZeroUsize::new(500).unwrap();
    let bench = backlog(&broker, &settings, 3_000).await;

    let collector = bench.collect(settings);
    bench.wait_distinct(3_000);
    collector.stop().await;
    assert_eq!(bench.assert_all(3_000), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages_are_left_alone_unless_asked_for_and_then_taken_once() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let retained = ["-q", "1", "-r", "-t", "tele/d1", "-m", "climate,device=d1 v=0i 1"];
    mosquitto::publish(broker.port, &retained).unwrap();

    subscribe_once(&bench, &settings(&broker)).await;
    assert_eq!(bench.distinct(), 0);

    let wanted =
        Settings { retained: true, client_id: "tidegate-other".to_owned(), ..settings(&broker) };
    for _ in 0..2 {
        let collector = bench.collect(wanted.clone());
        collector.wait_connected();
        bench.wait_distinct(1);
        collector.stop().await;
    }
    assert_eq!(bench.assert_all(1), 0, "not again at the second subscribe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_collectors_share_a_subscription() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let shared = |client_id: &str| Settings {
        client_id: client_id.to_owned(),
        topics: vec!["$share/gateways/tele/#".to_owned()],
        ..settings(&broker)
    };
    let (one, two) = (bench.collect(shared("one")), bench.collect(shared("two")));
    one.wait_connected();
    two.wait_connected();
    publish(&broker, &bench.lines(0, 1_000));
    bench.wait_distinct(1_000);
    assert!(one.stats.publishes.get() > 0 && two.stats.publishes.get() > 0);
    one.stop().await;
    two.stop().await;
    assert_eq!(bench.assert_all(1_000), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_forgot_the_session_is_noticed() {
    let Some(mut broker) = Mosquitto::start_with("persistent_client_expiration 1h") else { return };
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    let collector = bench.collect(settings(&broker));
    collector.wait_connected();
    broker.stop();
    broker.forget();
    broker.run();
    wait_for("the second connection", LIMIT, || {
        let connects = collector.stats.connects.get();
        if connects >= 2 { Ok(()) } else { Err(format!("{connects} connections")) }
    });
    collector.wait_connected();
    assert_eq!(collector.stats.sessions_lost.get(), 1);
    publish(&broker, &bench.lines(0, 10));
    bench.wait_distinct(10);
    collector.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_does_not_hold_up_the_end() {
    let bench = Bench::new();
    let collector = bench.collect(settings_of(port::free()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Neither for an attempt to connect nor for `leave_max`, of 5 s both.
    timeout(Duration::from_secs(4), collector.stop()).await.expect("at once");
}
