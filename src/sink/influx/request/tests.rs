//! The request layer against a rough server: raw bytes, one script for each connection.
#![expect(clippy::single_range_in_vec_init, reason = "lines are given as ranges")]

use std::{io::Read, net::SocketAddr, sync::mpsc};

use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;
use crate::sink::Sink;
use crate::sink::influx::Influx;
use crate::sink::influx::Secret;

const STORED: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// What the server does with a request once it has read it.
#[derive(Clone, Copy)]
enum Then {
    Say(&'static str),
    Close,
    Hang,
    /// Reads nothing at all.
    Ignore,
    /// Says this and never ends.
    SayAndHang(&'static str),
}

struct Server {
    address: SocketAddr,
    /// Head and body of each request, and on which connection it came.
    seen: mpsc::Receiver<(usize, String, Vec<u8>)>,
    _connections: JoinSet<()>,
}

impl Server {
    async fn start(script: &'static [Then]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            let mut script = script.iter().copied();
            let then = std::sync::Arc::new(std::sync::Mutex::new(move || script.next()));
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (sender, then) = (sender.clone(), std::sync::Arc::clone(&then));
                connections.spawn(async move {
                    let next = || then.lock().unwrap()();
                    serve(stream, number, &sender, next).await;
                });
            }
        });
        Self { address, seen, _connections: tasks }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(
    mut stream: TcpStream,
    number: usize,
    seen: &mpsc::Sender<(usize, String, Vec<u8>)>,
    next: impl Fn() -> Option<Then>,
) {
    let mut bytes = Vec::new();
    while let Some(then) = next() {
        if let Then::Ignore = then {
            std::future::pending::<()>().await;
        }
        let head_len = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                return;
            }
        };
        let head = String::from_utf8(bytes[..head_len].to_vec()).unwrap();
        let lower = head.to_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.unwrap_or("0").parse().unwrap();
        while bytes.len() < head_len + length {
            assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
        }
        let body = bytes[head_len..head_len + length].to_vec();
        bytes.drain(..head_len + length);
        seen.send((number, head, body)).unwrap();
        match then {
            Then::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Then::Close => return,
            Then::Hang | Then::Ignore => std::future::pending().await,
            Then::SayAndHang(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                std::future::pending::<()>().await;
            }
        }
    }
}

/// For an answer on a busy machine; and what those wait for who get none.
const REQUEST_MAX: Duration = Duration::from_secs(2);

fn secret(text: &str) -> Secret {
    Secret::Given(SecretString::from(text.to_owned()))
}

fn v2(url: String) -> Settings {
    let (org, bucket) = ("my org".to_owned(), "b&c=d/ü".to_owned());
    let version = Version::V2 { org, bucket, token: secret("s3cret") };
    Settings { url, version, ca_file: None, gzip: true, request_max: REQUEST_MAX }
}

fn v1(url: String) -> Settings {
    let version = Version::V1 {
        database: "iot".to_owned(),
        retention_policy: Some("one year".to_owned()),
        user: Some(("me".to_owned(), secret("s3cret"))),
    };
    Settings { url, version, ca_file: None, gzip: false, request_max: REQUEST_MAX }
}

fn body(lines: usize) -> Arc<Body> {
    let mut body = Body::default();
    for line in 0..lines {
        body.bytes.extend_from_slice(format!("m,device=d v={line} {line}\n").as_bytes());
        body.end_line(0);
    }
    Arc::new(body)
}

async fn answer(settings: &Settings) -> Answer {
    let influx = Influx::new(settings).unwrap();
    influx.write(&body(3), &[0..3]).await.answer
}

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

#[tokio::test]
async fn a_request_of_version_2_says_what_it_must() {
    let server = Server::start(&[Then::Say(STORED)]).await;
    let influx = Influx::new(&v2(format!("{}/base/path/", server.url()))).unwrap();
    let body = body(5000);
    let written = influx.write(&body, &[0..5000]).await;
    assert_eq!((written.answer, written.status), (Answer::Stored, Some(204)));
    let (_, head, sent) = server.seen.recv().unwrap();
    let target =
        "POST /base/path/api/v2/write?org=my%20org&bucket=b%26c%3Dd%2F%C3%BC&precision=ns ";
    assert!(head.starts_with(target), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("authorization: token s3cret\r\n"), "{head}");
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert!(sent.len() < body.bytes.len() / 3, "{} of {}", sent.len(), body.bytes.len());
    assert_eq!(written.bytes, sent.len() as u64);
    assert_eq!(inflated(&sent), body.bytes);
}

