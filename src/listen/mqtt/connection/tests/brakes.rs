//! What happens when nothing becomes durable, and when there is no room.

use super::*;

/// 10 unacknowledged messages; the rest as usual.
fn few() -> Limits {
    Limits { unacked_messages_max: 10, ..Limits::default() }
}

/// A budget that one small submission uses up.
fn no_budget() -> intake::Limits {
    intake::Limits { budget_bytes: 400, ..intake::Limits::default() }
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_while_no_message_is_acknowledged() {
    let mut house = House::open();
    let mut client = house.client(CONNECT_311).await;
    for id in 1..100 {
        client.publish(1, id).await;
        assert!(client.answers_ping().await, "{id}");
    }
    assert_eq!(house.shared.stats.answers.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_while_a_submission_waits_for_room() {
    let mut house = house(Limits::default(), no_budget());
    let mut client = house.client(CONNECT_311).await;
    for id in 1..100 {
        client.publish(1, id).await;
        client.publish(0, 0).await;
        assert!(client.answers_ping().await, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_brake_holds_while_the_disk_is_slow_and_gives_up_after_the_write_timeout() {
    let mut house = House::with(few());
    let mut client = house.client(CONNECT_311).await;
    for id in 1..=10 {
        client.publish(1, id).await;
    }
    house.is_read().await;
    let start = Instant::now();
    // Nothing more is read; keep alive (15 s) does not count meanwhile.
    assert!(!client.answers_ping().await);
    sleep(Duration::from_secs(25)).await;
    assert!(house.connections.try_join_next().is_none());
    // Then it is read on: the PINGs that waited are answered, a message is one too many.
    assert_eq!(client.packet().await, PINGRESP);
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    client.publish(1, 11).await;
    assert_eq!(house.ending().await, Ending::Busy);
}

#[tokio::test(start_paused = true)]
async fn a_full_journal_ends_a_connection_at_its_limit_after_the_wait() {
    let mut house = House::with(few());
    let mut client = house.client(CONNECT_311).await;
    for id in 1..=12 {
        client.publish(1, id).await;
        house.is_read().await;
    }
    let start = Instant::now();
    house.shared.gate.turn(true);
    assert_eq!(house.ending().await, Ending::Busy);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(client.rest().await, [0_u8; 0], "3.1.1 has no last word");
}

#[tokio::test(start_paused = true)]
async fn readings_that_found_no_room_before_the_end_are_in_the_books_as_returned() {
    let mut house = house(few(), no_budget());
    let mut client = house.client(CONNECT_311).await;
    for id in 1..=12 {
        client.publish(1, id).await;
        house.is_read().await;
    }
    house.shared.gate.turn(true);
    assert_eq!(house.ending().await, Ending::Busy);
    let stats = house.shared.intake.stats();
    let mqtt = stats.source(intake::stats::SourceKind::Mqtt);
    assert_eq!(mqtt.received.get(), 10, "the brake left two in the socket, and one was read");
    assert_eq!(mqtt.returned.get(), 9, "the first one has used up the budget");
    assert_eq!(house.shared.stats.answers.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_within_its_window_keeps_its_connection_while_the_journal_is_full() {
    let mut house = House::with(few());
    let mut client = house.client(CONNECT_311).await;
    house.shared.gate.turn(true);
    for id in 1..=9 {
        client.publish(1, id).await;
    }
    for _ in 0..20 {
        sleep(Duration::from_secs(9)).await;
        assert!(client.answers_ping().await);
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_brake_a_version_5_client_and_it_is_told_that_the_server_is_busy() {
    let mut house = House::with(Limits { unacked_bytes_max: 1000, ..Limits::default() });
    let mut client = house.client(CONNECT_5).await;
    house.shared.gate.turn(true);
    let payload = b"\x00".iter().chain([b'1'; 100].iter()).copied().collect::<Vec<_>>();
    let start = Instant::now();
    for id in 1..=12 {
        client.send(&publish(1, id, &payload)).await;
        house.is_read().await;
    }
    let told = client.rest().await;
    assert_eq!((told[0], told[2]), (0xe0, 0x89));
    drop(client);
    assert_eq!(house.ending().await, Ending::Busy);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn qos_0_is_dropped_and_counted_while_the_journal_is_full_and_the_connection_stays() {
    let mut house = House::open();
    let mut client = house.client(CONNECT_311).await;
    house.shared.gate.turn(true);
    for _ in 0..50 {
        client.publish(0, 0).await;
    }
    assert!(client.answers_ping().await);
    assert_eq!(house.shared.stats.dropped.get(), 50);
    house.shared.gate.turn(false);
    client.publish(0, 0).await;
    assert!(client.answers_ping().await);
    assert_eq!(house.shared.stats.dropped.get(), 50);
}

#[tokio::test(start_paused = true)]
async fn qos_0_that_finds_no_room_is_held_up_to_the_limit_and_then_dropped() {
    let limits = Limits { unacked_bytes_max: 2000, ..Limits::default() };
    let mut house = house(limits, no_budget());
    let mut client = house.client(CONNECT_311).await;
    // Uses up the budget: the sync is held.
    client.publish(1, 1).await;
    assert!(client.answers_ping().await);
    for _ in 0..500 {
        client.publish(0, 0).await;
    }
    assert_eq!(house.shared.stats.dropped.get(), 0);
    assert!(!client.answers_ping().await, "the brake is on");
    house.shared.gate.turn(true);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(client.packet().await, PINGRESP);
    client.publish(0, 0).await;
    assert!(client.answers_ping().await, "stuck, and alive");
    assert!(house.shared.stats.dropped.get() > 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_in_while_the_gate_is_shut() {
    let mut house = House::open();
    house.shared.gate.turn(true);
    for (connect, code) in [(CONNECT_311, 3), (CONNECT_5, 0x88)] {
        let mut client = house.connect();
        client.send(connect).await;
        let told = client.rest().await;
        assert_eq!((told[0], told[3]), (0x20, code));
        drop(client);
        assert_eq!(house.ending().await, Ending::Refused(Refusal::Full));
    }
    house.shared.gate.turn(false);
    house.client(CONNECT_5).await;
}
