//! Somebody goes back a release: does the gateway leave alone what a later one wrote, say so, go on
//! taking readings, and does the later one find everything when it comes back?
//!
//! The later release's doing is made from this one's: a number in a file is raised and its checksum made
//! anew. When "it comes back" the number is what it was.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use simulator::ledger::Ledger;

use crate::support::{
    books,
    rig::{OUTPUT, Rig, more_acknowledged, mqtt, websocket},
    wait_for,
};

const PATIENCE: Duration = Duration::from_secs(30);
const HEADER_BYTES: usize = 4096;
const FRAME_HEADER: usize = 40;
/// Where a frame has its parts, see `journal/src/frame.rs`.
const KIND_AT: usize = 32;
const SCHEMA_AT: usize = 34;
const FRAME_MAGIC: (usize, [u8; 2]) = (36, [0xf5, 0x7d]);
/// Where a segment's header has its version, see `journal/src/segment.rs`; and a position's record, see
/// `journal/src/position/record.rs`.
const VERSION_AT: usize = 8;
const SALT_AT: usize = 24;
const SEGMENT_CRC_AT: usize = 124;
const SEGMENT_COPY_AT: usize = 2048;
const POSITION_CRC_AT: usize = 132;

/// What is of a later release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newer {
    FrameSchema,
    FrameKind,
    Segment,
    Position,
}

/// A file as this release wrote it, and as a later one would have.
#[derive(Debug)]
struct Rewritten {
    path: PathBuf,
    ours: Vec<u8>,
    theirs: Vec<u8>,
}

impl Newer {
    /// Files of a journal that nobody runs on, at least one.
    fn rewrite(self, journal: &Path) -> Vec<Rewritten> {
        let of = |prefix: &str| {
            let entries = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
            let is_of =
                |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
            entries.filter(is_of).collect::<Vec<_>>()
        };
        let files = match self {
            Self::Position => of(&format!("pos-{OUTPUT}.")),
            Self::FrameSchema | Self::FrameKind | Self::Segment => of("seg-"),
        };
        let rewritten = files.into_iter().filter_map(|path| {
            let ours = fs::read(&path).unwrap();
            let theirs = self.theirs(&ours)?;
            fs::write(&path, &theirs).unwrap();
            Some(Rewritten { path, ours, theirs })
        });
        let rewritten: Vec<_> = rewritten.collect();
        assert!(!rewritten.is_empty(), "{self:?}: nothing to rewrite in {}", journal.display());
        rewritten
    }

    /// `None`: not this file.
    fn theirs(self, ours: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = ours.to_vec();
        match self {
            Self::FrameSchema | Self::FrameKind => {
                // One in the middle: what is before it is delivered.
                let frames = frames(ours);
                let frame = *frames.get(frames.len() / 2)?;
                let at = if self == Self::FrameKind { KIND_AT } else { SCHEMA_AT };
                bytes[frame + at] = 9;
                let salted = crc32c(&ours[SALT_AT..SALT_AT + 8], 0);
                let crc = crc32c(&bytes[frame + 4..frame + FRAME_HEADER], salted);
                bytes[frame..frame + 4].copy_from_slice(&crc.to_le_bytes());
            }
            Self::Segment => {
                frames(ours).first()?;
                for copy in [0, SEGMENT_COPY_AT] {
                    bytes[copy + VERSION_AT] = 9;
                    let crc = crc32c(&bytes[copy..copy + SEGMENT_CRC_AT], 0);
                    let crc_at = copy + SEGMENT_CRC_AT;
                    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
                }
            }
            Self::Position => {
                bytes[VERSION_AT] = 9;
                let crc = crc32c(&bytes[..POSITION_CRC_AT], 0);
                bytes[POSITION_CRC_AT..POSITION_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
            }
        }
        Some(bytes)
    }
}

/// Where the frames of a segment begin.
fn frames(segment: &[u8]) -> Vec<usize> {
    let (magic_at, magic) = FRAME_MAGIC;
    let (mut at, mut found) = (HEADER_BYTES, Vec::new());
    while at + FRAME_HEADER <= segment.len() {
        if segment[at + magic_at..at + magic_at + 2] == magic {
            found.push(at);
            let stored = u32::from_le_bytes(segment[at + 4..at + 8].try_into().unwrap());
            at += FRAME_HEADER + usize::try_from(stored).unwrap();
            at = at.next_multiple_of(8);
        } else {
            at += 8; // Padding behind a group.
        }
    }
    found
}

/// CRC-32C of what was summed up before, and of these bytes.
fn crc32c(bytes: &[u8], before: u32) -> u32 {
    let next = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let reflected = 0x82f6_3b78 & (crc & 1).wrapping_neg();
            (crc >> 1) ^ reflected
        })
    };
    !bytes.iter().fold(!before, next)
}

