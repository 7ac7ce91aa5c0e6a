//! Is a request that is sent again under its `Idempotency-Key` stored once, and answered alike?

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde_json::json;

use super::gzip;
use crate::support::{
    inside::{Inside, Settings},
    raw::{Answer, Raw, ask},
};
use tidegate::listen::http;

const V1: &str = "POST /write?db=iot";
const V2: &str = "POST /api/v2/write?bucket=iot";
const READINGS: &str = "POST /v1/readings";
const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const KEY: (&str, &str) = ("idempotency-key", "8e03978e-40d5");
/// Segments that take whole pieces.
const LARGE: Option<(u64, u64)> = Some((64 * 1024 * 1024, 8 * 1024 * 1024));
const AT_ONCE: Duration = Duration::from_millis(300);

/// How often each number `n` (a tag or the field) was stored.
fn counts(lines: &[String]) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let (_, rest) = line.split_once("n=").unwrap_or_else(|| panic!("{line}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        *counts.entry(digits.parse().unwrap()).or_default() += 1;
    }
    counts
}

fn assert_each_once(lines: &[String], expected: impl IntoIterator<Item = u32>, context: &str) {
    let expected: BTreeMap<u32, usize> = expected.into_iter().map(|n| (n, 1)).collect();
    let counts = counts(lines);
    let twice: Vec<_> = counts.iter().filter(|(_, times)| **times > 1).collect();
    let lost: Vec<_> = expected.keys().filter(|n| !counts.contains_key(n)).collect();
    assert!(twice.is_empty() && lost.is_empty(), "{context}: LOST {lost:?}, TWICE {twice:?}");
    assert_eq!(counts.len(), expected.len(), "{context}");
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_stored_once_and_answered_alike() {
    let mut inside = Inside::start(Settings::default()).await;
    for (line, headers, body, status) in [
        (V1, vec![], "m f=1\nm f=2\n", 204),
        (V1, vec![], "m f=1\nbad\n", 400),
        (V1, vec![], "bad\n", 400),
        (V2, vec![], "m f=1", 204),
        (V2, vec![], "m f=1\n\nworse\nm f=2\n", 422),
        (READINGS, vec![JSON], r#"{"device":"a","t":1}"#, 204),
        (READINGS, vec![JSON], r#"[{"device":"a","t":1},{},{"device":"a","t":2}]"#, 207),
        (READINGS, vec![JSON], "{", 400),
        (READINGS, vec![NDJSON], "{\"device\":\"a\",\"t\":1}\n{}\n", 207),
    ] {
        let key = format!("\"{}\"", fastrand::u64(..));
        let mut headers = headers;
        headers.push(("idempotency-key", &key));
        let first = ask(inside.port, line, &headers, body.as_bytes()).await;
        assert_eq!(first.status, status, "{line} {body}: {first:?}");
        let stored = inside.lines().await;
        let refused = inside.refused().await;
        let mut zipped = headers.clone();
        zipped.push(("content-encoding", "gzip"));
        for (headers, body) in
            [(&headers, body.as_bytes().to_vec()), (&zipped, gzip(body.as_bytes()))]
        {
            let again = ask(inside.port, line, headers, &body).await;
            assert_eq!((again.status, &again.body), (first.status, &first.body), "{line}");
        }
        assert_eq!(inside.lines().await, Vec::<String>::new(), "{line} {body}: {stored:?}");
        assert!(inside.refused().await.is_empty(), "{refused:?} went to the dead letters twice");
        // Without the key, or with another, it is another request.
        headers.pop();
        ask(inside.port, line, &headers, body.as_bytes()).await;
        let other = format!("other-{}", fastrand::u64(..));
        headers.push(("idempotency-key", &other));
        assert_eq!(inside.lines().await.len(), stored.len());
        ask(inside.port, line, &headers, body.as_bytes()).await;
        assert_eq!(inside.lines().await.len(), stored.len());
    }
    inside.stop().await;
}

#[tokio::test]
async fn another_body_under_the_same_key_is_422_and_stores_nothing() {
    let mut inside = Inside::start(Settings::default()).await;
    for (line, content, body, others) in [
        (V1, NDJSON, "m f=1\nm f=2\n", ["m f=1\nm f=3\n", "m f=1\n", "m f=1\nm f=2\nm f=3\n"]),
        (
            READINGS,
            JSON,
            r#"{"device":"a","t":1}"#,
            [r#"{"device":"a","t":2}"#, "{}", "[[[[[[[[[[[[[[[[[[[["],
        ),
    ] {
        let headers = [content, KEY];
        assert_eq!(ask(inside.port, line, &headers, body.as_bytes()).await.status, 204);
        inside.lines().await;
        for other in others {
            let answer = ask(inside.port, line, &headers, other.as_bytes()).await;
            assert_eq!(answer.status, 422, "{other}: {answer:?}");
            let text = answer.json()["error"].as_str().unwrap().to_owned();
            assert!(text.contains("another body"), "{text}");
        }
        let empty = ask(inside.port, line, &headers, b"").await;
        assert_eq!(empty.status, 422, "{empty:?}");
        assert!(inside.lines().await.is_empty());
        assert_eq!(ask(inside.port, line, &headers, body.as_bytes()).await.status, 204);
        assert!(inside.lines().await.is_empty());
    }
    let answer = ask(inside.port, V2, &[KEY], b"m f=1").await;
    assert_eq!(answer.status, 204, "the same key at another path");
    let answer = ask(inside.port, V2, &[KEY], b"m f=2").await;
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("unprocessable entity")));
    inside.stop().await;
}

#[tokio::test]
async fn what_is_no_key_is_400_with_the_reason_before_anything_is_stored() {
    let inside = Inside::start(Settings::default()).await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "\"open", "\"a\"b", "\"\\n\"", "a\tb", long.as_str()] {
        for line in [V1, V2, READINGS] {
            let headers = [JSON, ("idempotency-key", key)];
            let answer = ask(inside.port, line, &headers, b"{\"device\":\"a\",\"t\":1}").await;
            assert_eq!(answer.status, 400, "{key:?}: {answer:?}");
            assert!(answer.body.contains("Idempotency-Key cannot be used"), "{answer:?}");
        }
    }
    let answer = ask(inside.port, V1, &[KEY, KEY], b"m f=1").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("more than one"), "{answer:?}");
    assert!(inside.stop().await.is_empty());
}

