//! A listener with a real journal whose syncs can be held, and a client that speaks in bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use journal::testing::{Control, HeldDisk};
use journal::{Fates, OutputId, Reader, Start};
use tempfile::TempDir;
use tidegate::intake::route::Routes;
use tidegate::intake::stamp::SystemClock;
use tidegate::intake::{self, Intake};
use tidegate::listen::{accept, mqtt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// More than anything here takes; running into it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const CONNECT_31: &[u8] = b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x02d1";
pub const CONNECT_311: &[u8] = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d1";
pub const CONNECT_5: &[u8] = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02d1";
pub const PINGREQ: &[u8] = &[0xc0, 0];
pub const PINGRESP: &[u8] = &[0xd0, 0];

pub struct Gateway {
    pub addr: SocketAddr,
    pub control: Arc<Control>,
    pub stats: Arc<mqtt::Stats>,
    pub shutdown: CancellationToken,
    _journal: journal::Journal,
    serving: JoinSet<()>,
    reader: Reader,
    /// Something must read these, or nothing is ever freed.
    pub rejects: Option<Reader>,
    _dir: TempDir,
}

pub struct Setup {
    pub limits: mqtt::Limits,
    pub connections_max: usize,
    pub journal_bytes_max: u64,
    pub segment_bytes: Option<u64>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: mqtt::Limits::default(),
            connections_max: 100,
            journal_bytes_max: 64 << 20,
            segment_bytes: None,
        }
    }
}

impl Gateway {
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (disk, control) = HeldDisk::new(dir.path());
        let options = journal::Options {
            bytes_max: setup.journal_bytes_max,
            segment_bytes: setup.segment_bytes,
            free_bytes_min: 0,
            sync_wait: Duration::from_millis(20),
            ..journal::Options::new(dir.path())
        };
        let (journal, appender, _) = journal::open_with(disk, &options).unwrap();
        let reader = journal.reader(&OutputId::new("test").unwrap(), Start::Oldest).unwrap();
        let rejects = Some(journal.rejects().unwrap());
        let routes = Routes::compile(Vec::new()).unwrap();
        let limits = intake::Limits::default();
        let intake = Intake::new(appender, routes, limits, Vec::new(), Arc::new(SystemClock));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stats, shutdown) = (Arc::new(mqtt::Stats::default()), CancellationToken::new());
        let ports = accept::Limits { connections_max: setup.connections_max };
        let mut serving = JoinSet::new();
        serving.spawn(mqtt::serve(
            listener,
            intake,
            ports,
            setup.limits,
            Arc::clone(&stats),
            shutdown.clone(),
        ));
        Self {
            addr,
            control,
            stats,
            shutdown,
            _journal: journal,
            serving,
            reader,
            rejects,
            _dir: dir,
        }
    }

    pub async fn open(&self) -> Client {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    /// A client whose CONNACK is read.
    pub async fn client(&self, connect: &[u8]) -> Client {
        let mut client = self.open().await;
        client.send(connect).await;
        let connack = client.packet().await;
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
        client
    }

    /// The next `count` readings as `topic field=value` (the series where a payload names one), in the journal's order.
    pub async fn readings(&mut self, count: usize) -> Vec<String> {
        let mut readings = Vec::new();
        while readings.len() < count {
            let lease = timeout(PATIENCE, self.reader.next()).await.expect("a frame").unwrap();
            let before = readings.len();
            for submission in lease.frame.submissions() {
                let mut cursor = proto::frame::Cursor::new(submission.unwrap().bytes);
                while let Some(reading) = cursor.next() {
                    readings.push(shown(&reading.unwrap()));
                }
            }
            let confirmed = (readings.len() - before) as u64;
            lease.receipt.confirm(&Fates { confirmed, ..Fates::default() });
        }
        readings
    }

    /// Lets the journal free what `readings` has confirmed.
    pub fn ignore_rejects(&mut self) {
        let mut rejects = self.rejects.take().unwrap();
        self.serving.spawn(async move {
            while let Some(lease) = rejects.next().await {
                lease.receipt.confirm(&Fates::default());
            }
        });
    }

    /// Blocks a thread of the runtime's pool until the journal stands in a held sync.
    pub async fn sync_is_held(&self) -> bool {
        let control = Arc::clone(&self.control);
        let held = move || control.wait_until_held(PATIENCE);
        tokio::task::spawn_blocking(held).await.unwrap()
    }

    /// After the shutdown.
    pub async fn stopped(&mut self) {
        timeout(PATIENCE, self.serving.join_next()).await.expect("an end").unwrap().unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.control.release();
    }
}

fn shown(reading: &proto::ReadingRef<'_>) -> String {
    let series = match reading.tags.iter().find(|(name, _)| *name == "topic") {
        Some((_, topic)) if reading.measurement == "mqtt" => (*topic).to_owned(),
        _ => {
            let tags = reading.tags.iter().map(|(name, value)| format!(",{name}={value}"));
            format!("{}{}", reading.measurement, tags.collect::<String>())
        }
    };
    let fields = reading.fields.iter().map(|(name, value)| format!(" {name}={value:?}"));
    format!("{series}{}", fields.collect::<String>())
}

pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("taken").unwrap();
    }

    /// The next packet; none here has a length of two bytes.
    pub async fn packet(&mut self) -> Vec<u8> {
        let mut head = [0; 2];
        timeout(PATIENCE, self.stream.read_exact(&mut head)).await.expect("a packet").unwrap();
        let mut packet = head.to_vec();
        packet.resize(2 + usize::from(head[1]), 0);
        timeout(PATIENCE, self.stream.read_exact(&mut packet[2..])).await.expect("all").unwrap();
        packet
    }

    pub async fn is_ponged(&mut self) {
        self.send(PINGREQ).await;
        assert_eq!(self.packet().await, PINGRESP);
    }

    /// What is said until the gateway closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("an end");
        // A gateway that hangs up on bytes that are still coming resets the connection.
        match read.map_err(|error| error.kind()) {
            Ok(_) | Err(std::io::ErrorKind::ConnectionReset) => rest,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// A PUBLISH for versions before 5.
pub fn publish(first: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(topic.as_bytes());
    if first & 6 != 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.extend_from_slice(payload);
    packet(first, &body)
}

/// The same for version 5, without properties.
pub fn publish_5(first: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    publish(first, id, topic, &[&[0], payload].concat())
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut len = body.len();
    while len > 127 {
        bytes.push(u8::try_from(len & 127).unwrap() | 128);
        len >>= 7;
    }
    bytes.push(u8::try_from(len).unwrap());
    bytes.extend_from_slice(body);
    bytes
}
