//! Does everything arrive, once and right, whatever the database does meanwhile?

use std::{collections::BTreeMap, time::Duration};

use journal::Fates;
use proto::Value;
use secrecy::SecretString;
use simulator::faulty::{Answer, Behaviour, Config, Faulty};
use tidegate::{
    output::{Limits, State},
    sink::influx::{Secret, Settings, Version},
};
use tokio::time::{Instant, sleep, sleep_until};

use super::support::output::{Delivery, quick, reading};

pub const DEVICES: i64 = 50;
/// A database that reads it as seconds finds it out of range.
pub const BEGIN: i64 = 1_790_000_000_000_000_000;

pub async fn database() -> Faulty {
    let config = Config { token: Some("s3cret".to_owned()), ..Config::default() };
    Faulty::start("127.0.0.1:0".parse().unwrap(), config).await.unwrap()
}

pub fn v2(database: &Faulty) -> Settings {
    Settings {
        url: database.url(),
        version: Version::V2 {
            org: "home".to_owned(),
            bucket: "iot".to_owned(),
            token: Secret::Given(SecretString::from("s3cret".to_owned())),
        },
        ca_file: None,
        gzip: true,
        request_max: Duration::from_secs(30),
    }
}

pub fn v3(database: &Faulty) -> Settings {
    let token = Some(Secret::Given(SecretString::from("s3cret".to_owned())));
    let version = Version::V3 { database: "iot".to_owned(), token };
    Settings { version, ..v2(database) }
}

pub fn v1(database: &Faulty) -> Settings {
    let version = Version::V1 { database: "iot".to_owned(), retention_policy: None, user: None };
    Settings { version, ..v2(database) }
}

/// One reading of each device, all with their round in value and time.
pub fn round(round: i64) -> Vec<proto::Reading> {
    let value = |device| Value::Signed(round * DEVICES + device);
    (0..DEVICES).map(|d| reading("m", &format!("d{d}"), BEGIN + round, "v", value(d))).collect()
}

/// Every reading of so many rounds is there with its value, nothing else is, and no line of ours was
/// malformed.
pub fn assert_all_there(database: &Faulty, rounds: i64) {
    let mut found = BTreeMap::new();
    for row in database.rows().into_iter().filter(|row| row.measurement == "m") {
        found.insert((row.device, row.time), row.fields);
    }
    assert_eq!(found.len(), usize::try_from(rounds * DEVICES).unwrap());
    for at in 0..rounds {
        for device in 0..DEVICES {
            let fields = &found[&(format!("d{device}"), BEGIN + at)];
            assert_eq!(fields[..], [("v".to_owned(), Value::Signed(at * DEVICES + device))]);
        }
    }
    let stats = database.stats();
    assert_eq!(stats.malformed, 0, "{:?}", stats.malformed_examples);
    assert_eq!(database.changes(), [], "a value was overwritten by another one");
}

#[tokio::test]
async fn everything_arrives_through_every_fault_that_passes() {
    through_every_fault_that_passes(database().await, v2).await;
}

#[tokio::test]
async fn everything_arrives_through_every_fault_that_passes_of_version_3() {
    through_every_fault_that_passes(database().await, v3).await;
}

#[tokio::test]
async fn everything_arrives_through_every_fault_that_passes_of_version_1() {
    let open = Faulty::start("127.0.0.1:0".parse().unwrap(), Config::default()).await.unwrap();
    through_every_fault_that_passes(open, v1).await;
}

async fn through_every_fault_that_passes(database: Faulty, dialect: fn(&Faulty) -> Settings) {
    let limits = Limits { batch_lines_max: 200, ..quick() };
    // Some faults only end when we give up.
    let settings = Settings { request_max: Duration::from_millis(400), ..dialect(&database) };
    let mut delivery = Delivery::start(&settings, limits);
    let behaviour = |answer| Behaviour { answer, ..Behaviour::default() };
    let passing = |answer, requests| Behaviour { requests: Some(requests), ..behaviour(answer) };
    let faults = [
        passing(Answer::Busy { retry_after_s: None }, 3),
        passing(Answer::Busy { retry_after_s: Some(1) }, 1),
        passing(Answer::ApplyThenClose, 3),
        passing(Answer::Truncated, 3),
        passing(Answer::Close, 3),
        passing(Answer::Status { code: 500 }, 3),
        passing(Answer::Status { code: 502 }, 2),
        passing(Answer::Status { code: 504 }, 2),
        passing(Answer::Wait { code: 429, retry_after: "1".to_owned() }, 1),
        passing(Answer::Status { code: 401 }, 2),
        passing(Answer::Status { code: 404 }, 2),
        Behaviour { body_bytes_max: Some(600), requests: Some(20), ..Behaviour::default() },
        Behaviour { lines_max: Some(100), requests: Some(20), ..Behaviour::default() },
        Behaviour { late_ms: 700, requests: Some(3), ..Behaviour::default() },
        behaviour(Answer::Hang),
        behaviour(Answer::Refuse),
        Behaviour { delay_ms: 100, ..Behaviour::default() },
    ];
    let mut rounds = 0;
    for fault in faults {
        database.set(fault).await.unwrap();
        for _ in 0..10 {
            delivery.send(&round(rounds)).await;
            rounds += 1;
            sleep(Duration::from_millis(15)).await;
        }
    }
    database.set(Behaviour::default()).await.unwrap();
    let delivered = delivery.end().await;
    assert_all_there(&database, rounds);
    assert_eq!(delivered.fates.confirmed, u64::try_from(rounds * DEVICES).unwrap());
    assert_eq!(delivered.dead, []);
}

