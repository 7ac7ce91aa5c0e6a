//! Does hostile input get the right answer at every door of the real gateway, and does it cost anybody
//! else anything?

use std::time::Duration;

use simulator::fleet::Fleet;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    mqtt::rig::{Client, publish, publish_5},
    support::{
        raw::ask,
        rig::{Rig, mqtt, websocket},
        show, wait_for,
    },
    websocket::Device,
};

const PATIENCE: Duration = Duration::from_mins(1);
const GROWTH_MAX: u64 = 32 << 20;
/// How often each payload comes through each door while the fleet works.
const ROUNDS: usize = 30;

/// As a varint of a frame.
const LARGEST: &[u8] = b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff";

/// A payload of which nothing can be taken.
#[derive(Clone)]
struct Hostile {
    name: &'static str,
    bytes: Vec<u8>,
    /// The label under which it must be counted.
    reason: &'static str,
}

impl Hostile {
    fn is_frame(&self) -> bool {
        self.bytes.first() == Some(&0xC1)
    }
}

fn hostile() -> Vec<Hostile> {
    let deep = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let arrays = format!("{{\"a\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let keys: Vec<String> = (0..8_000).map(|n| format!("\"k{n}\":{n}")).collect();
    let keys = format!("{{{}}}", keys.join(","));
    let frame = |parts: &[&[u8]]| [b"\xc1\x01".as_slice(), &parts.concat()].concat();
    [
        ("objects 5,000 deep", deep.into_bytes(), "limit"),
        ("arrays 50,000 deep", arrays.into_bytes(), "limit"),
        ("8,000 keys", keys.into_bytes(), "limit"),
        ("no finite number", b"{\"v\":1e999}".to_vec(), "value"),
        ("cut short", b"{\"v\":[1,2".to_vec(), "undecodable"),
        ("2^64-1 readings", frame(&[LARGEST]), "undecodable"),
        ("a name of 2^64-1 bytes", frame(&[b"\x01", LARGEST]), "undecodable"),
        ("a name of 4 GiB", frame(&[b"\x01\xfc\xff\xff\xff\xff"]), "undecodable"),
        ("2^32-1 tags", frame(&[b"\x01\x01m\xfc\xff\xff\xff\xff"]), "undecodable"),
        ("2^64-1 fields", frame(&[b"\x01\x01m\x00\x00", LARGEST]), "undecodable"),
        (
            "a text of 2^64-1 bytes",
            frame(&[b"\x01\x01m\x00\x00\x01\x01t\x05", LARGEST]),
            "undecodable",
        ),
        ("another version", b"\xc1\x02\x00".to_vec(), "undecodable"),
    ]
    .map(|(name, bytes, reason)| Hostile { name, bytes, reason })
    .to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_door_answers_hostile_payloads_in_its_own_words_while_a_fleet_goes_on() {
    let rig = Rig::start("").await;
    let fleet = fleet_at_work(&rig);
    let rss_before = rig.gateway.usage().rss_bytes;
    let (mqtt_port, http_port) = (rig.gateway.mqtt_port, rig.gateway.http_port);

    // One by one: the answer and the count.
    for one in hostile() {
        let refused = |source: &str| {
            let labels = [format!("source=\"{source}\""), format!("reason=\"{}\"", one.reason)];
            let [source, reason] = labels.each_ref().map(String::as_str);
            rig.gateway.count("tidegate_readings_refused_total", &[source, reason])
        };
        let before = ["mqtt", "http", "ws"].map(refused);
        over_mqtt(mqtt_port, 4, "table-311", std::slice::from_ref(&one)).await;
        over_mqtt(mqtt_port, 5, "table-5", std::slice::from_ref(&one)).await;
        over_http(http_port, std::slice::from_ref(&one)).await;
        over_websocket(http_port, std::slice::from_ref(&one)).await;
        let after = ["mqtt", "http", "ws"].map(refused);
        let [mqtt, http, ws] = [0, 1, 2].map(|at| after[at] - before[at]);
        assert_eq!((mqtt, http, ws), (2, 1, 1), "{}: counted as {}", one.name, one.reason);
    }

    // All of it at once.
    let all: Vec<Hostile> = std::iter::repeat_n(hostile(), ROUNDS).flatten().collect();
    tokio::join!(
        over_mqtt(mqtt_port, 4, "flood-311", &all),
        over_mqtt(mqtt_port, 5, "flood-5", &all),
        over_http(http_port, &all),
        over_websocket(http_port, &all),
    );
    let rss = rig.gateway.usage().rss_bytes;
    show(&format!(
        "RSS {} kB after {} hostile payloads at each of 4 doors, {} kB before",
        rss / 1024,
        all.len() + hostile().len(),
        rss_before / 1024
    ));
    assert!(rss <= rss_before + GROWTH_MAX, "RSS {rss}, before {rss_before}");

    // Nothing of it is stored, and of the fleet's everything.
    let ledger = fleet.stop_and_drain(PATIENCE).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    assert!(verdict.acknowledged > 500, "{verdict}");
}

