//! What does a connection cost, and what can the silent ones do?
//!
//! Two processes: the gateway counts its own memory, the clients live here. Figures are printed; the memory
//! bounds asserted are those of DESIGN section 13 (numbers to reach), which do not depend on the machine's speed.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::support::{
    gateway::{Gateway, Setup},
    show, wait_for,
};

const DEADLINE: Duration = Duration::from_mins(1);
/// Past their deadline of 5 s, with time for a busy machine.
const CLOSED_MAX: Duration = Duration::from_secs(15);
/// Connections under way at once while a crowd gathers: below the listener's backlog.
const AT_ONCE: usize = 64;

/// The open files that the system grants are shared by the listeners' limits: HTTP needs few here.
fn file_output(dir: &str) -> String {
    format!(
        "[http.limits]\nconnections_max = 100\n[[output]]\nid = \"files\"\ntype = \"file\"\npath = \"{dir}\"\n"
    )
}

/// For all tests that run in this process at the same time.
fn allow_open_files() {
    const WANTED: u64 = 20_000;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| current < WANTED) {
        let raised = Rlimit { current: Some(WANTED.min(now.maximum.unwrap_or(WANTED))), ..now };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}

/// MQTT 3.1.1 CONNECT, keep alive 600 s, clean session.
fn connect_packet(client: &str) -> Vec<u8> {
    let mut packet = vec![0x10, u8::try_from(12 + client.len()).unwrap()];
    packet.extend_from_slice(b"\x00\x04MQTT\x04\x02\x02\x58\x00");
    packet.push(u8::try_from(client.len()).unwrap());
    packet.extend_from_slice(client.as_bytes());
    packet
}

async fn connect(port: u16, client: String) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&connect_packet(&client)).await.unwrap();
    let mut connack = [0; 4];
    timeout(DEADLINE, stream.read_exact(&mut connack)).await.unwrap().unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0], "{client}");
    stream
}

/// QoS 1 PUBLISH and its PUBACK, on a connection that is open.
async fn publish(stream: &mut TcpStream, topic: &str, payload: &[u8]) {
    let length = 2 + topic.len() + 2 + payload.len();
    let mut packet =
        vec![0x32, u8::try_from(length).unwrap(), 0, u8::try_from(topic.len()).unwrap()];
    packet.extend_from_slice(topic.as_bytes());
    packet.extend_from_slice(&[0, 7]);
    packet.extend_from_slice(payload);
    stream.write_all(&packet).await.unwrap();
    let mut puback = [0; 4];
    timeout(DEADLINE, stream.read_exact(&mut puback)).await.unwrap().unwrap();
    assert_eq!(puback, [0x40, 2, 0, 7]);
}

async fn crowd<F: Future<Output = TcpStream>>(
    count: usize,
    one: impl Fn(usize) -> F + Copy,
) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    for start in (0..count).step_by(AT_ONCE) {
        let batch = (start..count.min(start + AT_ONCE)).map(one);
        streams.extend(futures_util::future::join_all(batch).await);
    }
    streams
}

#[tokio::test]
async fn ten_thousand_idle_devices_fit_into_a_hundred_megabytes() {
    const DEVICES: usize = 10_000;
    allow_open_files();
    let files = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&Setup {
        tables: &file_output(&files.path().join("out").display().to_string()),
        ..Setup::default()
    });
    let before = gateway.usage().rss_bytes;
    let port = gateway.mqtt_port;
    // One less than the limit of 10,000: the last place is for the device that works.
    let mut devices = crowd(DEVICES - 1, |n| connect(port, format!("idle-{n}"))).await;
    let after = gateway.usage().rss_bytes;

    let each = (after.saturating_sub(before)) / devices.len() as u64;
    show(&format!(
        "{} idle MQTT connections: RSS {} kB before, {} kB after, {each} bytes each",
        devices.len(),
        before / 1024,
        after / 1024
    ));
    assert!(after <= 100 * 1024 * 1024, "RSS {after}");

    let mut worker = connect(port, "worker".into()).await;
    publish(&mut worker, "crowd/t", b"21.5").await;
    publish(&mut devices[DEVICES / 2], "crowd/idle", b"1").await;
}

#[tokio::test]
async fn five_thousand_that_say_nothing_are_closed_while_others_work() {
    const SILENT: usize = 5_000;
    allow_open_files();
    let files = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(&Setup {
        tables: &file_output(&files.path().join("out").display().to_string()),
        ..Setup::default()
    });
    let port = gateway.mqtt_port;
    let mut worker = connect(port, "worker".into()).await;
    all_are_closed(crowd(SILENT, |_| say_nothing(port)).await, &mut worker).await;
    assert_all_counted(&gateway, "tidegate_mqtt_ended_total", SILENT);
    publish(&mut worker, "silent/t", b"22").await;
}

/// The same at the HTTP port, whose heads may take as long as an MQTT hello here.
#[tokio::test]
async fn a_thousand_that_say_nothing_to_http_are_closed_while_others_work() {
    const SILENT: usize = 1_000;
    allow_open_files();
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("out").display().to_string();
    let gateway = Gateway::start(&Setup {
        tables: &format!(
            "[http.limits]\nheader_max = \"5s\"\n\
             [[output]]\nid = \"files\"\ntype = \"file\"\npath = \"{path}\"\n"
        ),
        ..Setup::default()
    });
    let mut worker = connect(gateway.mqtt_port, "worker".into()).await;
    let port = gateway.http_port;
    all_are_closed(crowd(SILENT, |_| say_nothing(port)).await, &mut worker).await;
    assert_all_counted(&gateway, "tidegate_http_ended_total", SILENT);
    publish(&mut worker, "silent/t", b"22").await;
}

async fn say_nothing(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// All of them are closed by their deadline of 5 s while the worker's readings are acknowledged.
async fn all_are_closed(silent: Vec<TcpStream>, worker: &mut TcpStream) {
    let (crowd, gathered) = (silent.len(), Instant::now());
    let mut ends = JoinSet::new();
    for mut stream in silent {
        ends.spawn(async move {
            // A silent client is told nothing (it has not said which protocol): the end of the
            // stream, or a reset.
            let mut byte = [0];
            matches!(timeout(CLOSED_MAX, stream.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
        });
    }
    let mut published = 0;
    let mut ticks = interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !ends.is_empty() {
        tokio::select! {
            biased; // They end by the thousand, and the device is to have its turn meanwhile.
            _ = ticks.tick() => {
                publish(worker, "silent/t", b"21.5").await;
                published += 1;
            }
            Some(end) = ends.join_next() => {
                assert!(end.unwrap(), "a silent connection was not closed in {CLOSED_MAX:?}");
            }
        }
    }
    assert!(published > 10, "only {published} readings got through beside the silent ones");
    show(&format!("{crowd} silent connections closed within {:?}", gathered.elapsed()));
}

fn assert_all_counted(gateway: &Gateway, metric: &str, silent: usize) {
    let silent = silent as u64;
    let counted = || gateway.count(metric, &["reason=\"silent\""]);
    wait_for("every end to be counted", DEADLINE, || {
        if counted() >= silent { Ok(()) } else { Err(format!("{}", counted())) }
    });
    assert_eq!(counted(), silent, "{metric}");
}