#[tokio::test]
async fn only_what_a_database_refuses_lies_in_the_dead_letters() {
    for (is_conflict, is_v3) in [(false, false), (true, false), (false, true), (true, true)] {
        let database = database().await;
        let settings = if is_v3 { v3(&database) } else { v2(&database) };
        let marker = Some("device=d7 ".to_owned());
        let behaviour = if is_conflict {
            Behaviour { conflict_if: marker, ..Behaviour::default() }
        } else {
            Behaviour { malformed_if: marker, ..Behaviour::default() }
        };
        database.set(behaviour).await.unwrap();
        let mut delivery = Delivery::start(&settings, quick());
        for n in 0..100 {
            delivery.send(&round(n)).await;
        }
        let delivered = delivery.end().await;
        let stored = database.rows().into_iter().filter(|row| row.measurement == "m");
        assert_eq!(stored.count(), 49 * 100);
        assert_eq!((delivered.fates.confirmed, delivered.fates.dead), (4900, 100));
        assert_eq!(delivered.dead.len(), 100);
        for letter in &delivered.dead {
            assert!(letter.line.as_deref().unwrap().starts_with("m,device=d7 "), "{letter:?}");
        }
    }
}

/// One line among 5,000 in one submission and one batch: the database stores what it stores of a batch
/// with a bad line (v2 nothing of it, v1 the rest), and the answers are told apart line by line.
async fn only_one_of_five_thousand(settings: impl Fn(&Faulty) -> Settings, behaviour: Behaviour) {
    let database = Faulty::start("127.0.0.1:0".parse().unwrap(), Config::default()).await.unwrap();
    let (is_malformed, is_v2) = (behaviour.malformed_if.is_some(), {
        matches!(settings(&database).version, Version::V2 { .. })
    });
    database.set(behaviour).await.unwrap();
    let limits = Limits { batch_age_max: Duration::from_secs(2), ..quick() };
    let mut delivery = Delivery::start(&settings(&database), limits);
    let device = |n: i64| if n == 2345 { "bad".to_owned() } else { format!("d{}", n % 100) };
    let readings: Vec<_> =
        (0..5_000).map(|n| reading("m", &device(n), BEGIN + n, "v", Value::Signed(n))).collect();
    delivery.send(&readings).await;
    let delivered = delivery.end().await;

    let case = format!("v2: {is_v2}, malformed: {is_malformed}: {:?}", delivered.dead);
    assert_eq!((delivered.fates.confirmed, delivered.fates.dead), (4_999, 1), "{case}");
    let rows = database.rows().into_iter().filter(|row| row.measurement == "m");
    let found: Vec<_> = rows.map(|row| (row.device, row.time, row.fields)).collect();
    assert_eq!(found.len(), 4_999, "{case}");
    for (at, time, fields) in found {
        let n = time - BEGIN;
        assert_eq!((at, fields), (device(n), vec![("v".to_owned(), Value::Signed(n))]), "{case}");
    }
    let [letter] = &delivered.dead[..] else { panic!("{case}") };
    let line = format!("m,device=bad v=2345i {}", BEGIN + 2345);
    assert_eq!(letter.line.as_ref(), Some(&line), "{case}");
    let (reason, words) = if is_malformed {
        ("malformed", format!("unable to parse '{line}': refused on purpose"))
    } else {
        ("type_conflict", "field type conflict: input field \"v\" on measurement \"m\"".to_owned())
    };
    assert_eq!(letter.reason, reason, "{case}");
    assert!(letter.answer.contains(&words), "{case}");
    // Found by halving, not by sending every line alone; where the answer names it, at once.
    let requests = database.stats().requests;
    assert!(requests <= 60, "{requests} requests; {case}");
}