/// 50 devices, connected and acknowledged.
fn fleet_at_work(rig: &Rig) -> Fleet {
    let period = Duration::from_millis(100);
    let fleet = rig.fleet(vec![mqtt("m", 25, period), websocket("w", 25, period)]);
    let watch = fleet.watch();
    wait_for("the fleet at work", PATIENCE, || {
        let now = watch.look();
        if now.connected == 50 && now.acknowledged > 500 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    fleet
}

/// Version 5 is told 0x99, payload format invalid; older ones cannot be told, so they are acknowledged:
/// the message would come for ever.
async fn over_mqtt(port: u16, version: u8, id: &str, all: &[Hostile]) {
    let mut client = connect(port, version, id).await;
    for (at, one) in (1..).zip(all) {
        let [high, low] = u16::to_be_bytes(at);
        let told = if version == 5 {
            client.send(&publish_5(0x32, at, "hostile/d", &one.bytes)).await;
            let mut told = client.packet().await;
            assert_eq!(told.get(4), Some(&0x99), "{}: {told:02x?}", one.name);
            told.truncate(4);
            told[1] = 2;
            told
        } else {
            client.send(&publish(0x32, at, "hostile/d", &one.bytes)).await;
            client.packet().await
        };
        assert_eq!(told, [0x40, 2, high, low], "{}", one.name);
    }
    client.is_ponged().await;
}

async fn connect(port: u16, version: u8, id: &str) -> Client {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut client = Client { stream };
    client.send(&hello(version, id)).await;
    let connack = client.packet().await;
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
    client
}

fn hello(version: u8, id: &str) -> Vec<u8> {
    let properties: &[u8] = if version == 5 { b"\x00" } else { b"" };
    let id_len = [0, u8::try_from(id.len()).unwrap()];
    let body =
        [b"\x00\x04MQTT", &[version][..], b"\x02\x00\x3c", properties, &id_len, id.as_bytes()]
            .concat();
    crate::mqtt::rig::packet(0x10, &body)
}

async fn over_http(port: u16, all: &[Hostile]) {
    for one in all {
        let kind =
            if one.is_frame() { "application/vnd.tidegate.frame" } else { "application/json" };
        let line = "POST /v1/readings?device=d";
        let answer = ask(port, line, &[("content-type", kind)], &one.bytes).await;
        assert_eq!(answer.status, 400, "{}: {answer:?}", one.name);
        let refused = &answer.json()["refused"];
        assert_eq!(refused[0]["index"], 0, "{}: {answer:?}", one.name);
    }
}

async fn over_websocket(port: u16, all: &[Hostile]) {
    let mut device = Device::connect(port, "?device=d").await;
    for (number, one) in (1_u64..).zip(all) {
        if one.is_frame() {
            device.say(one.bytes.clone().into()).await;
        } else {
            device.send(std::str::from_utf8(&one.bytes).unwrap()).await;
        }
        let nack = loop {
            let answer = device.answer().await;
            if answer.get("ack").is_none() {
                break answer;
            }
        };
        assert_eq!(nack["nack"], number, "{}: {nack}", one.name);
        assert_eq!(nack["retry"], false, "{}: {nack}", one.name);
        assert!(!nack["reason"].as_str().unwrap().is_empty(), "{}: {nack}", one.name);
    }
}

/// At QoS 1 and at QoS 2 they send what the gateway takes and read nothing. Each message is answered
/// with the reason why its payload was refused: that fills the sockets' buffers soonest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_never_read_their_acknowledgements_are_closed_and_counted() {
    const DEAF: u64 = 4;
    // They are to be ended for not reading, not for sending more than MQTT 5 lets them.
    let limits = "[mqtt.limits]\nwrite_max = \"1s\"\nreceive_max = 65535\noverrun_factor = 64\n";
    let rig = Rig::with_output("", limits).await;
    let mut bystander = connect(rig.gateway.mqtt_port, 4, "bystander").await;
    let rss_before = rig.gateway.usage().rss_bytes;
    let mut floods = JoinSet::new();
    for n in 0..DEAF {
        let qos = if n % 2 == 0 { 1 } else { 2 };
        floods.spawn(flood(rig.gateway.mqtt_port, n, qos));
    }
    let mut served = 0_u16;
    while !floods.is_empty() {
        tokio::select! {
            Some(sent) = floods.join_next() => {
                let sent = sent.unwrap();
                assert!(sent < 200 << 20, "{sent} bytes were taken from a client that reads nothing");
            }
            () = sleep(Duration::from_millis(20)) => {
                served += 1;
                bystander.send(&publish(0x32, served, "sim/by/stander", b"1")).await;
                assert_eq!(bystander.packet().await[2..], served.to_be_bytes());
            }
        }
    }
    assert!(served > 10, "the bystander was served {served} times only");
    let ended = || rig.gateway.count("tidegate_mqtt_ended_total", &["reason=\"unread\""]);
    wait_for("the ends to be counted", PATIENCE, || {
        if ended() >= DEAF { Ok(()) } else { Err(format!("{}", ended())) }
    });
    assert_eq!(ended(), DEAF);
    let rss = rig.gateway.usage().rss_bytes;
    show(&format!(
        "RSS {} kB after {DEAF} publishers that read nothing, {} kB before",
        rss / 1024,
        rss_before / 1024
    ));
    assert!(rss <= rss_before + GROWTH_MAX, "RSS {rss}, before {rss_before}");
    bystander.is_ponged().await;
}

/// How many bytes were taken until the connection was ended.
async fn flood(port: u16, n: u64, qos: u8) -> usize {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap(); // So that it is full soon.
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    stream.write_all(&hello(5, &format!("deaf-{n}"))).await.unwrap();
    let one = |id| publish_5(0x30 | qos << 1, id, "sim/deaf/d", b"{\"v\":[1,2");
    let all: Vec<u8> = (1..=u16::MAX).flat_map(one).collect();
    let mut sent = 0;
    let all = async {
        for batch in all.chunks(16 * 1024).cycle() {
            if stream.write_all(batch).await.is_err() {
                return;
            }
            sent += batch.len();
        }
    };
    let closed = timeout(PATIENCE, all).await;
    closed.unwrap_or_else(|_| panic!("not closed at QoS {qos} after {sent} bytes"));
    sent
}
