//! MQTT: each connection holds a ring of encoded PUBLISH packets, one to a packet identifier, and
//! writes whatever part of it is free with one call.

use std::{io, num::NonZeroU16, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Part, Report, Until, Watched, json,
    packet::{self, Packet},
};

#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port`
    pub address: String,
    pub connections: u32,
    /// 0 or 1.
    pub qos: u8,
    /// Packets under way on each connection (QoS 1), or written at once (QoS 0).
    pub window: NonZeroU16,
    pub until: Until,
    /// Messages a second of all connections together; `None`: as many as possible.
    pub rate: Option<f64>,
    /// Processes to watch.
    pub pids: Vec<u32>,
}

/// No answer for so long ends the run with an error.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Connects all, then lets them go at once.
pub async fn run(options: &Options) -> io::Result<Report> {
    let mut connected = Vec::new();
    for index in 0..options.connections {
        connected.push((index, connect(&options.address, &format!("bench-{index}"), 600).await?));
    }
    let watched = Watched::start(&options.pids)?;
    let mut running = JoinSet::new();
    for (index, stream) in connected {
        let rate = options.rate.map(|all| all / f64::from(options.connections));
        let ring = Ring::new(index, options.qos, options.window);
        let part = Part::of(options.until, index, options.connections);
        // Spread over the time between two messages of a device, not all at one moment.
        let turn = f64::from(index) / f64::from(options.connections);
        let phase = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(turn / rate));
        let report = Report::default();
        running.spawn(Connection { stream, ring, part, rate, phase, report }.run());
    }
    watched.all(running).await
}

