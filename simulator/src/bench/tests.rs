//! Does the load generator count right?

use std::{
    num::{NonZeroU16, NonZeroU32},
    process::id,
    sync::Arc,
};

use rumqttc::mqttbytes::v4::Packet;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use super::*;
use crate::faulty::{Config, Faulty};

/// Accepts every CONNECT, acknowledges every PUBLISH at QoS 1 in reverse order within what one read
/// brought, and counts.
async fn broker(running: &mut JoinSet<()>) -> (String, Arc<std::sync::atomic::AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&count);
    running.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&counted);
            connections.spawn(async move {
                let mut bytes = bytes::BytesMut::new();
                while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                    let mut answers = Vec::new();
                    while let Ok(packet) = Packet::read(&mut bytes, 1 << 20) {
                        let answer = match packet {
                            Packet::Connect(_) => vec![0x20, 2, 0, 0],
                            Packet::PingReq => vec![0xd0, 0],
                            Packet::Publish(publish) => {
                                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                                let [high, low] = publish.pkid.to_be_bytes();
                                if publish.pkid > 0 { vec![0x40, 2, high, low] } else { vec![] }
                            }
                            _ => return,
                        };
                        answers.push(answer);
                    }
                    answers.reverse();
                    if stream.write_all(&answers.concat()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, count)
}

fn options(address: String, qos: u8, until: Until) -> mqtt::Options {
    mqtt::Options {
        address,
        connections: 3,
        qos,
        window: NonZeroU16::new(50).unwrap(),
        until,
        rate: None,
        pids: vec![id()],
    }
}

#[tokio::test]
async fn every_message_is_counted_once_at_both_qos() {
    for qos in [0, 1] {
        let mut running = JoinSet::new();
        let (address, count) = broker(&mut running).await;
        let report = mqtt::run(&options(address, qos, Until::Readings(10_001))).await.unwrap();
        assert_eq!(report.readings, 10_001);
        assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 10_001);
        assert_eq!(report.latency.count(), if qos == 0 { 0 } else { 10_001 });
        assert!(report.readings_per_second() > 0.0);
        assert_eq!(report.processes.len(), 1);
        let text = report.to_string();
        assert!(text.starts_with("10001 readings in ") && text.contains("per million"), "{text}");
    }
}

#[tokio::test]
async fn a_rate_is_kept() {
    let mut running = JoinSet::new();
    let (address, _) = broker(&mut running).await;
    let mut options = options(address, 1, Until::Elapsed(Duration::from_millis(600)));
    options.rate = Some(500.0);
    let report = mqtt::run(&options).await.unwrap();
    assert!((100..=310).contains(&report.readings), "{}", report.readings);
}

#[tokio::test]
async fn lines_posted_over_http_are_counted_plain_and_gzipped() {
    for gzip in [false, true] {
        let config = Config { null: true, ..Config::default() };
        let database = Faulty::start(([127, 0, 0, 1], 0).into(), config).await.unwrap();
        let options = http::Options {
            address: database.address().to_string(),
            connections: 2,
            lines: NonZeroU32::new(100).unwrap(),
            gzip,
            until: Until::Readings(2_000),
            pids: Vec::new(),
        };
        let report = http::run(&options).await.unwrap();
        assert_eq!((report.readings, report.latency.count()), (2_000, 20));
        assert_eq!(database.stats().lines, 2_000);
    }
}

#[tokio::test]
async fn the_lines_are_line_protocol() {
    let database = Faulty::start(([127, 0, 0, 1], 0).into(), Config::default()).await.unwrap();
    let options = http::Options {
        address: database.address().to_string(),
        connections: 1,
        lines: NonZeroU32::new(250).unwrap(),
        gzip: false,
        until: Until::Readings(250),
        pids: Vec::new(),
    };
    http::run(&options).await.unwrap();
    assert_eq!((database.stats().malformed, database.points()), (0, 250));
}

#[tokio::test]
async fn idle_connections_are_held_and_silent_ones_seen_closed() {
    let mut running = JoinSet::new();
    let (address, _) = broker(&mut running).await;
    let hold = Duration::from_millis(50);
    let options = idle::Options { address, connections: 40, silent: false, hold, pids: vec![id()] };
    let report = idle::run(&options, |_| ()).await.unwrap();
    assert_eq!((report.connected, report.failed, report.closed), (40, 0, 0));
    assert!(report.to_string().contains("bytes a connection"));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    running.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let options = idle::Options { address, connections: 5, silent: true, hold, pids: vec![] };
    let report = idle::run(&options, |_| ()).await.unwrap();
    assert_eq!((report.connected, report.closed), (5, 5));
}

#[test]
fn a_reading_is_json_of_about_a_hundred_bytes() {
    for number in 0..2_000 {
        let text = json(number);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["seq"], number);
        assert!((85..=110).contains(&text.len()), "{text}");
    }
}