/// Of 20 devices, so many readings at least, into a gateway that runs.
async fn some(rig: &Rig, name: &str, readings: u64) -> Ledger {
    let period = Duration::from_millis(20);
    let (mqtt, websocket) = (format!("{name}-m"), format!("{name}-w"));
    let fleet =
        rig.fleet(vec![self::mqtt(&mqtt, 10, period), self::websocket(&websocket, 10, period)]);
    more_acknowledged(&fleet.watch(), readings);
    fleet.stop_and_drain(PATIENCE).await.unwrap()
}

/// What the older release makes of it: nothing is lost, nothing passed by, nothing written over.
fn is_left_alone(rig: &Rig, newer: Newer, files: &[Rewritten]) {
    let words = "the journal holds what a later release wrote; it waits for that release";
    // A frame's is raised as the output comes to it.
    wait_for("the alarm", PATIENCE, || match rig.gateway.status().alarms {
        alarms if alarms.iter().any(|alarm| alarm == words) => Ok(()),
        alarms => Err(format!("{newer:?}: {alarms:?}")),
    });
    wait_for("the alarm in the log", PATIENCE, || {
        let log = rig.gateway.log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    });
    assert_eq!(rig.gateway.count("tidegate_alarm", &["\"journal_newer\""]), 1, "{newer:?}");
    let damaged = rig.gateway.count("tidegate_journal_damaged_frames_total", &[]);
    assert_eq!(damaged, 0, "{newer:?}");
    for Rewritten { path, theirs, .. } in files {
        let now = fs::read(path).unwrap_or_else(|e| panic!("{newer:?}: {}: {e}", path.display()));
        // What recovery seals it may cut behind the last frame, and tell its end there.
        let frames_end = frames(theirs).last().map_or(theirs.len(), |last| last + FRAME_HEADER);
        assert!(now[..frames_end] == theirs[..frames_end], "{newer:?}: {} changed", path.display());
    }
}

async fn waits_for_the_later_release(newer: Newer) {
    let mut rig = Rig::start("").await;
    let away = simulator::faulty::Behaviour {
        answer: simulator::faulty::Answer::Refuse,
        ..simulator::faulty::Behaviour::default()
    };
    rig.behave(away).await;
    let before = some(&rig, "before", 500).await;
    assert!(rig.gateway.terminate(PATIENCE).success());
    let files = newer.rewrite(&rig.gateway.dir().join("journal"));

    // The older release: it takes readings, killed or not, and delivers none that come after.
    rig.behave(simulator::faulty::Behaviour::default()).await;
    rig.gateway.run();
    let meanwhile = some(&rig, "meanwhile", 300).await;
    rig.gateway.kill();
    rig.gateway.run();
    wait_for("what comes before it", PATIENCE, || {
        let is_frame = matches!(newer, Newer::FrameSchema | Newer::FrameKind);
        let delivered = rig.database.points();
        if !is_frame || delivered > 100 { Ok(()) } else { Err(format!("{delivered} points")) }
    });
    is_left_alone(&rig, newer, &files);
    let device = |name: &str| rig.database.rows().iter().any(|row| row.device.starts_with(name));
    assert!(!device("meanwhile"), "{newer:?}: passed by what it does not know");
    let pending = rig.gateway.pending(OUTPUT);
    let held = meanwhile.totals().acknowledged;
    assert!(newer == Newer::Position || pending >= held, "{newer:?}: {pending} pending of {held}");

    // The later one comes back.
    assert!(rig.gateway.terminate(PATIENCE).success());
    for Rewritten { path, ours, theirs } in &files {
        let mut bytes = fs::read(path).unwrap();
        for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            if ours != theirs {
                bytes[at] = *ours;
            }
        }
        fs::write(path, bytes).unwrap();
    }
    rig.gateway.run();
    rig.delivered();
    let alarms = rig.gateway.status().alarms;
    assert!(alarms.is_empty(), "{newer:?}: {alarms:?}");
    for (name, ledger) in [("before", before), ("meanwhile", meanwhile)] {
        let verdict = rig.verdict_of(&ledger, |row| row.device.starts_with(name));
        let is_whole = verdict.is_clean() && verdict.acknowledged == verdict.sent;
        assert!(is_whole, "{newer:?}: {name}: {verdict}\n{}", rig.gateway.log());
    }
    if newer == Newer::FrameKind {
        return; // It was counted as what it was not: a frame of another kind holds no readings.
    }
    let status = books::balanced(&rig.gateway);
    let output = books::of(&status, OUTPUT);
    assert_eq!((output.confirmed, output.dropped), (output.journaled, 0), "{newer:?}: {output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_a_later_schema_waits_for_its_release() {
    waits_for_the_later_release(Newer::FrameSchema).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_a_kind_that_is_not_known_waits_for_its_release() {
    waits_for_the_later_release(Newer::FrameKind).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_of_a_later_version_waits_for_its_release() {
    waits_for_the_later_release(Newer::Segment).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_a_later_version_waits_for_its_release() {
    waits_for_the_later_release(Newer::Position).await;
}
