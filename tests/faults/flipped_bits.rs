//! What does one flipped bit in a file of the journal cost, or in what lies beside it in folders of its own?
//!
//! At most what that file alone knew, and never the start: the gateway begins on each damaged copy of
//! one journal, says in its log what is missing, counts it, and delivers everything else. A bit in the
//! group that was written last may pass for a torn tail and go unnamed: nothing after it proves that
//! it was ever durable. That group is no more than a few readings here. A frame of the last segment
//! whose header is hit is named, and counted as a frame: how many readings it had nobody knows.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use simulator::ledger::Ledger;
use tokio::time::timeout;

use super::trial::{devices, more_acknowledged, without_database};
use crate::support::{
    books,
    rig::{OUTPUT, Rig, is_long},
};

const LIMITS: &str = "bytes_max = \"128MiB\"\n";
/// Of a segment; the frames come behind it.
const HEADER_BYTES: u64 = 4096;
/// A group of this fleet, which waits for its acknowledgements, is never larger.
const GROUP_BYTES_MAX: u64 = 64 * 1024;
const GROUP_READINGS_MAX: u64 = 1_000;

/// A metric by an alias that no birth explains: acknowledged, it lies in the file of births alone.
const HELD: (&str, &[u8]) = ("spBv1.0/g/NDATA/n", &[0x08, 5, 0x18, 7, 0x12, 4, 0x10, 1, 0x50, 2]);
const BIRTHS: &str = "sparkplug/births";

/// What the log says of a loss.
const NAMED: [&str; 3] = [
    "frames of the journal are lost",
    "frames that were durable are damaged",
    "set aside in quarantine",
];

/// A bit of one file, named from the journal's folder on.
#[derive(Clone, Debug)]
struct Place {
    file: String,
    at: u64,
    /// In the segment that was written last.
    is_in_last: bool,
    /// In the group that was written last.
    is_last: bool,
}

/// The bits that are flipped, one at a time.
fn places(journal: &Path) -> Vec<Place> {
    let files = files(journal);
    let named = |file: &Path| file.strip_prefix(journal).unwrap().to_str().unwrap().to_owned();
    let is_segment = |file: &&PathBuf| named(file).starts_with("seg-") && used(file) > HEADER_BYTES;
    let last = files.iter().rfind(is_segment).map(|file| named(file)).expect("a segment");
    let mut places = Vec::new();
    for path in &files {
        let (file, used) = (named(path), used(path));
        let mut at: Vec<u64> = vec![9, used / 2];
        if file.starts_with("seg-") && used > HEADER_BYTES {
            // The second copy of the header; the first frame's header and payload; the last frame.
            at.extend([2048 + 9, HEADER_BYTES, HEADER_BYTES + 21, HEADER_BYTES + 60, used - 20]);
        }
        if is_long() {
            at.extend((1..80).map(|step| step * 997 % used.max(1)));
        }
        at.sort_unstable();
        at.dedup();
        let flips = at.into_iter().filter(|at| *at < used);
        places.extend(flips.map(|at| {
            let is_in_last = file == last;
            let is_last = is_in_last && at + GROUP_BYTES_MAX > used;
            Place { file: file.clone(), at, is_in_last, is_last }
        }));
    }
    places
}

/// Up to its last byte that is not zero.
fn used(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn flip(file: &Path, at: u64) {
    let mut bytes = fs::read(file).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

/// Those in folders too.
fn files(journal: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| self::files(folder)));
    files.sort_unstable();
    files
}

/// Returns when it is acknowledged.
async fn hold(mqtt_port: u16) {
    let (client, mut events) =
        AsyncClient::new(MqttOptions::new("edge", "127.0.0.1", mqtt_port), 1);
    client.publish(HELD.0, QoS::AtLeastOnce, false, HELD.1).await.unwrap();
    let acknowledged = async {
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))) {}
    };
    timeout(Duration::from_secs(30), acknowledged).await.expect("an acknowledgement");
}

/// A journal that nobody delivered, in several segments, as SIGKILL left it; and who sent it what.
async fn undelivered() -> (Rig, PathBuf, Ledger) {
    let mut rig = Rig::start(LIMITS).await;
    without_database(&rig).await;
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    for _ in 0..2 {
        more_acknowledged(&watch, 500);
        rig.gateway.kill();
        rig.gateway.run();
    }
    more_acknowledged(&watch, 500);
    hold(rig.gateway.mqtt_port).await;
    let ledger = fleet.stop_and_drain(Duration::from_mins(1)).await.unwrap();
    rig.gateway.kill();
    let journal = rig.gateway.dir().join("journal");
    (rig, journal, ledger)
}

/// What a gateway makes of a copy of the journal with one bit flipped.
async fn survives(place: &Place, journal: &Path, ledger: &Ledger) {
    let mut rig = Rig::prepare(LIMITS, "").await;
    let own = rig.gateway.dir().join("journal");
    copy(journal, &own);
    flip(&own.join(&place.file), place.at);
    rig.gateway.run();
    rig.delivered();
    let verdict = rig.verdict(ledger);
    // Whatever is missing, the books of what is there and of what was named balance.
    let status = books::balanced(&rig.gateway);
    let counted = status.outputs.iter().find(|output| output.id == OUTPUT).unwrap().quarantined;
    let log = rig.gateway.log();
    let is_named = NAMED.iter().any(|words| log.contains(words));
    println!("{place:?}: lost {}, counted {counted}, named {is_named}", verdict.lost);

    let waiting = status.sparkplug.messages_waiting;
    let damages = rig.gateway.count("tidegate_sparkplug_file_damages_total", &[]);
    assert!(waiting == 1 || (damages == 1 && place.file == BIRTHS), "{place:?}: {waiting}\n{log}");
    assert_eq!((verdict.phantom, verdict.wrong, verdict.duplicates), (0, 0, 0), "{verdict}");
    assert!(verdict.lost <= GROUP_READINGS_MAX, "{place:?}: more than it hit\n{verdict}\n{log}");
    // A reading may lie there twice, sent again after a kill: counted twice, lost once or not at all.
    let is_counted = verdict.lost <= counted && counted <= GROUP_READINGS_MAX;
    assert!(is_counted || place.is_in_last, "{place:?}: counted {counted}\n{verdict}\n{log}");
    let is_silent = verdict.lost > 0 && !is_named;
    assert!(!is_silent || place.is_last, "{place:?}: not named\n{verdict}\n{log}");
    if is_named && verdict.lost > 0 {
        let frames = rig.gateway.metric("tidegate_journal_damaged_frames_total", &[]);
        assert!(frames >= 1.0, "{place:?}: {frames} frames counted");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_costs_what_it_hit_and_is_named_and_counted() {
    let (_rig, journal, ledger) = undelivered().await;
    let places = places(&journal);
    assert!(places.len() > 15, "{places:?}");
    assert!(places.iter().any(|place| place.file == BIRTHS), "{places:?}");
    for place in places {
        survives(&place, &journal, &ledger).await;
    }
}
