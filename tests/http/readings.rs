//! `POST /v1/readings`: every format that it takes.

use std::fmt::Write as _;

use proto::{Reading, Time, Timestamp, Value, frame};
use serde_json::json;

use super::gzip;
use crate::support::{
    inside::{Inside, NOW, Settings},
    raw::ask,
};

const PATH: &str = "POST /v1/readings";
const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

#[tokio::test]
async fn a_document_is_stored_as_the_reference_says() {
    let mut inside = Inside::start(Settings::default()).await;
    for (body, expected) in [
        (
            r#"{"device":"d1","fields":{"t":21.5},"age_ms":1500}"#,
            // With a star: an age counts from our own clock, and moves with its correction.
            vec![format!("readings,device=d1 t=21.5 {}*", NOW - 1_500_000_000)],
        ),
        (
            r#"[{"device":"a","t":1.5,"ts":1700000000000},{"device":"b","t":2.5,"ts":1700000000001}]"#,
            vec![
                "readings,device=a t=1.5 1700000000000000000".to_owned(),
                "readings,device=b t=2.5 1700000000001000000".to_owned(),
            ],
        ),
        ("[]", vec![]),
    ] {
        let answer = ask(inside.port, PATH, &[JSON], body.as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{body}: {answer:?}");
        assert_eq!(inside.lines().await, expected);
    }
    let headers = [JSON, ("content-encoding", "gzip")];
    let answer = ask(inside.port, PATH, &headers, &gzip(br#"{"device":"z","t":1,"ts":1}"#)).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    inside.stop().await;
}

#[tokio::test]
async fn a_reading_without_a_device_is_refused_with_advice_and_the_url_can_name_it() {
    let mut inside = Inside::start(Settings::default()).await;
    let body = br#"{"t":1.5,"ts":1700000000000}"#;
    let answer = ask(inside.port, PATH, &[JSON], body).await;
    assert_eq!(answer.status, 400);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    for advice in ["`device`", "?device=", "user"] {
        assert!(error.contains(advice), "{error}");
    }
    assert_eq!(answer.json()["refused"][0]["index"], 0);
    assert_eq!(inside.refused().await[0].kind, "no_device");

    let answer = ask(inside.port, &format!("{PATH}?device=shed%201"), &[JSON], body).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(inside.lines().await, ["readings,device=shed\\ 1 t=1.5 1700000000000000000"]);
    inside.stop().await;
}

#[tokio::test]
async fn a_bad_reading_among_good_ones_is_named_by_its_index() {
    let mut inside = Inside::start(Settings::default()).await;
    let body = "{\"device\":\"a\",\"t\":1,\"ts\":1}\n{\"device\":\"a\",\"t\":oops}\n\n{\"device\":\"a\",\"t\":3,\"ts\":3}\n";
    let answer = ask(inside.port, PATH, &[NDJSON], body.as_bytes()).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let listed = answer.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["index"]), (1, &json!(1)));
    assert!(!listed[0]["reason"].as_str().unwrap().is_empty());
    assert_eq!(inside.lines().await.len(), 2);

    let array = r#"[{"device":"a","t":1,"ts":1},{"device":"a"},{"device":"a","t":3,"ts":3},7]"#;
    let answer = ask(inside.port, PATH, &[JSON], array.as_bytes()).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let indexes: Vec<_> =
        answer.json().as_array().unwrap().iter().map(|r| r["index"].clone()).collect();
    assert_eq!(indexes, [1, 3]);
    assert_eq!(inside.lines().await.len(), 2);

    let answer = ask(inside.port, PATH, &[JSON], b"{\"device\":\"a\"").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.json()["error"].as_str().unwrap().starts_with("no reading was taken: "));
    assert_eq!(ask(inside.port, PATH, &[JSON], b"").await.status, 400);
    inside.stop().await;
}

