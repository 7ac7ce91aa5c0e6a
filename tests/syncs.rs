//! How often does the journal make its disk work for a trickle of readings? Real calls, as the kernel
//! sees them.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    faults::tools::has_strace,
    support::{gateway::Gateway, rig::Rig, show, wait_for},
};

const SYNC_WAIT: Duration = Duration::from_millis(500);
/// Ten a period: with a sync for each of them there would be ten times as many as there may be.
const EVERY: Duration = Duration::from_millis(50);
const MESSAGES: u32 = 80;
/// Of QoS 1, which do not wait.
const AWAITED: u16 = 20;
const STEP_MAX: Duration = Duration::from_mins(1);

/// The kernel's calls that make what was written durable; their times as seconds since the epoch.
const TRACE: [&str; 8] =
    ["-D", "-f", "-qq", "-ttt", "-y", "-e", "trace=fdatasync,fsync,sync,syncfs,msync", "-o"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lonely_qos_0_messages_cost_at_most_one_sync_per_sync_wait() {
    if !has_strace() {
        return;
    }
    let journal = format!("sync_wait = \"{}ms\"\n", SYNC_WAIT.as_millis());
    let mut rig = Rig::prepare(&journal, "").await;
    let trace = rig.gateway.dir().join("syncs");
    let wrapper = [&["strace"], TRACE.as_slice(), &[trace.to_str().unwrap()]].concat();
    let command = rig.gateway.run_command(&wrapper);
    rig.gateway.launch(command);
    rig.gateway.answers("/readyz");
    let calls = Calls { file: trace, gateway: &rig.gateway };
    let mut device = Device::connect(rig.gateway.mqtt_port).await;
    // The first group of a segment costs a sync more, of its header.
    device.waits_for_each(1).await;

    let lonely = calls.of(device.sends_at_leisure(), MESSAGES).await;
    let periods = lonely.took.as_secs_f64() / SYNC_WAIT.as_secs_f64();
    show(&format!(
        "{MESSAGES} QoS 0 messages in {:.2?}, {periods:.1} times sync_wait: {} syncs of the journal, {} others",
        lonely.took, lonely.of_groups, lonely.others
    ));
    assert!(lonely.of_groups >= 1, "{lonely:?}");
    assert!(f64::from(lonely.of_groups) <= periods, "{lonely:?} in {periods:.1} periods");
    // Two positions, at most one record a second each; and the next segment, if it was late.
    let seconds = lonely.took.as_secs_f64();
    assert!(f64::from(lonely.others) <= 2.0 * seconds + 8.0, "{lonely:?} in {seconds:.1} s");

    // What somebody waits for is synced each time: the count above does see syncs.
    let awaited = calls.of(device.waits_for_each(AWAITED), AWAITED.into()).await;
    show(&format!("{AWAITED} QoS 1 messages, each awaited: {} syncs", awaited.of_groups));
    assert!(awaited.of_groups >= u32::from(AWAITED), "{awaited:?}");
}

#[derive(Debug)]
struct Counted {
    took: Duration,
    /// By the thread that makes groups durable.
    of_groups: u32,
    others: u32,
}

/// What `strace` writes down of a gateway.
struct Calls<'a> {
    file: PathBuf,
    gateway: &'a Gateway,
}

impl Calls<'_> {
    /// The calls from before `work` until the `readings` that it sends are durable.
    async fn of(&self, work: impl Future<Output = ()>, readings: u32) -> Counted {
        let counted = || self.gateway.count("tidegate_journal_sync_duration_seconds_count", &[]);
        let journaled = || self.gateway.status().books.journaled;
        let readings = journaled() + u64::from(readings);
        let (before, from, began) = (counted(), since_the_epoch(), Instant::now());
        work.await;
        wait_for("durability", STEP_MAX, || match journaled() {
            all if all == readings => Ok(()),
            some => Err(format!("{some} of {readings}")),
        });
        let (to, took) = (since_the_epoch(), began.elapsed());
        // Nothing more is sent, so the gateway's own count stands still; strace's may come behind.
        wait_for("the trace", STEP_MAX, || {
            let (found, own) = (self.between(from, to, took), counted() - before);
            if u64::from(found.of_groups) == own {
                Ok(found)
            } else {
                Err(format!("{found:?}, by the metric {own}"))
            }
        })
    }

    fn between(&self, from: f64, to: f64, took: Duration) -> Counted {
        let mut counted = Counted { took, of_groups: 0, others: 0 };
        let text = fs::read_to_string(&self.file).unwrap();
        for line in text.lines() {
            // `1234 1790000000.123456 fdatasync(7</tmp/journal/seg-...>) = 0`; a call that another
            // one interrupts has a second line, which resumes it.
            let mut words = line.split_whitespace();
            let (Some(thread), Some(at), Some(call)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let at: f64 = at.parse().unwrap_or_else(|_| panic!("{line}"));
            if call.starts_with('<') || call.starts_with('+') || !(from..=to).contains(&at) {
                continue;
            }
            if self.thread_name(thread) == "journal-writer" {
                counted.of_groups += 1;
            } else {
                counted.others += 1;
            }
        }
        counted
    }

    fn thread_name(&self, thread: &str) -> String {
        let comm = format!("/proc/{}/task/{thread}/comm", self.gateway.process().id());
        fs::read_to_string(comm).unwrap_or_default().trim().to_owned()
    }
}

fn since_the_epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// One MQTT connection.
struct Device {
    stream: TcpStream,
}

impl Device {
    async fn connect(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06lonely").await.unwrap();
        let mut connack = [0; 4];
        timeout(STEP_MAX, stream.read_exact(&mut connack)).await.unwrap().unwrap();
        assert_eq!(connack, [0x20, 2, 0, 0]);
        Self { stream }
    }

    /// QoS 0, one message at a time.
    async fn sends_at_leisure(&mut self) {
        for _ in 0..MESSAGES {
            self.stream.write_all(b"\x30\x0b\x00\x05lon/t21.5").await.unwrap();
            sleep(EVERY).await;
        }
    }

    /// QoS 1, the next message after the answer.
    async fn waits_for_each(&mut self, messages: u16) {
        for id in 1..=messages {
            let [high, low] = id.to_be_bytes();
            let packet = [b"\x32\x0d\x00\x05lon/t".as_slice(), &[high, low], b"21.5"].concat();
            self.stream.write_all(&packet).await.unwrap();
            let mut puback = [0; 4];
            timeout(STEP_MAX, self.stream.read_exact(&mut puback)).await.unwrap().unwrap();
            assert_eq!(puback, [0x40, 2, high, low]);
        }
    }
}
