//! Packets that come in parts, and what they may hold.

use super::*;

#[tokio::test(start_paused = true)]
async fn packets_are_the_same_however_they_are_cut() {
    let mut stream = CONNECT_311.to_vec();
    for id in 1..40 {
        stream.extend_from_slice(&publish(1, id, &vec![b'1'; usize::from(id) * 7]));
        stream.extend_from_slice(PINGREQ);
    }
    for step in [1, 2, 3, 7, 50, 1000, stream.len()] {
        let mut house = House::open();
        let mut client = house.connect();
        for part in stream.chunks(step) {
            client.send(part).await;
            // Lets the other side read this much by itself.
            tokio::task::yield_now().await;
        }
        assert_eq!(client.packet().await[0], 0x20);
        for _ in 1..40 {
            assert_eq!(client.packet().await, PINGRESP);
        }
        let qos_1 = crate::listen::mqtt::packet::Qos::AtLeastOnce;
        assert_eq!(house.shared.stats.publishes(qos_1), 39, "{step}");
        assert_eq!(house.shared.stats.bytes_received.get(), stream.len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_length_is_not_believed_before_its_bytes_come() {
    let mut house = House::open();
    let mut client = house.client(CONNECT_311).await;
    // 256 KiB are claimed, five bytes are there.
    client.send(&[0x30, 0xf0, 0xff, 0x0f, 0]).await;
    tokio::task::yield_now().await;
    assert!(!house.shared.pool.is_tight());
    drop(client);
    assert_eq!(house.ending().await, Ending::HungUp);
}

#[tokio::test(start_paused = true)]
async fn parts_of_packets_share_one_pool_and_the_one_that_wants_more_ends() {
    let mut house = House::with(Limits { held_bytes_max: 40_000, ..Limits::default() });
    let large = publish(0, 0, &vec![b'1'; 60_000]);
    let (half, rest) = large.split_at(30_000);
    let mut first = house.client(CONNECT_311).await;
    let mut second = house.client(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x02d2").await;
    first.send(half).await;
    assert!(house.connections.try_join_next().is_none());
    second.send(half).await;
    let told = second.rest().await;
    assert_eq!((told[0], told[2]), (0xe0, 0x89));
    drop(second);
    assert_eq!(house.ending().await, Ending::Memory);
    // What is given back is there for others; small packets were never in question.
    let mut third = house.client(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x0a\x00\x02d3").await;
    third.send(&half[..3000]).await;
    first.send(rest).await;
    assert!(first.answers_ping().await);
}

#[tokio::test(start_paused = true)]
async fn a_packet_beyond_the_maximum_ends_the_connection_at_its_length() {
    let mut house = House::open();
    let mut client = house.client(CONNECT_5).await;
    client.send(&[0x30, 0x81, 0x80, 0x10]).await;
    let told = client.rest().await;
    assert_eq!((told[0], told[2]), (0xe0, 0x95));
    drop(client);
    assert_eq!(house.ending().await, Ending::Violation(Violation::TooLarge));
}

#[tokio::test(start_paused = true)]
async fn another_protocol_is_hung_up_on_at_its_first_byte() {
    for hello in [&b"G"[..], b"\x16\x03\x01", b"\x00", b"\xc0\x00"] {
        let mut house = House::open();
        let start = Instant::now();
        let mut client = house.connect();
        client.send(hello).await;
        assert_eq!(client.rest().await, [0_u8; 0]);
        assert!(matches!(house.ending().await, Ending::Violation(_)));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_client_may_publish_without_waiting_for_its_connack() {
    let mut house = House::open();
    let mut client = house.connect();
    let mut all = CONNECT_311.to_vec();
    all.extend_from_slice(&publish(0, 0, b"1"));
    all.extend_from_slice(&[0xe0, 0]);
    client.send(&all).await;
    assert_eq!(client.rest().await, [0x20, 2, 0, 0]);
    drop(client);
    assert_eq!(house.ending().await, Ending::Left);
}
