//! Does the database misbehave as told?

use std::{io::Write as _, net::Ipv4Addr, pin::pin};

use flate2::{Compression, write::GzEncoder};
use proto::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::{
    payload::{Encoding, encode},
    signals::{Clock, Device, Kind},
};

const WAIT: Duration = Duration::from_secs(20);

async fn start(config: Config) -> Arc<Faulty> {
    Arc::new(Faulty::start((Ipv4Addr::LOCALHOST, 0).into(), config).await.unwrap())
}

/// The whole answer as text, up to the end of the connection.
async fn send(address: SocketAddr, head: &str, body: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    let read = timeout(WAIT, stream.read_to_end(&mut answer)).await?;
    // A reset after an answer was read takes nothing from it.
    if answer.is_empty() {
        read?;
    }
    Ok(String::from_utf8(answer).unwrap())
}

async fn write(faulty: &Faulty, body: &str) -> String {
    v2(faulty, body).await.unwrap()
}

async fn v2(faulty: &Faulty, body: &str) -> io::Result<String> {
    let path = "POST /api/v2/write?org=o&bucket=b&precision=ns";
    send(faulty.address(), path, body.as_bytes()).await
}

async fn v1(faulty: &Faulty, body: &str) -> String {
    send(faulty.address(), "POST /write?db=d&precision=ns", body.as_bytes()).await.unwrap()
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

async fn v3(faulty: &Faulty, body: &str) -> String {
    let path = "POST /api/v3/write_lp?db=d&precision=nanosecond&accept_partial=true";
    send(faulty.address(), path, body.as_bytes()).await.unwrap()
}

async fn set(faulty: &Faulty, answer: Answer) {
    faulty.set(Behaviour { answer, ..Behaviour::default() }).await.unwrap();
}

const THREE: &str = "m,device=a x=1 1\nm,device=a x=2 2\nm,device=a bad=\"y\" 3\n";

#[tokio::test]
async fn an_honest_database_stores_and_says_204() {
    let faulty = start(Config::default()).await;
    assert_eq!(status(&write(&faulty, THREE).await), 204);
    assert_eq!(status(&v1(&faulty, "m,device=b x=1 1").await), 204);
    assert_eq!((faulty.points(), faulty.stats().stored), (4, 4));
    let ping = send(faulty.address(), "GET /ping", b"").await.unwrap();
    assert!(status(&ping) == 204 && ping.contains("x-influxdb-version: v2"), "{ping}");
    let health = send(faulty.address(), "GET /health", b"").await.unwrap();
    assert!(health.contains("\"status\":\"pass\""), "{health}");
    assert_eq!(status(&send(faulty.address(), "GET /nothing", b"").await.unwrap()), 404);
}

#[tokio::test]
async fn reads_gzip_and_every_precision() {
    let faulty = start(Config::default()).await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(b"m,device=a x=1 17\n").unwrap();
    let path = "POST /write?db=d&precision=ms HTTP/1.1\r\nContent-Encoding: gzip\r\nX:";
    let answer = send(faulty.address(), path, &encoder.finish().unwrap()).await.unwrap();
    assert_eq!(status(&answer), 204);
    assert_eq!(faulty.rows()[0].time, 17_000_000);
    let wrong = send(faulty.address(), "POST /write?precision=year", b"m x=1 1").await.unwrap();
    assert_eq!(status(&wrong), 400);
}

#[tokio::test]
async fn a_malformed_line_stores_nothing_on_v2_and_the_rest_on_v1() {
    let faulty = start(Config::default()).await;
    let body = "m x=1 1\nm x= 2\nm x=3 3\n";
    let answer = write(&faulty, body).await;
    assert_eq!(status(&answer), 400);
    assert!(answer.contains(r#""code":"invalid""#) && answer.contains("unable to parse 'm x= 2'"));
    assert_eq!(faulty.points(), 0);
    let answer = v1(&faulty, body).await;
    assert_eq!(status(&answer), 400);
    assert!(answer.contains("partial write: unable to parse 'm x= 2'"), "{answer}");
    let none = v1(&faulty, "m x=\nm y=\n").await;
    assert!(status(&none) == 400 && !none.contains("partial"), "{none}");
    assert!(none.contains("'m x='") && none.contains("'m y='"), "every one is named: {none}");
    assert_eq!((faulty.points(), faulty.stats().malformed), (2, 4));
    assert!(faulty.stats().malformed_examples[0].contains("m x= 2"));
}

#[tokio::test]
async fn a_line_called_malformed_on_purpose_is_not_held_against_the_writer() {
    let faulty = start(Config::default()).await;
    let malformed_if = Some("bad=".to_owned());
    faulty.set(Behaviour { malformed_if, ..Behaviour::default() }).await.unwrap();
    assert_eq!(status(&write(&faulty, THREE).await), 400);
    assert_eq!((faulty.points(), faulty.stats().malformed), (0, 0));
    assert_eq!(status(&write(&faulty, "m,device=a x=1 1").await), 204);
}

#[tokio::test]
async fn a_type_conflict_stores_the_rest_and_names_field_and_measurement() {
    let faulty = start(Config::default()).await;
    let body = "m x=1 1\nm x=2i 2\nm x=3 3\n";
    let words = "partial write: field type conflict: input field \\\"x\\\" on measurement \
                 \\\"m\\\" is type integer, already exists as type float dropped=1";
    let answer = write(&faulty, body).await;
    assert_eq!(status(&answer), 422);
    assert!(answer.contains("failure writing points to database: ") && answer.contains(words));
    assert_eq!((faulty.points(), faulty.stats().dropped), (2, 1));
    let answer = v1(&faulty, body).await;
    assert_eq!(status(&answer), 400);
    assert!(answer.contains(words), "{answer}");
}

#[tokio::test]
async fn conflicts_and_retention_can_be_made_up() {
    let faulty = start(Config::default()).await;
    let conflict_if = Some("bad".to_owned());
    faulty.set(Behaviour { conflict_if, ..Behaviour::default() }).await.unwrap();
    let answer = write(&faulty, THREE).await;
    assert!(status(&answer) == 422 && answer.contains("input field \\\"bad\\\""), "{answer}");
    assert_eq!(faulty.points(), 2);
    let retention_from_ns = Some(2);
    faulty.set(Behaviour { retention_from_ns, ..Behaviour::default() }).await.unwrap();
    let answer = write(&faulty, "n x=1 1\nn x=2 2\n").await;
    assert!(status(&answer) == 422 && answer.contains("beyond retention policy dropped=1"));
}

#[tokio::test]
async fn busy_and_every_other_status_store_nothing() {
    let faulty = start(Config::default()).await;
    set(&faulty, Answer::Busy { retry_after_s: Some(7) }).await;
    let answer = write(&faulty, THREE).await;
    assert!(status(&answer) == 503 && answer.contains("retry-after: 7"), "{answer}");
    for code in [401, 404, 500] {
        set(&faulty, Answer::Status { code }).await;
        assert_eq!(status(&write(&faulty, THREE).await), code);
    }
    assert_eq!(faulty.points(), 0);
}

#[tokio::test]
async fn a_spell_of_misbehaviour_ends_after_so_many_requests() {
    let faulty = start(Config::default()).await;
    let answer = Answer::Busy { retry_after_s: None };
    let spell = Behaviour { answer, requests: Some(2), ..Behaviour::default() };
    faulty.set(spell).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(status(&write(&faulty, THREE).await));
    }
    assert_eq!(answers, [503, 503, 204]);
}

#[tokio::test]
async fn a_large_body_gets_413() {
    let faulty = start(Config::default()).await;
    let body_bytes_max = Some(20);
    faulty.set(Behaviour { body_bytes_max, ..Behaviour::default() }).await.unwrap();
    assert_eq!(status(&write(&faulty, THREE).await), 413);
    assert_eq!(status(&write(&faulty, "m,device=a x=1 1").await), 204);
}

#[tokio::test]
async fn apply_then_close_stores_and_says_nothing_close_does_not_store() {
    let faulty = start(Config::default()).await;
    set(&faulty, Answer::Close).await;
    assert!(v2(&faulty, THREE).await.map_or(true, |answer| answer.is_empty()));
    assert_eq!(faulty.points(), 0);
    set(&faulty, Answer::ApplyThenClose).await;
    assert!(v2(&faulty, THREE).await.map_or(true, |answer| answer.is_empty()));
    assert_eq!(faulty.points(), 3);
}

#[tokio::test]
async fn a_truncated_answer_breaks_off_in_its_body() {
    let faulty = start(Config::default()).await;
    set(&faulty, Answer::Truncated).await;
    let answer = write(&faulty, "m x=1 1\nm x=2i 2\n").await;
    assert_eq!(status(&answer), 422);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let announced = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
    assert!(body.len() < announced.parse().unwrap(), "{answer}");
    assert!(v2(&faulty, "m x=5 5").await.map_or(true, |answer| answer.is_empty()));
    assert_eq!(faulty.points(), 2);
}

#[tokio::test]
async fn a_delayed_answer_takes_its_time() {
    let faulty = start(Config::default()).await;
    faulty.set(Behaviour { delay_ms: 80, ..Behaviour::default() }).await.unwrap();
    let began = Instant::now();
    assert_eq!(status(&write(&faulty, THREE).await), 204);
    assert!(began.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn a_hung_database_says_nothing_until_it_changes_its_mind() {
    let faulty = start(Config::default()).await;
    set(&faulty, Answer::Hang).await;
    let waiting = v2(&faulty, THREE);
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    set(&faulty, Answer::Normal).await;
    assert!(waiting.await.map_or(true, |answer| answer.is_empty()), "dropped, not applied");
    assert_eq!(faulty.points(), 0);
    assert_eq!(status(&write(&faulty, THREE).await), 204);
}

#[tokio::test]
async fn a_database_that_refuses_keeps_its_port_and_resets_open_connections() {
    let faulty = start(Config::default()).await;
    let mut open = TcpStream::connect(faulty.address()).await.unwrap();
    open.write_all(b"POST /write HTTP/1.1\r\n").await.unwrap();
    // Until the connection is known to be accepted.
    assert_eq!(status(&write(&faulty, THREE).await), 204);

    set(&faulty, Answer::Refuse).await;
    let error = TcpStream::connect(faulty.address()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let ended = timeout(WAIT, open.read_u8()).await.unwrap();
    assert!(ended.is_err(), "the open connection is gone");

    for _ in 0..3 {
        set(&faulty, Answer::Normal).await;
        assert_eq!(status(&write(&faulty, THREE).await), 204);
        set(&faulty, Answer::Refuse).await;
    }
}

#[tokio::test]
async fn overwritten_values_and_the_order_of_writes_are_remembered() {
    let faulty = start(Config::default()).await;
    faulty.trace();
    for body in ["m,device=a x=1 1", "m,device=a x=2 1", "m,device=a x=2 1"] {
        assert_eq!(status(&write(&faulty, body).await), 204);
    }
    let changes = faulty.changes();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].series.as_str(), changes[0].request), ("m,device=a", 2));
    let order: Vec<_> = faulty.traced().iter().map(|write| write.request).collect();
    assert_eq!(order, [1, 2, 3]);
}

#[tokio::test]
async fn a_token_is_asked_for() {
    let faulty = start(Config { token: Some("s".to_owned()), ..Config::default() }).await;
    assert_eq!(status(&write(&faulty, THREE).await), 401);
    let path = "POST /api/v2/write HTTP/1.1\r\nAuthorization: Token s\r\nX:";
    assert_eq!(status(&send(faulty.address(), path, b"m x=1 1").await.unwrap()), 204);
}

#[tokio::test]
async fn a_null_database_counts_and_keeps_nothing() {
    let faulty = start(Config { null: true, ..Config::default() }).await;
    assert_eq!(status(&write(&faulty, THREE).await), 204);
    assert_eq!((faulty.stats().lines, faulty.points()), (3, 0));
}

#[tokio::test]
async fn the_admin_port_sets_the_behaviour_and_shows_what_is_stored() {
    let faulty = start(Config::default()).await;
    let admin = faulty.admin((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    assert_eq!(status(&write(&faulty, "m,device=a x=1,t=\"q\" 1").await), 204);
    let mut rows = Vec::new();
    let url = format!("http://{admin}");
    crate::verify::faulty::read(&url, |row| rows.push(row)).await.unwrap();
    // A JSON object does not keep the order of its keys.
    let mut expected = faulty.rows();
    rows[0].fields.sort_by(|a, b| a.0.cmp(&b.0));
    expected[0].fields.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(rows, expected);

    let behaviour = br#"{"answer":{"status":{"code":404}}}"#;
    let answer = send(admin, "POST /behaviour", behaviour).await.unwrap();
    assert_eq!(status(&answer), 200);
    assert_eq!(status(&write(&faulty, THREE).await), 404);
    assert_eq!(status(&send(admin, "POST /behaviour", b"{\"x\":1}").await.unwrap()), 400);
    let stats = send(admin, "GET /stats", b"").await.unwrap();
    assert!(stats.contains("\"requests\":2"), "{stats}");
}

#[tokio::test]
async fn version_3_stores_what_is_good_and_names_a_hundred_bad_lines() {
    let faulty = start(Config::default()).await;
    let answer = v3(&faulty, "m,device=a x=1 1\nm,device=b x=2i 2\nm x= 3\nm x=4 4\n").await;
    assert_eq!((status(&answer), faulty.points()), (400, 2));
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let told: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(told["error"], "partial write of line protocol occurred");
    assert_eq!(
        (&told["data"][0]["line_number"], &told["data"][1]["line_number"]),
        (&2.into(), &3.into())
    );
    let conflict = "invalid column type for column 'x', expected iox::column_type::field::float, \
                    got iox::column_type::field::integer";
    assert_eq!(told["data"][0]["error_message"], conflict);
    let bad = "m x= 1\n".repeat(150);
    assert_eq!(v3(&faulty, &bad).await.matches("line_number").count(), 100);
    assert_eq!(status(&v3(&faulty, "m x=5 5\n").await), 204);
}

#[tokio::test]
async fn a_late_answer_comes_after_the_lines_were_stored() {
    let faulty = start(Config::default()).await;
    faulty.set(Behaviour { late_ms: 60_000, ..Behaviour::default() }).await.unwrap();
    let mut answer = pin!(v3(&faulty, "m x=1 1\n"));
    let stored = async {
        while faulty.points() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        early = &mut answer => panic!("{early}"),
        stored = timeout(WAIT, stored) => stored.unwrap(),
    }
    let waits = timeout(Duration::from_millis(300), answer).await;
    assert!(waits.is_err(), "{waits:?}");
    assert_eq!(faulty.points(), 1);
}

#[tokio::test]
async fn acknowledgements_leave_together() {
    let faulty = start(Config::default()).await;
    let behaviour = Behaviour { acknowledge_every_ms: Some(200), ..Behaviour::default() };
    faulty.set(behaviour).await.unwrap();
    let began = Instant::now();
    assert_eq!(status(&v3(&faulty, "m x=1 1\n").await), 204); // At a beat after `began`.
    let (one, two) = tokio::join!(v3(&faulty, "m x=2 2\n"), v3(&faulty, "m x=3 3\n"));
    assert_eq!((status(&one), status(&two)), (204, 204));
    // At the next beat, or a later one.
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_page_in_front_of_it_a_wrong_unit_and_a_limit_of_lines() {
    let faulty = start(Config::default()).await;
    set(&faulty, Answer::Page { code: 200 }).await;
    let answer = write(&faulty, "m x=1 1\n").await;
    assert!(status(&answer) == 200 && answer.contains("<html>"), "{answer}");
    assert!(!answer.contains("x-influxdb"), "{answer}");

    let wrong = Behaviour { unit: Some("s".to_owned()), ..Behaviour::default() };
    faulty.set(wrong).await.unwrap();
    assert_eq!(status(&write(&faulty, "m x=1 1790000000000000000\n").await), 400);
    assert_eq!(faulty.stats().malformed, 0, "it is not the writer's fault");

    faulty.set(Behaviour { lines_max: Some(1), ..Behaviour::default() }).await.unwrap();
    assert_eq!(status(&write(&faulty, "m x=1 1\nm x=2 2\n").await), 413);
    assert_eq!((status(&write(&faulty, "m x=1 1\n").await), faulty.points()), (204, 1));
}

#[tokio::test]
async fn after_a_spell_it_behaves_as_that_says() {
    let faulty = start(Config::default()).await;
    let busy = Behaviour { answer: Answer::Busy { retry_after_s: None }, ..Behaviour::default() };
    let spell = Behaviour { requests: Some(2), then: Some(Box::new(busy)), ..Behaviour::default() };
    faulty.set(spell).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(status(&write(&faulty, THREE).await));
    }
    assert_eq!(answers, [204, 204, 503, 503]);
}

#[tokio::test]
async fn an_audit_knows_what_is_missing_again_wrong_and_invented_and_keeps_nothing() {
    let device = |name: &str| Device {
        name: name.to_owned(),
        kind: Kind::Recorder,
        seed: 5,
        start: Timestamp::from_nanos(1_790_000_000_000_000_000),
        period: Duration::from_millis(1),
        jitter: 0.0,
        clock: Clock::Nanoseconds,
    };
    let faulty = start(Config::default()).await;
    let ledgers = ["one", "other"].map(|name| Ledger::create(vec![device(name)], None).unwrap());
    for ledger in &ledgers {
        ledger.sent(0, &[0, 1, 2, 3]).unwrap();
        ledger.acknowledged(0, &[0, 1, 2, 3]).unwrap();
        faulty.audit(ledger);
    }
    let lines = |name: &str, seqs: &[u64]| {
        let mut body = Vec::new();
        encode(&device(name), seqs, Encoding::Line, &mut body);
        String::from_utf8(body).unwrap()
    };
    assert_eq!(status(&write(&faulty, &lines("one", &[0, 1, 1, 2])).await), 204);
    let so_far = [Audited { readings: 3, again: 1 }, Audited::default()];
    assert_eq!(faulty.audited(), so_far);
    let all = lines("other", &[0, 1, 2, 3]);
    for body in
        [&lines("one", &[0, 7]), "tidegate_probe x=1 1\n", "recorder,device=nobody seq=0 1\n"]
    {
        assert_eq!(status(&write(&faulty, body).await), 204);
    }
    assert_eq!(status(&write(&faulty, &all.replacen("peak=", "peak=9", 1)).await), 204);

    let found = faulty.verdicts();
    let counts = |v: &Verdict| (v.lost, v.duplicates, v.phantom, v.wrong);
    assert_eq!(counts(&found[0]), (1, 2, 2, 0), "{}", found[0]);
    assert_eq!(counts(&found[1]), (0, 0, 0, 1), "{}", found[1]);
    assert_eq!(faulty.points(), 0);
}
