//! The two ends of an output for tests under a paused clock: a feed of frames whose receipts keep
//! books, and a database that does what a script says.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use journal::{Fates, Frame, Kind, Seq};
use proto::{Limits as ReadingLimits, Reading, ReadingRef, Readings, Time, Timestamp, Value};
use tokio::{sync::mpsc, time::Instant};

use crate::output::lease::{Confirm, Lease, Leases, Receipt};
use crate::sink;
use crate::sink::{Answer, Body, Fault, LostField, Refusal, Sink, Written};

pub(super) const ARRIVAL_NS: i64 = 1_700_000_000_000_000_000;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

pub(super) fn reading(device: &str, at: i64, value: i64) -> Reading {
    Reading {
        measurement: "m".to_owned(),
        tags: vec![("device".to_owned(), device.to_owned())],
        fields: vec![("v".to_owned(), Value::Signed(value))],
        time: Time::At(Timestamp::from_nanos(at)),
    }
}

/// `count` readings of one device, one nanosecond apart.
pub(super) fn series(device: &str, from: i64, count: i64) -> Vec<Reading> {
    (from..from + count).map(|n| reading(device, n, n)).collect()
}

pub(super) fn encoded(readings: &[Reading]) -> Vec<u8> {
    let mut encoder = Readings::new(ReadingLimits::default());
    encoder.begin();
    for reading in readings {
        reading.with_ref(|r| encoder.push(&r, Timestamp::from_nanos(0))).unwrap();
    }
    encoder.take().0
}

/// A `data` frame with one submission, as `journal::payload` lays it out.
pub(super) fn frame(readings: u32, bytes: &[u8]) -> Frame {
    frame_of_epoch(0, readings, bytes)
}

/// As `frame`, stamped in that clock epoch.
pub(super) fn frame_of_epoch(epoch: u32, readings: u32, bytes: &[u8]) -> Frame {
    let mut payload = vec![0; 4];
    payload.extend_from_slice(&ARRIVAL_NS.to_le_bytes());
    varint(u64::from(epoch), &mut payload);
    payload.extend_from_slice(b"\x04mqtt");
    varint(u64::from(readings), &mut payload);
    varint(bytes.len() as u64, &mut payload);
    payload.extend_from_slice(bytes);
    Frame { kind: Kind::Data, schema: 1, readings, payload: payload.into() }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

/// What became of the frames.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) leased: u64,
    pub(super) fates: Fates,
    /// Fates by frame, as they add up.
    by_frame: BTreeMap<u64, (u32, u64, Fates)>,
    /// Shares dropped without a word.
    pub(super) dropped: u64,
    /// The state of the last checkpoint that was confirmed, and its frame.
    pub(super) saved: Option<(u64, Vec<u8>)>,
    /// Confirmed, but a frame before it is under way.
    waiting: Option<(u64, Vec<u8>)>,
}

impl Books {
    /// As the journal does: a checkpoint waits for every frame up to its own.
    fn save(&mut self) {
        let Some((upto, _)) = &self.waiting else { return };
        let is_open = |(seq, frame): (&u64, &(u32, u64, Fates))| seq <= upto && frame.1 > 0;
        if !self.by_frame.iter().any(is_open) {
            self.saved = self.waiting.take();
        }
    }

    /// Frames whose readings are not all accounted for.
    pub(super) fn open_frames(&self) -> usize {
        let is_open = |(readings, shares, fates): &(u32, u64, Fates)| {
            *shares > 0 || fates.total() != u64::from(*readings)
        };
        self.by_frame.values().filter(|frame| is_open(frame)).count()
    }
}

#[derive(Debug)]
pub(super) struct Feed {
    frames: mpsc::UnboundedReceiver<Frame>,
    /// What an earlier life has saved.
    pub(super) state: Arc<[u8]>,
    pub(super) books: Arc<Mutex<Books>>,
    is_frozen: bool,
}

#[derive(Debug)]
pub(super) struct Share {
    seq: u64,
    books: Arc<Mutex<Books>>,
    confirmed: bool,
}

/// A feed of frames; it ends when the sender is dropped.
#[expect(clippy::disallowed_methods, reason = "a test feeds what it wrote itself")]
pub(super) fn feed() -> (mpsc::UnboundedSender<Frame>, Feed) {
    let (sender, frames) = mpsc::unbounded_channel();
    (sender, Feed { frames, state: Arc::default(), books: Arc::default(), is_frozen: false })
}

impl Leases for Feed {
    type Receipt = Share;

    async fn next(&mut self) -> Option<Lease<Share>> {
        while self.is_frozen {
            self.frames.recv().await?; // Until the end.
        }
        let frame = self.frames.recv().await?;
        let mut books = lock(&self.books);
        books.leased += 1;
        let seq = books.leased;
        books.by_frame.insert(seq, (frame.readings, 1, Fates::default()));
        let receipt = Share { seq, books: Arc::clone(&self.books), confirmed: false };
        Some(Lease { seq: Seq(seq), frame, receipt })
    }

