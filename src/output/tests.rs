//! The whole output under a paused clock, between a scripted feed and a scripted database.

mod clock;
mod durable;
mod faults;
mod replays;
mod steps;
mod twin;

use std::collections::BTreeSet;

use journal::Fates;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use self::twin::{Feed, Twin, encoded, feed, frame, lock, reading, series};
use super::dead::{Entry, Settings};
use super::*;
use crate::sink::{Answer, Fault, Refusal};

const NOW: Duration = Duration::ZERO;

/// An output that runs, and what it runs between.
struct Running {
    frames: mpsc::UnboundedSender<journal::Frame>,
    replay: mpsc::Sender<Replay>,
    twin: Arc<Twin>,
    books: Arc<std::sync::Mutex<twin::Books>>,
    stats: Arc<Stats>,
    clock: Clock,
    deadline: CancellationToken,
    dir: tempfile::TempDir,
    task: JoinHandle<()>,
}

fn limits(lines: usize) -> Limits {
    Limits { batch_lines_max: lines, ..Limits::default() }
}

fn start(limits: Limits, twin: Arc<Twin>) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let dead = DeadLetters::new(Settings::in_dir(dir.path().join("dead")));
    start_with(limits, twin, Some(dead), dir)
}

fn start_with(
    limits: Limits,
    twin: Arc<Twin>,
    dead: Option<DeadLetters>,
    dir: tempfile::TempDir,
) -> Running {
    start_steps(limits, twin, dead, dir, process::Settings::default(), Arc::default())
}

#[expect(clippy::disallowed_methods, reason = "the test waits for it")]
fn start_steps(
    limits: Limits,
    twin: Arc<Twin>,
    dead: Option<DeadLetters>,
    dir: tempfile::TempDir,
    process: process::Settings,
    known: Arc<[u8]>,
) -> Running {
    let (frames, mut leases) = feed();
    leases.state = known;
    let Feed { books, .. } = &leases;
    let books = Arc::clone(books);
    let stats = Metrics::default().output("home");
    let sink = Arc::clone(&twin);
    let clock = Clock::default();
    let output = Output {
        id: "home".into(),
        sink,
        limits,
        process,
        dead,
        stats: Arc::clone(&stats),
        clock: clock.clone(),
    };
    let deadline = CancellationToken::new();
    let (replay, replays) = mpsc::channel(1);
    let task = tokio::spawn(run_from(output, leases, replays, deadline.clone()));
    Running { frames, replay, twin, books, stats, clock, deadline, dir, task }
}

impl Running {
    fn send(&self, readings: &[proto::Reading]) {
        let count = u32::try_from(readings.len()).unwrap();
        self.frames.send(frame(count, &encoded(readings))).unwrap();
    }

    /// Ends the input, waits for the output, and checks that every frame is accounted for.
    async fn end(self) -> Ended {
        drop(self.frames);
        tokio::time::timeout(Duration::from_hours(24), self.task).await.unwrap().unwrap();
        let books = lock(&self.books);
        assert_eq!((books.open_frames(), books.dropped), (0, 0), "{books:?}");
        assert_eq!(self.stats.status().state, State::Ended);
        assert_eq!(self.stats.lag(std::time::SystemTime::now()), Duration::ZERO);
        let letters = std::fs::read_to_string(self.dir.path().join("dead/dead.ndjson"));
        let letters = letters.unwrap_or_default();
        Ended {
            fates: books.fates,
            stored: self.twin.stored(),
            dead: letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        }
    }
}

struct Ended {
    fates: Fates,
    stored: Vec<String>,
    dead: Vec<Entry>,
}

fn lines_of(readings: &[proto::Reading]) -> BTreeSet<String> {
    let line = |reading: &proto::Reading| {
        let mut line = Vec::new();
        reading.with_ref(|r| proto::line::write(&r, &mut line)).unwrap();
        String::from_utf8(line).unwrap().trim().to_owned()
    };
    readings.iter().map(line).collect()
}

fn confirmed(readings: u64) -> Fates {
    Fates { confirmed: readings, ..Fates::default() }
}

#[tokio::test(start_paused = true)]
async fn a_lone_reading_leaves_a_second_after_it_came() {
    let running = start(limits(100), Twin::answering(Answer::Stored, NOW));
    tokio::time::sleep(Duration::from_secs(7)).await;
    running.send(&series("a", 0, 1));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(running.twin.requests()[0].at, Duration::from_secs(8));
    assert_eq!(running.end().await.fates, confirmed(1));
}