#[tokio::test]
async fn one_bad_line_of_five_thousand_lies_in_the_dead_letters_alone_with_the_words_about_it() {
    let bad = || Some("device=bad ".to_owned());
    for behaviour in [
        Behaviour { malformed_if: bad(), ..Behaviour::default() },
        Behaviour { conflict_if: bad(), ..Behaviour::default() },
    ] {
        only_one_of_five_thousand(v2, behaviour.clone()).await;
        only_one_of_five_thousand(v1, behaviour).await;
    }
}

#[tokio::test]
async fn a_wrong_token_keeps_everything_until_it_is_right() {
    let database = database().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "wrong").unwrap();
    let version = Version::V2 {
        org: "home".to_owned(),
        bucket: "iot".to_owned(),
        token: Secret::File(file.clone()),
    };
    let mut delivery = Delivery::start(&Settings { version, ..v2(&database) }, quick());
    let mut status = delivery.stats.watch();
    for n in 0..20 {
        delivery.send(&round(n)).await;
    }
    let stuck = status.wait_for(|status| status.state == State::Misconfigured).await.unwrap();
    assert!(stuck.last_error.as_ref().unwrap().1.contains("401"), "{:?}", stuck.last_error);
    drop(stuck);
    assert_eq!(delivery.fates().confirmed, 0);
    std::fs::write(&file, "s3cret").unwrap();
    let delivered = delivery.end().await;
    assert_all_there(&database, 20);
    assert_eq!((delivered.fates.confirmed, delivered.dead.len()), (20 * 50, 0));
}

/// A wrong precision, a portal, a proxy that knows no such page: whatever was asked, the fault is not
/// in the lines.
#[tokio::test]
async fn what_stands_between_us_and_the_database_costs_no_reading() {
    let page = |code| Behaviour { answer: Answer::Page { code }, ..Behaviour::default() };
    let unit = Behaviour { unit: Some("s".to_owned()), ..Behaviour::default() };
    let status = |code| Behaviour { answer: Answer::Status { code }, ..Behaviour::default() };
    let pages = [page(200), page(302), page(404), page(400), page(422)];
    let refusals = [403, 405, 406, 415, 451].map(status);
    for wrong in [unit].into_iter().chain(pages).chain(refusals) {
        for dialect in [v2, v3] {
            let database = database().await;
            database.set(wrong.clone()).await.unwrap();
            let mut delivery = Delivery::start(&dialect(&database), quick());
            let mut status = delivery.stats.watch();
            for n in 0..20 {
                delivery.send(&round(n)).await;
            }
            status.wait_for(|status| status.state == State::Misconfigured).await.unwrap();
            let begun = database.stats().requests;
            while database.stats().requests < begun + 5 {
                sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(delivery.fates(), Fates::default());
            database.set(Behaviour::default()).await.unwrap();
            let delivered = delivery.end().await;
            assert_all_there(&database, 20);
            assert_eq!((delivered.fates.confirmed, delivered.dead.len()), (20 * 50, 0));
        }
    }
}

/// InfluxDB 3 acknowledges after its WAL flush: more than one request has to be under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_acknowledges_once_a_second_is_sent_several_requests_at_a_time() {
    const TICKS: i64 = 50;
    const PER_TICK: i64 = 800;
    let database = database().await;
    let behaviour = Behaviour { acknowledge_every_ms: Some(1000), ..Behaviour::default() };
    database.set(behaviour).await.unwrap();
    let settings = v3(&database);
    let limits = Limits { batch_lines_max: 4_000, ..Limits::default() };
    let mut delivery = Delivery::start(&settings, limits);
    let all = usize::try_from(TICKS * PER_TICK).unwrap();
    let began = Instant::now();
    for tick in 0..TICKS {
        let one = |n: i64| reading("m", &format!("d{n}"), tick, "v", Value::Signed(n));
        delivery.send(&(0..PER_TICK).map(one).collect::<Vec<_>>()).await;
        let next = u32::try_from(tick + 1).unwrap();
        sleep_until(began + Duration::from_millis(100) * next).await;
    }
    let delivered = delivery.end().await;
    assert_eq!((delivered.fates.confirmed, database.points()), (all as u64, all));
    // One request at a time would have stored 4,000 a second at best.
    let together = database.stats().acknowledged_together_max;
    assert!(together >= 2, "{together} requests were acknowledged at a time");
    println!("MEASURED: {all} readings in {:?}", began.elapsed());
}