#[tokio::test]
async fn a_resend_is_acknowledged_only_when_the_original_is_durable() {
    let inside = Inside::start(Settings::default()).await;
    inside.disk.hold();
    let mut first = Raw::connect(inside.port).await;
    first.request(V1, &[KEY], b"m f=1.5\n").await;
    inside.wait_until_held().await;
    let mut second = Raw::connect(inside.port).await;
    second.request(V1, &[KEY], b"m f=1.5\n").await;
    assert!(second.answer_within(AT_ONCE).await.is_none(), "acknowledged before the sync");
    inside.disk.release();
    assert_eq!(second.answer().await.status, 204);
    assert_eq!(first.answer().await.status, 204, "it was handed on before");
    assert_eq!(inside.stop().await.len(), 1);
}

fn numbered(lines: u32) -> String {
    (0..lines).fold(String::new(), |mut body, n| {
        writeln!(body, "m n={n}").unwrap();
        body
    })
}

#[tokio::test]
async fn of_two_requests_with_one_key_the_newer_goes_on_and_the_older_is_409() {
    let mut inside = Inside::start(Settings { journal: LARGE, ..Settings::default() }).await;
    let body = numbered(60_000);
    let (length, half) = (body.len(), body.len() * 2 / 3);
    let mut older = Raw::connect(inside.port).await;
    let (name, value) = KEY;
    let head =
        format!("{V1} HTTP/1.1\r\nhost: x\r\n{name}: {value}\r\ncontent-length: {length}\r\n\r\n");
    older.send(head.as_bytes()).await;
    older.send(&body.as_bytes()[..half]).await;
    let mut stored = inside.some_lines().await;
    let answer = ask(inside.port, V1, &[KEY], body.as_bytes()).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    older.send(&body.as_bytes()[half..]).await;
    let answer = older.answer().await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    stored.extend(inside.lines().await);
    assert_each_once(&stored, 0..60_000, "both");
    assert!(inside.stop().await.is_empty());
}

