//! What do devices notice of a database that hangs, refuses or is slow, and of a journal that is full?

use std::{ops::RangeInclusive, time::Duration};

use simulator::{
    faulty::{Answer, Behaviour},
    watch::Watch,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::support::{
    books::Sent,
    filler,
    rig::{OUTPUT, Rig, is_long, mqtt, websocket},
    show, wait_for,
};

/// How long each fault lasts.
const FAULT_TIME: Duration = Duration::from_secs(20);
/// How long an honest database is measured, before and after.
const HONEST_TIME: Duration = Duration::from_secs(10);
const START_MAX: Duration = Duration::from_secs(30);

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

    /// So many readings, all of them acknowledged.
    fn sent(&self) -> RangeInclusive<u64> {
        let sent = u64::from(self.next) - 1;
        sent..=sent
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

    /// Over `time`, a message and a ping every 10 ms.
    async fn measure(&mut self, time: Duration) -> Latency {
        let until = Instant::now() + time;
        let (mut acks, mut pongs) = (Vec::new(), Vec::new());
        while Instant::now() < until {
            acks.push(self.publish().await);
            pongs.push(self.ping().await);
            sleep(Duration::from_millis(10)).await;
        }
        Latency { ack: p99(acks), pong: p99(pongs) }
    }
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// 99th percentiles.
#[derive(Clone, Copy, Debug)]
struct Latency {
    ack: Duration,
    pong: Duration,
}

impl Latency {
    /// The machine has other things to do, now more and now less of them: what is compared with is the
    /// slower of two measurements around the one in question.
    fn slower(self, other: Self) -> Self {
        Self { ack: self.ack.max(other.ack), pong: self.pong.max(other.pong) }
    }

    /// That an acknowledgement waits for no database is shown by every one that came; by how much it
    /// came later is for a machine that does nothing else.
    fn assert_like(self, honest: Self, what: &str) {
        if !is_long() {
            return;
        }
        let bound = |honest| 3 * honest + Duration::from_millis(20);
        assert!(self.ack <= bound(honest.ack), "{what}: {self:?}, honest: {honest:?}");
        assert!(self.pong <= bound(honest.pong), "{what}: {self:?}, honest: {honest:?}");
    }
}

/// Waits until all devices are connected and each has had some acknowledgements.
fn warm_up(watch: &Watch) {
    wait_for("the fleet at work", START_MAX, || {
        let now = watch.look();
        let is_warm = now.connected == now.devices && now.acknowledged >= 3 * now.devices;
        if is_warm { Ok(()) } else { Err(format!("{now:?}")) }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_then_is_busy_then_refuses_is_not_felt_by_devices() {
    let rig = Rig::start("").await;
    let period = Duration::from_millis(100);
    let fleet = rig.fleet(vec![mqtt("m", 30, period), websocket("w", 20, period)]);
    let watch = fleet.watch();
    warm_up(&watch);
    let mut probe = Probe::connect(rig.gateway.mqtt_port).await;
    let before = probe.measure(HONEST_TIME).await;
    let rss_before = rig.gateway.usage().rss_bytes;
    let mut measured = Vec::new();
    for answer in [Answer::Hang, Answer::Busy { retry_after_s: Some(1) }, Answer::Refuse] {
        rig.behave(Behaviour { answer: answer.clone(), ..Behaviour::default() }).await;
        let during = probe.measure(FAULT_TIME).await;
        let rss = rig.gateway.usage().rss_bytes;
        show(&format!(
            "{answer:?}: p99 {during:?}, before {before:?}; RSS {} kB, before {} kB",
            rss / 1024,
            rss_before / 1024
        ));
        assert!(rss <= rss_before + 16 * 1024 * 1024, "{answer:?}: RSS {rss}, before {rss_before}");
        measured.push((format!("{answer:?}"), during));
    }
    assert!(rig.gateway.pending(OUTPUT) > 0, "the faults held nothing back");
    rig.behave(Behaviour::default()).await;
    let honest = before.slower(probe.measure(HONEST_TIME).await);
    for (answer, during) in measured {
        during.assert_like(honest, &answer);
    }
    let ledger = fleet.stop_and_drain(Duration::from_secs(30)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict_of(&ledger, |row| !row.measurement.starts_with("mqtt"));
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    rig.books_are_right(Sent::by(&ledger, &watch).and(probe.sent()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_answers_in_half_a_second_does_not_slow_a_thousand_devices() {
    let rig = Rig::start("").await;
    let fleet = rig.fleet(vec![mqtt("m", 1_000, Duration::from_secs(1))]);
    let watch = fleet.watch();
    warm_up(&watch);
    let mut probe = Probe::connect(rig.gateway.mqtt_port).await;
    let before = probe.measure(HONEST_TIME).await;
    let delay_ms = if is_long() { 500 } else { 3_600_000 };
    rig.behave(Behaviour { delay_ms, ..Behaviour::default() }).await;
    let (began, first) = (Instant::now(), watch.look());
    let slow = probe.measure(Duration::from_secs(8)).await;
    // Each device has one reading a second; at most a second's worth is under way.
    let after = wait_for("seven readings of each device", START_MAX, || {
        let now = watch.look();
        let is_there =
            now.acknowledged >= first.acknowledged + 7_000 && now.sent - now.acknowledged <= 1_000;
        if is_there { Ok(now) } else { Err(format!("{now:?}")) }
    });
    let took = began.elapsed();
    let acknowledged = after.acknowledged - first.acknowledged;
    let owed = after.sent - after.acknowledged;
    rig.behave(Behaviour::default()).await;
    let honest = before.slower(probe.measure(HONEST_TIME).await);
    show(&format!(
        "500 ms sink: {acknowledged} acknowledged in {took:?}, {owed} under way; \
         p99 {slow:?}, with an honest sink {honest:?}"
    ));
    slow.assert_like(honest, "a sink that takes 500 ms");
    assert_eq!(after.failures, first.failures);
    let ledger = fleet.stop_and_drain(Duration::from_secs(30)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict_of(&ledger, |row| row.measurement != "mqtt");
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    rig.books_are_right(Sent::by(&ledger, &watch).and(probe.sent()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_withholds_acknowledgements_until_there_is_room_again() {
    let rig = Rig::start("bytes_max = \"16MiB\"\n").await;
    rig.behave(Behaviour { answer: Answer::Refuse, ..Behaviour::default() }).await;
    let fleet = rig.fleet(vec![mqtt("m", 10, Duration::from_millis(200))]);
    let watch = fleet.watch();
    warm_up(&watch);
    let (posted, refused) = filler::until_full(rig.gateway.http_port);
    assert!(refused.head.to_ascii_lowercase().contains("retry-after:"), "{}", refused.head);
    show(&format!("a journal of 16 MiB was full after {posted} readings"));

    // Devices that were at work keep their readings: no PUBACK while it is full, and none is forgotten.
    let full = watch.look();
    sleep(Duration::from_secs(3)).await;
    let still = watch.look();
    assert_eq!(still.acknowledged, full.acknowledged, "acknowledged while full: {still:?}");
    assert!(still.sent > still.acknowledged, "nothing was sent and left unanswered: {still:?}");

    rig.behave(Behaviour::default()).await;
    wait_for("acknowledgements again", Duration::from_mins(1), || {
        match watch.look().acknowledged {
            now if now > still.sent => Ok(()),
            now => Err(format!("{now} of {still:?}")),
        }
    });
    let ledger = fleet.stop_and_drain(Duration::from_mins(2)).await.unwrap();
    rig.delivered();
    let rows = rig.database.rows();
    let stored = rows.iter().filter(|row| row.measurement == filler::MEASUREMENT).count() as u64;
    assert!((posted..=posted + filler::LINES).contains(&stored), "{stored} of {posted}");
    let verdict = rig.verdict_of(&ledger, |row| row.measurement != filler::MEASUREMENT);
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    let filled = posted..=posted + filler::LINES;
    rig.books_are_right(Sent::by(&ledger, &watch).and(filled));
}
