//! `/write` and `/api/v2/write` as InfluxDB's clients use them.

use serde_json::json;

use super::gzip;
use crate::support::{
    inside::{Inside, NOW, Settings},
    raw::{Raw, ask},
};

const V1: &str = "POST /write?db=iot";
const V2: &str = "POST /api/v2/write?org=home&bucket=iot";

#[tokio::test]
async fn good_lines_are_stored_with_their_types_and_times_and_answered_204() {
    let mut inside = Inside::start(Settings::default()).await;
    let body = "climate,device=d\\ 1,room=a t=21.5,n=3i,u=7u,on=true,s=\"a \\\"b\\\"\nc\" 1700000000000000001\n\
                # a comment\n\n\
                climate t=20.5\r\n";
    for line in [V1, V2] {
        let headers = [("authorization", "Token anything"), ("content-type", "text/plain")];
        let answer = ask(inside.port, line, &headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
        let lines = inside.lines().await;
        assert_eq!(
            lines[0],
            "climate,device=d\\ 1,room=a t=21.5,n=3i,u=7u,on=t,s=\"a \\\"b\\\"\nc\" 1700000000000000001"
        );
        let [stamp] = &lines[1..] else { panic!("{lines:?}") };
        assert!(stamp.starts_with(&format!("climate t=20.5 {}", NOW / 1000)), "{stamp}");
        assert!(stamp.ends_with('*'), "stamped by us: {stamp}");
    }
    assert_eq!(inside.stats.answered(2), 2);
    inside.stop().await;
}

#[tokio::test]
async fn every_precision_means_what_its_name_says() {
    let mut inside = Inside::start(Settings::default()).await;
    for (line, time) in [
        (format!("{V1}&precision=n"), "1700000000123456789"),
        (format!("{V1}&precision=u"), "1700000000123456"),
        (format!("{V1}&precision=us"), "1700000000123456"),
        (format!("{V1}&precision=ms&u=me&p=secret"), "1700000000123"),
        (format!("{V1}&precision=s"), "1700000000"),
        (format!("{V2}&precision=ns"), "1700000000123456789"),
        (format!("{V2}&precision=us"), "1700000000123456"),
    ] {
        let answer = ask(inside.port, &line, &[], format!("m f=1.5 {time}").as_bytes()).await;
        assert_eq!(answer.status, 204, "{line}: {answer:?}");
        assert_eq!(inside.lines().await, [format!("m f=1.5 {time:0<19}")], "{line}");
    }
    for unknown in ["m", "h", "ps", "seconds"] {
        let answer =
            ask(inside.port, &format!("{V1}&precision={unknown}"), &[], b"m f=1.5 1").await;
        assert_eq!(answer.status, 400);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(&format!("`{unknown}`")), "{error}");
        let answer =
            ask(inside.port, &format!("{V2}&precision={unknown}"), &[], b"m f=1.5 1").await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid")));
    }
    assert!(inside.stop().await.is_empty(), "what a wrong precision came with is not stored");
}

#[tokio::test]
async fn a_bad_line_costs_itself_and_is_named_in_the_words_of_the_endpoint() {
    let mut inside = Inside::start(Settings::default()).await;
    let body = b"m,device=a f=1.5 1\nm f=\nm f=2.5 2\nm,x f=1\nm f=3.5 3\n";

    let answer = ask(inside.port, V1, &[], body).await;
    assert_eq!(answer.status, 400);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("partial write: line 2: "), "{error}");
    assert!(error.contains("; line 4: ") && error.ends_with(" dropped=2"), "{error}");
    assert_eq!(answer.header("x-influxdb-error"), Some(error.as_str()));

    let answer = ask(inside.port, V2, &[], body).await;
    assert_eq!(answer.status, 422);
    let said = answer.json();
    assert_eq!((&said["code"], &said["line"]), (&json!("unprocessable entity"), &json!(2)));
    assert_eq!(said["message"], error);

    let lines = inside.lines().await;
    assert_eq!(lines, ["m,device=a f=1.5 1", "m f=2.5 2", "m f=3.5 3"].repeat(2));
    let refused = inside.refused().await;
    let quoted: Vec<&str> = refused.iter().map(|one| one.bytes.as_str()).collect();
    assert_eq!(quoted, ["m f=", "m,x f=1", "m f=", "m,x f=1"]);
    assert_eq!((refused[0].source.as_str(), refused[0].path.as_str()), ("http", "/write"));
    assert_eq!(refused[2].path, "/api/v2/write");
    inside.stop().await;
}

