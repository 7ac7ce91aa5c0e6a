//! Steps between frames and batches: books, points of windows, checkpoints.

use proto::{Reading, Time, Timestamp};

use super::*;
use crate::process::glob::Globs;
use crate::process::window::{Every, Function, Settings as Window, Stamp};
use crate::process::{deadband, select};

const S: i64 = 1_000_000_000;
/// A round moment just before all frames arrive.
const BEGIN: i64 = twin::ARRIVAL_NS - 1_000 * S;

fn windows(keep_raw: bool) -> process::Settings {
    let window = Window {
        measurements: Globs::default(),
        every: Every::Duration(Duration::from_secs(10)),
        lateness: Duration::from_secs(5),
        functions: vec![Function::Count],
        keep_raw,
        stamp: Stamp::Start,
        into: None,
    };
    process::Settings { windows: vec![window], ..process::Settings::default() }
}

fn start_with_steps(process: process::Settings, state: Vec<u8>, twin: Arc<Twin>) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadLetters::new(Settings::in_dir(dir.path().join("dead")));
    start_steps(limits(10), twin, Some(dead), dir, process, state.into())
}

/// One a second.
fn seconds(device: &str, range: std::ops::Range<i64>) -> Vec<Reading> {
    range.map(|n| reading(device, BEGIN + n * S, n)).collect()
}

fn answering() -> Arc<Twin> {
    Twin::answering(Answer::Stored, NOW)
}

#[tokio::test(start_paused = true)]
async fn windows_absorb_readings_and_their_points_are_stored() {
    let running = start_with_steps(windows(false), Vec::new(), answering());
    for from in [0, 7, 14, 21] {
        running.send(&seconds("a", from..from + 7));
    }
    let books = Arc::clone(&running.books);
    let ended = running.end().await;
    assert_eq!(ended.fates, Fates { absorbed: 28, ..Fates::default() });
    let point = |n: i64| format!("m,device=a v_count=10i {}", BEGIN + n * S);
    assert_eq!(ended.stored, [point(0), point(10)]);
    let (seq, saved) = lock(&books).saved.clone().unwrap();
    assert_eq!(seq, 4, "the last checkpoint is of the end");

    // The next life goes on with the open window.
    let running = start_with_steps(windows(false), saved, answering());
    running.send(&seconds("a", 28..50));
    assert_eq!(running.end().await.stored, [point(20), point(30)]);
}

#[tokio::test(start_paused = true)]
async fn raw_readings_are_confirmed_beside_their_windows() {
    let running = start_with_steps(windows(true), Vec::new(), answering());
    let readings = seconds("a", 0..25);
    running.send(&readings);
    let ended = running.end().await;
    assert_eq!(ended.fates, confirmed(25));
    assert_eq!(ended.stored.len(), 26);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_waits_until_the_points_before_it_are_stored() {
    // The database is away for an hour.
    let hour = Duration::from_hours(1);
    let running =
        start_with_steps(windows(false), Vec::new(), Twin::answering(Answer::Stored, hour));
    let books = Arc::clone(&running.books);
    running.send(&seconds("a", 0..5));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(lock(&books).saved.as_ref().unwrap().0, 1, "nothing came of it yet");
    running.send(&seconds("a", 5..30));
    tokio::time::sleep(Duration::from_mins(30)).await;
    assert_eq!(lock(&books).saved.as_ref().unwrap().0, 1, "a window's point is under way");
    tokio::time::sleep(hour).await;
    assert_eq!(lock(&books).saved.as_ref().unwrap().0, 2);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_at_the_end_is_in_no_checkpoint() {
    let day = Duration::from_hours(24);
    let running =
        start_with_steps(windows(false), Vec::new(), Twin::answering(Answer::Stored, day));
    running.send(&seconds("a", 0..5));
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.send(&seconds("a", 5..30));
    tokio::time::sleep(Duration::from_mins(1)).await;
    running.deadline.cancel();
    running.task.await.unwrap();
    assert_eq!(lock(&running.books).saved.as_ref().unwrap().0, 1);
}

#[tokio::test(start_paused = true)]
async fn filters_count_and_what_is_left_of_a_reading_goes_on() {
    let settings = process::Settings {
        select: Some(select::Settings { fields: Globs::new(["v"]), ..select::Settings::default() }),
        deadbands: vec![deadband::Settings { absolute: 2.0, ..deadband::Settings::default() }],
        ..process::Settings::default()
    };
    let running = start_with_steps(settings, Vec::new(), answering());
    let mut readings = seconds("a", 0..9);
    for reading in &mut readings {
        reading.fields.push(("x".to_owned(), proto::Value::Boolean(true)));
    }
    running.send(&readings);
    let ended = running.end().await;
    let wanted = [0, 3, 6].map(|n| format!("m,device=a v={n}i {}", BEGIN + n * S));
    assert_eq!(ended.stored, wanted);
    assert_eq!(ended.fates, Fates { confirmed: 3, filtered: 6, ..Fates::default() });
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_no_encoder_survives_costs_itself() {
    let settings = process::Settings {
        select: Some(select::Settings::default()),
        ..process::Settings::default()
    };
    let running = start_with_steps(settings, Vec::new(), answering());
    let mut readings = seconds("a", 0..3);
    readings.push(reading("poison", BEGIN, 1));
    readings.extend(seconds("b", 0..3));
    running.send(&readings);
    let ended = running.end().await;
    assert_eq!(ended.fates, Fates { confirmed: 6, quarantined: 1, ..Fates::default() });
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_is_begun_anew() {
    let running = start_with_steps(windows(false), b"\x01nonsense".to_vec(), answering());
    let stats = Arc::clone(&running.stats);
    let late = |n: i64| Reading {
        time: Time::At(Timestamp::from_nanos(twin::ARRIVAL_NS + n * S)),
        ..reading("a", 0, n)
    };
    running.send(&seconds("a", 0..3));
    running.send(&[late(10), late(20), late(30)]);
    let ended = running.end().await;
    // Of what may have been closed before, nothing is made again.
    assert_eq!(ended.fates, Fates { confirmed: 3, absorbed: 3, ..Fates::default() });
    assert_eq!(stats.states_lost.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_state_of_a_later_release_is_left_to_it() {
    let running = start_with_steps(windows(false), b"\x63whatever".to_vec(), answering());
    let books = Arc::clone(&running.books);
    let stats = Arc::clone(&running.stats);
    running.send(&seconds("a", 0..30));
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(lock(&books).leased, 0);
    assert!(lock(&books).saved.is_none());
    assert_eq!(stats.states_lost.get(), 0);
    assert_eq!(running.end().await.stored, [""; 0]);
}
