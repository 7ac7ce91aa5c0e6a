//! Payloads of all formats, none of them as it was sent, on topics that are not either: through the whole
//! intake into a journal. Each becomes readings, counted refusals with a reason in the journal, or is
//! filtered; none is a panic of a decoder, and what is gathered of one is bounded by its length.

use std::{fs, path::Path, sync::Arc, time::Duration};

use journal::{Mark, Options};
use proto::Kind;
use tidegate::intake::{
    Intake, Limits, Outcome, presets::Preset, route::Routes, stamp::SettableClock,
    stats::SourceKind,
};
use tokio::time::timeout;

use super::{ARRIVAL, all, mutate, sparkplug};

const PAIRS: usize = 3_000;
const SOON: Duration = Duration::from_secs(30);
/// Each small reading repeats its tags, the topic's levels among them.
const TIMES_MAX: usize = 256;
const BESIDE_MAX: usize = 64 * 1024;
/// Topics that say nothing of a format, so that it has to be recognised.
const TOPICS: [&str; 3] = ["a/b", "garden/bed1/soil", "x"];

/// Topics and payloads of devices, and the seeds of each format's corpus.
fn samples() -> Vec<(String, Vec<u8>)> {
    let mut samples = all();
    let messages = [sparkplug::NBIRTH, sparkplug::DBIRTH, sparkplug::DDATA, sparkplug::NDEATH];
    samples.extend(messages.map(sparkplug::example));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for format in ["cbor", "frame", "json", "line", "msgpack", "plain", "senml", "sparkplug"] {
        let mut seeds: Vec<_> = fs::read_dir(corpus.join(format)).unwrap().collect();
        seeds.sort_by_key(|seed| seed.as_ref().unwrap().path());
        assert!(seeds.len() >= 5, "{format}");
        for (topic, seed) in TOPICS.iter().cycle().zip(seeds) {
            samples.push(((*topic).to_owned(), fs::read(seed.unwrap().path()).unwrap()));
        }
    }
    samples
}

/// Another topic or payload than any device sent: cut, flipped, spliced, or two of them in one.
fn pair(samples: &[(String, Vec<u8>)], random: &mut fastrand::Rng) -> (String, Vec<u8>) {
    let (topic, own) = random.choice(samples).unwrap();
    let (_, other) = random.choice(samples).unwrap();
    let mut payload = if random.u8(0..4) == 0 { other.clone() } else { own.clone() };
    let before = payload.clone();
    if random.u8(0..8) == 0 {
        let cut = random.usize(..=payload.len());
        payload.truncate(cut);
        payload.extend_from_slice(&other[random.usize(..=other.len())..]);
    }
    for _ in 0..random.usize(1..5) {
        mutate(&mut payload, random);
    }
    if payload == before {
        payload.push(b'#');
    }
    let mut topic = topic.clone().into_bytes();
    if random.u8(0..3) == 0 {
        mutate(&mut topic, random);
    }
    (String::from_utf8_lossy(&topic).replace(['\0', '+', '#'], "x"), payload)
}

#[tokio::test]
async fn mutated_pairs_become_readings_or_counted_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { free_bytes_min: 0, ..Options::new(dir.path()) };
    let (journal, appender, _) = journal::open(&options).unwrap();
    let routes = Routes::with_presets(Vec::new(), Preset::ALL).unwrap();
    let clock = Arc::new(SettableClock::at(ARRIVAL));
    let intake = Intake::new(appender, routes, Limits::default(), Vec::new(), clock);
    let mut rejects = journal.rejects().unwrap();
    let samples = samples();
    let mut random = fastrand::Rng::with_seed(20_261_129);
    let mut mark = Mark::new();
    let (mut submitted, mut readings, mut refused, mut filtered, mut held) = (0_u64, 0, 0, 0, 0);
    for _ in 0..PAIRS {
        let (topic, payload) = pair(&samples, &mut random);
        let told = || format!("{topic:?} {:?}", String::from_utf8_lossy(&payload));
        let mut gather = intake.gather(&Arc::from("mqtt"));
        let outcome = gather.message(&topic, &payload);
        assert_ne!(outcome, Outcome::default(), "it vanished: {}", told());
        let bytes_max = TIMES_MAX * (topic.len() + payload.len()) + BESIDE_MAX;
        assert!(gather.bytes() <= bytes_max, "{} bytes of {}", gather.bytes(), told());
        readings += u64::from(outcome.readings);
        refused += outcome.refused;
        filtered += u64::from(outcome.filtered);
        held += u64::from(outcome.held);
        if !gather.is_empty() || outcome.filtered {
            intake.submit(gather.seal(mark.ticket())).await.unwrap();
            submitted += 1;
        }
    }
    while timeout(SOON, mark.moved()).await.unwrap().unwrap().0 < submitted {}

    println!("{readings} readings, {refused} refused, {filtered} filtered, {held} held");
    assert!(readings > 1_000 && refused > 300 && filtered > 50, "{readings} {refused} {filtered}");
    let mqtt = intake.stats().source(SourceKind::Mqtt);
    assert_eq!(mqtt.refused(Kind::Internal).get(), 0, "a decoder panicked");
    assert_eq!(mqtt.refused_total(), refused);
    // Beside a refusal a part of a payload may say nothing.
    assert!((filtered..filtered + refused).contains(&mqtt.filtered.get()));
    assert_eq!(mqtt.received.get(), readings + refused + mqtt.filtered.get());
    let books = journal.status().books;
    assert_eq!((books.journaled, books.refused), (readings, refused));
    assert_eq!(books.filtered, mqtt.filtered.get());

    let mut explained = 0;
    while explained < refused {
        let lease = timeout(SOON, rejects.next()).await.expect("a refusal").unwrap();
        for entry in lease.frame.rejected() {
            let entry = entry.unwrap();
            assert!(!entry.reason.is_empty() && !entry.kind.is_empty(), "{entry:?}");
            explained += entry.readings;
        }
        let dead = u64::from(lease.frame.readings);
        lease.receipt.confirm(&journal::Fates { dead, ..journal::Fates::default() });
    }
    assert_eq!(explained, refused);
}
