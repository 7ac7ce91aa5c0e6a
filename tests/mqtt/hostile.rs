//! Does bad input get a clear answer, and does it cost nobody else anything?

use std::time::Duration;

use tidegate::listen::mqtt;
use tidegate::listen::mqtt::packet::Violation;

use super::rig::*;

/// What is sent after CONNECT, and the version 5 reason and the count that it must bring.
fn after_connect_5() -> Vec<(Vec<u8>, u8, Violation)> {
    vec![
        (publish_5(0x30, 0, "a/+", b"1"), 0x90, Violation::Topic),
        (publish_5(0x30, 0, "a/#", b"1"), 0x90, Violation::Topic),
        (publish_5(0x30, 0, "a\0b", b"1"), 0x90, Violation::Topic),
        (publish_5(0x32, 0, "a", b"1"), 0x82, Violation::PacketId),
        (publish_5(0x36, 1, "a", b"1"), 0x81, Violation::Qos),
        (publish(0x30, 0, "", b"\x03\x23\x00\x09"), 0x94, Violation::TopicAlias),
        (publish(0x30, 0, "a", b"\x03\x23\xff\xff"), 0x94, Violation::TopicAlias),
        (publish(0x30, 0, "a", b"\x02\x7e\x00"), 0x82, Violation::Property),
        (packet(0x30, b"\x00\x01\xff\x00"), 0x81, Violation::Utf8),
        (packet(0x30, b"\x00\x09abc"), 0x81, Violation::CutShort),
        (vec![0x30, 0xff, 0xff, 0xff, 0x7f], 0x95, Violation::TooLarge),
        (vec![0x30, 0xff, 0xff, 0xff, 0xff], 0x81, Violation::Length),
        (vec![0xf0, 0], 0x82, Violation::Auth),
        (vec![0xc5, 0], 0x81, Violation::Flags),
        (vec![0x00, 0], 0x81, Violation::PacketType),
        (vec![0x40, 2, 0, 1], 0x81, Violation::PacketType),
        (CONNECT_5.to_vec(), 0x82, Violation::SecondConnect),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breach_ends_its_own_connection_with_its_reason_and_is_counted() {
    let mut gateway = Gateway::start().await;
    let mut bystander = gateway.client(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02by").await;
    let cases = after_connect_5();
    for (bytes, reason, violation) in &cases {
        let before = gateway.stats.violations(*violation);
        let mut client = gateway.client(CONNECT_5).await;
        // A good message first: it is stored and acknowledged all the same.
        client.send(&[&publish_5(0x32, 5, "garden/t", b"1"), &bytes[..]].concat()).await;
        let told = client.rest().await;
        assert_eq!(told[..4], [0x40, 2, 0, 5], "{violation:?} {told:02x?}");
        assert_eq!((told[4], told[6]), (0xe0, *reason), "{violation:?} {told:02x?}");
        drop(client);
        while gateway.stats.violations(*violation) == before {
            tokio::task::yield_now().await;
        }
        bystander.is_ponged().await;
    }
    assert_eq!(gateway.readings(cases.len()).await.len(), cases.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_hello_is_answered_where_there_is_an_answer_and_hung_up_on_otherwise() {
    let gateway = Gateway::start().await;
    let cases: &[(&[u8], &[u8])] = &[
        (b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x3c\x00\x00", &[0x20, 2, 0, 1]),
        (b"\x10\x0e\x00\x06MQIsdp\x09\x02\x00\x3c\x00\x00", &[0x20, 2, 0, 1]),
        (b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x3c\x00\x00", &[0x20, 2, 0, 1]),
        (b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00", &[0x20, 2, 0, 2]),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", &[]),
        (b"\x10\xff\xff\xff\xff", &[]),
        (b"\x10\x80\x80\x02", &[]),
        (b"GET / HTTP/1.1\r\n\r\n", &[]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[]),
        (b"\xc0\x00", &[]),
        (b"\x30\x04\x00\x01a1", &[]),
    ];
    for (hello, answer) in cases {
        let mut client = gateway.open().await;
        client.send(hello).await;
        assert_eq!(client.rest().await, *answer, "{hello:02x?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_are_closed_by_their_deadline_while_others_work() {
    let handshake_max = Duration::from_millis(300);
    let limits = mqtt::Limits { handshake_max, ..mqtt::Limits::default() };
    let gateway = Gateway::with(Setup { limits, connections_max: 400, ..Setup::default() }).await;
    let mut silent = Vec::new();
    for at in 0..300 {
        let mut client = gateway.open().await;
        client.send(&CONNECT_311[..at % 5]).await; // Some say a little.
        silent.push(client);
    }
    let mut worker = gateway.client(CONNECT_311).await;
    for id in 1..=50 {
        worker.send(&publish(0x32, id, "garden/t", b"1")).await;
        assert_eq!(worker.packet().await[2..], id.to_be_bytes());
    }
    for mut client in silent {
        assert_eq!(client.rest().await, [0_u8; 0]);
    }
    worker.is_ponged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_its_answers_is_closed_and_holds_little() {
    let write_max = Duration::from_millis(500);
    let limits = mqtt::Limits { write_max, ..mqtt::Limits::default() };
    let gateway = Gateway::with(Setup { limits, ..Setup::default() }).await;
    let mut client = gateway.client(CONNECT_311).await;
    let subscribe = packet(0x82, &[&[0, 1][..], &b"\x00\x01a\x00".repeat(10_000)].concat());
    // 10 kB of refusals each: the sockets' buffers are full soon, and then nothing more is read.
    let flood = async {
        let mut sent = 0_u64;
        while tokio::io::AsyncWriteExt::write_all(&mut client.stream, &subscribe).await.is_ok() {
            sent += subscribe.len() as u64;
        }
        sent
    };
    let sent = tokio::time::timeout(PATIENCE, flood).await.expect("it is closed");
    assert!(sent < 200 << 20, "{sent} bytes were taken from a client that does not read");
    let mut other = gateway.client(CONNECT_311).await;
    other.is_ponged().await;
}
