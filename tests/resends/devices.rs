//! Devices in bytes: each sends `{"v":0}`, `{"v":1}`, ... without a time, and sends again what was not
//! acknowledged when its connection broke.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// A gateway that was killed in the middle of an answer is given up after this.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(25);

/// A client with packet identifiers that rise, and at most `window` messages under way.
#[derive(Debug)]
pub struct Mqtt {
    name: String,
    qos: u8,
    messages: u32,
    window: usize,
    next: u32,
    /// Sent, not acknowledged: no PUBACK, no PUBREC.
    unacknowledged: BTreeSet<u32>,
    /// QoS 2: received, not completed.
    received: BTreeSet<u32>,
    /// Between two new messages.
    pace: Duration,
    /// Reads no answer before its window is full; what is unread when the connection breaks is lost.
    reads_late: bool,
}

impl Mqtt {
    pub fn new(name: &str, qos: u8, messages: u32, window: usize) -> Self {
        Self {
            name: name.to_owned(),
            qos,
            messages,
            window,
            next: 0,
            unacknowledged: BTreeSet::new(),
            received: BTreeSet::new(),
            pace: Duration::ZERO,
            reads_late: false,
        }
    }

    pub fn paced(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }

    pub fn reading_late(self) -> Self {
        Self { reads_late: true, ..self }
    }

