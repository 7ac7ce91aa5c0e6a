//! Is a message acknowledged when it is durable, and not before?

use super::rig::*;

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

/// Publishes while syncs are held. True: the answer came all the same.
async fn is_answered_before_the_sync(gateway: &Gateway, client: &mut Client, bytes: &[u8]) -> bool {
    gateway.control.hold();
    client.send(bytes).await;
    if !gateway.sync_is_held().await {
        return true; // The sync returned although it is held: the answer is on its way.
    }
    // An answer that does not wait for the sync is written before the next packet is read.
    client.send(PINGREQ).await;
    client.packet().await != PINGRESP
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_waits_for_the_sync_in_every_version() {
    let gateway = Gateway::start().await;
    for (connect, publish) in [
        (CONNECT_31, publish as fn(u8, u16, &str, &[u8]) -> Vec<u8>),
        (CONNECT_311, publish),
        (CONNECT_5, publish_5),
    ] {
        for (first, answer) in [(0x32, PUBACK), (0x34, PUBREC)] {
            let mut client = gateway.client(connect).await;
            let bytes = publish(first, 7, "garden/t", b"21.5");
            assert!(!is_answered_before_the_sync(&gateway, &mut client, &bytes).await);
            gateway.control.release();
            assert_eq!(client.packet().await, [answer, 2, 0, 7]);
        }
    }
}

/// The mutant: a disk that says "synced" without having synced is what an early answer looks like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_sync_would_be_noticed() {
    let gateway = Gateway::start().await;
    gateway.control.lie();
    let mut client = gateway.client(CONNECT_311).await;
    gateway.control.hold();
    client.send(&publish(0x32, 7, "garden/t", b"21.5")).await;
    assert_eq!(client.packet().await, [PUBACK, 2, 0, 7], "although the sync is held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_while_the_sync_is_held() {
    let gateway = Gateway::start().await;
    let mut client = gateway.client(CONNECT_311).await;
    gateway.control.hold();
    for id in 1..=100 {
        client.send(&publish(0x32, id, "garden/t", b"21.5")).await;
        client.is_ponged().await;
    }
    gateway.control.release();
    for id in 1..=100_u16 {
        assert_eq!(client.packet().await[2..], id.to_be_bytes());
    }
}

/// Stored ones, filtered ones, repeated ones, both QoS: whatever waits for what, the order is that
/// of the PUBLISH packets (MQTT-4.6.0-2, -3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_in_the_order_of_the_messages() {
    let mut gateway = Gateway::start().await;
    let mut client = gateway.client(CONNECT_311).await;
    let (mut expected, mut stored) = (Vec::new(), 0);
    for round in 0..20_u16 {
        let mut bytes = Vec::new();
        for at in 0..50_u16 {
            let id = round * 50 + at + 1;
            let [high, low] = id.to_be_bytes();
            let (first, answer) = if at % 7 == 0 { (0x34, PUBREC) } else { (0x32, PUBACK) };
            let topic = if at % 3 == 0 { "$SYS/load" } else { "garden/t" };
            stored += usize::from(at % 3 != 0);
            bytes.extend_from_slice(&publish(first, id, topic, b"21.5"));
            expected.push([answer, 2, high, low].to_vec());
        }
        client.send(&bytes).await;
    }
    for expected in expected {
        assert_eq!(client.packet().await, expected);
    }
    assert_eq!(gateway.readings(stored).await.len(), stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_qos_arrives_with_topic_and_value() {
    let mut gateway = Gateway::start().await;
    let mut client = gateway.client(CONNECT_311).await;
    client.send(&publish(0x30, 0, "garden/a", b"1")).await;
    client.send(&publish(0x33, 1, "garden/b", b"2")).await; // With RETAIN.
    client.send(&publish(0x34, 2, "garden/c", b"{\"t\":3}")).await;
    assert_eq!(client.packet().await, [PUBACK, 2, 0, 1]);
    assert_eq!(client.packet().await, [PUBREC, 2, 0, 2]);
    client.send(&[0x62, 2, 0, 2]).await;
    assert_eq!(client.packet().await, [PUBCOMP, 2, 0, 2]);
    let readings = gateway.readings(3).await;
    let expected =
        ["garden/a value=Float(1.0)", "garden/b value=Float(2.0)", "garden/c t=Float(3.0)"];
    assert_eq!(readings, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_an_answer_is_stored_although_its_sender_leaves_at_once() {
    let mut gateway = Gateway::start().await;
    for disconnect in [&[0xe0, 0][..], &[]] {
        let mut all = CONNECT_311.to_vec();
        all.extend_from_slice(&publish(0x30, 0, "garden/a", b"1"));
        all.extend_from_slice(disconnect);
        let mut client = gateway.open().await;
        client.send(&all).await;
        drop(client);
        assert_eq!(gateway.readings(1).await, ["garden/a value=Float(1.0)"]);
    }
}

/// 0xC1 is a frame by its first byte, and this is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_decoded_is_acknowledged_once_its_rejection_is_durable() {
    let mut gateway = Gateway::start().await;
    let mut client = gateway.client(CONNECT_5).await;
    let bytes = publish_5(0x32, 9, "garden/x", b"\xc1\xff\xff");
    assert!(!is_answered_before_the_sync(&gateway, &mut client, &bytes).await);
    gateway.control.release();
    assert_eq!(client.packet().await, [PUBACK, 3, 0, 9, 0x99]);
    let next = tokio::time::timeout(PATIENCE, gateway.rejects.as_mut().unwrap().next());
    let lease = next.await.expect("a frame").unwrap();
    let rejected: Vec<_> = lease.frame.rejected().map(Result::unwrap).collect();
    assert_eq!((rejected.len(), rejected[0].topic), (1, "garden/x"));
    assert!(rejected[0].bytes.ends_with(b"\xff\xff"), "{:?}", rejected[0]);
    lease.receipt.confirm(&journal::Fates { dead: 1, ..journal::Fates::default() });

    let mut older = gateway.client(CONNECT_311).await;
    older.send(&publish(0x32, 9, "garden/x", b"\xc1\xff\xff")).await;
    assert_eq!(older.packet().await, [PUBACK, 2, 0, 9]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_payload_and_many_in_one_read_arrive_whole() {
    let mut gateway = Gateway::start().await;
    let mut client = gateway.client(CONNECT_311).await;
    let mut many = Vec::new();
    for id in 1..=3000_u16 {
        many.extend_from_slice(&publish(0x32, id, "garden/many", b"{\"temperature\":21.5}"));
    }
    let element = br#"{"a":1,"b":2},"#;
    let mut large = b"[".to_vec();
    (0..15_000).for_each(|_| large.extend_from_slice(element));
    large.extend_from_slice(br#"{"a":1}]"#);
    many.extend_from_slice(&publish(0x32, 3001, "garden/large", &large));
    let (mut reading, mut writing) = client.stream.split();
    let acks = async {
        let mut acks = vec![0; 3001 * 4];
        tokio::io::AsyncReadExt::read_exact(&mut reading, &mut acks).await.unwrap();
        acks.chunks(4).map(|ack| u16::from_be_bytes([ack[2], ack[3]])).collect::<Vec<_>>()
    };
    let sent = tokio::io::AsyncWriteExt::write_all(&mut writing, &many);
    let (acks, sent) = tokio::join!(acks, sent);
    sent.unwrap();
    assert_eq!(acks, (1..=3001).collect::<Vec<_>>());
    let readings = gateway.readings(18_001).await;
    assert_eq!(readings.iter().filter(|reading| reading.starts_with("garden/many")).count(), 3000);
}
