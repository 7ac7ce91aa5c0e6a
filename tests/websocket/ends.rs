//! How a connection ends.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::Device;
use crate::support::{
    inside::{Inside, Settings},
    raw::ask,
};
use tidegate::listen::http;

fn messages_up_to(bytes: usize) -> Settings {
    let http = http::Limits { websocket_message_bytes_max: bytes, ..http::Limits::default() };
    Settings { http, ..Settings::default() }
}

#[tokio::test]
async fn at_shutdown_what_was_read_is_acknowledged_before_the_goodbye() {
    let inside = Inside::start(Settings::default()).await;
    let mut device = Device::connect(inside.port, "?device=d").await;
    inside.disk.hold();
    device.send(r#"{"t":1.5,"ts":1}"#).await;
    inside.wait_until_held().await;
    device.send(r#"{"t":2.5,"ts":2}"#).await;
    device.ping().await; // So it has read both.
    inside.shut_down();
    let early = device.next_within(Duration::from_millis(300)).await;
    assert!(early.is_none(), "before the sync: {early:?}");
    inside.disk.release();
    let (answers, code, reason) = device.goodbye().await;
    assert_eq!(answers.last(), Some(&json!({"ack": 2})));
    assert_eq!((code, reason.as_str()), (1001, "shutting down"));
    assert_eq!(inside.stats.websocket.ended("shutting_down"), 1);
    drop(device);
    assert_eq!(inside.stop().await.len(), 2);
}

/// Scripts that send and hang up expect their readings to arrive.
#[tokio::test]
async fn what_was_sent_before_a_goodbye_is_stored_although_nobody_waits() {
    let mut inside = Inside::start(Settings::default()).await;
    let mut device = Device::connect(inside.port, "?device=d").await;
    for n in 0..10 {
        device.send(&format!("{{\"t\":{n}.5,\"ts\":{n}}}")).await;
    }
    device.say(Message::Close(None)).await;
    let mut lines = Vec::new();
    while lines.len() < 10 {
        lines.extend(inside.some_lines().await);
    }
    assert_eq!(lines.len(), 10);
    assert_eq!(inside.stats.websocket.ended("left"), 1);
    drop(device);
    inside.stop().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_connection_after_the_answers_before_it() {
    let inside = Inside::start(messages_up_to(1000)).await;
    let mut device = Device::connect(inside.port, "?device=d").await;
    device.send(r#"{"t":1.5,"ts":1}"#).await;
    device.send(&"x".repeat(1001)).await;
    let (answers, code, reason) = device.goodbye().await;
    assert_eq!(answers, [json!({"ack": 1})]);
    assert_eq!(code, 1009);
    assert!(reason.contains("too large"));

    // In fragments, each of them small enough.
    let mut device = Device::connect(inside.port, "?device=d").await;
    for data in [Data::Text, Data::Continue, Data::Continue] {
        let frame = Frame::message("x".repeat(400), OpCode::Data(data), false);
        device.say(Message::Frame(frame)).await;
    }
    assert_eq!(device.goodbye().await.1, 1009);
    assert_eq!(inside.stats.websocket.ended("too_large"), 2);
    drop(device);
    inside.stop().await;
}

#[tokio::test]
async fn what_is_not_utf8_or_not_websocket_is_called_so() {
    let inside = Inside::start(Settings::default()).await;
    let mut device = Device::connect(inside.port, "?device=d").await;
    let frame = Frame::message(vec![0xFF, 0xFE], OpCode::Data(Data::Text), true);
    device.say(Message::Frame(frame)).await;
    assert_eq!(device.goodbye().await.1, 1007);

    let mut device = Device::connect(inside.port, "?device=d").await;
    let frame = Frame::message("lost", OpCode::Data(Data::Continue), true);
    device.say(Message::Frame(frame)).await;
    assert_eq!(device.goodbye().await.1, 1002);
    assert_eq!(inside.stats.websocket.ended("utf8"), 1);
    assert_eq!(inside.stats.websocket.ended("protocol"), 1);
    drop(device);
    inside.stop().await;
}

#[tokio::test]
async fn an_upgrade_that_is_none_is_refused_with_what_is_missing() {
    let inside = Inside::start(Settings::default()).await;
    let headers = [("connection", "upgrade"), ("upgrade", "websocket")];
    let answer = ask(inside.port, "GET /v1/stream", &headers, b"").await;
    assert_eq!(answer.status, 426);
    assert!(
        answer.json()["error"].as_str().unwrap().contains("Sec-WebSocket-Version"),
        "{answer:?}"
    );
    inside.stop().await;
}