    /// Sends a window full and reads no answer.
    pub async fn send_and_hang_up(&mut self, port: u16) {
        let mut stream = self.connect(port).await.unwrap();
        while self.has_room() {
            stream.write_all(&self.new_message()).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let mut unread = Vec::new();
        stream.read_to_end(&mut unread).await.unwrap();
    }

    /// Sends the first of what is not acknowledged again, and reads no answer.
    pub async fn resend_and_hang_up(&mut self, port: u16, messages: usize) {
        let mut stream = self.connect(port).await.unwrap();
        for number in self.unacknowledged.iter().take(messages) {
            stream.write_all(&self.publish(*number, true)).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        let mut unread = Vec::new();
        stream.read_to_end(&mut unread).await.unwrap();
    }

    /// Until everything is acknowledged, over as many connections as it takes.
    pub async fn run(mut self, port: u16) {
        while !self.is_done() {
            if self.serve(port).await.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    fn is_done(&self) -> bool {
        self.next == self.messages && self.unacknowledged.is_empty() && self.received.is_empty()
    }

    fn has_room(&self) -> bool {
        self.next < self.messages && self.unacknowledged.len() + self.received.len() < self.window
    }

    /// One connection; `None` when it broke.
    async fn serve(&mut self, port: u16) -> Option<()> {
        let mut stream = self.connect(port).await?;
        let mut again = Vec::new();
        for number in &self.unacknowledged {
            again.extend(self.publish(*number, true));
        }
        for number in &self.received {
            again.extend(release(*number));
        }
        stream.write_all(&again).await.ok()?;
        while !self.is_done() {
            if self.has_room() {
                sleep(self.pace).await;
                stream.write_all(&self.new_message()).await.ok()?;
                if self.reads_late && self.has_room() {
                    continue;
                }
            }
            while let Ok(answer) = timeout(self.patience(), packet(&mut stream)).await {
                self.answered(&answer?, &mut stream).await?;
            }
        }
        Some(())
    }

    /// For an answer, before more is sent.
    fn patience(&self) -> Duration {
        if self.is_done() || self.has_room() { Duration::from_millis(1) } else { ANSWER_MAX / 100 }
    }

    async fn answered(&mut self, answer: &[u8], stream: &mut TcpStream) -> Option<()> {
        let number = u32::from(u16::from_be_bytes([answer[2], answer[3]])) - 1;
        match answer[0] {
            0x40 => assert!(self.unacknowledged.remove(&number), "PUBACK for {number}"),
            0x50 => {
                self.unacknowledged.remove(&number);
                self.received.insert(number);
                stream.write_all(&release(number)).await.ok()?;
            }
            0x70 => assert!(self.received.remove(&number), "PUBCOMP for {number}"),
            other => panic!("{other:02x}"),
        }
        Some(())
    }

    fn new_message(&mut self) -> Vec<u8> {
        let number = self.next;
        self.next += 1;
        self.unacknowledged.insert(number);
        self.publish(number, false)
    }

    fn publish(&self, number: u32, is_resend: bool) -> Vec<u8> {
        let topic = format!("sim/resent/{}", self.name);
        let mut body = string(&topic);
        body.extend(identifier(number));
        body.extend(payload(number).as_bytes());
        let mut packet = vec![0x30 | u8::from(is_resend) << 3 | self.qos << 1];
        packet.push(u8::try_from(body.len()).unwrap());
        packet.extend(body);
        packet
    }

    async fn connect(&self, port: u16) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut body = b"\x00\x04MQTT\x04\x00\x00\x3c".to_vec();
        body.extend(string(&self.name));
        let mut connect = vec![0x10, u8::try_from(body.len()).unwrap()];
        connect.extend(body);
        stream.write_all(&connect).await.ok()?;
        let connack = timeout(ANSWER_MAX, packet(&mut stream)).await.ok()??;
        (connack == [0x20, 2, 0, 0]).then_some(stream)
    }
}

pub fn payload(number: u32) -> String {
    format!("{{\"v\":{number}}}")
}

fn release(number: u32) -> Vec<u8> {
    [&[0x62, 2][..], &identifier(number)].concat()
}

/// 0 is no identifier.
fn identifier(number: u32) -> [u8; 2] {
    u16::try_from(number + 1).unwrap().to_be_bytes()
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Answers are four bytes long. `None`: the connection ended. Not cancel safe in the middle of one,
/// but they come whole.
async fn packet(stream: &mut TcpStream) -> Option<[u8; 4]> {
    stream.readable().await.ok()?;
    let mut packet = [0; 4];
    stream.read_exact(&mut packet).await.ok()?;
    Some(packet)
}

/// A device on the WebSocket whose messages are numbered over all its connections.
#[derive(Debug)]
pub struct Stream {
    name: String,
    messages: u32,
    window: u64,
    acknowledged: u64,
    pace: Duration,
}

impl Stream {
    pub fn new(name: &str, messages: u32, window: u64, pace: Duration) -> Self {
        Self { name: name.to_owned(), messages, window, acknowledged: 0, pace }
    }

    /// Sends a window full and reads no answer.
    pub async fn send_and_hang_up(&mut self, port: u16) {
        let mut socket = self.connect(port).await.unwrap();
        for number in self.acknowledged + 1..=self.acknowledged + self.window {
            socket.send(self.message(number)).await.unwrap();
        }
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    }

    pub async fn run(mut self, port: u16) {
        while self.acknowledged < u64::from(self.messages) {
            if self.serve(port).await.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    async fn serve(&mut self, port: u16) -> Option<()> {
        let mut socket = self.connect(port).await?;
        let mut sent = self.acknowledged;
        while self.acknowledged < u64::from(self.messages) {
            if sent < u64::from(self.messages) && sent < self.acknowledged + self.window {
                sent += 1;
                socket.send(self.message(sent)).await.ok()?;
                sleep(self.pace).await;
            }
            let patience = Duration::from_millis(if sent == self.acknowledged { 1 } else { 5 });
            while let Ok(answer) = timeout(patience, socket.next()).await {
                let Message::Text(text) = answer?.ok()? else { continue };
                let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
                self.acknowledged = answer["ack"].as_u64().unwrap_or_else(|| panic!("{text}"));
            }
        }
        Some(())
    }

    fn message(&self, number: u64) -> Message {
        let (name, value) = (&self.name, number - 1);
        Message::text(format!(
            "{{\"device\":\"{name}\",\"measurement\":\"resent\",\"fields\":{{\"v\":{value}}}}}"
        ))
    }

    async fn connect(&self, port: u16) -> Option<WebSocketStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let (name, from) = (&self.name, self.acknowledged + 1);
        let url = format!("ws://127.0.0.1:{port}/v1/stream?stream={name}&from={from}");
        let connected = timeout(ANSWER_MAX, client_async(url, stream)).await.ok()?;
        Some(connected.ok()?.0)
    }
}

/// A device that posts line protocol, some readings at a time, each body under a key of its own.
#[derive(Debug)]
pub struct Http {
    name: String,
    messages: u32,
    /// Readings of a body.
    batch: u32,
    /// Of comments after each reading: large ones make a body of several pieces.
    padding: usize,
    /// The first reading that is not acknowledged.
    next: u32,
    /// Between the body and a look at its answer; what is unread when the connection breaks is lost.
    late: Duration,
}

impl Http {
    pub fn new(name: &str, messages: u32, batch: u32) -> Self {
        let (name, late) = (name.to_owned(), Duration::ZERO);
        Self { name, messages, batch, padding: 0, next: 0, late }
    }

    pub fn padded(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    pub fn reading_late(self, late: Duration) -> Self {
        Self { late, ..self }
    }

    /// Sends so many parts of a hundred of the request and reads no answer.
    pub async fn send_and_hang_up(&mut self, port: u16, percent: usize) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = self.request();
        stream.write_all(&request[..request.len() * percent / 100]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut unread = Vec::new();
        stream.read_to_end(&mut unread).await.unwrap();
    }

    pub async fn run(mut self, port: u16) {
        while self.next < self.messages {
            if self.serve(port).await.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    /// One connection; `None` when it broke.
    async fn serve(&mut self, port: u16) -> Option<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.set_nodelay(true).ok()?;
        while self.next < self.messages {
            stream.write_all(&self.request()).await.ok()?;
            sleep(self.late).await;
            match timeout(ANSWER_MAX, status(&mut stream)).await.ok()?? {
                204 => self.next += self.batch(),
                409 | 503 => return None,
                other => panic!("{}: {other}", self.name),
            }
        }
        Some(())
    }

    fn batch(&self) -> u32 {
        self.batch.min(self.messages - self.next)
    }

    /// The next one, or the last one again.
    fn request(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for number in self.next..self.next + self.batch() {
            body.extend(format!("resent,device={} v={number}\n#", self.name).bytes());
            body.resize(body.len() + self.padding, b'x');
            body.push(b'\n');
        }
        let head = format!(
            "POST /write HTTP/1.1\r\nhost: x\r\nidempotency-key: \"{}-{}\"\r\ncontent-length: {}\r\n\r\n",
            self.name,
            self.next,
            body.len()
        );
        [head.into_bytes(), body].concat()
    }
}

/// Of an answer without a body, or the last one of its connection. `None`: the connection ended.
async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    Some(head.split(' ').nth(1).unwrap().parse().unwrap())
}
