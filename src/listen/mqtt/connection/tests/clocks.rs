//! Every wait on a client has a deadline.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_by_the_handshake_deadline() {
    let mut house = House::open();
    let start = Instant::now();
    let mut client = house.connect();
    assert_eq!(house.ending().await, Ending::Silent);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(client.rest().await, [0_u8; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_trickles_is_closed_by_the_handshake_deadline() {
    let mut house = House::open();
    let start = Instant::now();
    let mut client = house.connect();
    for byte in &CONNECT_311[..4] {
        client.send(&[*byte]).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(house.ending().await, Ending::Silent);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn silence_after_one_and_a_half_keep_alives_is_the_end_and_pings_are_not_silence() {
    let mut house = House::open();
    let mut client = house.client(CONNECT_5).await;
    for _ in 0..5 {
        sleep(Duration::from_secs(14)).await;
        assert!(client.answers_ping().await);
    }
    let last = Instant::now();
    let told = client.rest().await;
    assert_eq!((told[0], told[2]), (0xe0, 0x8d));
    drop(client);
    assert_eq!(house.ending().await, Ending::KeepAlive);
    assert!(last.elapsed() <= Duration::from_secs(15), "{:?}", last.elapsed());
    assert_eq!(house.shared.stats.pings.get(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_not_read_from_and_closed_in_time() {
    let mut house = House::open();
    let mut client = house.connect_over(1024);
    client.send(CONNECT_311).await;
    let start = Instant::now();
    // As much as is taken: it is bounded.
    let pings = PINGREQ.repeat(512);
    let mut sent = 0;
    while timeout(Duration::from_secs(1), client.pipe.write_all(&pings)).await.is_ok() {
        sent += pings.len();
        assert!(sent < 100_000, "it is read from for ever");
    }
    assert_eq!(house.ending().await, Ending::Unread);
    assert!(start.elapsed() < Duration::from_secs(35), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_trickles_is_closed_by_its_own_deadline() {
    let mut house = House::open();
    // A keep alive of 1,000 s.
    let mut client = house.client(b"\x10\x0e\x00\x04MQTT\x04\x02\x03\xe8\x00\x02d1").await;
    let start = Instant::now();
    let packet = publish(0, 0, &[b'1'; 100]);
    for byte in &packet[..55] {
        client.send(&[*byte]).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(house.ending().await, Ending::Trickling);
    assert_eq!(start.elapsed(), Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_takeover_tells_the_old_connection_and_lets_the_new_one_in() {
    let mut house = House::open();
    let mut older = house.client(CONNECT_5).await;
    let mut newer = house.client(CONNECT_5).await;
    let told = older.rest().await;
    assert_eq!((told[0], told[2]), (0xe0, 0x8e));
    drop(older);
    assert_eq!(house.ending().await, Ending::TakenOver);
    assert!(newer.answers_ping().await);
    assert_eq!(house.shared.stats.clients.get(), 1);
}
