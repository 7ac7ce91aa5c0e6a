//! Readings stamped before the clock was believed: held, put right, or marked.

use journal::Epoch;
use journal::clock::{Fate, UNSURE};
use journal::testing::publish;
use proto::{Time, Timestamp};

use super::twin::frame_of_epoch;
use super::*;

const EPOCH: u32 = 77;
const HOUR_NS: i64 = 3_600_000_000_000;

fn decided(fate: Fate) -> Vec<Epoch> {
    let mut epoch = Epoch::new(EPOCH, [0; 16], 0, 0);
    epoch.fate = fate;
    vec![epoch]
}

/// One reading with a time of its own, one that the gateway stamped.
fn both() -> [proto::Reading; 2] {
    let mut stamped = reading("ours", 0, 2);
    stamped.time = Time::Stamped(Timestamp::from_nanos(1_000));
    [reading("own", 500, 1), stamped]
}

fn waiting() -> Running {
    let running = start(limits(100), Twin::answering(Answer::Stored, NOW));
    publish(&running.clock.epochs, decided(Fate::Waiting));
    running.frames.send(frame(1, &encoded(&series("before", 0, 1)))).unwrap();
    running.frames.send(frame_of_epoch(EPOCH, 2, &encoded(&both()))).unwrap();
    running.frames.send(frame(1, &encoded(&series("after", 0, 1)))).unwrap();
    running
}

async fn a_while(running: &Running) -> Vec<String> {
    tokio::time::sleep(Duration::from_hours(1)).await;
    running.twin.stored()
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_from_the_first_provisional_stamp_on_until_it_is_put_right() {
    let running = waiting();
    assert_eq!(a_while(&running).await, ["m,device=before v=0i 0"]);
    assert_eq!(running.stats.clock_waits.get(), 1);
    assert_eq!(running.stats.status().state, State::Running, "waiting is no failure");
    assert_eq!(running.stats.retries.get(), 0);
    publish(&running.clock.epochs, decided(Fate::Corrected(HOUR_NS)));
    let stats = Arc::clone(&running.stats);
    let ended = running.end().await;
    assert_eq!(
        ended.stored[1..],
        ["m,device=own v=1i 500", "m,device=ours v=2i 3600000001000", "m,device=after v=0i 0"]
    );
    assert_eq!(ended.fates, confirmed(4));
    assert_eq!((stats.stamps_corrected.get(), stats.stamps_unsure.get()), (1, 0));
    assert_eq!(stats.clock_waits.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_leaves_as_it_was_stamped_with_a_mark() {
    let running = waiting();
    publish(&running.clock.epochs, decided(Fate::Unsure));
    running.frames.send(frame_of_epoch(UNSURE, 2, &encoded(&both()))).unwrap();
    let stats = Arc::clone(&running.stats);
    let ended = running.end().await;
    assert_eq!(
        ended.stored[1..3],
        ["m,device=own v=1i 500", "m,clock=unsure,device=ours v=2i 1000"]
    );
    assert_eq!(ended.fates, confirmed(6));
    assert_eq!((stats.stamps_corrected.get(), stats.stamps_unsure.get()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_what_waits_in_the_journal_and_waits_for_nothing() {
    let running = waiting();
    assert_eq!(a_while(&running).await.len(), 1);
    let started = Instant::now();
    running.clock.stop.cancel();
    running.task.await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    let books = lock(&running.books);
    assert_eq!((books.fates, books.dropped), (confirmed(1), 1));
}

#[tokio::test(start_paused = true)]
async fn readings_that_meet_after_they_were_put_right_are_one_point() {
    let running = start(limits(100), Twin::answering(Answer::Stored, NOW));
    publish(&running.clock.epochs, decided(Fate::Corrected(500)));
    let mut stamped = reading("a", 0, 2);
    stamped.time = Time::Stamped(Timestamp::from_nanos(500));
    stamped.fields[0].0 = "w".to_owned();
    running.frames.send(frame(1, &encoded(&[reading("a", 1_000, 1)]))).unwrap();
    running.frames.send(frame_of_epoch(EPOCH, 1, &encoded(&[stamped]))).unwrap();
    let ended = running.end().await;
    assert_eq!(ended.stored, ["m,device=a v=1i,w=2i 1000"]);
    assert_eq!(ended.fates, confirmed(2));
}