    fn at_head(&self) -> bool {
        self.frames.is_empty()
    }

    fn state(&self) -> Arc<[u8]> {
        Arc::clone(&self.state)
    }

    fn has_lost_state(&self) -> bool {
        false
    }

    fn leave_to_newer(&mut self) {
        self.is_frozen = true;
    }

    fn keep_state(&mut self, _: u64) {}

    fn is_checkpoint_due(&self) -> bool {
        true
    }

    fn checkpoint(&mut self, upto: Seq, state: Vec<u8>, _: u64) -> Confirm {
        let books = Arc::clone(&self.books);
        Box::new(move || {
            let mut books = lock(&books);
            books.waiting = Some((upto.0, state));
            books.save();
        })
    }
}

impl Receipt for Share {
    fn share(&self) -> Self {
        lock(&self.books).by_frame.get_mut(&self.seq).unwrap().1 += 1;
        Self { seq: self.seq, books: Arc::clone(&self.books), confirmed: false }
    }

    fn confirm(mut self, fates: &Fates) {
        self.confirmed = true;
        let mut books = lock(&self.books);
        books.fates.add(fates);
        let frame = books.by_frame.get_mut(&self.seq).unwrap();
        frame.1 -= 1;
        frame.2.add(fates);
        books.save();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if !self.confirmed {
            lock(&self.books).dropped += 1;
        }
    }
}

/// One request as the database saw it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) at: Duration,
    pub(super) number: usize,
    pub(super) lines: Vec<String>,
}

impl Request {
    pub(super) fn has(&self, part: &str) -> bool {
        self.lines.iter().any(|line| line.contains(part))
    }
}

/// What the database does with a request: after this time, this answer. `Stored` applies the lines.
pub(super) type Act = (Duration, Answer);

type Script = Box<dyn Fn(&Request, &[u32]) -> Act + Send + Sync>;

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: Vec<Request>,
    pub(super) probes: Vec<Duration>,
    in_flight: usize,
    pub(super) in_flight_max: usize,
    /// Every line that was stored, in the order of storing.
    pub(super) stored: Vec<String>,
}

/// A database that follows a script.
pub(super) struct Twin {
    script: Script,
    probe: Mutex<Answer>,
    start: Instant,
    pub(super) seen: Mutex<Seen>,
}

impl Twin {
    /// `script` sees the request and the line numbers in it.
    pub(super) fn new(
        script: impl Fn(&Request, &[u32]) -> Act + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            probe: Mutex::new(Answer::Stored),
            start: Instant::now(),
            seen: Mutex::default(),
        })
    }

    pub(super) fn answering(answer: Answer, after: Duration) -> Arc<Self> {
        Self::new(move |_, _| (after, answer.clone()))
    }

    pub(super) fn set_probe(&self, answer: Answer) {
        *lock(&self.probe) = answer;
    }

    pub(super) fn stored(&self) -> Vec<String> {
        lock(&self.seen).stored.clone()
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        lock(&self.seen).requests.clone()
    }
}

impl Sink for Twin {
    fn encode(
        &self,
        reading: &ReadingRef<'_>,
        body: &mut Body,
        lost: &mut Vec<LostField>,
    ) -> Result<(), Refusal> {
        assert_ne!(reading.tag("device"), Some("poison"), "a reading that makes the encoder panic");
        let left_out = |name: &str, reason: proto::Reason| {
            lost.push((name.to_owned(), Refusal::new(Fault::Value, reason.text)));
        };
        let dialect = proto::line::write::Dialect::V1;
        proto::line::write::write_as(reading, dialect, &mut body.bytes, left_out)
            .map_err(|reason| Refusal::new(Fault::Value, reason.text))?;
        body.end_line(sink::time_ns(reading));
        Ok(())
    }

    async fn write(&self, body: &Arc<Body>, lines: &[Range<u32>]) -> Written {
        let numbers: Vec<u32> = lines.iter().cloned().flatten().collect();
        let text = |line: &u32| String::from_utf8(body.line(*line).trim_ascii().to_vec()).unwrap();
        let request = {
            let mut seen = lock(&self.seen);
            seen.in_flight += 1;
            seen.in_flight_max = seen.in_flight_max.max(seen.in_flight);
            let lines = numbers.iter().map(text).collect();
            let number = seen.requests.len();
            let request = Request { at: self.start.elapsed(), number, lines };
            seen.requests.push(request.clone());
            request
        };
        let (after, answer) = (self.script)(&request, &numbers);
        tokio::time::sleep(after).await;
        let mut seen = lock(&self.seen);
        seen.in_flight -= 1;
        if answer == Answer::Stored {
            seen.stored.extend(request.lines);
        }
        answer.into()
    }

    async fn probe(&self) -> Written {
        lock(&self.seen).probes.push(self.start.elapsed());
        lock(&self.probe).clone().into()
    }
}