#[tokio::test]
async fn where_nothing_is_good_or_nothing_came_it_is_as_with_influxdb() {
    let mut inside = Inside::start(Settings::default()).await;
    let answer = ask(inside.port, V1, &[], b"this is no line protocol\nnor this\n").await;
    assert_eq!(answer.status, 400);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("unable to parse: line 1: "), "{error}");
    let answer = ask(inside.port, V2, &[], b"no").await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid")));
    assert_eq!(answer.json()["line"], 1);
    assert_eq!(inside.refused().await.len(), 3);

    assert_eq!(ask(inside.port, V1, &[], b"").await.status, 204);
    let answer = ask(inside.port, V2, &[], b"").await;
    assert_eq!(
        (answer.status, &answer.json()["message"]),
        (400, &json!("writing requires points"))
    );
    assert_eq!(ask(inside.port, V2, &[], b"# only a comment\n").await.status, 204);
    assert!(inside.stop().await.is_empty());
}

#[tokio::test]
async fn a_gzipped_body_is_the_same_as_a_plain_one() {
    let mut inside = Inside::start(Settings::default()).await;
    let headers = [("content-encoding", "gzip")];
    let answer = ask(inside.port, V2, &headers, &gzip(b"m f=1.5 1\nm f=2.5 2\n")).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(inside.lines().await, ["m f=1.5 1", "m f=2.5 2"]);

    let answer = ask(inside.port, V1, &headers, b"m f=1.5 1\n").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("gzip"), "{answer:?}");
    let cut = gzip(b"m f=1.5 1\n");
    let answer = ask(inside.port, V1, &headers, &cut[..cut.len() - 4]).await;
    assert_eq!(answer.status, 400, "an early end is no end");
    for unknown in ["br", "deflate", "zstd"] {
        let answer = ask(inside.port, V1, &[("content-encoding", unknown)], b"m f=1.5").await;
        assert_eq!(answer.status, 415);
        assert!(answer.body.contains(unknown), "{answer:?}");
    }
    inside.stop().await;
}

/// Larger than any piece: cut many times, at line ends only, also where a text has lines of its own.
#[tokio::test]
async fn a_large_body_arrives_whole_and_its_bad_line_has_its_own_number() {
    let mut inside = Inside::start(Settings::default()).await;
    let mut body = String::new();
    let mut expected = Vec::new();
    for n in 0..15_000 {
        if n == 9_999 {
            body.push_str("this one is broken\n");
        }
        let line = format!("m,device=d{} text=\"first\nsecond {n}\" {n}", n % 7);
        body.push_str(&line);
        body.push('\n');
        expected.push(line);
    }
    assert!(body.len() > 2 * 256 * 1024);
    for gzipped in [false, true] {
        let (headers, bytes) = if gzipped {
            (&[("content-encoding", "gzip")][..], gzip(body.as_bytes()))
        } else {
            (&[][..], body.clone().into_bytes())
        };
        let answer = ask(inside.port, V2, headers, &bytes).await;
        assert_eq!((answer.status, &answer.json()["line"]), (422, &json!(2 * 9_999 + 1)));
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.ends_with("dropped=1"), "{message}");
        let lines = inside.lines().await;
        assert_eq!(lines.len(), expected.len());
        assert!(lines == expected, "not the same lines");
    }
    assert_eq!(inside.refused().await.len(), 2);
    inside.stop().await;
}

#[tokio::test]
async fn requests_follow_one_another_on_a_connection_also_without_waiting() {
    let mut inside = Inside::start(Settings::default()).await;
    let mut raw = Raw::connect(inside.port).await;
    raw.request(V1, &[], b"m f=1.5 1").await;
    assert_eq!(raw.answer().await.status, 204);
    raw.request(V1, &[], b"m f=2.5 2").await;
    raw.request(V1, &[], b"broken").await;
    raw.request("GET /ping", &[], b"").await;
    let statuses =
        [raw.answer().await.status, raw.answer().await.status, raw.answer().await.status];
    assert_eq!(statuses, [204, 400, 204]);
    // In chunks, and half closed behind the last one.
    raw.send(b"POST /write HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
    raw.send(b"4\r\nm f=\r\n6\r\n3.5 3\n\r\n0\r\n\r\n").await;
    tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await.unwrap();
    assert_eq!(raw.answer().await.status, 204);
    assert_eq!(inside.lines().await, ["m f=1.5 1", "m f=2.5 2", "m f=3.5 3"]);
    inside.stop().await;
}
