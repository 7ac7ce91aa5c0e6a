//! What becomes of payloads that real devices could have sent, had nothing happened to them on the way?
//!
//! Payloads of every format, each of them mutated, on mutated topics: points, a counted reason or
//! nothing to store; never a panic, and never more bytes than the limits allow. First as `check` shows
//! it, then through the whole intake into a journal and out again.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use journal::{Fates, Journal, Mark, Options, OutputId, Start, Ticket};
use proto::{Kind, Limits as ReadingLimits, Rejects};
use tidegate::intake::{
    Format, Gather, Intake, Limits, Outcome,
    presets::Preset,
    route::{Routes, Rule},
    sparkplug,
    stamp::SettableClock,
    stats::SourceKind,
};
use tokio::time::timeout;

use super::sparkplug::example;
use super::{ARRIVAL, all, explained};

type Message = (String, Vec<u8>);

const SOON: Duration = Duration::from_secs(30);
const MESSAGES: u64 = 3_000;
/// Small, so that mutated payloads meet them.
const LIMITS: ReadingLimits = ReadingLimits {
    reading_bytes_max: 1024,
    tags_max: 8,
    fields_max: 24,
    name_bytes_max: 64,
    tag_value_bytes_max: 128,
};
const REJECTED_BYTES_MAX: usize = 512;
/// Each small reading repeats its tags, the topic's levels among them.
const TIMES_MAX: usize = 256;
const BESIDE_MAX: usize = 64 * 1024;
/// A dead letter beside what it quotes: topic, reason, and what an entry costs.
const LETTER_BYTES: usize = 1024 + 512 + 64;

#[test]
fn mutated_payloads_are_shown_as_points_or_a_reason() {
    let all = all();
    let mut random = fastrand::Rng::with_seed(20_261_122);
    let (mut points, mut refused, mut filtered) = (0, 0, 0);
    for _ in 0..1_000 {
        let (topic, payload) = mutated(&all, &mut random);
        let shown = explained(&topic, &payload);
        points += shown.lines.len();
        refused += shown.problems.len();
        filtered += usize::from(shown.is_filtered);
        assert!(shown.is_filtered || !shown.lines.is_empty() || !shown.problems.is_empty());
        let panicked =
            shown.problems.iter().any(|problem| problem.contains("a fault of the gateway"));
        assert!(!panicked, "{topic} {}", String::from_utf8_lossy(&payload));
    }
    assert!(points > 300 && refused > 300 && filtered > 50, "{points} {refused} {filtered}");
}

#[tokio::test]
async fn mutated_payloads_of_all_formats_go_through_the_intake_as_points_or_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { free_bytes_min: 0, ..Options::new(dir.path()) };
    let (journal, appender, _) = journal::open(&options).unwrap();
    let clock = Arc::new(SettableClock::at(ARRIVAL));
    let limits =
        Limits { reading: LIMITS, rejected_bytes_max: REJECTED_BYTES_MAX, ..Limits::default() };
    let routes = Routes::with_presets(told_formats(), Preset::ALL).unwrap();
    let site = vec![("site".to_owned(), "north".to_owned())];
    let intake = Intake::new(appender, routes, limits, site, Arc::<SettableClock>::clone(&clock));

    let all = all_formats();
    let mut random = fastrand::Rng::with_seed(20_261_129);
    let mut sums = Sums::default();
    for n in 0..MESSAGES {
        clock.pass(1_000_000);
        let (topic, payload) = mutated(&all, &mut random);
        let told = format!("{n}: {topic} {:?}", String::from_utf8_lossy(&payload));
        take(&intake, &topic, &payload, &told, &mut sums).await;
    }
    assert!(sums.readings > 1_000 && sums.filtered > 50 && sums.held > 3, "{sums:?}");
    let wanted = ["undecodable", "limit", "name", "no_fields", "value", "timestamp", "alias"];
    let missing: Vec<_> = wanted.iter().filter(|kind| !sums.kinds.contains(**kind)).collect();
    assert!(missing.is_empty(), "{missing:?} of {sums:?}");
    in_the_journal(&intake, &journal, &sums).await;
}

/// What should be in the books.
#[derive(Debug, Default)]
struct Sums {
    readings: u64,
    refused: u64,
    filtered: u64,
    held: u64,
    kinds: BTreeSet<&'static str>,
}

