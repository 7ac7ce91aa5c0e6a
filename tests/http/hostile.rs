//! Clients that are slow, huge, or lying.

use std::time::Duration;

use tokio::time::Instant;

use super::gzip;
use crate::support::{
    inside::{Inside, PATIENCE, Settings},
    raw::{Raw, ask},
};
use tidegate::listen::{accept, http};

const MOMENT: Duration = Duration::from_millis(200);
const HEAD: &[u8] = b"POST /write HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n";

fn limited(change: impl FnOnce(&mut http::Limits)) -> Settings {
    let mut http = http::Limits::default();
    change(&mut http);
    Settings { http, ..Settings::default() }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_by_its_length_or_once_it_is() {
    let mut inside = Inside::start(limited(|http| http.body_bytes_max = 100_000)).await;
    // By what it says, before it is sent.
    let mut raw = Raw::connect(inside.port).await;
    raw.send(
        b"POST /api/v2/write HTTP/1.1\r\nhost: x\r\ncontent-length: 100001\r\nexpect: 100-continue\r\n\r\n",
    )
    .await;
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("request too large")));

    // By what it is. The answer survives what is still being sent.
    let mut raw = Raw::connect(inside.port).await;
    raw.send(b"POST /write HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let chunk = [b"ea60\r\n".as_slice(), &b"m f=1.5 1\n".repeat(0xEA60 / 10), b"\r\n"].concat();
    for _ in 0..8 {
        raw.send(&chunk).await;
    }
    let answer = raw.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert!(answer.body.contains("100000 bytes"), "{answer:?}");
    assert!(inside.lines().await.len() <= 100_000 / 10 + 1);
    inside.stop().await;
}

#[tokio::test]
async fn a_gzip_bomb_is_refused_without_being_held() {
    let mut inside = Inside::start(limited(|http| http.inflated_bytes_max = 1_000_000)).await;
    let headers = [("content-encoding", "gzip")];
    for plain in [vec![b'x'; 16_000_000], b"m f=1.5 1\n".repeat(1_600_000)] {
        let bomb = gzip(&plain);
        assert!(bomb.len() < 200_000);
        drop(plain);
        let answer = ask(inside.port, "POST /write", &headers, &bomb).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.body.contains("inflated"), "{answer:?}");
    }
    assert!(inside.lines().await.len() <= 100_000);
    let longest = inside.refused().await;
    assert!(longest.iter().all(|one| one.kind == "limit" && one.bytes.len() <= 16 * 1024));
    inside.stop().await;
}

#[tokio::test]
async fn a_line_that_never_ends_costs_itself_and_little_memory() {
    let inside = Inside::start(limited(|http| http.memory_bytes_max = 512 * 1024)).await;
    let body = [b"m f=1.5 1\n".as_slice(), &vec![b'x'; 3_000_000], b"\nm f=2.5 2\n"].concat();
    let answer = ask(inside.port, "POST /api/v2/write", &[], &body).await;
    assert_eq!((answer.status, answer.json()["line"].as_u64()), (422, Some(2)), "{answer:?}");
    assert_eq!(inside.stop().await, ["m f=1.5 1", "m f=2.5 2"]);
}

