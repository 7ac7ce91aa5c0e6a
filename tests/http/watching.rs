//! What clients and watchers ask besides.

use crate::support::{
    inside::{Inside, Settings},
    raw::{Raw, ask},
};

#[tokio::test]
async fn a_client_that_pings_finds_a_database_of_version_2() {
    let inside = Inside::start(Settings::default()).await;
    for line in ["GET /ping", "HEAD /ping"] {
        let answer = ask(inside.port, line, &[], b"").await;
        assert_eq!(answer.status, 204);
        assert!(answer.header("x-influxdb-version").unwrap().starts_with("2."));
    }
    let answer = ask(inside.port, "GET /ping?verbose=true", &[], b"").await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["version"].as_str().unwrap().contains("tidegate"));
    let answer = ask(inside.port, "GET /health", &[], b"").await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("pass")));
    inside.stop().await;
}

#[tokio::test]
async fn watchers_get_metrics_and_probes() {
    let inside = Inside::start(Settings::default()).await;
    assert_eq!(ask(inside.port, "GET /healthz", &[], b"").await.status, 200);
    assert_eq!(ask(inside.port, "GET /readyz", &[], b"").await.status, 200);
    for (accept, given) in [
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.3",
            "application/openmetrics-text",
        ),
        ("*/*", "text/plain; version=0.0.4"),
    ] {
        let answer = ask(inside.port, "GET /metrics", &[("accept", accept)], b"").await;
        assert!(answer.header("content-type").unwrap().starts_with(given));
        assert!(answer.body.contains("tidegate_up 1"));
        assert_eq!(answer.body.contains("# EOF"), given.starts_with("application"));
    }
    inside.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_words_of_who_asks() {
    let inside = Inside::start(Settings::default()).await;
    let answer = ask(inside.port, "GET /query?q=SHOW%20DATABASES", &[], b"").await;
    assert_eq!(answer.status, 404);
    assert!(answer.json()["error"].as_str().unwrap().contains("writes only"));
    let answer = ask(inside.port, "GET /api/v2/buckets", &[], b"").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("not found")));
    let answer = ask(inside.port, "GET /nothing", &[], b"").await;
    assert_eq!(answer.status, 404);
    assert!(answer.json()["error"].as_str().unwrap().contains("/v1/readings"));
    let answer = ask(inside.port, "GET /write", &[], b"").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert!(!answer.json()["error"].as_str().unwrap().is_empty());
    let answer = ask(inside.port, "GET /v1/stream", &[], b"").await;
    assert_eq!((answer.status, answer.header("upgrade")), (426, Some("websocket")));
    let mut raw = Raw::connect(inside.port).await;
    raw.send(b"NONSENSE\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, 400);
    inside.stop().await;
}