#[tokio::test]
async fn a_request_of_version_1_says_what_it_must() {
    let server = Server::start(&[Then::Say(STORED)]).await;
    let influx = Influx::new(&v1(server.url())).unwrap();
    let body = body(10);
    assert_eq!(influx.write(&body, &[0..2, 7..8]).await.answer, Answer::Stored);
    let (_, head, sent) = server.seen.recv().unwrap();
    assert!(head.starts_with("POST /write?db=iot&precision=n&rp=one%20year "), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("authorization: basic bwu6cznjcmv0\r\n"), "{head}");
    assert!(!head.contains("content-encoding"), "{head}");
    assert_eq!(sent, [body.line(0), body.line(1), body.line(7)].concat());
}

#[tokio::test]
async fn a_request_of_version_3_says_what_it_must() {
    for (token, says_so) in [(None, false), (Some(secret("s3cret")), true)] {
        let server = Server::start(&[Then::Say(STORED)]).await;
        let version = Version::V3 { database: "my db".to_owned(), token };
        let influx = Influx::new(&Settings { version, ..v2(server.url()) }).unwrap();
        assert_eq!(influx.write(&body(3), &[0..3]).await.answer, Answer::Stored);
        let (_, head, _) = server.seen.recv().unwrap();
        let target =
            "POST /api/v3/write_lp?db=my%20db&precision=nanosecond&accept_partial=true HTTP/1.1";
        assert!(head.starts_with(target), "{head}");
        let head = head.to_lowercase();
        assert_eq!(head.contains("authorization: bearer s3cret\r\n"), says_so, "{head}");
        assert_eq!(head.contains("authorization"), says_so, "{head}");
    }
}

#[tokio::test]
async fn a_success_with_a_body_is_none() {
    let server =
        Server::start(&[Then::Say("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\n")]).await;
    let found = answer(&v2(server.url())).await;
    assert!(matches!(found, Answer::Suspect { .. }), "{found:?}");
}

#[tokio::test]
async fn a_database_is_asked_which_one_it_is() {
    static SCRIPTS: [(&[Then], &str); 3] = [
        (
            &[Then::Say("HTTP/1.1 204 No Content\r\nX-Influxdb-Version: 1.8.10\r\n\r\n")],
            "POST /write?db=iot&precision=n ",
        ),
        (
            &[
                Then::Say("HTTP/1.1 204 No Content\r\n\r\n"),
                Then::Say("HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\n{\"version\":\"v2.7.12\"}"),
            ],
            "POST /api/v2/write?org=o&bucket=iot&precision=ns ",
        ),
        (
            &[Then::Say("HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n{\"version\":\"3.2\"}")],
            "POST /api/v3/write_lp?db=iot&precision=nanosecond&accept_partial=true ",
        ),
    ];
    let auto = || {
        let given = Auto { database: "iot".to_owned(), ..Auto::default() };
        Auto { org: Some("o".to_owned()), token: Some(secret("s3cret")), ..given }
    };
    for (script, expected) in SCRIPTS {
        let script: Vec<Then> = [script, &[Then::Say(STORED), Then::Say(STORED)]].concat();
        let server = Server::start(Box::leak(script.into_boxed_slice())).await;
        let influx =
            Influx::new(&Settings { version: Version::Auto(auto()), ..v2(server.url()) }).unwrap();
        for _ in 0..2 {
            assert_eq!(influx.write(&body(3), &[0..3]).await.answer, Answer::Stored);
        }
        let heads: Vec<_> = server.seen.try_iter().map(|(_, head, _)| head).collect();
        assert!(heads[0].starts_with("GET /ping "), "{heads:?}");
        for head in &heads[heads.len() - 2..] {
            assert!(head.starts_with(expected), "{heads:?}");
        }
    }
}

#[tokio::test]
async fn one_that_does_not_tell_is_not_written_to() {
    const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhotel";
    let server = Server::start(&[Then::Say(PAGE); 2]).await;
    let version = Version::Auto(Auto { database: "iot".to_owned(), ..Auto::default() });
    let found = answer(&Settings { version, ..v2(server.url()) }).await;
    let Answer::Misconfigured(text) = found else { panic!("{found:?}") };
    assert!(text.contains("name it with `version`"), "{text}");
}

#[tokio::test]
async fn connections_are_kept() {
    let server = Server::start(&[Then::Say(STORED); 3]).await;
    let influx = Influx::new(&v2(server.url())).unwrap();
    for _ in 0..3 {
        assert_eq!(influx.write(&body(3), &[0..3]).await.answer, Answer::Stored);
        assert_eq!(server.seen.recv().unwrap().0, 0);
    }
}