#[tokio::test]
async fn many_requests_with_one_key_at_once_are_one() {
    let inside = Inside::start(Settings::default()).await;
    let body = numbered(2000);
    let asked = (0..16).map(|_| ask(inside.port, V1, &[KEY], body.as_bytes()));
    let answers: Vec<Answer> = futures_util::future::join_all(asked).await;
    assert!(answers.iter().any(|answer| answer.status == 204), "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer.status, 204 | 409)), "{answers:?}");
    assert_each_once(&inside.stop().await, 0..2000, "at once");
}

/// A body of several pieces: quoted texts, bad lines and one line that is too long.
fn body(random: &mut fastrand::Rng) -> (Vec<u8>, Vec<u32>, usize) {
    let lines = 2000 + random.u32(..1000);
    let mut body = String::new();
    let (mut good, mut bad) = (Vec::new(), 0);
    let long_at = if random.bool() { random.u32(..lines) } else { lines };
    for n in 0..lines {
        if n == long_at {
            body.push_str(&"x".repeat(300_000));
            body.push('\n');
            bad += 1;
        } else if random.u32(..500) == 0 {
            writeln!(body, "bad,n={n}").unwrap();
            bad += 1;
        } else {
            let noise: String = (0..60).map(|_| random.alphanumeric()).collect();
            writeln!(body, "m,n={n} text=\"{noise}\n{noise}\"").unwrap();
            good.push(n);
        }
    }
    (body.into_bytes(), good, bad)
}

/// Sends the beginning of a request in chunks and hangs up.
async fn cut_off(port: u16, headers: &[(&str, &str)], body: &[u8], random: &mut fastrand::Rng) {
    let mut raw = Raw::connect(port).await;
    let mut head = format!("{V1} HTTP/1.1\r\nhost: here\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    raw.send(format!("{head}\r\n").as_bytes()).await;
    let mut left = &body[..random.usize(..body.len())];
    while !left.is_empty() {
        let (chunk, rest) = left.split_at(left.len().min(1 + random.usize(..100_000)));
        raw.send(chunk).await;
        left = rest;
        if random.u8(..4) == 0 {
            tokio::time::sleep(Duration::from_millis(random.u64(..5))).await;
        }
    }
}

/// The seed of a failure goes here.
const SEED: Option<u64> = None;

/// Any cuts of any attempts, plain and gzip, with pieces of any size: the last attempt is answered as if
/// it were the only one, and each reading is there once.
#[tokio::test]
async fn attempts_that_are_cut_anywhere_add_up_to_one() {
    // So little that pieces are cut where memory is short.
    let limits = http::Limits { memory_bytes_max: 400 * 1024, ..http::Limits::default() };
    let mut inside = Inside::start(Settings { http: limits, ..Settings::default() }).await;
    for _ in 0..12 {
        let seed = SEED.unwrap_or_else(|| fastrand::u64(..));
        let mut random = fastrand::Rng::with_seed(seed);
        let (body, good, bad) = body(&mut random);
        let zipped = gzip(&body);
        let key = seed.to_string();
        let headers = |random: &mut fastrand::Rng| {
            let is_gzip = random.bool();
            let encoding = if is_gzip { "gzip" } else { "identity" };
            (
                vec![("idempotency-key", key.clone()), ("content-encoding", encoding.to_owned())],
                is_gzip,
            )
        };
        for _ in 0..random.usize(1..5) {
            let (headers, is_gzip) = headers(&mut random);
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
            cut_off(inside.port, &headers, if is_gzip { &zipped } else { &body }, &mut random)
                .await;
        }
        let before = inside.lines().await;
        let (headers, is_gzip) = headers(&mut random);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let sent = if is_gzip { &zipped } else { &body };
        let answer = loop {
            let answer = ask(inside.port, V1, &headers, sent).await;
            if answer.status != 503 {
                break answer; // Memory that attempts before it still hold.
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let lines = [before, inside.lines().await].concat();
        assert_each_once(&lines, good, &format!("seed {seed}"));
        if bad == 0 {
            assert_eq!(answer.status, 204, "seed {seed}: {answer:?}");
        } else {
            assert_eq!(answer.status, 400, "seed {seed}: {answer:?}");
            let text = answer.json()["error"].as_str().unwrap().to_owned();
            assert!(text.ends_with(&format!("dropped={bad}")), "seed {seed}: {text}");
            assert_eq!(inside.refused().await.len(), bad, "seed {seed}");
        }
    }
    assert!(inside.stop().await.is_empty());
}

/// Readings that are too many for one submission, the first of which were handed on: a piece of lines,
/// and a document.
#[tokio::test]
async fn a_piece_that_was_stored_in_part_is_completed() {
    const READINGS_MAX: u32 = 12_000;
    let device = "d".repeat(200);
    let line = format!("{READINGS}?device={device}");
    let lines = (0..READINGS_MAX).fold(String::new(), |mut body, n| {
        writeln!(body, "{{\"n\":{n}}}").unwrap();
        body
    });
    let document = format!("[{}]", lines.trim_end().replace('\n', ","));
    for (content, body) in [(NDJSON, lines), (JSON, document)] {
        let limits =
            http::Limits { durable_max: Duration::from_millis(300), ..http::Limits::default() };
        let queue_bytes_max = Some(1024 * 1024 + 64 * 1024);
        let settings =
            Settings { http: limits, journal: LARGE, queue_bytes_max, ..Settings::default() };
        let mut inside = Inside::start(settings).await;
        inside.disk.hold();
        let headers = [content, KEY];
        let answer = ask(inside.port, &line, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        inside.disk.release();
        // What comes after it is stored, so what was handed on of it is, too.
        while ask(inside.port, V1, &[], b"m n=0").await.status != 204 {}
        let mut stored = inside.lines().await;
        stored.retain(|line| !line.starts_with("m "));
        let first = stored.len();
        assert!((1..READINGS_MAX as usize).contains(&first), "{first} were stored at first");
        let other = body.replacen("11999", "11998", 1);
        let answer = ask(inside.port, &line, &headers, other.as_bytes()).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        let answer = loop {
            let answer = ask(inside.port, &line, &headers, body.as_bytes()).await;
            if answer.status != 503 {
                break answer;
            }
        };
        assert_eq!(answer.status, 204, "{answer:?}");
        stored.extend(inside.lines().await);
        assert_each_once(&stored, 0..READINGS_MAX, content.1);
        inside.stop().await;
    }
}

/// More goes wrong with the first attempt than the connection: nothing of that sticks to the key.
#[tokio::test]
async fn a_refused_attempt_does_not_spoil_the_key() {
    let limits = http::Limits {
        inflated_bytes_max: 64 * 1024,
        body_pause_max: Duration::from_millis(300),
        ..http::Limits::default()
    };
    let mut inside = Inside::start(Settings { http: limits, ..Settings::default() }).await;
    let body = b"m n=1\nm n=2\n";
    let zipped = gzip(body);
    let gzip_headers = [KEY, ("content-encoding", "gzip")];
    let damaged = &zipped[..zipped.len() - 3];
    assert_eq!(ask(inside.port, V1, &gzip_headers, damaged).await.status, 400);
    let bomb = gzip(&b"m n=1\n".repeat(100_000));
    assert_eq!(ask(inside.port, V1, &gzip_headers, &bomb).await.status, 413);
    let mut slow = Raw::connect(inside.port).await;
    let head = format!(
        "{V1} HTTP/1.1\r\nhost: x\r\n{}: {}\r\ncontent-length: 12\r\n\r\nm n",
        KEY.0, KEY.1
    );
    slow.send(head.as_bytes()).await;
    assert_eq!(slow.answer().await.status, 408);
    assert!(inside.lines().await.is_empty());
    assert_eq!(ask(inside.port, V1, &gzip_headers, &zipped).await.status, 204);
    assert_each_once(&inside.lines().await, 1..=2, "after all that");
    inside.stop().await;
}