/// A connection whose CONNECT was accepted.
pub(super) async fn connect(
    address: &str,
    client_id: &str,
    keep_alive_s: u16,
) -> io::Result<TcpStream> {
    let mut stream = timeout(SILENCE_MAX, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    packet::connect(client_id, keep_alive_s, &mut bytes);
    stream.write_all(&bytes).await?;
    let mut answer = [0; 4];
    timeout(SILENCE_MAX, stream.read_exact(&mut answer)).await??;
    match packet::read(&answer) {
        Some((Packet::ConnAck(0), _)) => Ok(stream),
        other => Err(io::Error::other(format!("CONNECT was answered with {other:?}"))),
    }
}

/// Packets one after another; number `n` has packet identifier `n + 1`.
#[derive(Debug)]
struct Ring {
    qos: u8,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// When each was written; none if it is free.
    written: Vec<Option<Instant>>,
    next: usize,
}

impl Ring {
    fn new(connection: u32, qos: u8, window: NonZeroU16) -> Self {
        let topic = format!("bench/c{connection}");
        let mut ring =
            Self { qos, bytes: Vec::new(), ends: Vec::new(), written: Vec::new(), next: 0 };
        for number in 0..window.get() {
            let id = (qos > 0).then_some(number + 1);
            packet::publish(&topic, id, json(u64::from(number)).as_bytes(), &mut ring.bytes);
            ring.ends.push(ring.bytes.len());
            ring.written.push(None);
        }
        ring
    }

    /// The longest run of free packets from the next on, at most `max`; and how many they are.
    fn free(&mut self, max: u64, now: Instant) -> (&[u8], u64) {
        if self.next >= self.ends.len() {
            self.next = 0;
        }
        let from = self.next.checked_sub(1).and_then(|n| self.ends.get(n)).copied().unwrap_or(0);
        let mut count = 0;
        while count < max
            && let Some(slot) = self.written.get_mut(self.next)
            && slot.is_none()
        {
            // At QoS 0 a packet is free again as soon as it is written.
            if self.qos > 0 {
                *slot = Some(now);
            }
            self.next += 1;
            count += 1;
        }
        let to = self.next.checked_sub(1).and_then(|n| self.ends.get(n)).copied().unwrap_or(0);
        (self.bytes.get(from..to).unwrap_or_default(), count)
    }

    fn acknowledged(&mut self, packet_id: u16) -> Option<Instant> {
        self.written.get_mut(usize::from(packet_id).checked_sub(1)?)?.take()
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    ring: Ring,
    part: Part,
    /// Messages a second.
    rate: Option<f64>,
    phase: Duration,
    report: Report,
}

impl Connection {
    async fn run(mut self) -> io::Result<Report> {
        let mut answers = Answers::default();
        let began = Instant::now() + self.phase;
        let mut sent = 0;
        let mut answered = 0;
        loop {
            let now = Instant::now();
            let is_over = self.part.is_over(sent);
            let due = self.due(began, now, sent);
            let mut is_full = false;
            if !is_over && due > 0 {
                let max = due.min(self.part.readings - sent);
                let (bytes, count) = self.ring.free(max, now);
                is_full = count == 0;
                if count > 0 {
                    timeout(SILENCE_MAX, self.stream.write_all(bytes)).await??;
                    sent += count;
                    if self.ring.qos == 0 {
                        continue;
                    }
                }
            }
            if is_over && (self.ring.qos == 0 || answered == sent) {
                break;
            }
            let wake = self.wake(began, sent, is_over || is_full);
            tokio::select! {
                read = answers.fill(&mut self.stream) => {
                    read?;
                    answered += self.take(&mut answers);
                }
                () = sleep_until(wake) => {
                    if is_over || is_full || self.rate.is_none() {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "no PUBACK came"));
                    }
                }
            }
        }
        if self.ring.qos == 0 {
            self.report.readings = sent;
            self.confirm(&mut answers).await?;
        }
        self.stream.write_all(&packet::DISCONNECT).await?;
        Ok(self.report)
    }

    /// How many messages may go now, by the rate.
    fn due(&self, began: Instant, now: Instant, sent: u64) -> u64 {
        let Some(rate) = self.rate else { return u64::MAX };
        if now < began {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; the time is not negative"
        )]
        let by_now = ((now - began).as_secs_f64() * rate) as u64 + 1;
        by_now.saturating_sub(sent)
    }

    /// When the next message is due, or the run is over; if only an answer can help, when to give
    /// up waiting for it.
    fn wake(&self, began: Instant, sent: u64, needs_answer: bool) -> Instant {
        let silent = Instant::now() + SILENCE_MAX;
        let Some(rate) = self.rate.filter(|_| !needs_answer) else { return silent };
        #[expect(clippy::cast_precision_loss, reason = "a schedule")]
        let due = began + Duration::from_secs_f64(sent as f64 / rate);
        due.min(self.part.deadline.unwrap_or(silent))
    }

    /// Counts what came in; how many PUBACKs there were.
    fn take(&mut self, answers: &mut Answers) -> u64 {
        let now = Instant::now();
        let mut count = 0;
        answers.each(|packet| {
            if let Packet::PubAck(id) = packet
                && let Some(written) = self.ring.acknowledged(id)
            {
                self.report.latency.add(now - written, 1);
                count += 1;
            }
        });
        self.report.readings += count;
        count
    }

    /// At QoS 0 the answer to a PINGREQ shows that everything before it was read.
    async fn confirm(&mut self, answers: &mut Answers) -> io::Result<()> {
        self.stream.write_all(&packet::PINGREQ).await?;
        let mut done = false;
        while !done {
            timeout(SILENCE_MAX, answers.fill(&mut self.stream)).await??;
            answers.each(|packet| done |= packet == Packet::PingResp);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Answers {
    bytes: Vec<u8>,
    length: usize,
}

impl Default for Answers {
    fn default() -> Self {
        Self { bytes: vec![0; 16 * 1024], length: 0 }
    }
}

impl Answers {
    /// Cancel safe.
    async fn fill(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        match stream.read(room).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the gateway")),
            read => {
                self.length += read;
                Ok(())
            }
        }
    }

    fn each(&mut self, mut take: impl FnMut(Packet)) {
        let mut rest = self.bytes.get(..self.length).unwrap_or_default();
        while let Some((packet, after)) = packet::read(rest) {
            take(packet);
            rest = after;
        }
        let left = rest.len();
        self.bytes.copy_within(self.length - left..self.length, 0);
        self.length = left;
    }
}
