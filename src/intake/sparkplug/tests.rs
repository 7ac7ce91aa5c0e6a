//! Through the whole intake into a real journal: births, restarts, what waits, and hostile payloads.

use std::path::PathBuf;

use journal::{Fates, Journal, Mark, Options, OutputId, Reader, Start};
use proto::frame;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::intake::presets::Preset;
use crate::intake::route::Routes;
use crate::intake::stamp::SystemClock;
use crate::intake::tests::show;
use crate::intake::{Intake, Outcome};

/// Generous: these tests wait for a real disk.
const SOON: Duration = Duration::from_secs(30);

/// A gateway without ports, on a directory that outlives it.
struct Plant {
    intake: Intake,
    journal: Journal,
    reader: Reader,
    rejects: Reader,
    shutdown: CancellationToken,
    care: tokio::task::JoinHandle<()>,
}

impl Plant {
    async fn start(dir: &Path, limits: Limits) -> Self {
        let options = Options {
            bytes_max: 16 << 20,
            free_bytes_min: 0,
            sync_wait: Duration::from_millis(1),
            ..Options::new(dir)
        };
        let (journal, appender, _) = journal::open(&options).unwrap();
        let nodes = Nodes::open(&dir.join("sparkplug"), limits);
        journal.notes(1 << 20, |note| nodes.recall(note));
        nodes.recalled();
        let reader = journal.reader(&OutputId::new("all").unwrap(), Start::Oldest).unwrap();
        let rejects = journal.rejects().unwrap();
        let routes = Routes::with_presets(Vec::new(), Preset::ALL).unwrap();
        let limits = crate::intake::Limits::default();
        let intake = Intake::new(appender, routes, limits, Vec::new(), Arc::new(SystemClock))
            .knowing(Arc::new(nodes));
        intake.note_recalled().await.unwrap();
        let shutdown = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the test waits for it in `stop`")]
        let care = tokio::spawn(care::run(intake.clone(), shutdown.clone()));
        Self { intake, journal, reader, rejects, shutdown, care }
    }

    /// Durable when it returns, as if it were to be acknowledged now.
    async fn say(&self, topic: &str, payload: &[u8]) -> (Outcome, usize) {
        let mut mark = Mark::new();
        let mut gather = self.intake.gather(&Arc::from("broker:plant"));
        let outcome = gather.message(topic, payload);
        let asked = gather.rebirths();
        assert!(asked.iter().all(|ask| ask.topic.starts_with("spBv1.0/g/NCMD/")), "{asked:?}");
        if !gather.is_empty() {
            self.intake.submit(gather.seal(mark.ticket())).await.unwrap();
            timeout(SOON, mark.moved()).await.unwrap().unwrap();
        }
        (outcome, asked.len())
    }

    /// The next readings in any order (what waited may overtake the birth), confirmed so that a restart does not bring them again.
    async fn read(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            let lease = timeout(SOON, self.reader.next()).await.expect("a reading").unwrap();
            for submission in lease.frame.submissions() {
                let mut cursor = frame::Cursor::new(submission.unwrap().bytes);
                while let Some(reading) = cursor.next() {
                    lines.push(show(&reading.unwrap()));
                }
            }
            let confirmed = u64::from(lease.frame.readings);
            lease.receipt.confirm(&Fates { confirmed, ..Fates::default() });
        }
        lines.sort();
        lines
    }

    /// The next refusals: topic and reason.
    async fn refused(&mut self, count: usize) -> Vec<(String, String)> {
        let mut refused = Vec::new();
        while refused.len() < count {
            let lease = timeout(SOON, self.rejects.next()).await.expect("a refusal").unwrap();
            let entries = lease.frame.rejected().map(|entry| entry.unwrap());
            refused.extend(entries.map(|one| (one.topic.to_owned(), one.reason.to_owned())));
            let dead = u64::from(lease.frame.readings);
            lease.receipt.confirm(&Fates { dead, ..Fates::default() });
        }
        refused
    }

    /// Nothing is said to anybody: what is durable is all that the next start finds.
    async fn stop(self) {
        let Self { intake, journal, reader, rejects, shutdown, care } = self;
        shutdown.cancel();
        timeout(SOON, care).await.unwrap().unwrap();
        drop((intake, reader, rejects));
        tokio::task::spawn_blocking(move || journal.close()).await.unwrap();
    }
}