#[tokio::test(start_paused = true)]
async fn full_batches_leave_at_once_and_the_rest_at_the_end() {
    let running = start(limits(10), Twin::answering(Answer::Stored, NOW));
    let twin = Arc::clone(&running.twin);
    let started = Instant::now();
    let readings = series("a", 0, 25);
    running.send(&readings[..3]);
    running.send(&readings[3..]);
    let ended = running.end().await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    let sizes: Vec<_> = twin.requests().iter().map(|request| request.lines.len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(ended.stored.into_iter().collect::<BTreeSet<_>>(), lines_of(&readings));
    assert_eq!(ended.fates, confirmed(25));
}

#[tokio::test(start_paused = true)]
async fn a_slow_database_is_kept_busy_with_four_requests() {
    let answer_after = Duration::from_millis(500);
    let running = start(limits(10), Twin::answering(Answer::Stored, answer_after));
    let twin = Arc::clone(&running.twin);
    let started = Instant::now();
    for n in 0..20 {
        running.send(&series("a", n * 10, 10));
    }
    assert_eq!(running.end().await.fates, confirmed(200));
    assert_eq!(started.elapsed(), 5 * answer_after);
    assert_eq!(lock(&twin.seen).in_flight_max, 4);
}

#[tokio::test(start_paused = true)]
async fn a_hung_database_stops_the_leasing() {
    let hang = Duration::from_mins(50);
    let running = start(limits(10), Twin::answering(Answer::Stored, hang));
    for n in 0..100 {
        running.send(&series("a", n * 10, 10));
    }
    tokio::time::sleep(Duration::from_mins(30)).await;
    // Four in flight, one waits, and the frame whose first reading did not fit.
    let leased = lock(&running.books).leased;
    assert!((5..=6).contains(&leased), "{leased}");
    assert_eq!(running.twin.requests().len(), 4);
    assert_eq!(running.end().await.fates, confirmed(1000));
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_the_age_of_the_oldest_unconfirmed_reading() {
    let running = start(limits(10), Twin::answering(Answer::Stored, Duration::from_secs(5)));
    let arrival =
        std::time::UNIX_EPOCH + Duration::from_nanos(u64::try_from(twin::ARRIVAL_NS).unwrap());
    running.send(&series("a", 0, 10));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let later = arrival + Duration::from_secs(3);
    assert_eq!(running.stats.lag(later), Duration::from_secs(3));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(running.stats.lag(later), Duration::ZERO);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn two_readings_of_a_point_are_one_line_and_two_in_the_books() {
    let running = start(limits(100), Twin::answering(Answer::Stored, NOW));
    running.send(&[reading("a", 1, 1), reading("b", 1, 1)]);
    running.send(&[reading("a", 1, 2)]);
    let ended = running.end().await;
    assert_eq!(ended.stored, ["m,device=a v=2i 1", "m,device=b v=1i 1"]);
    assert_eq!(ended.fates, confirmed(3));
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_the_point_that_is_in_flight() {
    let answer_after = Duration::from_millis(500);
    let running = start(limits(2), Twin::answering(Answer::Stored, answer_after));
    let twin = Arc::clone(&running.twin);
    running.send(&[reading("a", 1, 1), reading("b", 1, 1)]);
    running.send(&[reading("c", 1, 1), reading("a", 1, 2)]);
    running.send(&[reading("d", 1, 1), reading("e", 1, 1)]);
    running.end().await;
    let sent: Vec<_> = twin.requests().iter().map(|request| request.at.as_millis()).collect();
    assert_eq!(sent, [0, 500, 500]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_gives_up_what_is_in_flight() {
    let running = start(limits(10), Twin::answering(Answer::Stored, Duration::from_hours(1)));
    for n in 0..10 {
        running.send(&series("a", n * 10, 10));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.deadline.cancel();
    running.task.await.unwrap();
    let books = lock(&running.books);
    assert_eq!(books.fates, Fates::default());
    assert!(books.dropped > 0);
    assert_eq!(running.stats.status().state, State::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_cannot_be_decoded_costs_the_rest_of_its_frame() {
    let running = start(limits(100), Twin::answering(Answer::Stored, NOW));
    let mut torn = encoded(&series("a", 0, 5));
    torn.truncate(torn.len() - 1);
    running.frames.send(frame(5, &torn)).unwrap();
    let poison = reading("poison", 1, 1);
    running.send(&[reading("b", 1, 1), poison, reading("b", 2, 2)]);
    running.send(&series("c", 0, 3));
    let ended = running.end().await;
    assert_eq!(ended.fates, Fates { confirmed: 4 + 1 + 3, quarantined: 1 + 2, ..Fates::default() });
    let reasons: Vec<_> =
        ended.dead.iter().map(|e| (e.reason.as_str(), e.index, e.readings)).collect();
    assert_eq!(reasons, [("quarantined", 4, 1), ("quarantined", 1, 2)]);
    assert!(ended.dead[1].answer.contains("panic"), "{:?}", ended.dead[1].answer);
}

#[tokio::test(start_paused = true)]
async fn a_field_that_cannot_be_written_costs_itself() {
    let running = start(limits(100), Twin::answering(Answer::Stored, NOW));
    let mut large = reading("a", 1, 1);
    large.fields.push(("n".to_owned(), proto::Value::Unsigned(u64::MAX)));
    let mut only = reading("b", 1, 1);
    only.fields = vec![("n".to_owned(), proto::Value::Unsigned(u64::MAX))];
    running.send(&[large, only, reading("c", 1, 1)]);
    let ended = running.end().await;
    assert_eq!(ended.stored, ["m,device=a v=1i 1", "m,device=c v=1i 1"]);
    assert_eq!(ended.fates, Fates { confirmed: 2, dead: 1, ..Fates::default() });
    let dead: Vec<_> =
        ended.dead.iter().map(|e| (e.index, e.field.as_deref(), e.readings)).collect();
    assert_eq!(dead, [(0, Some("n"), 0), (1, None, 1)]);
}

fn malformed(text: &str) -> Refusal {
    Refusal::new(Fault::Malformed, text)
}
