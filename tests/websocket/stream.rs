//! Messages in, acknowledgements out.

use std::time::Duration;

use futures_util::SinkExt as _;
use proto::{Reading, Time, Timestamp, Value, frame};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::Device;
use crate::support::inside::{Inside, Settings};

const AT_ONCE: Duration = Duration::from_millis(300);

fn a_frame(n: i64) -> Vec<u8> {
    let reading = Reading {
        measurement: "m".into(),
        tags: vec![("device".into(), "f".into())],
        fields: vec![("n".into(), Value::Signed(n))],
        time: Time::At(Timestamp::from_nanos(n)),
    };
    let mut bytes = Vec::new();
    frame::encode(&[reading], &mut bytes);
    bytes
}

#[tokio::test]
async fn text_is_json_binary_is_frames_and_both_are_numbered_in_their_order() {
    let mut inside = Inside::start(Settings::default()).await;
    let mut device = Device::connect(inside.port, "").await;
    device.send(r#"{"device":"d","measurement":"m","fields":{"t":1.5},"ts":1}"#).await;
    assert_eq!(device.answer().await, json!({"ack": 1}));
    device.say(Message::binary(a_frame(2))).await;
    device.send(r#"[{"device":"d","t":3.5,"ts":3},{"device":"d","t":4.5,"ts":4}]"#).await;
    assert!(device.acked(3).await.is_empty());
    assert_eq!(
        inside.lines().await,
        [
            "m,device=d t=1.5 1000000000",
            "m,device=f n=2i 2",
            "readings,device=d t=3.5 3000000000",
            "readings,device=d t=4.5 4000000000"
        ]
    );
    // A message that brings nothing is answered too, without waiting for anything.
    device.send("[]").await;
    assert_eq!(device.answer().await, json!({"ack": 4}));
    drop(device);
    inside.stop().await;
}

#[tokio::test]
async fn no_acknowledgement_leaves_before_the_sync_and_pings_do_not_wait_for_it() {
    let inside = Inside::start(Settings::default()).await;
    inside.disk.hold();
    let mut device = Device::connect(inside.port, "?device=d").await;
    device.send(r#"{"t":1.5,"ts":1}"#).await;
    inside.wait_until_held().await;
    device.send("broken").await;
    device.send(r#"{"t":3.5,"ts":3}"#).await;
    let early = device.next_within(AT_ONCE).await;
    assert!(early.is_none(), "before the sync: {early:?}");
    device.ping().await;
    inside.disk.release();
    let nacks = device.acked(3).await;
    let [nack] = &nacks[..] else { panic!("{nacks:?}") };
    assert_eq!((&nack["nack"], &nack["retry"]), (&json!(2), &json!(false)));
    drop(device);
    assert_eq!(inside.stop().await.len(), 2);
}

#[tokio::test]
async fn an_acknowledgement_before_the_sync_would_be_seen() {
    let inside = Inside::start(Settings::default()).await;
    inside.disk.hold();
    inside.disk.lie();
    let mut device = Device::connect(inside.port, "?device=d").await;
    device.send(r#"{"t":1.5}"#).await;
    assert_eq!(device.answer().await, json!({"ack": 1}));
    inside.disk.release();
    drop(device);
    inside.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_named_before_it_is_covered() {
    let mut inside = Inside::start(Settings::default()).await;
    let mut device = Device::connect(inside.port, "").await;
    for message in [
        r#"{"device":"d","t":1.5,"ts":1}"#,
        r#"{"t":2.5}"#,
        r#"{"device":"d"}"#,
        r#"[{"device":"d","t":4.5,"ts":4},{"device":"d"},{"device":"d","t":5.5,"ts":5}]"#,
    ] {
        device.0.feed(Message::text(message)).await.unwrap();
    }
    device.say(Message::binary("no frame")).await;
    let nacks = device.acked(5).await;
    let numbers: Vec<_> = nacks.iter().map(|nack| nack["nack"].clone()).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    assert!(nacks.iter().all(|nack| nack["retry"] == false));
    assert!(nacks[0]["reason"].as_str().unwrap().contains("?device="), "{nacks:?}");
    assert!(nacks[2]["reason"].as_str().unwrap().starts_with("reading 1: "), "{nacks:?}");
    assert_eq!(inside.lines().await.len(), 3);
    let refused = inside.refused().await;
    assert_eq!(refused.len(), 4);
    assert!(refused.iter().all(|one| one.source == "ws" && one.path == "/v1/stream"));
    assert_eq!(inside.stats.websocket.refused.get(), 4);
    drop(device);
    inside.stop().await;
}

/// Sent without waiting: far more messages than acknowledgements.
#[tokio::test]
async fn a_device_that_sends_without_waiting_gets_acknowledgements_by_the_group() {
    let mut inside = Inside::start(Settings::default()).await;
    let device = Device::connect(inside.port, "?device=d").await;
    let (mut sink, stream) = futures_util::StreamExt::split(device.0);
    let send = async {
        for n in 0..20_000 {
            sink.feed(Message::text(format!("{{\"n\":{n},\"ts\":{n}}}"))).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    let hear = async {
        let (mut stream, mut last, mut answers) = (stream, 0, 0_u64);
        while last < 20_000 {
            let Message::Text(text) =
                futures_util::StreamExt::next(&mut stream).await.unwrap().unwrap()
            else {
                panic!("not text")
            };
            let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
            let ack = answer["ack"].as_u64().unwrap_or_else(|| panic!("{answer}"));
            assert!(ack > last, "{ack} after {last}");
            last = ack;
            answers += 1;
        }
        answers
    };
    let ((), answers) = tokio::join!(send, hear);
    assert!(answers < 5_000, "{answers} answers");
    assert_eq!(inside.lines().await.len(), 20_000);
    inside.stop().await;
}

/// In pieces, with a ping between them, larger than any buffer.
#[tokio::test]
async fn a_large_message_may_come_in_fragments() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let mut inside = Inside::start(Settings::default()).await;
    let mut device = Device::connect(inside.port, "?device=d").await;
    let text = format!("{{\"s\":\"{}\",\"ts\":1}}", "x".repeat(60_000));
    let (head, rest) = text.split_at(10);
    let (middle, end) = rest.split_at(40_000);
    let pieces = [head, middle, end];
    for (at, piece) in pieces.iter().enumerate() {
        let data = if at == 0 { Data::Text } else { Data::Continue };
        let is_last = at + 1 == pieces.len();
        let frame = Frame::message((*piece).to_owned(), OpCode::Data(data), is_last);
        device.say(Message::Frame(frame)).await;
        device.say(Message::Ping("x".into())).await;
    }
    assert!(device.acked(1).await.is_empty());
    // And whole ones, again and again: the buffers that they need are given back every time.
    for n in 2..=20 {
        device.send(&text).await;
        assert!(device.acked(n).await.is_empty());
    }
    assert_eq!(inside.lines().await.len(), 20);
    drop(device);
    inside.stop().await;
}
