//! Rows P1 to P4: what Tahu's encoder writes, through the whole intake into a journal and out again.

use std::{sync::Arc, time::Duration};

use journal::{Mark, Options, OutputId, Start};
use proto::Time;
use serde_json::Value;
use tidegate::intake::{Intake, Limits, presets::Preset, route::Routes, stamp::SettableClock};
use tokio::time::timeout;

use super::{ARRIVAL, parsed};

const FIXTURES: &str = include_str!("../../proto/tests/fixtures/sparkplug-b.json");
const DEVICE: &str = "sparkplug,device=Emulated\\ Device,group=Sparkplug\\ B\\ Devices,node=Python\\ Edge\\ Node\\ 1";
const NODE: &str = "sparkplug,group=Sparkplug\\ B\\ Devices,node=Python\\ Edge\\ Node\\ 1";
const SOON: Duration = Duration::from_secs(30);

pub const NDEATH: usize = 0;
pub const NBIRTH: usize = 1;
pub const DBIRTH: usize = 2;
pub const DDATA: usize = 3;
pub const HISTORICAL: usize = 4;

/// Topic and payload.
pub fn example(at: usize) -> (String, Vec<u8>) {
    let fixtures: Value = serde_json::from_str(FIXTURES).unwrap();
    let example = &fixtures["examples"][at];
    let hex = example["hex"].as_str().unwrap();
    let payload = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).unwrap();
    (example["topic"].as_str().unwrap().to_owned(), payload)
}

/// The points of the last of these messages, and how many of its fields were left out.
async fn heard(messages: &[usize]) -> (Vec<String>, u64) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { free_bytes_min: 0, ..Options::new(dir.path()) };
    let (journal, appender, _) = journal::open(&options).unwrap();
    let routes = Routes::with_presets(Vec::new(), Preset::ALL).unwrap();
    let clock = Arc::new(SettableClock::at(ARRIVAL));
    let intake = Intake::new(appender, routes, Limits::default(), Vec::new(), clock);
    let mut mark = Mark::new();
    let (mut last, mut all) = (0, 0);
    for message in messages {
        let (topic, payload) = example(*message);
        let mut gather = intake.gather(&Arc::from("mqtt"));
        last = gather.message(&topic, &payload).readings as usize;
        all += last;
        assert!(gather.rejects().readings() == 0, "{:?}", gather.rejects());
        intake.submit(gather.seal(mark.ticket())).await.unwrap();
    }
    while timeout(SOON, mark.moved()).await.unwrap().unwrap().0 < messages.len() as u64 {}

    let mut reader = journal.reader(&OutputId::new("all").unwrap(), Start::Oldest).unwrap();
    let mut lines = Vec::new();
    while lines.len() < all {
        let lease = timeout(SOON, reader.next()).await.unwrap().unwrap();
        for submission in lease.frame.submissions() {
            let mut cursor = proto::frame::Cursor::new(submission.unwrap().bytes);
            while let Some(reading) = cursor.next() {
                let reading = reading.unwrap();
                let is_stamped = matches!(reading.time, Time::Stamped(_));
                let mut line = Vec::new();
                proto::line::write(&reading, &mut line).unwrap();
                let line = String::from_utf8(line).unwrap();
                let (point, _) = line.trim_end().rsplit_once(' ').unwrap();
                // One stamp for each payload; which of them it is does not matter here.
                lines.push(if is_stamped { format!("{point} @") } else { line });
            }
        }
        lease.receipt.confirm(&journal::Fates::default());
    }
    let fields =
        intake.stats().source(tidegate::intake::stats::SourceKind::Mqtt).fields_refused.get();
    (lines.split_off(lines.len() - last), fields)
}

async fn expect(row: &str, messages: &[usize], points: &[String]) {
    let (found, _) = heard(messages).await;
    assert_eq!(parsed(&found), parsed(points), "{row}: {found:#?}");
}

#[tokio::test]
async fn p1_a_device_birth_is_a_point_for_each_time() {
    let fields = [
        ("online=true,input/Device\\ Metric0=\"hello device\"", 0),
        ("input/temperature=21.5", 1),
        ("output/Device\\ Metric2=-16i", 2),
        ("input/double=-0.125", 3),
        ("input/when=1790000000000i", 4),
        ("i8=-8i", 5),
        ("u32=4294967295i", 6),
        ("i64=-9007199254740993i", 7),
    ];
    let at = |ms: i64| 1_790_000_000_000_000_000 + ms * 1_000_000;
    let points = fields.map(|(fields, ms)| format!("{DEVICE} {fields} {}", at(ms)));
    let (found, left_out) = heard(&[NBIRTH, DBIRTH]).await;
    // `online` is a point of its own, of the same series and time.
    let online = format!("{DEVICE} online=true {}", at(0));
    let mut points: Vec<String> =
        points.into_iter().map(|p| p.replace("online=true,", "")).collect();
    points.insert(0, online);
    assert_eq!(parsed(&found), parsed(&points), "P1: {found:#?}");
    assert!(left_out >= 1, "`bytes` is counted");
}

#[tokio::test]
async fn p2_data_by_alias_and_by_name() {
    let points = [
        format!("{DEVICE} input/temperature=21.75 1790000000000000000"),
        format!("{DEVICE} u8=200i 1790000000001000000"),
    ];
    expect("P2", &[NBIRTH, DBIRTH, DDATA], &points).await;
}

#[tokio::test]
async fn p3_historical_data_is_the_point_it_belongs_to() {
    let point = format!("{DEVICE} input/temperature=20 1790000000000000000");
    expect("P3", &[NBIRTH, DBIRTH, DDATA, HISTORICAL], &[point]).await;
}

#[tokio::test]
async fn p4_a_node_is_born_and_dies_with_its_devices() {
    let points = [
        format!("{NODE} online=true 1790000000000000000"),
        format!("{NODE} Node\\ Metric0=\"hello node\" 1790000000003000000"),
        format!("{NODE} bdSeqX=9223372036854775813u 1790000000004000000"),
    ];
    expect("P4", &[NBIRTH], &points).await;
    let points = [format!("{NODE} online=false @"), format!("{DEVICE} online=false @")];
    expect("P4", &[NBIRTH, DBIRTH, NDEATH], &points).await;
}

#[test]
fn one_payload_by_itself_shows_what_waits_and_commands_are_nothing() {
    let (topic, payload) = example(DDATA);
    let shown = super::explained(&topic, &payload);
    let note = "1 metrics by an alias, which only the node's birth explains: kept until it comes";
    assert_eq!(shown.notes, [note]);
    assert_eq!(shown.lines.len(), 1, "what is named is taken");
    for topic in ["spBv1.0/g/NCMD/n", "spBv1.0/g/DCMD/n/d", "spBv1.0/STATE/scada"] {
        super::expect_nothing("commands", topic, &payload);
    }
    super::expect("not ours", "spBv1.0/x", b"1", &["mqtt,topic=spBv1.0/x value=1 @"]);
}
