//! The batcher against a naive model: same readings in, same points out, every reading counted once.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use journal::{Fates, Seq};
use proptest::prelude::*;
use proto::{Limits as ReadingLimits, Reading, Readings, Timestamp, Value, frame::Cursor};

use super::*;
use crate::sink::file::{Files, Settings};

/// Counts its shares.
#[derive(Debug, Default)]
struct Shares(Mutex<usize>);

impl Receipt for Arc<Shares> {
    fn share(&self) -> Self {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Arc::clone(self)
    }

    fn confirm(self, _: &Fates) {}
}

fn sink() -> Files {
    let path = "/nowhere".into();
    Files::new(Settings { path, file_bytes_max: 0, files_max: 0, sync: false })
}

fn reading(device: &str, at: i64, fields: &[(&str, i64)]) -> Reading {
    Reading {
        measurement: "m".to_owned(),
        tags: vec![("device".to_owned(), device.to_owned())],
        fields: fields.iter().map(|(k, v)| ((*k).to_owned(), Value::Signed(*v))).collect(),
        time: Time::At(Timestamp::from_nanos(at)),
    }
}

fn frame(readings: &[Reading]) -> Bytes {
    let mut encoder = Readings::new(ReadingLimits::default());
    encoder.begin();
    for reading in readings {
        reading.with_ref(|r| encoder.push(&r, Timestamp::from_nanos(0))).unwrap();
    }
    encoder.take().0.into()
}

/// Pushes frames, one lease each, and seals whenever the batcher says so.
fn batches(limits: Limits, frames: &[Vec<Reading>]) -> Vec<Batch<Arc<Shares>>> {
    let (sink, now) = (sink(), Instant::now());
    let mut batcher = Batcher::new(limits);
    let mut out = Vec::new();
    for (seq, readings) in (1..).zip(frames) {
        let payload = frame(readings);
        let loan = Arc::new(Loan::new(Seq(seq), payload.clone()));
        let receipt = Arc::new(Shares::default());
        let mut cursor = Cursor::new(&payload);
        for index in 0.. {
            let at = cursor.position();
            let Some(reading) = cursor.next() else { break };
            let from = From { loan: &loan, receipt: Some(&receipt), index, at };
            let reading = reading.unwrap();
            if batcher.push(&sink, &from, &reading, now) == Pushed::Full {
                out.extend(batcher.seal(&sink));
                assert_eq!(batcher.push(&sink, &from, &reading, now), Pushed::Taken);
            }
        }
    }
    out.extend(batcher.seal(&sink));
    out
}

type Points = BTreeMap<(String, i64), BTreeMap<String, i64>>;

/// What a database makes of these lines, in their order.
fn points<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Points {
    let mut points = Points::new();
    for line in lines {
        let line = std::str::from_utf8(line).unwrap().trim_end();
        let [series, fields, at] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let point = points.entry((series.to_owned(), at.parse().unwrap())).or_default();
        for field in fields.split(',') {
            let (name, value) = field.split_once('=').unwrap();
            point.insert(name.to_owned(), value.trim_end_matches('i').parse().unwrap());
        }
    }
    points
}

fn body_lines(batch: &Batch<Arc<Shares>>) -> Vec<&[u8]> {
    (0..batch.body.lines()).map(|line| batch.body.line(line)).collect()
}

fn limits(lines_max: usize, bytes_max: usize) -> Limits {
    Limits { lines_max, bytes_max, age_max: Duration::from_secs(1) }
}

fn any_frames() -> impl Strategy<Value = Vec<Vec<Reading>>> {
    let field = ("[abc]", 0i64..100);
    let reading =
        ("[xyz]", 0i64..4, prop::collection::vec(field, 1..4)).prop_map(|(d, at, fields)| {
            let fields: Vec<(&str, i64)> = fields.iter().map(|(k, v)| (k.as_str(), *v)).collect();
            let unique: BTreeMap<&str, i64> = fields.into_iter().collect();
            reading(&d, at, &unique.into_iter().collect::<Vec<_>>())
        });
    prop::collection::vec(prop::collection::vec(reading, 0..12), 1..8)
}