#[tokio::test]
async fn a_body_that_pauses_is_given_up_and_so_is_one_that_trickles() {
    let settings = limited(|http| {
        http.body_pause_max = MOMENT;
        http.body_bytes_per_second_min = 1_000_000;
    });
    let inside = Inside::start(settings).await;
    let mut stalled = Raw::connect(inside.port).await;
    stalled.send(HEAD).await;
    let mut slow = Raw::connect(inside.port).await;
    slow.send(HEAD).await;
    let began = Instant::now();
    let trickle = async {
        loop {
            if let Some(answer) = slow.answer_within(MOMENT / 10).await {
                return answer;
            }
            slow.send(b"x").await;
        }
    };
    let (after_pause, after_all) = tokio::join!(stalled.answer(), trickle);
    for answer in [after_pause, after_all] {
        assert_eq!(answer.status, 408, "{answer:?}");
        assert!(answer.body.contains("too slowly"), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert!(began.elapsed() >= MOMENT);
    inside.stop().await;
}

/// Many that say nothing, or only half a head, are closed while one that works goes on.
#[tokio::test]
async fn peers_that_say_nothing_are_closed_while_others_work() {
    let inside = Inside::start(limited(|http| http.header_max = MOMENT)).await;
    let mut silent = Vec::new();
    for n in 0..200 {
        let mut raw = Raw::connect(inside.port).await;
        if n % 2 == 0 {
            raw.send(b"POST /write HTTP/1.1\r\nhost: ").await;
        }
        silent.push(raw);
    }
    assert_eq!(ask(inside.port, "POST /write", &[], b"m f=1.5 1").await.status, 204);
    for mut raw in silent {
        assert!(raw.rest().await.is_empty());
    }
    ended(&inside, "silent", 100).await;
    ended(&inside, "trickling", 100).await;
    assert_eq!(inside.stop().await, ["m f=1.5 1"]);
}

#[tokio::test]
async fn a_kept_connection_may_idle_longer_than_a_head_may_take_but_not_for_ever() {
    let settings = limited(|http| {
        http.header_max = MOMENT;
        http.idle_max = 4 * MOMENT;
    });
    let inside = Inside::start(settings).await;
    let mut raw = Raw::connect(inside.port).await;
    raw.request("GET /ping", &[], b"").await;
    assert_eq!(raw.answer().await.status, 204);
    let answered = Instant::now();
    assert!(raw.rest().await.is_empty(), "closed without a word");
    assert!(answered.elapsed() >= 3 * MOMENT, "after {:?}", answered.elapsed());
    ended(&inside, "idle", 1).await;
    inside.stop().await;
}

#[tokio::test]
async fn what_is_not_http_is_told_so_and_counted() {
    let inside = Inside::start(Settings::default()).await;
    let hellos: [&[u8]; 4] = [
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /write HTTP/1.1\r\nhost here\r\n\r\n",
    ];
    for (at, hello) in (1..).zip(hellos) {
        let mut raw = Raw::connect(inside.port).await;
        raw.send(hello).await;
        let told = String::from_utf8(raw.rest().await).unwrap();
        assert!(told.starts_with("HTTP/1.1 400 "), "{hello:02x?}: {told}");
        ended(&inside, "malformed", at).await;
    }
    // Half a head, and gone.
    let mut raw = Raw::connect(inside.port).await;
    raw.send(b"GET /ping HTTP/1.1\r\nho").await;
    drop(raw);
    ended(&inside, "hung_up", 1).await;
    assert_eq!(ask(inside.port, "POST /write", &[], b"m f=1.5 1").await.status, 204);
    inside.stop().await;
}

/// Requests without end and no answer read: the sockets' buffers are full soon.
#[tokio::test]
async fn a_peer_that_never_reads_its_answers_is_closed_and_counted() {
    let inside = Inside::start(limited(|http| http.write_max = MOMENT)).await;
    let mut raw = Raw::connect(inside.port).await;
    let requests = b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let flood = async {
        let mut sent = 0_u64;
        while tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &requests).await.is_ok() {
            sent += requests.len() as u64;
        }
        sent
    };
    let sent = tokio::time::timeout(PATIENCE, flood).await.expect("it is closed");
    assert!(sent < 200 << 20, "{sent} bytes were taken from a peer that does not read");
    ended(&inside, "unread", 1).await;
    assert_eq!(ask(inside.port, "POST /write", &[], b"m f=1.5 1").await.status, 204);
    inside.stop().await;
}

/// Waits until so many connections have been counted as ended for this reason; there are no more.
async fn ended(inside: &Inside, reason: &'static str, connections: u64) {
    let began = Instant::now();
    while inside.stats.ended(reason) < connections {
        assert!(began.elapsed() < PATIENCE, "{reason}: {}", inside.stats.ended(reason));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(inside.stats.ended(reason), connections, "{reason}");
}

/// A head of a kilobyte a line for ever.
#[tokio::test]
async fn an_endless_head_is_refused() {
    let inside = Inside::start(Settings::default()).await;
    let mut raw = Raw::connect(inside.port).await;
    raw.send(b"GET /ping HTTP/1.1\r\nhost: x\r\n").await;
    let line = format!("x-filler: {}\r\n", "y".repeat(1000));
    let fill = async {
        for _ in 0..64 {
            if tokio::io::AsyncWriteExt::write_all(&mut raw.stream, line.as_bytes()).await.is_err()
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, fill).await.unwrap();
    let rest = raw.rest().await;
    assert!(rest.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&rest));
    ended(&inside, "head_too_large", 1).await;
    inside.stop().await;
}

#[tokio::test]
async fn a_peer_beyond_the_limit_is_told_to_come_again() {
    let settings = Settings { ports: accept::Limits { connections_max: 1 }, ..Settings::default() };
    let inside = Inside::start(settings).await;
    let mut first = Raw::connect(inside.port).await;
    first.request("GET /ping", &[], b"").await;
    assert_eq!(first.answer().await.status, 204);
    let answer = ask(inside.port, "POST /write", &[], b"m f=1.5").await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    drop(first);
    let began = Instant::now();
    while ask(inside.port, "POST /write", &[], b"m f=1.5 1").await.status != 204 {
        assert!(began.elapsed() < PATIENCE, "the place is never free again");
    }
    inside.stop().await;
}

/// Large requests beyond the memory there is are turned away, small ones are not.
#[tokio::test]
async fn many_large_bodies_at_a_time_share_the_memory_there_is() {
    let mut inside = Inside::start(limited(|http| http.memory_bytes_max = 64 * 1024)).await;
    let json = ("content-type", "application/json");
    let large = format!("{{\"device\":\"d\",\"t\":1,\"pad\":\"{}\"}}", "x".repeat(200_000));
    let answer = ask(inside.port, "POST /v1/readings", &[json], large.as_bytes()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    // Line protocol only gets smaller pieces.
    let lines = b"m,device=d f=1.5 1\n".repeat(40_000);
    assert_eq!(ask(inside.port, "POST /write", &[], &lines).await.status, 204);
    assert_eq!(inside.lines().await.len(), 40_000);
    inside.stop().await;
}
