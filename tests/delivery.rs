//! Does everything arrive, once and right, whatever the database does meanwhile?

use std::{collections::BTreeMap, time::Duration};

use proto::Value;
use secrecy::SecretString;
use simulator::faulty::{Answer, Behaviour, Config, Faulty};
use tidegate::{
    output::{Limits, State},
    sink::influx::{Secret, Settings, Version},
};
use tokio::time::sleep;

use super::support::output::{Delivery, quick, reading};

const DEVICES: i64 = 50;

async fn database() -> Faulty {
    let config = Config { token: Some("s3cret".to_owned()), ..Config::default() };
    Faulty::start("127.0.0.1:0".parse().unwrap(), config).await.unwrap()
}

fn v2(database: &Faulty) -> Settings {
    Settings {
        url: database.url(),
        version: Version::V2 {
            org: "home".to_owned(),
            bucket: "iot".to_owned(),
            token: Secret::Given(SecretString::from("s3cret".to_owned())),
        },
        ca_file: None,
        gzip: true,
        request_max: Duration::from_millis(400),
    }
}

/// One reading of each device, all with their round as value and time.
fn round(round: i64) -> Vec<proto::Reading> {
    let value = |device| Value::Signed(round * DEVICES + device);
    (0..DEVICES).map(|d| reading("m", &format!("d{d}"), round, "v", value(d))).collect()
}

/// Every reading of so many rounds is there with its value, nothing else is, and no line of ours was
/// malformed.
fn assert_all_there(database: &Faulty, rounds: i64) {
    let mut found = BTreeMap::new();
    for row in database.rows().into_iter().filter(|row| row.measurement == "m") {
        found.insert((row.device, row.time), row.fields);
    }
    assert_eq!(found.len(), usize::try_from(rounds * DEVICES).unwrap());
    for at in 0..rounds {
        for device in 0..DEVICES {
            let fields = &found[&(format!("d{device}"), at)];
            assert_eq!(fields[..], [("v".to_owned(), Value::Signed(at * DEVICES + device))]);
        }
    }
    let stats = database.stats();
    assert_eq!(stats.malformed, 0, "{:?}", stats.malformed_examples);
    assert_eq!(database.changes(), [], "a value was overwritten by another one");
}

#[tokio::test]
async fn everything_arrives_through_every_fault_that_passes() {
    let database = database().await;
    let limits = Limits { batch_lines_max: 200, ..quick() };
    let mut delivery = Delivery::start(&v2(&database), limits);
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
        passing(Answer::Status { code: 401 }, 2),
        passing(Answer::Status { code: 404 }, 2),
        Behaviour { body_bytes_max: Some(600), requests: Some(20), ..Behaviour::default() },
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
    assert_eq!(delivered.stats.confirmed.get(), u64::try_from(rounds * DEVICES).unwrap());
    assert_eq!(delivered.dead, []);
}

#[tokio::test]
async fn only_what_a_database_refuses_lies_in_the_dead_letters() {
    for is_conflict in [false, true] {
        let database = database().await;
        let marker = Some("device=d7 ".to_owned());
        let behaviour = if is_conflict {
            Behaviour { conflict_if: marker, ..Behaviour::default() }
        } else {
            Behaviour { malformed_if: marker, ..Behaviour::default() }
        };
        database.set(behaviour).await.unwrap();
        let mut delivery = Delivery::start(&v2(&database), quick());
        for n in 0..100 {
            delivery.send(&round(n)).await;
        }
        let delivered = delivery.end().await;
        assert_eq!(database.points(), 49 * 100 + usize::from(database_was_probed(&database)));
        assert_eq!((delivered.stats.confirmed.get(), delivered.stats.dead.get()), (4900, 100));
        assert_eq!(delivered.dead.len(), 100);
        for letter in &delivered.dead {
            assert!(letter.line.as_deref().unwrap().starts_with("m,device=d7 "), "{letter:?}");
        }
    }
}

fn database_was_probed(database: &Faulty) -> bool {
    database.rows().iter().any(|row| row.measurement == "tidegate_probe")
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
    assert_eq!(delivery.stats.confirmed.get(), 0);
    std::fs::write(&file, "s3cret").unwrap();
    let delivered = delivery.end().await;
    assert_all_there(&database, 20);
    assert_eq!((delivered.stats.confirmed.get(), delivered.dead.len()), (20 * 50, 0));
}
