//! Connections over pipes with a paused clock. The journal's syncs are held throughout, so that
//! nothing happens in its thread while the clock jumps; what happens after a sync is asked in
//! `tests/mqtt.rs`.

use std::time::Duration;

use journal::testing::{Control, HeldDisk};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::intake;
use crate::intake::route::Routes;
use crate::intake::stamp::SystemClock;
use crate::listen::mqtt::packet::Violation;

mod brakes;
mod clocks;
mod parts;
mod silence;

const CONNECT_311: &[u8] = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x0a\x00\x02d1";
const CONNECT_5: &[u8] = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x02d1";
const PINGREQ: &[u8] = &[0xc0, 0];
const PINGRESP: &[u8] = &[0xd0, 0];

/// A gateway reduced to what connections see of it.
struct House {
    shared: Arc<Shared>,
    control: Arc<Control>,
    connections: JoinSet<Ending>,
    _journal: journal::Journal,
    _dir: tempfile::TempDir,
}

struct Client {
    pipe: DuplexStream,
}

fn house(limits: Limits, intake: intake::Limits) -> House {
    let dir = tempfile::tempdir().unwrap();
    let (disk, control) = HeldDisk::new(dir.path());
    let options = journal::Options {
        bytes_max: 1 << 24,
        free_bytes_min: 0,
        ..journal::Options::new(dir.path())
    };
    let (journal, appender, _) = journal::open_with(disk, &options).unwrap();
    control.hold();
    let clock = Arc::new(SystemClock);
    let routes = Routes::compile(Vec::new()).unwrap();
    let shared = Shared {
        intake: Intake::new(appender, routes, intake, Vec::new(), clock),
        source: Source::from("mqtt"),
        limits,
        stats: Arc::default(),
        clients: Arc::default(),
        gate: Gate::default(),
        pool: Arc::new(Pool::new(limits.held_bytes_max)),
        shutdown: CancellationToken::new(),
    };
    let connections = JoinSet::new();
    House { shared: Arc::new(shared), control, connections, _journal: journal, _dir: dir }
}

impl House {
    fn open() -> Self {
        house(Limits::default(), intake::Limits::default())
    }

    fn with(limits: Limits) -> Self {
        house(limits, intake::Limits::default())
    }

    fn connect(&mut self) -> Client {
        self.connect_over(64 * 1024)
    }

    fn connect_over(&mut self, pipe_bytes: usize) -> Client {
        let (ours, pipe) = tokio::io::duplex(pipe_bytes);
        let mut connection = Connection::new(ours, Arc::clone(&self.shared));
        self.connections.spawn(async move { connection.run().await });
        Client { pipe }
    }

    /// A client whose CONNACK is read.
    async fn client(&mut self, connect: &[u8]) -> Client {
        let mut client = self.connect();
        client.send(connect).await;
        assert_eq!(client.packet().await[0], 0x20);
        client
    }

    /// Lets the connections do all they can do now.
    async fn is_read(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    async fn ending(&mut self) -> Ending {
        self.connections.join_next().await.unwrap().unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.control.release();
    }
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.pipe.write_all(bytes).await.unwrap();
    }

    async fn publish(&mut self, qos: u8, id: u16) {
        self.send(&publish(qos, id, b"1")).await;
    }

    /// The next packet, which is short.
    async fn packet(&mut self) -> Vec<u8> {
        let mut head = [0; 2];
        self.pipe.read_exact(&mut head).await.unwrap();
        let mut packet = head.to_vec();
        packet.resize(2 + usize::from(head[1]), 0);
        self.pipe.read_exact(&mut packet[2..]).await.unwrap();
        packet
    }

    /// Whether a PINGREQ is answered in this second, and no other packet comes before.
    async fn answers_ping(&mut self) -> bool {
        self.send(PINGREQ).await;
        let answer = timeout(Duration::from_secs(1), self.packet()).await;
        answer.is_ok_and(|packet| packet == PINGRESP)
    }

    /// Everything until the gateway closes.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.pipe.read_to_end(&mut rest).await.unwrap();
        rest
    }
}

/// For versions before 5.
fn publish(qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = b"\x00\x03t/d".to_vec();
    if qos > 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.extend_from_slice(payload);
    let mut bytes = vec![0x30 | qos << 1];
    let mut len = body.len();
    while len > 127 {
        bytes.push(u8::try_from(len & 127).unwrap() | 128);
        len >>= 7;
    }
    bytes.push(u8::try_from(len).unwrap());
    bytes.extend_from_slice(&body);
    bytes
}

/// Section 13: 10,000 idle connections in 100 MB. The task is what each one costs in any case.
#[tokio::test]
async fn an_idle_connection_is_small() {
    let house = House::open();
    let (ours, _theirs) = tokio::io::duplex(64);
    let mut connection = Connection::new(ours, Arc::clone(&house.shared));
    let itself = size_of_val(&connection);
    let task = size_of_val(&async move { connection.run().await });
    assert!(task <= 2 * 1024, "a connection is {itself} bytes, its task {task}");
}