proptest! {
    #[test]
    fn what_is_sent_makes_the_same_points(
        frames in any_frames(),
        lines_max in 1usize..40,
        bytes_max in 1usize..600,
    ) {
        let batches = batches(limits(lines_max, bytes_max), &frames);
        let sent: Vec<&[u8]> = batches.iter().flat_map(body_lines).collect();
        let mut naive = Vec::new();
        for reading in frames.iter().flatten() {
            let mut line = Vec::new();
            reading.with_ref(|r| proto::line::write(&r, &mut line)).unwrap();
            naive.push(line);
        }
        prop_assert_eq!(points(sent), points(naive.iter().map(Vec::as_slice)));
    }

    #[test]
    fn every_reading_is_counted_once(
        frames in any_frames(),
        lines_max in 1usize..40,
        bytes_max in 1usize..600,
    ) {
        let mut by_frame: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for batch in batches(limits(lines_max, bytes_max), &frames) {
            let mut counted = vec![0; batch.shares.len()];
            for line in 0..batch.body.lines() {
                for origin in batch.origins.of(line) {
                    counted[origin.share as usize] += 1;
                    let seq = batch.shares[origin.share as usize].loan.seq.0;
                    by_frame.entry(seq).or_default().push(origin.index);
                }
            }
            let shares: Vec<u64> = batch.shares.iter().map(|share| share.readings).collect();
            prop_assert_eq!(counted, shares);
        }
        for (seq, readings) in (1..).zip(&frames) {
            let mut seen = by_frame.remove(&seq).unwrap_or_default();
            seen.sort_unstable();
            let count = u32::try_from(readings.len()).unwrap();
            prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_batch_is_beyond_its_limits(
        frames in any_frames(),
        lines_max in 1usize..40,
        bytes_max in 1usize..600,
    ) {
        for batch in batches(limits(lines_max, bytes_max), &frames) {
            let readings: u64 = batch.shares.iter().map(|share| share.readings).sum();
            prop_assert!(readings <= lines_max as u64);
            prop_assert!(batch.body.bytes.len() <= bytes_max || readings == 1);
            let mut keys: Vec<_> = points(body_lines(&batch)).into_keys().collect();
            keys.dedup();
            prop_assert_eq!(keys.len(), batch.body.lines() as usize, "a point twice in a batch");
        }
    }
}

#[test]
fn fields_of_one_point_stand_side_by_side_and_the_last_value_wins() {
    let frames = [
        vec![reading("x", 1, &[("a", 1), ("b", 2)]), reading("y", 1, &[("a", 7)])],
        vec![reading("x", 1, &[("b", 3), ("c", 4)])],
    ];
    let batches = batches(limits(100, 10_000), &frames);
    assert_eq!(batches.len(), 1);
    let lines: Vec<_> = body_lines(&batches[0])
        .into_iter()
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    assert_eq!(lines, ["m,device=x a=1i,b=3i,c=4i 1\n", "m,device=y a=7i 1\n"]);
    let of_x: Vec<_> = batches[0].origins.of(0).map(|o| (o.share, o.index)).collect();
    assert_eq!(of_x, [(0, 0), (1, 0)]);
    assert_eq!(batches[0].shares.iter().map(|s| s.readings).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn the_deadline_counts_from_the_first_reading() {
    let (sink, first) = (sink(), Instant::now());
    let mut batcher = Batcher::new(limits(100, 10_000));
    assert_eq!(batcher.deadline(), None);
    let payload = frame(&[reading("x", 1, &[("a", 1)]), reading("x", 2, &[("a", 1)])]);
    let loan = Arc::new(Loan::new(Seq(1), payload.clone()));
    let receipt = Arc::new(Shares::default());
    let mut cursor = Cursor::new(&payload);
    for (index, after_ms) in [(0, 0), (1, 700)] {
        let at = cursor.position();
        let from = From { loan: &loan, receipt: Some(&receipt), index, at };
        let now = first + Duration::from_millis(after_ms);
        let reading = cursor.next().unwrap().unwrap();
        assert_eq!(batcher.push(&sink, &from, &reading, now), Pushed::Taken);
    }
    assert_eq!(batcher.deadline(), Some(first + Duration::from_secs(1)));
    assert!(batcher.seal(&sink).is_some());
    assert_eq!(batcher.deadline(), None);
    assert!(batcher.seal(&sink).is_none());
}

#[test]
fn a_batch_holds_only_so_much_of_frames() {
    // Large frames of which little is taken: what a filter before the batch would leave.
    let limits = limits(1000, 1000);
    let (sink, now) = (sink(), Instant::now());
    let mut batcher = Batcher::new(limits);
    let receipt = Arc::new(Shares::default());
    let mut taken = 0;
    for seq in 0..10 {
        let mut payload = frame(&[reading("x", seq, &[("a", 1)])]).to_vec();
        payload.resize(1500, 0);
        let loan = Arc::new(Loan::new(Seq(1), payload.clone().into()));
        let mut cursor = Cursor::new(&payload);
        let from = From { loan: &loan, receipt: Some(&receipt), index: 0, at: 0 };
        if batcher.push(&sink, &from, &cursor.next().unwrap().unwrap(), now) == Pushed::Full {
            break;
        }
        taken += 1;
    }
    assert_eq!(taken, 2);
}

#[test]
fn an_encoder_that_panics_half_way_leaves_whole_lines() {
    let (sink, now) = (sink(), Instant::now());
    let mut batcher = Batcher::new(limits(100, 10_000));
    let payload = frame(&[reading("x", 1, &[("a", 1)])]);
    let loan = Arc::new(Loan::new(Seq(1), payload.clone()));
    let receipt = Arc::new(Shares::default());
    let from = From { loan: &loan, receipt: Some(&receipt), index: 0, at: 0 };
    let mut cursor = Cursor::new(&payload);
    assert_eq!(batcher.push(&sink, &from, &cursor.next().unwrap().unwrap(), now), Pushed::Taken);
    batcher.body.bytes.extend_from_slice(b"m,device=y a=");
    batcher.mend();
    let batch = batcher.seal(&sink).unwrap();
    assert_eq!(batch.body.bytes, b"m,device=x a=1i 1\n");
}

/// As a deadband on some fields makes them.
#[test]
fn readings_of_a_frame_as_they_are_and_in_part_by_turns_share_a_batch() {
    let (sink, now) = (sink(), Instant::now());
    let readings: Vec<Reading> = (0..400).map(|n| reading("a", n, &[("v", n), ("w", n)])).collect();
    let whole = Arc::new(Loan::new(Seq(1), frame(&readings)));
    let limits =
        Limits { lines_max: 1000, bytes_max: whole.payload.len(), age_max: Duration::from_secs(1) };
    let mut batcher = Batcher::new(limits);
    let receipt = Arc::new(Shares::default());
    for (n, reading) in readings.iter().enumerate() {
        // Two of three in part.
        let part = frame(std::slice::from_ref(reading));
        let part = Arc::new(Loan::part_of(&whole, part));
        let loan = if n % 3 == 0 { &whole } else { &part };
        let from = From { loan, receipt: Some(&receipt), index: 0, at: 0 };
        let pushed = reading.with_ref(|it| batcher.push(&sink, &from, &it, now));
        assert_eq!(pushed, Pushed::Taken, "{n}");
    }
    let batch = batcher.seal(&sink).unwrap();
    let of_whole = batch.shares.iter().filter(|share| share.loan.is_frame());
    assert_eq!(of_whole.map(|share| share.readings).collect::<Vec<_>>(), [134]);
    assert_eq!(batch.shares.iter().map(|share| share.readings).sum::<u64>(), 400);
}