/// Takes one message, and looks at all that is said of it.
async fn take(intake: &Intake, topic: &str, payload: &[u8], told: &str, sums: &mut Sums) {
    let before = counted(intake);
    let mut gather = intake.gather(&Arc::from("mqtt"));
    let outcome = gather.message(topic, payload);
    let Outcome { readings, refused, filtered, held } = outcome;
    let said = u64::from(readings) + refused + u64::from(filtered) + u64::from(held);
    assert!(said > 0, "nothing became of {told}");

    let rejects = gather.rejects();
    let nothings = rejects.nothings().max(u64::from(filtered));
    let kinds = kinds(rejects, told);
    let fields = rejects.fields();
    assert_eq!(rejects.readings(), refused, "{told}");
    assert_bounded(&gather, &outcome, (topic, payload), told);
    let waiting = intake.nodes().stats().waiting_bytes.get();
    let waiting_max = sparkplug::Limits::default().held_bytes_max;
    assert!(usize::try_from(waiting).unwrap() <= waiting_max, "{waiting} bytes wait after {told}");

    let gathered = gather.seal(Ticket::nobody());
    timeout(SOON, intake.submit(gathered)).await.unwrap().unwrap();
    let mut wanted = before;
    wanted.received += u64::from(readings) + refused + nothings;
    wanted.filtered += nothings;
    wanted.fields += fields;
    for (count, more) in wanted.refused.iter_mut().zip(kinds) {
        *count += more;
    }
    assert_eq!(counted(intake), wanted, "{told}");

    sums.readings += u64::from(readings);
    sums.refused += refused;
    sums.filtered += nothings;
    sums.held += u64::from(held);
    let seen = Kind::ALL.iter().zip(kinds).filter(|(_, count)| *count > 0);
    sums.kinds.extend(seen.map(|(kind, _)| kind.label()));
}

/// Refused readings by kind, each with a reason that is not a fault of ours.
fn kinds(rejects: &Rejects, told: &str) -> [u64; Kind::ALL.len()] {
    let mut kinds = [0; Kind::ALL.len()];
    let mut last = None;
    for reject in rejects.listed() {
        assert_ne!(reject.reason.kind, Kind::Internal, "{told}");
        assert!(!reject.reason.text.is_empty(), "{told}");
        if reject.field.is_none() {
            last = Kind::ALL.iter().position(|kind| *kind == reject.reason.kind);
            kinds[last.unwrap()] += 1;
        }
    }
    let unlisted = rejects.readings() - kinds.iter().sum::<u64>();
    assert!(unlisted == 0 || rejects.listed().len() == Rejects::LISTED_MAX, "{told}");
    if let Some(last) = last {
        kinds[last] += unlisted;
    }
    kinds
}

/// By the limits, and by what came.
fn assert_bounded(gather: &Gather, outcome: &Outcome, (topic, payload): (&str, &[u8]), told: &str) {
    let readings = outcome.readings as usize;
    // A death is a reading of each device that it takes along.
    assert!(readings <= payload.len() + 64, "{readings} readings of {told}");
    let letters = gather.rejects().listed().len() + 1;
    let bytes_max =
        readings * LIMITS.reading_bytes_max + letters * (LETTER_BYTES + REJECTED_BYTES_MAX);
    let bytes_max = bytes_max.min(TIMES_MAX * (topic.len() + payload.len()) + BESIDE_MAX);
    assert!(gather.bytes() <= bytes_max, "{} bytes of {told}", gather.bytes());
    assert!(outcome.held as usize <= payload.len(), "{told}");
}

/// Counters of the source of these messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    received: u64,
    filtered: u64,
    refused: [u64; Kind::ALL.len()],
    fields: u64,
    /// Duplicate, dropped and returned: none of these messages is any of that.
    otherwise: u64,
}

fn counted(intake: &Intake) -> Counted {
    let stats = intake.stats().source(SourceKind::Mqtt);
    let mut refused = [0; Kind::ALL.len()];
    for (count, kind) in refused.iter_mut().zip(Kind::ALL) {
        *count = stats.refused(*kind).get();
    }
    Counted {
        received: stats.received.get(),
        filtered: stats.filtered.get(),
        refused,
        fields: stats.fields_refused.get(),
        otherwise: stats.duplicate.get() + stats.dropped.get() + stats.returned.get(),
    }
}

/// Every reading comes out again, every refusal has a dead letter that says why, and the books balance.
async fn in_the_journal(intake: &Intake, journal: &Journal, sums: &Sums) {
    let mut mark = Mark::new();
    let nothing = intake.gather(&Arc::from("mqtt")).seal(mark.ticket());
    intake.submit(nothing).await.unwrap();
    timeout(SOON, mark.moved()).await.unwrap().unwrap();

    let books = journal.status().books;
    assert_eq!((books.journaled, books.refused), (sums.readings, sums.refused));
    assert_eq!((books.rejected, books.filtered), (sums.refused, sums.filtered));
    let received = intake.stats().source(SourceKind::Mqtt).received.get();
    assert_eq!(received, books.journaled + books.refused + books.filtered);

    let mut reader = journal.reader(&OutputId::new("all").unwrap(), Start::Oldest).unwrap();
    let (mut readings, mut line) = (0, Vec::new());
    while readings < sums.readings {
        let lease = timeout(SOON, reader.next()).await.unwrap().unwrap();
        for submission in lease.frame.submissions() {
            let mut cursor = proto::frame::Cursor::new(submission.unwrap().bytes);
            while let Some(reading) = cursor.next() {
                let reading = reading.unwrap();
                line.clear();
                proto::line::write(&reading, &mut line).unwrap();
                readings += 1;
            }
        }
        lease.receipt.confirm(&Fates::default());
    }
    let (mut letters, mut refused) = (journal.rejects().unwrap(), 0);
    while refused < sums.refused {
        let lease = timeout(SOON, letters.next()).await.unwrap().unwrap();
        for letter in lease.frame.rejected().map(Result::unwrap) {
            assert!(!letter.reason.is_empty() && letter.kind != "internal", "{letter:?}");
            assert!(letter.bytes.len() <= REJECTED_BYTES_MAX, "{letter:?}");
        }
        refused += u64::from(lease.frame.readings);
        lease.receipt.confirm(&Fates::default());
    }
    assert_eq!((readings, refused), (sums.readings, sums.refused));
}