/// `(name, alias)` of Int32s that are 1, in a birth of this number.
fn birth(seq: u8, metrics: &[(&str, u8)]) -> Vec<u8> {
    let metric = |(name, alias): &(&str, u8)| {
        let len = u8::try_from(name.len()).unwrap();
        let body = [&[0x0A, len], name.as_bytes(), &[0x10, *alias, 0x20, 3, 0x50, 1]].concat();
        [&[0x12, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()
    };
    let metrics: Vec<u8> = metrics.iter().flat_map(metric).collect();
    [&[0x08, 5, 0x18, seq], metrics.as_slice()].concat()
}

/// Metrics by alias that are 2, at 5 ms.
fn data(seq: u8, aliases: &[u8]) -> Vec<u8> {
    let metrics: Vec<u8> =
        aliases.iter().flat_map(|alias| [0x12, 4, 0x10, *alias, 0x50, 2]).collect();
    [&[0x08, 5, 0x18, seq], metrics.as_slice()].concat()
}

const NBIRTH: &str = "spBv1.0/g/NBIRTH/n";
const NDATA: &str = "spBv1.0/g/NDATA/n";
const DBIRTH: &str = "spBv1.0/g/DBIRTH/n/d";
const DDATA: &str = "spBv1.0/g/DDATA/n/d";

#[tokio::test]
async fn births_survive_a_restart_and_aliases_are_trusted_if_nothing_was_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut plant = Plant::start(dir.path(), Limits::default()).await;
    plant.say(NBIRTH, &birth(0, &[("a", 1)])).await;
    plant.say(DBIRTH, &birth(1, &[("b", 2)])).await;
    plant.say(DDATA, &data(2, &[2])).await;
    let lines = plant.read(5).await;
    assert_eq!(lines[1], "sparkplug,device=d,group=g,node=n b=2i 5000000", "{lines:?}");
    plant.stop().await;

    let mut plant = Plant::start(dir.path(), Limits::default()).await;
    let (outcome, asked) = plant.say(DDATA, &data(3, &[2])).await;
    assert_eq!((outcome.readings, outcome.held, asked), (1, 0, 0));
    assert_eq!(plant.read(1).await, ["sparkplug,device=d,group=g,node=n b=2i 5000000"]);
    plant.stop().await;

    // Message 4 came while nobody listened.
    let mut plant = Plant::start(dir.path(), Limits::default()).await;
    let (outcome, asked) = plant.say(DDATA, &data(5, &[2])).await;
    assert_eq!((outcome.readings, outcome.held, asked), (0, 1, 1));
    plant.say(NBIRTH, &birth(0, &[("a", 1)])).await;
    plant.say(DBIRTH, &birth(1, &[("c", 2)])).await;
    let lines = plant.read(5).await;
    assert_eq!(lines[1], "sparkplug,device=d,group=g,node=n c=2i 5000000", "{lines:?}");
    plant.stop().await;
}

#[tokio::test]
async fn what_waits_survives_a_restart_and_arrives_once() {
    let dir = tempfile::tempdir().unwrap();
    let plant = Plant::start(dir.path(), Limits::default()).await;
    let (outcome, asked) = plant.say(NDATA, &data(7, &[1])).await;
    assert_eq!(outcome, Outcome { held: 1, ..Outcome::default() });
    assert_eq!(asked, 1);
    let (outcome, asked) = plant.say(NDATA, &data(8, &[1, 2])).await;
    assert_eq!((outcome.held, asked), (2, 0), "it was asked just now");
    plant.stop().await;

    let mut plant = Plant::start(dir.path(), Limits::default()).await;
    assert_eq!(plant.intake.nodes().stats().waiting.get(), 2);
    plant.say(NBIRTH, &birth(0, &[("a", 1)])).await;
    let lines = plant.read(4).await;
    let point = "sparkplug,group=g,node=n a=2i 5000000";
    assert_eq!(lines[1..3], [point, point], "{lines:?}");
    let reason = "metrics by an alias that the birth of their node does not name";
    assert_eq!(plant.refused(1).await, [(NDATA.to_owned(), reason.to_owned())]);
    plant.stop().await;

    let plant = Plant::start(dir.path(), Limits::default()).await;
    assert_eq!(plant.intake.nodes().stats().waiting.get(), 0);
    plant.stop().await;
}

/// Killed between the journal and the file: the file still holds what the journal has.
#[tokio::test]
async fn what_the_journal_has_is_not_given_to_it_again_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (births, held) = settled_and_forgotten(dir.path()).await;
    for _ in 0..2 {
        std::fs::write(&births, &held).unwrap();
        let plant = Plant::start(dir.path(), Limits::default()).await;
        assert_eq!(plant.intake.nodes().stats().waiting.get(), 0);
        plant.stop().await;
    }
    // The second start found the file without it, whatever became of the note.
    assert_eq!(waiting_in(&births), 0);
}

