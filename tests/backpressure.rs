//! What do devices notice of a database that hangs, refuses or is slow, and of a journal that is full?

use std::time::Duration;

use simulator::faulty::{Answer, Behaviour};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::support::{
    filler,
    rig::{OUTPUT, Rig, is_long, mqtt, websocket},
    wait_for,
};

/// How long each fault lasts.
fn fault_time() -> Duration {
    Duration::from_secs(if is_long() { 20 } else { 6 })
}

/// One device that measures how long its acknowledgements take, QoS 1 on a raw socket.
struct Probe {
    stream: TcpStream,
    next: u16,
}

impl Probe {
    async fn connect(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05probe").await.unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await.unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);
        Self { stream, next: 1 }
    }

    async fn publish(&mut self) -> Duration {
        let [high, low] = self.next.to_be_bytes();
        self.next = self.next.checked_add(1).unwrap_or(1);
        let packet = [b"\x32\x0f\x00\x07probe/t".as_slice(), &[high, low], b"21.5"].concat();
        let began = Instant::now();
        self.stream.write_all(&packet).await.unwrap();
        let mut puback = [0; 4];
        timeout(Duration::from_secs(10), self.stream.read_exact(&mut puback))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(puback, [0x40, 2, high, low]);
        began.elapsed()
    }

    async fn ping(&mut self) -> Duration {
        let began = Instant::now();
        self.stream.write_all(&[0xC0, 0]).await.unwrap();
        let mut pong = [0; 2];
        timeout(Duration::from_secs(10), self.stream.read_exact(&mut pong)).await.unwrap().unwrap();
        assert_eq!(pong, [0xD0, 0]);
        began.elapsed()
    }

    /// The 99th percentile over `time`, a message every 10 ms.
    async fn p99(&mut self, time: Duration) -> Duration {
        let until = Instant::now() + time;
        let mut took = Vec::new();
        while Instant::now() < until {
            took.push(self.publish().await);
            self.ping().await;
            sleep(Duration::from_millis(10)).await;
        }
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_then_is_busy_then_refuses_is_not_felt_by_devices() {
    let rig = Rig::start("").await;
    let period = Duration::from_millis(100);
    let fleet = rig.fleet(vec![mqtt("m", 30, period), websocket("w", 20, period)]);
    let mut probe = Probe::connect(rig.gateway.mqtt_port).await;
    let before = probe.p99(fault_time()).await;
    let rss_before = rig.gateway.usage().rss_bytes;
    for answer in [Answer::Hang, Answer::Busy { retry_after_s: Some(1) }, Answer::Refuse] {
        rig.behave(Behaviour { answer: answer.clone(), ..Behaviour::default() }).await;
        let during = probe.p99(fault_time()).await;
        let rss = rig.gateway.usage().rss_bytes;
        println!(
            "{answer:?}: ack p99 {during:?} (before: {before:?}), RSS {} kB (before: {} kB)",
            rss / 1024,
            rss_before / 1024
        );
        assert!(
            during <= 3 * before + Duration::from_millis(20),
            "{answer:?}: {during:?}, {before:?}"
        );
        assert!(rss <= rss_before + 16 * 1024 * 1024, "{answer:?}: RSS {rss}, before {rss_before}");
    }
    assert!(rig.gateway.pending(OUTPUT) > 0, "the faults held nothing back");
    rig.behave(Behaviour::default()).await;
    let ledger = fleet.stop_and_drain(Duration::from_secs(30)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict_of(&ledger, |row| !row.measurement.starts_with("mqtt"));
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_answers_in_half_a_second_does_not_slow_a_thousand_devices() {
    let rig = Rig::start("").await;
    rig.behave(Behaviour { delay_ms: 500, ..Behaviour::default() }).await;
    let fleet = rig.fleet(vec![mqtt("m", 1_000, Duration::from_secs(1))]);
    let watch = fleet.watch();
    wait_for("a thousand devices", Duration::from_secs(30), || {
        let now = watch.look();
        if now.connected == 1_000 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let (began, before) = (Instant::now(), watch.look());
    sleep(Duration::from_secs(8)).await;
    let (took, after) = (began.elapsed(), watch.look());
    let acknowledged = after.acknowledged - before.acknowledged;
    let owed = after.sent - after.acknowledged;
    println!("{acknowledged} acknowledged in {took:?}, {owed} under way");
    // Each device has one reading a second; at most a second's worth is under way.
    assert!(acknowledged >= 7_000, "{acknowledged} in {took:?}");
    assert!(owed <= 1_000, "{owed} unacknowledged");
    assert_eq!(after.failures, before.failures);
    let ledger = fleet.stop_and_drain(Duration::from_secs(30)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_withholds_acknowledgements_until_there_is_room_again() {
    let rig = Rig::start("bytes_max = \"16MiB\"\n").await;
    rig.behave(Behaviour { answer: Answer::Refuse, ..Behaviour::default() }).await;
    let (posted, refused) = filler::until_full(rig.gateway.http_port);
    assert!(refused.head.to_ascii_lowercase().contains("retry-after:"), "{}", refused.head);
    println!("full after {posted} readings");

    // Devices keep their readings: no PUBACK while it is full.
    let mut group = mqtt("m", 10, Duration::from_millis(50));
    group.readings_max = Some(20);
    let fleet = rig.fleet(vec![group]);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(fleet.watch().look().acknowledged, 0, "acknowledged while full");

    rig.behave(Behaviour::default()).await;
    let ledger = fleet.finished(Duration::from_mins(2)).await.unwrap();
    rig.delivered();
    let rows = rig.database.rows();
    let stored = rows.iter().filter(|row| row.measurement == filler::MEASUREMENT).count() as u64;
    assert!((posted..=posted + filler::LINES).contains(&stored), "{stored} of {posted}");
    let verdict = rig.verdict_of(&ledger, |row| row.measurement != filler::MEASUREMENT);
    assert!(verdict.is_clean() && verdict.acknowledged == 200, "{verdict}");
}
