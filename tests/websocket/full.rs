//! A journal that is full, a disk that is stuck, peers that do not listen.

use std::time::Duration;

use futures_util::SinkExt as _;
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::{client_async, tungstenite::Message};

use super::Device;
use crate::support::{
    inside::{Inside, PATIENCE, Settings},
    raw::{Raw, ask},
};
use tidegate::listen::http;

const MOMENT: Duration = Duration::from_millis(200);

fn limited(change: impl FnOnce(&mut http::Limits)) -> Settings {
    let mut http = http::Limits { full_wait: MOMENT, ..http::Limits::default() };
    change(&mut http);
    Settings { http, ..Settings::default() }
}

fn incompressible(n: u64) -> String {
    let noise = (0..60).map(|k| fastrand::Rng::with_seed(n * 100 + k).u64(..).to_string());
    format!("{{\"n\":{n},\"s\":\"{}\",\"ts\":{n}}}", noise.collect::<String>())
}

#[tokio::test]
async fn a_full_journal_sends_messages_back_and_takes_them_when_there_is_room() {
    let mut settings = limited(|_| {});
    settings.journal = Some((64 * 1024, 16 * 1024));
    let mut inside = Inside::start(settings).await;
    let mut device = Device::connect(inside.port, "?device=d").await;
    let mut number = 0;
    // What was handed on before it was noticed stays unanswered until there is room.
    let nack = loop {
        number += 1;
        assert!(number < 2_000, "the journal never fills");
        device.send(&incompressible(number)).await;
        if let Some(answer) = device.next_within(2 * MOMENT).await {
            let Message::Text(text) = answer.unwrap() else { panic!("not text") };
            let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
            if answer.get("nack").is_some() {
                break answer;
            }
        }
    };
    assert_eq!((&nack["nack"], &nack["retry"]), (&json!(number), &json!(true)));
    assert!(nack["reason"].as_str().unwrap().contains("full"), "{nack}");
    device.ping().await;
    // A newcomer is told to come later.
    let headers = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = ask(inside.port, "GET /v1/stream", &headers, b"").await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());

    let mut stored = inside.lines().await;
    assert!(device.acked(number - 1).await.is_empty(), "what was taken is acknowledged after all");
    let began = Instant::now();
    let mut again = number;
    loop {
        assert!(began.elapsed() < PATIENCE, "never taken");
        again += 1;
        device.send(&incompressible(number)).await;
        stored.extend(inside.lines().await);
        if device.answer().await.get("ack").is_some() {
            break;
        }
    }
    drop(device);
    stored.extend(inside.stop().await);
    assert_eq!(stored.len() as u64, number, "each once");
    assert!(again > number);
}

#[tokio::test]
async fn beyond_its_share_a_device_is_braked_then_sent_back_and_pings_still_come_back() {
    let inside = Inside::start(limited(|http| http.websocket_unacked_messages_max = 10)).await;
    let mut device = Device::connect(inside.port, "?device=d").await;
    inside.disk.hold();
    for n in 1..=15 {
        device.send(&format!("{{\"t\":{n}.5,\"ts\":{n}}}")).await;
    }
    let mut sent_back = Vec::new();
    while sent_back.len() < 5 {
        let nack = device.answer().await;
        assert_eq!(nack["retry"], true, "{nack}");
        sent_back.push(nack["nack"].as_u64().unwrap());
    }
    assert_eq!(sent_back, [11, 12, 13, 14, 15]);
    device.ping().await;
    inside.disk.release();
    assert!(device.acked(10).await.is_empty());
    device.send(r#"{"t":16.5,"ts":16}"#).await;
    assert!(device.acked(16).await.is_empty());
    assert_eq!(inside.stats.websocket.sent_back.get(), 5);
    drop(device);
    assert_eq!(inside.stop().await.len(), 11);
}

/// It sends and never reads: its answers fill the socket, and then it is cut off. Another one is not.
#[tokio::test]
async fn a_peer_that_never_reads_is_cut_off_and_costs_nobody_else_anything() {
    let inside = Inside::start(limited(|http| http.write_max = MOMENT)).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(([127, 0, 0, 1], inside.port).into()).await.unwrap();
    let url = format!("ws://127.0.0.1:{}/v1/stream", inside.port);
    let (mut deaf, _) = client_async(url, stream).await.unwrap();
    // Every one of them is answered with a long reason.
    let cut_off = async {
        loop {
            let refused = Message::text("{\"this\":is no JSON}");
            if deaf.feed(refused).await.is_err() {
                return;
            }
        }
    };
    let other = async {
        let mut device = Device::connect(inside.port, "?device=d").await;
        for n in 1..=50 {
            device.send(r#"{"t":1.5}"#).await;
            assert!(device.acked(n).await.is_empty());
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(cut_off, other) })
        .await
        .expect("never cut off");
    assert_eq!(inside.stats.websocket.ended("unread"), 1);
    inside.stop().await;
}

#[tokio::test]
async fn large_messages_beyond_the_memory_there_is_end_their_connection_with_a_word() {
    let inside = Inside::start(limited(|http| http.memory_bytes_max = 256 * 1024)).await;
    let mut small = Device::connect(inside.port, "?device=d").await;
    let large = Device::connect(inside.port, "?device=d").await;
    let message = Message::text(format!("{{\"s\":\"{}\"}}", "x".repeat(800_000)));
    // The other side stops reading in the middle of it, and says so.
    let (sent, said) = {
        let (mut sink, mut stream) = futures_util::StreamExt::split(large.0);
        tokio::join!(async move { sink.send(message).await }, async move {
            futures_util::StreamExt::next(&mut stream).await
        })
    };
    let Some(Ok(Message::Close(Some(frame)))) = said else { panic!("{said:?} {sent:?}") };
    assert_eq!(u16::from(frame.code), 1013);
    assert_eq!(inside.stats.websocket.ended("memory"), 1);
    small.send(r#"{"t":1.5}"#).await;
    assert!(small.acked(1).await.is_empty());
    drop(small);
    inside.stop().await;
}

#[tokio::test]
async fn a_silent_peer_is_asked_and_then_closed() {
    let inside = Inside::start(limited(|http| http.websocket_silence_max = MOMENT)).await;
    // This one answers pings, as clients do.
    let mut alive = Device::connect(inside.port, "?device=d").await;
    let answers_pings = async { alive.next_within(6 * MOMENT).await };
    // This one does not.
    let silent = async {
        let mut raw = Raw::connect(inside.port).await;
        raw.send(
            b"GET /v1/stream HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
        assert_eq!(raw.answer().await.status, 101);
        raw.rest().await
    };
    let (still_open, said) = tokio::join!(answers_pings, silent);
    assert!(still_open.is_none(), "{still_open:?}");
    assert_eq!(&said[..2], [0x89, 0], "a ping");
    assert_eq!(said[2], 0x88, "a close");
    assert_eq!(inside.stats.websocket.ended("silent"), 1);
    assert_eq!(u16::from_be_bytes([said[4], said[5]]), 1008);
    drop(alive);
    inside.stop().await;
}