/// A message waited and is in the journal. The file, and what it was while it waited.
async fn settled_and_forgotten(dir: &Path) -> (PathBuf, Vec<u8>) {
    let births = dir.join("sparkplug/births");
    let mut plant = Plant::start(dir, Limits::default()).await;
    plant.say(NDATA, &data(7, &[1])).await;
    let held = std::fs::read(&births).unwrap();
    plant.say(NBIRTH, &birth(0, &[("a", 1)])).await;
    assert_eq!(plant.read(3).await[1], "sparkplug,group=g,node=n a=2i 5000000");
    plant.stop().await;
    (births, held)
}

/// Messages that wait, by the file alone.
fn waiting_in(births: &Path) -> i64 {
    Nodes::open(births.parent().unwrap(), Limits::default()).stats().waiting.get()
}

/// Or a later start, when the journal's note has gone, would give it to the journal once more.
#[tokio::test]
async fn what_the_file_could_not_be_told_it_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let (births, held) = settled_and_forgotten(dir.path()).await;
    std::fs::write(&births, &held).unwrap();
    let in_the_way = births.with_extension("new");
    std::fs::create_dir(&in_the_way).unwrap();
    let plant = Plant::start(dir.path(), Limits::default()).await;
    assert_eq!((plant.intake.nodes().stats().waiting.get(), waiting_in(&births)), (0, 1));
    std::fs::remove_dir(&in_the_way).unwrap();
    let told = async {
        while waiting_in(&births) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, told).await.unwrap();
    plant.stop().await;
}

#[tokio::test]
async fn what_nothing_explains_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { hold_max: Duration::from_millis(50), ..Limits::default() };
    let mut plant = Plant::start(dir.path(), limits).await;
    plant.say(DDATA, &data(7, &[1])).await;
    let reason = "metrics by an alias that no birth explained in time";
    assert_eq!(plant.refused(1).await, [(DDATA.to_owned(), reason.to_owned())]);
    plant.stop().await;

    let mut plant = Plant::start(dir.path(), Limits::default()).await;
    plant.say(DDATA, &data(8, &[1])).await;
    plant.say("spBv1.0/g/NDEATH/n", &[0x08, 5]).await;
    plant.say(NBIRTH, &birth(0, &[("a", 1)])).await;
    plant.say(DBIRTH, &birth(1, &[("another", 1)])).await;
    let reason = "metrics by an alias that no birth had explained when whoever sent them died";
    assert_eq!(plant.refused(1).await, [(DDATA.to_owned(), reason.to_owned())]);
    plant.stop().await;

    let limits = Limits { hold_max: Duration::ZERO, ..Limits::default() };
    let mut plant = Plant::start(dir.path(), limits).await;
    let (outcome, _) = plant.say("spBv1.0/g/NDATA/other", &data(8, &[1])).await;
    assert_eq!((outcome.refused, outcome.held), (1, 0));
    assert!(plant.refused(1).await[0].1.contains("no room to keep them"));
    plant.stop().await;
}

