//! 204 means: it is on the disk.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::sorted;
use crate::support::{
    inside::{Inside, PATIENCE, Settings},
    raw::{Raw, ask},
};
use tidegate::listen::http;

const V1: &str = "POST /write?db=iot";
const JSON: (&str, &str) = ("content-type", "application/json");

/// Long enough for an answer that does not wait for the disk to arrive many times over.
const AT_ONCE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn no_answer_leaves_before_the_sync_and_all_leave_after_it() {
    let inside = Inside::start(Settings::default()).await;
    inside.disk.hold();
    let mut waiting = Vec::new();
    for (line, body, status) in [
        (V1, &b"m f=1.5 1"[..], 204),
        ("POST /api/v2/write", b"m f=2.5 2", 204),
        ("POST /v1/readings", br#"{"device":"a","t":1}"#, 204),
        (V1, b"good f=1 1\nbad\n", 400),
        ("POST /api/v2/write", b"bad", 400),
        ("POST /v1/readings", br#"[{"device":"a","t":1},{}]"#, 207),
    ] {
        let mut raw = Raw::connect(inside.port).await;
        raw.request(line, &[JSON], body).await;
        waiting.push((raw, status, line));
    }
    inside.wait_until_held().await;
    for (raw, _, line) in &mut waiting {
        assert!(raw.answer_within(AT_ONCE).await.is_none(), "{line} was answered before the sync");
    }
    // What needs no disk is answered meanwhile.
    assert_eq!(ask(inside.port, "GET /ping", &[], b"").await.status, 204);
    inside.disk.release();
    for (mut raw, status, line) in waiting {
        assert_eq!(raw.answer().await.status, status, "{line}");
    }
    assert_eq!(inside.stop().await.len(), 5);
}

/// The test above is worth something: a disk that says that it has synced gets every answer out at once.
#[tokio::test]
async fn an_acknowledgement_before_the_sync_would_be_seen() {
    let inside = Inside::start(Settings::default()).await;
    inside.disk.hold();
    inside.disk.lie();
    let mut raw = Raw::connect(inside.port).await;
    raw.request(V1, &[], b"m f=1.5 1").await;
    assert_eq!(raw.answer().await.status, 204);
    inside.disk.release();
    inside.stop().await;
}

/// Small enough that a few hundred readings fill it.
fn tiny() -> Settings {
    let http = http::Limits { full_wait: Duration::from_millis(200), ..http::Limits::default() };
    Settings { http, journal: Some((64 * 1024, 16 * 1024)), ..Settings::default() }
}

fn incompressible(from: u64, lines: u64) -> String {
    let line = |n: u64| {
        let noise = (0..12).map(|k| fastrand::Rng::with_seed(n * 100 + k).u64(..).to_string());
        format!("m,n={n} text=\"{}\" {n}\n", noise.collect::<String>())
    };
    (from..from + lines).map(line).collect()
}

#[tokio::test]
async fn a_full_journal_is_503_until_there_is_room_again_and_then_everything_arrives() {
    let mut inside = Inside::start(tiny()).await;
    let mut sent = 0;
    let answer = loop {
        let answer = ask(inside.port, V1, &[], incompressible(sent, 10).as_bytes()).await;
        if answer.status != 204 {
            break answer;
        }
        sent += 10;
        assert!(sent < 5_000, "the journal never fills");
    };
    assert!(sent > 0);
    assert_eq!(answer.status, 503);
    assert!(answer.json()["error"].as_str().unwrap().contains("journal is full"));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    for (line, body) in [("POST /api/v2/write", "m f=1.5"), ("POST /v1/readings", "{}")] {
        let began = Instant::now();
        let answer = ask(inside.port, line, &[JSON], body.as_bytes()).await;
        assert_eq!(answer.status, 503, "{line}: {answer:?}");
        assert!(answer.header("retry-after").is_some());
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let answer = ask(inside.port, "POST /api/v2/write", &[], b"m f=1.5").await;
    assert_eq!(answer.json()["code"], json!("unavailable"));

    // An output takes what is there; the client does as it was told. (What was told 503 may have
    // been stored as well: at least once.)
    let mut stored = inside.lines().await;
    let began = Instant::now();
    while ask(inside.port, V1, &[], incompressible(sent, 10).as_bytes()).await.status != 204 {
        assert!(began.elapsed() < PATIENCE, "there is room, and nothing is taken");
        stored.extend(inside.lines().await);
    }
    sent += 10;
    stored.extend(inside.stop().await);
    let expected: Vec<String> = incompressible(0, sent).lines().map(str::to_owned).collect();
    let mut stored = sorted(stored);
    stored.retain(|line| line != "m f=1.5" && !line.starts_with("m f=1.5 "));
    stored.dedup();
    assert_eq!(stored, sorted(expected));
}

#[tokio::test]
async fn a_sync_that_fails_is_not_acknowledged() {
    let mut inside = Inside::start(Settings::default()).await;
    assert_eq!(ask(inside.port, V1, &[], b"m f=0.5 1").await.status, 204);
    inside.disk.fail_syncs(1);
    let answer = ask(inside.port, V1, &[], b"m f=1.5 1").await;
    // The journal goes on in a new segment: the submission is written there, or given up.
    assert!(matches!(answer.status, 204 | 503), "{answer:?}");
    let began = Instant::now();
    while ask(inside.port, V1, &[], b"m f=2.5 2").await.status != 204 {
        assert!(began.elapsed() < PATIENCE, "one failed sync is not the end");
    }
    let lines = inside.lines().await;
    assert!(lines.contains(&"m f=2.5 2".to_owned()), "{lines:?}");
    assert!(answer.status == 503 || lines.contains(&"m f=1.5 1".to_owned()), "{lines:?}");
    inside.stop().await;
}

#[tokio::test]
async fn at_shutdown_what_is_under_way_is_answered_and_nothing_new_is_begun() {
    let inside = Inside::start(Settings::default()).await;
    let mut idle = Raw::connect(inside.port).await;
    idle.request("GET /ping", &[], b"").await;
    assert_eq!(idle.answer().await.status, 204);
    inside.disk.hold();
    let mut under_way = Raw::connect(inside.port).await;
    under_way.request(V1, &[], b"m f=1.5 1").await;
    let mut half_sent = Raw::connect(inside.port).await;
    half_sent.send(b"POST /write HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nm f").await;
    inside.wait_until_held().await;
    inside.shut_down();
    assert!(idle.rest().await.is_empty(), "an idle connection is closed at once");
    assert!(under_way.answer_within(AT_ONCE).await.is_none(), "answered before the sync");
    half_sent.send(b"=2.5 2").await;
    inside.disk.release();
    let answer = under_way.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (204, Some("close")));
    assert_eq!(half_sent.answer().await.status, 204);
    let port = inside.port;
    assert_eq!(sorted(inside.stop().await), ["m f=1.5 1", "m f=2.5 2"]);
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

/// What was handed on before the client went is stored; nobody is told, so it will come again.
#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_costs_nobody_else_anything() {
    let mut inside = Inside::start(Settings::default()).await;
    let mut gone = Raw::connect(inside.port).await;
    let body = b"m,device=d f=1.5 1\n".repeat(40_000);
    gone.send(b"POST /write HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n").await;
    gone.send(&body).await;
    let stored = inside.some_lines().await.len();
    drop(gone);
    assert_eq!(ask(inside.port, V1, &[], b"m f=2.5 2").await.status, 204);
    let lines = inside.stop().await;
    assert!(lines.contains(&"m f=2.5 2".to_owned()));
    assert!(stored + lines.len() <= 40_001);
}

/// A disk that hangs is no full journal: it is waited for longer, but not for ever.
#[tokio::test]
async fn a_disk_that_hangs_is_503_in_the_end() {
    let http = http::Limits { durable_max: Duration::from_millis(300), ..http::Limits::default() };
    let mut inside = Inside::start(Settings { http, ..Settings::default() }).await;
    inside.disk.hold();
    let answer = ask(inside.port, V1, &[], b"m f=1.5 1").await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["error"].as_str().unwrap().contains("disk"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    inside.disk.release();
    // It was not taken back: at least once.
    assert_eq!(inside.some_lines().await, ["m f=1.5 1"]);
    inside.stop().await;
}
