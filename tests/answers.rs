//! Rows of what an answer means that only some databases give: is what they refuse in the dead letters,
//! with their words, and everything else stored?
//!
//! The ordinary ones are in `delivery.rs`.

use std::time::{Duration, SystemTime};

use proto::Value;
use simulator::faulty::{Answer, Behaviour, Faulty};
use tidegate::output::Limits;
use tokio::time::Instant;

use super::delivery::{BEGIN, DEVICES, assert_all_there, database, round, v2, v3};
use super::support::output::{Delivered, Delivery, quick, reading};

const ROUNDS: i64 = 20;

async fn delivered(database: &Faulty, behaviour: Behaviour) -> Delivered {
    database.set(behaviour).await.unwrap();
    let mut delivery = Delivery::start(&v2(database), quick());
    for n in 0..ROUNDS {
        delivery.send(&round(n)).await;
    }
    delivery.end().await
}

fn stored(database: &Faulty) -> usize {
    database.rows().into_iter().filter(|row| row.measurement == "m").count()
}

/// All but these readings are stored, once; these are dead letters with such an answer.
fn only_dead(database: &Faulty, delivered: &Delivered, line: &str, dead: i64, answer: &str) {
    let all = ROUNDS * DEVICES;
    let counts = (delivered.fates.confirmed, delivered.fates.dead);
    let wanted = (u64::try_from(all - dead).unwrap(), u64::try_from(dead).unwrap());
    assert_eq!(counts, wanted, "{:?}", delivered.dead.first());
    assert_eq!(stored(database), usize::try_from(all - dead).unwrap());
    assert_eq!(delivered.dead.len(), usize::try_from(dead).unwrap());
    for letter in &delivered.dead {
        assert!(letter.line.as_deref().unwrap().starts_with(line), "{letter:?}");
        assert!(letter.answer.contains(answer), "{letter:?}");
    }
}

/// A line that makes the database fail must not keep all others from it for ever. Takes a minute: for so
/// long a batch fails, while a probe does not, until its lines are suspected.
#[tokio::test]
async fn a_line_that_makes_the_database_fail_is_found_and_set_aside() {
    let database = database().await;
    let poison = format!("m,device=d7 v={}i ", 3 * DEVICES + 7);
    let behaviour = Behaviour { poison_if: Some(poison.clone()), ..Behaviour::default() };
    let delivered = delivered(&database, behaviour).await;
    only_dead(&database, &delivered, &poison, 1, "internal error");
}

#[tokio::test]
async fn what_is_partly_stored_with_201_costs_what_was_refused_and_nothing_else() {
    let database = database().await;
    let malformed_if = Some("device=d7 ".to_owned());
    let behaviour = Behaviour { malformed_if, partly: Some(201), ..Behaviour::default() };
    let delivered = delivered(&database, behaviour).await;
    only_dead(&database, &delivered, "m,device=d7 ", ROUNDS, "refused on purpose");
}

#[tokio::test]
async fn what_is_too_old_for_a_cloud_that_answers_403_is_refused_alone() {
    let database = database().await;
    let from = BEGIN + 5;
    let behaviour =
        Behaviour { retention_from_ns: Some(from), partly: Some(403), ..Behaviour::default() };
    let delivered = delivered(&database, behaviour).await;
    only_dead(&database, &delivered, "m,device=", 5 * DEVICES, "beyond retention policy");
    let too_old = |letter: &tidegate::output::dead::Entry| {
        let time = letter.line.as_deref().unwrap().rsplit(' ').next().unwrap();
        time.parse::<i64>().unwrap() < from
    };
    assert!(delivered.dead.iter().all(too_old));
    assert!(
        database.rows().iter().filter(|row| row.measurement == "m").all(|row| row.time >= from)
    );
}

/// As a date (RFC 9110, 10.2.3): nothing comes before it, all comes after.
#[tokio::test]
async fn a_time_to_come_back_is_kept_to_also_as_a_date() {
    for code in [429, 503] {
        let database = database().await;
        // Whole seconds: between two and three from now.
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
        let wait = Answer::Wait { code, retry_after: date };
        let began = Instant::now();
        let behaviour = Behaviour { answer: wait, requests: Some(1), ..Behaviour::default() };
        let delivered = delivered(&database, behaviour).await;
        assert!(began.elapsed() >= Duration::from_secs(2), "{code}: {:?}", began.elapsed());
        assert_all_there(&database, ROUNDS);
        assert_eq!(delivered.dead, []);
    }
}

/// Version 3 names a hundred of them at most, and does not say how many there are.
#[tokio::test]
async fn more_bad_lines_than_version_3_names_are_all_found() {
    const ALL: i64 = 1_000;
    let database = database().await;
    let behaviour =
        Behaviour { malformed_if: Some("device=bad ".to_owned()), ..Behaviour::default() };
    database.set(behaviour).await.unwrap();
    let limits = Limits { batch_age_max: Duration::from_secs(1), ..quick() };
    let mut delivery = Delivery::start(&v3(&database), limits);
    let device = |n: i64| if n % 3 == 0 { "bad" } else { "good" };
    let readings: Vec<_> =
        (0..ALL).map(|n| reading("m", device(n), BEGIN + n, "v", Value::Signed(n))).collect();
    delivery.send(&readings).await;
    let delivered = delivery.end().await;
    assert_eq!((delivered.fates.confirmed, delivered.fates.dead), (666, 334));
    assert_eq!((stored(&database), delivered.dead.len()), (666, 334));
    for letter in &delivered.dead {
        assert!(letter.line.as_deref().unwrap().starts_with("m,device=bad "), "{letter:?}");
    }
}