/// A file of births that cannot be written: births go on in memory, and nobody is told that what waits
/// is kept.
#[tokio::test]
async fn without_a_place_for_births_nothing_is_held_and_nothing_acknowledged_wrongly() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sparkplug"), "in the way").unwrap();
    let mut plant = Plant::start(dir.path(), Limits::default()).await;
    let mut mark = Mark::new();
    let mut gather = plant.intake.gather(&Arc::from("mqtt"));
    assert_eq!(gather.message(NDATA, &data(7, &[1])).held, 1);
    assert!(plant.intake.submit(gather.seal(mark.ticket())).await.is_err());
    assert!(mark.moved().await.is_err());
    let (outcome, _) = plant.say(NDATA, &data(8, &[1])).await;
    assert_eq!((outcome.held, outcome.refused), (0, 1));
    plant.say(NBIRTH, &birth(0, &[("a", 1)])).await;
    plant.say(NDATA, &data(1, &[1])).await;
    assert_eq!(plant.read(3).await[1], "sparkplug,group=g,node=n a=2i 5000000");
    assert_eq!(plant.refused(2).await.len(), 2);
    plant.stop().await;
}

#[tokio::test]
async fn a_node_is_asked_by_whoever_can_and_counted_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let plant = Plant::start(dir.path(), Limits::default()).await;
    drop({
        let mut gather = plant.intake.gather(&Arc::from("mqtt"));
        gather.message(NDATA, &data(7, &[1]));
        gather
    });
    assert_eq!(plant.intake.nodes().stats().rebirths_unasked.get(), 1);
    plant.stop().await;
    let limits = Limits { rebirth: false, ..Limits::default() };
    let plant = Plant::start(dir.path(), limits).await;
    assert_eq!(plant.say(NDATA, &data(9, &[1])).await.1, 0);
    assert_eq!(plant.intake.nodes().stats().rebirths_unasked.get(), 1);
    plant.stop().await;
}

/// Whatever comes: no panic, and tables, what waits and the file stay within their bounds.
#[tokio::test]
async fn a_thousand_mutated_payloads_stay_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        nodes_max: 8,
        births_bytes_max: 64 * 1024,
        held_bytes_max: 64 * 1024,
        ..Limits::default()
    };
    let plant = Plant::start(dir.path(), limits).await;
    let mut random = fastrand::Rng::with_seed(20_261_129);
    let kinds = ["NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"];
    for _ in 0..1_000 {
        let kind = *random.choice(&kinds).unwrap();
        let node = random.u8(0..20);
        let device = if kind.starts_with('N') { String::new() } else { format!("/d{}", node % 3) };
        let topic = format!("spBv1.0/g/{kind}/n{node}{device}");
        let long = "m".repeat(random.usize(1..100));
        let names: Vec<(&str, u8)> = (0..random.u8(0..60)).map(|at| (long.as_str(), at)).collect();
        let mut payload = if random.bool() {
            birth(random.u8(..), &names)
        } else {
            data(random.u8(..), &names.iter().map(|(_, at)| *at).collect::<Vec<_>>())
        };
        for _ in 0..random.usize(0..4) {
            let at = random.usize(..payload.len());
            payload[at] = random.u8(..);
        }
        plant.say(&topic, &payload).await;
        let state = plant.intake.nodes().state();
        assert!(state.sessions.nodes() <= limits.nodes_max);
        assert!(state.sessions.bytes() <= limits.births_bytes_max);
        assert!(state.held.bytes() <= limits.held_bytes_max);
    }
    let totals = plant.intake.stats().source(crate::intake::stats::SourceKind::Broker);
    assert_eq!(totals.refused(Why::Internal).get(), 0, "no decoder panicked");
    let births = std::fs::metadata(dir.path().join("sparkplug/births")).unwrap();
    assert!(births.len() < 2 * 1024 * 1024, "{}", births.len());
    plant.stop().await;
}
