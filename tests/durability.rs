//! Is what was acknowledged still there after the process was killed?

use std::time::Duration;

use crate::support::{
    books::Sent,
    rig::{Rig, is_long, more_acknowledged, mqtt, websocket},
    show,
};

/// Time for the fleet to get its last answers after the last kill.
const DRAIN_MAX: Duration = Duration::from_mins(1);

/// A small deterministic source of moments: which ones does not matter, that they differ does.
fn moments(seed: u64) -> impl Iterator<Item = Duration> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(150 + (state >> 33) % 900)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_sigkill_at_random_moments() {
    let rounds = if is_long() { 200 } else { 20 };
    let mut rig = Rig::start("").await;
    let period = Duration::from_millis(100);
    let fleet = rig.fleet(vec![mqtt("m", 25, period), websocket("w", 25, period)]);
    let watch = fleet.watch();
    let mut acknowledged_before = 0;
    for (round, moment) in (0..rounds).zip(moments(1)) {
        more_acknowledged(&watch, 50);
        tokio::time::sleep(moment).await;
        rig.gateway.kill();
        rig.gateway.run();
        let acknowledged = watch.look().acknowledged;
        println!("round {round}: killed after {moment:?}, {acknowledged} acknowledged so far");
        acknowledged_before = acknowledged_before.max(acknowledged);
    }
    show(&format!("{rounds} kills, each after new acknowledgements"));
    let ledger = fleet.stop_and_drain(DRAIN_MAX).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    println!("{verdict}");
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.acknowledged >= acknowledged_before, "{verdict}");
    let books = rig.books_are_right(Sent::by(&ledger, &watch));
    rig.books_survive_a_kill(&books);
}