/// Larger than a document may be, and cut into pieces: indexes go on over all of them.
#[tokio::test]
async fn ndjson_has_no_end() {
    let mut inside = Inside::start(Settings::default()).await;
    let mut body = String::new();
    for n in 0..30_000 {
        match n {
            25_000 => body.push_str("{\"device\":\"d\",\"t\":}\n"),
            _ => writeln!(body, "{{\"device\":\"d\",\"temperature\":{n},\"ts\":{n}}}").unwrap(),
        }
    }
    assert!(body.len() > 1024 * 1024);
    let answer = ask(inside.port, PATH, &[NDJSON], body.as_bytes()).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    assert_eq!(answer.json()[0]["index"], 25_000);
    assert_eq!(inside.lines().await.len(), 29_999);
    let answer = ask(inside.port, PATH, &[JSON], body.as_bytes()).await;
    assert_eq!(answer.status, 413, "a document has to be held whole");
    assert!(answer.json()["error"].as_str().unwrap().contains("NDJSON"));
    inside.stop().await;
}

#[tokio::test]
async fn frames_are_taken_by_their_type_and_recognised_without_one() {
    let mut inside = Inside::start(Settings::default()).await;
    let reading = Reading {
        measurement: "climate".into(),
        tags: vec![("device".into(), "f1".into())],
        fields: vec![("n".into(), Value::Signed(-3))],
        time: Time::At(Timestamp::from_nanos(5)),
    };
    let mut bytes = Vec::new();
    frame::encode(&[reading], &mut bytes);
    for headers in [
        &[("content-type", "application/vnd.tidegate.frame")][..],
        &[("content-type", "application/octet-stream")],
        &[],
    ] {
        let answer = ask(inside.port, PATH, headers, &bytes).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(inside.lines().await, ["climate,device=f1 n=-3i 5"]);
    }
    let answer =
        ask(inside.port, PATH, &[("content-type", "application/octet-stream")], b"{}").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let answer = ask(inside.port, PATH, &[form], b"{\"device\":\"a\",\"t\":1}").await;
    assert_eq!(answer.status, 415);
    for taken in [
        "application/json",
        "application/x-ndjson",
        "application/cbor",
        "application/msgpack",
        "application/senml+json",
        "application/senml+cbor",
        "application/vnd.tidegate.frame",
    ] {
        assert!(answer.body.contains(taken), "{answer:?}");
    }
    inside.stop().await;
}

/// `[{"device":"d1","t":1,"ts":1700000000}]` and a pack of one record, in every type that names them.
#[tokio::test]
async fn formats_are_chosen_by_their_content_type() {
    let mut inside = Inside::start(Settings::default()).await;
    let cbor = &b"\x81\xA3\x66device\x62d1\x61t\x01\x62ts\x1A\x65\x53\xF1\x00"[..];
    let msgpack = &b"\x91\x83\xA6device\xA2d1\xA1t\x01\xA2ts\xCE\x65\x53\xF1\x00"[..];
    let pack = &br#"[{"bn":"d1:","bt":1700000000,"n":"t","v":1}]"#[..];
    let cbor_pack = &b"\x81\xA4\x21\x63d1:\x22\x1A\x65\x53\xF1\x00\x00\x61t\x02\x01"[..];
    for (content_type, body, series) in [
        ("application/cbor", cbor, "readings,device=d1"),
        ("application/msgpack", msgpack, "readings,device=d1"),
        ("application/vnd.msgpack", msgpack, "readings,device=d1"),
        ("application/x-msgpack", msgpack, "readings,device=d1"),
        ("application/senml+json", pack, "senml,device=d1"),
        ("application/senml+cbor; x=1", cbor_pack, "senml,device=d1"),
    ] {
        let answer = ask(inside.port, PATH, &[("content-type", content_type)], body).await;
        assert_eq!(answer.status, 204, "{content_type}: {answer:?}");
        assert_eq!(inside.lines().await, [format!("{series} t=1.0 1700000000000000000")]);
    }
    let cbor = [("content-type", "application/cbor")];
    let answer = ask(inside.port, PATH, &cbor, b"\xA1\x61t\x01").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("?device="), "{answer:?}");
    inside.stop().await;
}