const FORMATS: [(&str, Format); 9] = [
    ("json", Format::Json),
    ("cbor", Format::Cbor),
    ("msgpack", Format::MessagePack),
    ("senml", Format::Senml),
    ("sparkplug", Format::Sparkplug),
    ("plain", Format::Plain),
    ("line", Format::Line),
    ("frame", Format::Frame),
    ("collectd", Format::Collectd),
];

/// What `auto` would hardly take a mutated payload for; everything else is its own to find out.
fn told_formats() -> Vec<Rule> {
    let rule = |(name, format): &(&str, Format)| Rule {
        topic: format!("as/{name}/{{device}}/#"),
        format: *format,
        ..Rule::default()
    };
    FORMATS.iter().map(rule).collect()
}

/// What devices send, and the seeds of the fuzz targets; on topics of presets, on others, and on those
/// of a rule that names the format.
fn all_formats() -> Vec<Message> {
    let mut all = all();
    for (name, _) in FORMATS {
        for seed in seeds(name) {
            all.push(("hall/press/3".to_owned(), seed.clone()));
            all.push((format!("as/{name}/d/x"), seed));
        }
    }
    // Often, and of several nodes: what a message means depends on those before.
    for node in 0..6 {
        for (topic, payload) in (0..5).map(example) {
            all.push((topic, payload.clone()));
            for kind in ["NBIRTH/n", "NDATA/n", "DDATA/n/d", "NDEATH/n"] {
                let topic = format!("spBv1.0/g/{}", kind.replace("/n", &format!("/n{node}")));
                all.push((topic, payload.clone()));
            }
        }
    }
    assert!(all.len() > 500, "{}", all.len());
    all
}

fn seeds(format: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(format);
    let Ok(entries) = fs::read_dir(dir) else {
        assert_eq!(format, "collectd", "no corpus");
        return Vec::new();
    };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A payload that is another than it was, on a topic that often is.
fn mutated(all: &[Message], random: &mut fastrand::Rng) -> Message {
    let (topic, given) = random.choice(all).unwrap();
    let mut payload = given.clone();
    while payload == *given {
        for _ in 0..random.usize(1..4) {
            let (_, other) = random.choice(all).unwrap();
            mutate(&mut payload, other, random);
        }
    }
    let (other, _) = random.choice(all).unwrap();
    let topic = match random.u8(0..6) {
        0 => other.clone(),
        1 | 2 => mutated_levels(topic, other, random),
        3 => {
            let mut bytes = topic.clone().into_bytes();
            mutate(&mut bytes, other.as_bytes(), random);
            String::from_utf8_lossy(&bytes).replace(['\0', '+', '#'], "x")
        }
        _ => topic.clone(),
    };
    (if topic.is_empty() { "x".to_owned() } else { topic }, payload)
}

fn mutated_levels(topic: &str, other: &str, random: &mut fastrand::Rng) -> String {
    let mut levels: Vec<&str> = topic.split('/').collect();
    let others: Vec<&str> = other.split('/').collect();
    let at = random.usize(..levels.len());
    match random.u8(0..5) {
        0 => drop(levels.remove(at)),
        1 => levels.insert(at, levels[at]),
        2 => levels[at] = random.choice(&others).unwrap(),
        3 => levels.insert(at, random.choice(["", "$s", "é", "x"]).unwrap()),
        _ => levels.swap(0, at),
    }
    levels.join("/")
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut fastrand::Rng) {
    const PIECES: [&[u8]; 14] = [
        b"{", b"}", b"[", b"]", b"null", b"1e999", b"\"", b",", b":", b"/", b"-1", b"\xff", b"\n",
        b"\0",
    ];
    let at = random.usize(..=bytes.len());
    let end = (at + random.usize(1..40)).min(bytes.len());
    match random.u8(0..7) {
        0 => bytes.truncate(at),
        1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(0..8),
        2 if at < bytes.len() => bytes[at] = random.u8(..),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        5 => {
            // The beginning of this one, and the end of another.
            bytes.truncate(at);
            bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
        }
        _ => {
            let piece = random.choice(PIECES).unwrap();
            bytes.splice(at..at, piece.iter().copied());
        }
    }
}