#[tokio::test]
async fn a_refused_connection_is_certainly_not_stored() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let found = answer(&v2(format!("http://{address}"))).await;
    let Answer::Failed(text) = found else { panic!("{found:?}") };
    assert!(text.contains("refused"), "{text}");
    let found = answer(&v2("http://no-such-host.invalid".to_owned())).await;
    assert!(matches!(found, Answer::Failed(_)), "{found:?}");
}

#[tokio::test]
async fn what_broke_off_later_is_unknown() {
    static BROKEN: &[&[Then]] = &[
        &[Then::Close],
        &[Then::Hang],
        &[Then::Ignore],
        &[Then::Say("HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\nshort"), Then::Close],
        &[Then::SayAndHang("HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\nshort")],
        &[Then::Say("this is no HTTP\r\n\r\n")],
    ];
    for script in BROKEN {
        let server = Server::start(script).await;
        let found = answer(&v2(server.url())).await;
        assert!(matches!(found, Answer::Unknown(_)), "{found:?}");
    }
}

#[tokio::test]
async fn busy_says_for_how_long() {
    let server = Server::start(&[Then::Say(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nwait",
    )])
    .await;
    let retry_after = Some(Duration::from_secs(7));
    let text = "HTTP 503: wait".into();
    assert_eq!(answer(&v2(server.url())).await, Answer::Busy { retry_after, text });
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start(&[Then::Say(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/login\r\ncontent-length: 0\r\n\r\n",
    )])
    .await;
    let found = answer(&v2(server.url())).await;
    assert!(matches!(found, Answer::Misconfigured(_)), "{found:?}");
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let server = Server::start(&[Then::Say(STORED)]).await;
    drop(server);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        stream.read_buf(&mut request).await.unwrap();
        let head = b"HTTP/1.1 404 Not Found\r\ncontent-length: 1000000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    });
    let settings =
        Settings { request_max: Duration::from_secs(20), ..v2(format!("http://{address}")) };
    let found = answer(&settings).await;
    let Answer::Misconfigured(text) = found else { panic!("{found:?}") };
    assert!(text.len() < 1024, "{}", text.len());
}

#[tokio::test]
async fn a_secret_in_a_file_is_read_again_by_a_probe_and_only_then() {
    let server = Server::start(&[Then::Say(STORED); 4]).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let version = Version::V2 {
        org: "o".to_owned(),
        bucket: "b".to_owned(),
        token: Secret::File(path.clone()),
    };
    let influx = Influx::new(&Settings { version, ..v2(server.url()) }).unwrap();
    let found = influx.probe().await.answer;
    let Answer::Misconfigured(text) = found else { panic!("{found:?}") };
    assert!(text.contains("No such file"), "{text}");

    let sent = || {
        let (_, head, body) = server.seen.recv().unwrap();
        let token =
            head.to_lowercase().split("token ").nth(1).unwrap().lines().next().unwrap().to_owned();
        (token, body)
    };
    std::fs::write(&path, "one\n").unwrap();
    assert_eq!(influx.write(&body(3), &[0..3]).await.answer, Answer::Stored);
    assert_eq!(sent().0, "one");
    std::fs::write(&path, "two\n").unwrap();
    assert_eq!(influx.write(&body(3), &[0..3]).await.answer, Answer::Stored);
    assert_eq!(sent().0, "one");
    assert_eq!(influx.probe().await.answer, Answer::Stored);
    let (token, probe) = sent();
    assert_eq!(token, "two");
    let probe = String::from_utf8(inflated(&probe)).unwrap();
    assert!(probe.starts_with("tidegate_probe value=1 1"), "{probe}");
    assert_eq!(influx.write(&body(3), &[0..3]).await.answer, Answer::Stored);
    assert_eq!(sent().0, "two");
}

#[tokio::test]
async fn no_secret_is_shown() {
    let server = Server::start(&[Then::Say(STORED)]).await;
    for settings in [v1(server.url()), v2(server.url())] {
        let influx = Influx::new(&settings).unwrap();
        let _answer = influx.write(&body(3), &[0..3]).await;
        let shown = format!("{settings:?} {influx:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("bWU6czNjcmV0"), "{shown}");
    }
}

#[test]
fn addresses_that_make_no_sense_are_refused() {
    for url in [
        "",
        "127.0.0.1:8086",
        "ftp://127.0.0.1",
        "http://",
        "http:// x",
        "http://h/?db=x",
        "http://me:s3cret@h/",
    ] {
        let error = Influx::new(&v2(url.to_owned())).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
    for url in ["http://h", "https://h:8086/", "http://[::1]:8086/a/b"] {
        assert!(Influx::new(&v2(url.to_owned())).is_ok(), "{url}");
    }
}
