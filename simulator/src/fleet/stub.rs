//! A gateway for tests: takes MQTT, WebSocket and HTTP, remembers what it acknowledged, and every
//! so often breaks a connection before or after it took a message.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proto::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

use super::Gateway;
use crate::{faulty::line, verify::Row};

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Every so many messages the connection breaks instead of an answer; 0: never.
    pub(super) break_every: u64,
    /// Every so many messages the answer is "not now" (HTTP, WebSocket).
    pub(super) defer_every: u64,
    /// A message that contains this is refused for good.
    pub(super) refuse: Option<String>,
}

#[derive(Debug)]
pub(super) struct Stub {
    faults: Faults,
    messages: AtomicU64,
    rows: Mutex<Vec<Row>>,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Take,
    Break,
    Defer,
    Refuse,
}

pub(super) struct Open {
    pub(super) stub: Arc<Stub>,
    pub(super) gateway: Gateway,
    _running: JoinSet<()>,
}

impl Faults {
    /// A gateway with these faults on two free ports, for as long as what is returned lives.
    pub(super) async fn open(self) -> Open {
        let stub =
            Arc::new(Stub { faults: self, messages: AtomicU64::new(0), rows: Mutex::default() });
        let mut running = JoinSet::new();
        let mqtt = listen(&mut running, Arc::clone(&stub), mqtt).await;
        let http = listen(&mut running, Arc::clone(&stub), web).await;
        let gateway = Gateway::new(&mqtt.to_string(), &format!("http://{http}/"));
        Open { stub, gateway, _running: running }
    }
}

impl Stub {
    /// What was stored, one row a point: repeats of the same point fall together.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = self.rows.lock().unwrap().clone();
        rows.sort_by(|a, b| (&a.device, a.time).cmp(&(&b.device, b.time)));
        rows.dedup_by(|a, b| (&a.device, a.time) == (&b.device, b.time));
        rows
    }

    /// Rows as they came, repeats included.
    pub(super) fn taken(&self) -> usize {
        self.rows.lock().unwrap().len()
    }

    fn fate(&self, payload: &[u8]) -> Fate {
        let number = self.messages.fetch_add(1, SeqCst) + 1;
        let is_turn = |every: u64| every > 0 && number.is_multiple_of(every);
        let text = String::from_utf8_lossy(payload);
        let faults = &self.faults;
        if faults.refuse.as_ref().is_some_and(|refuse| text.contains(refuse)) {
            Fate::Refuse
        } else if is_turn(faults.break_every) {
            if is_turn(faults.break_every * 2) {
                self.store(payload); // Taken, but the answer is lost.
            }
            Fate::Break
        } else if is_turn(faults.defer_every) {
            Fate::Defer
        } else {
            self.store(payload);
            Fate::Take
        }
    }

    fn store(&self, payload: &[u8]) {
        let mut rows = self.rows.lock().unwrap();
        if payload.starts_with(b"{") {
            let text = str::from_utf8(payload).unwrap();
            rows.extend(text.lines().map(row));
        } else {
            rows.extend(line::points(payload, 1).map(|(_, point)| {
                let point = point.unwrap();
                let device = point.tags.iter().find(|(k, _)| k == "device").unwrap().1.clone();
                let (measurement, fields) = (point.measurement, point.fields);
                Row { measurement, device, time: point.time.unwrap(), fields }
            }));
        }
    }
}

fn row(text: &str) -> Row {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    let field = |value: &serde_json::Value| match value {
        serde_json::Value::Bool(value) => Value::Boolean(*value),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        number => Value::Float(number.as_f64().unwrap()),
    };
    Row {
        measurement: json["measurement"].as_str().unwrap().to_owned(),
        device: json["device"].as_str().unwrap().to_owned(),
        time: json["ts"].as_i64().unwrap(),
        fields: json["fields"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.clone(), field(v)))
            .collect(),
    }
}

async fn listen<F>(
    running: &mut JoinSet<()>,
    stub: Arc<Stub>,
    serve: impl Fn(TcpStream, Arc<Stub>) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    running.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = serve(stream, Arc::clone(&stub));
            connections.spawn(async move { drop(connection.await) });
        }
    });
    address
}

async fn mqtt(mut stream: TcpStream, stub: Arc<Stub>) -> io::Result<()> {
    let mut v5 = false;
    loop {
        let first = stream.read_u8().await?;
        let mut length = 0;
        for place in 0..4 {
            let byte = stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let answer = match first >> 4 {
            1 => {
                v5 = body[6] == 5;
                // v5: at most 8 publishes under way (Receive Maximum, 0x21).
                if v5 { vec![0x20, 6, 0, 0, 3, 0x21, 0, 8] } else { vec![0x20, 2, 0, 0] }
            }
            3 => match publish(first, &body, v5, &stub) {
                Some(answer) => answer,
                None => return Ok(()),
            },
            6 => vec![0x70, 2, body[0], body[1]],
            12 => vec![0xd0, 0],
            _ => return Ok(()),
        };
        stream.write_all(&answer).await?;
    }
}

/// The answer to a PUBLISH; none: break the connection.
fn publish(first: u8, body: &[u8], v5: bool, stub: &Stub) -> Option<Vec<u8>> {
    let qos = first >> 1 & 3;
    let mut at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let id = [body[at], body[at + 1]];
    at += if qos > 0 { 2 } else { 0 };
    at += usize::from(v5); // No properties: a zero.
    let answer = match (qos, stub.fate(&body[at..])) {
        (_, Fate::Break | Fate::Defer) => return None,
        (0, _) => vec![],
        (1, Fate::Take) => vec![0x40, 2, id[0], id[1]],
        (1, Fate::Refuse) => vec![0x40, 4, id[0], id[1], 0x99, 0],
        (_, Fate::Take) => vec![0x50, 2, id[0], id[1]],
        (_, Fate::Refuse) => vec![0x50, 4, id[0], id[1], 0x99, 0],
    };
    Some(answer)
}

async fn web(stream: TcpStream, stub: Arc<Stub>) -> io::Result<()> {
    let mut start = [0; 3];
    stream.peek(&mut start).await?;
    if &start == b"GET" {
        return websocket(stream, stub).await;
    }
    let service = service_fn(move |request: Request<Incoming>| post(Arc::clone(&stub), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    connection.await.map_err(io::Error::other)
}

async fn post(
    stub: Arc<Stub>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let mut response = Response::new(Full::default());
    *response.status_mut() = match stub.fate(&body) {
        Fate::Take => StatusCode::NO_CONTENT,
        Fate::Break => return Err(io::Error::other("broken on purpose")),
        Fate::Defer => StatusCode::SERVICE_UNAVAILABLE,
        Fate::Refuse => StatusCode::BAD_REQUEST,
    };
    Ok(response)
}

async fn websocket(stream: TcpStream, stub: Arc<Stub>) -> io::Result<()> {
    let mut stream = accept_async(stream).await.map_err(io::Error::other)?;
    let mut number = 0;
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else { continue };
        number += 1;
        let nack = |retry: bool| format!(r#"{{"nack":{number},"reason":"test","retry":{retry}}}"#);
        let ack = format!(r#"{{"ack":{number}}}"#);
        let answers = match stub.fate(text.as_bytes()) {
            Fate::Take => vec![ack],
            Fate::Break => return Ok(()),
            Fate::Defer => vec![nack(true), ack],
            Fate::Refuse => vec![nack(false), ack],
        };
        for answer in answers {
            stream.send(Message::text(answer)).await.map_err(io::Error::other)?;
        }
    }
    Ok(())
}
