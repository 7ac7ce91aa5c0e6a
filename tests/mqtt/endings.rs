//! How do connections end, and what is still stored and said then?

use std::time::Duration;

use super::rig::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_until_what_was_read_is_durable_and_acknowledged() {
    let mut gateway = Gateway::start().await;
    let mut older = gateway.client(CONNECT_311).await;
    let mut newer = gateway.client(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02d5").await;
    gateway.control.hold();
    for id in 1..=3 {
        older.send(&publish(0x32, id, "garden/t", b"1")).await;
        newer.send(&publish_5(0x32, id, "garden/t", b"1")).await;
    }
    older.is_ponged().await;
    newer.is_ponged().await;
    assert!(gateway.sync_is_held().await);
    gateway.shutdown.cancel();
    // The port is closed before the connections are: then they have heard of it, too.
    while tokio::net::TcpStream::connect(gateway.addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gateway.control.release();
    assert_eq!(older.rest().await, [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3]);
    let told = newer.rest().await;
    assert_eq!(told[..12], [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3]);
    assert_eq!((told[12], told[14]), (0xe0, 0x8b));
    gateway.stopped().await;
    assert_eq!(gateway.readings(6).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_takes_over_and_the_old_ones_answers_are_not_given_to_it() {
    let gateway = Gateway::start().await;
    let mut older = gateway.client(CONNECT_5).await;
    gateway.control.hold();
    older.send(&publish_5(0x32, 1, "garden/t", b"1")).await;
    older.is_ponged().await;
    let mut newer = gateway.client(CONNECT_5).await;
    let told = older.rest().await;
    assert_eq!((told[0], told[2]), (0xe0, 0x8e));
    // The same identifier on the new connection is another message.
    newer.send(&publish_5(0x32, 1, "garden/t", b"2")).await;
    newer.is_ponged().await;
    gateway.control.release();
    assert_eq!(newer.packet().await, [0x40, 2, 0, 1]);
    newer.is_ponged().await;
    assert_eq!(gateway.stats.takeovers.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_connections_that_wait_for_it_and_acknowledges_nothing() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(CONNECT_5).await;
    gateway.control.fail_syncs(1000);
    client.send(&publish_5(0x32, 1, "garden/t", b"1")).await;
    let told = tokio::time::timeout(Duration::from_secs(2), client.rest()).await;
    gateway.control.fail_syncs(0);
    match told {
        // Either the journal gave up on it...
        Ok(told) => assert_eq!((told[0], told[2]), (0xe0, 0x80)),
        // ...or it tries again on another file, and the answer comes when that works.
        Err(_) => assert_eq!(client.packet().await, [0x40, 2, 0, 1]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_told_so_in_its_own_words() {
    let gateway = Gateway::with(Setup { connections_max: 1, ..Setup::default() }).await;
    let mut inside = gateway.client(CONNECT_311).await;
    for (connect, code) in [(CONNECT_31, 3), (CONNECT_311, 3), (CONNECT_5, 0x89)] {
        let mut outside = gateway.open().await;
        outside.send(connect).await;
        let told = outside.rest().await;
        assert_eq!((told[0], told[3]), (0x20, code));
    }
    inside.is_ponged().await;
    assert_eq!(gateway.stats.ports.refused.get(), 3);
    assert_eq!(gateway.stats.ports.connections.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_refused_and_the_connection_goes_on() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(CONNECT_311).await;
    client.send(b"\x82\x08\x00\x05\x00\x03a/#\x01").await;
    assert_eq!(client.packet().await, [0x90, 3, 0, 5, 0x80]);
    let mut newer = gateway.client(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02d5").await;
    newer.send(b"\x82\x09\x00\x05\x00\x00\x03a/#\x01").await;
    assert_eq!(newer.packet().await, [0x90, 4, 0, 5, 0, 0x97]);
    client.is_ponged().await;
    newer.is_ponged().await;
}
