//! What every fault test begins and ends with: a fleet of all three kinds, and the ledger's word.

use std::{fs, time::Duration};

use simulator::{
    faulty::{Answer, Behaviour},
    fleet::{Fleet, Group},
    ledger::Ledger,
    verify::Verdict,
};

pub use crate::support::rig::more_acknowledged;
use crate::support::{
    books::{self, Sent},
    gateway::Gateway,
    rig::{Rig, http, mqtt, websocket},
    wait_for,
};

/// For devices to be answered again after the last fault: more than the journal's longest pause.
pub const ANSWERED_MAX: Duration = Duration::from_mins(2);
const THREAD_MAX: Duration = Duration::from_secs(30);

/// MQTT QoS 1, WebSocket and HTTP, 50 devices, 1,000 readings a second in all, quick to come back.
pub fn devices() -> Vec<Group> {
    let period = Duration::from_millis(50);
    let mut groups = vec![mqtt("m", 20, period), websocket("w", 20, period), http("h", 10, period)];
    for group in &mut groups {
        group.retry_first = Duration::from_millis(20);
        group.retry_max = Duration::from_millis(300);
    }
    groups
}

/// The id of a running gateway's thread of that name.
pub fn thread_of(gateway: &Gateway, thread: &str) -> String {
    let tasks = format!("/proc/{}/task", gateway.process().id());
    let name = |id: &str| fs::read_to_string(format!("{tasks}/{id}/comm")).unwrap_or_default();
    // A thread names itself once it runs, which may be after the gateway is ready.
    wait_for(thread, THREAD_MAX, || {
        let ids = fs::read_dir(&tasks).unwrap().map(|entry| entry.unwrap().file_name());
        let mut ids = ids.map(|id| id.into_string().unwrap());
        ids.find(|id| name(id).trim() == thread).ok_or_else(|| "no such thread".to_owned())
    })
}

/// The database is away: what is acknowledged from now on lies in the journal alone.
pub async fn without_database(rig: &Rig) {
    database(rig, false).await;
}

pub async fn with_database(rig: &Rig) {
    database(rig, true).await;
}

pub async fn database(rig: &Rig, is_there: bool) {
    let answer = if is_there { Answer::Normal } else { Answer::Refuse };
    rig.behave(Behaviour { answer, ..Behaviour::default() }).await;
}

/// The fault is over: everything sent is acknowledged, everything acknowledged is there, and the books
/// say so.
pub async fn clean_end(rig: &Rig, fleet: Fleet) -> Verdict {
    let watch = fleet.watch();
    let (ledger, verdict) = ended(rig, fleet).await;
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    rig.books_are_right(Sent::by(&ledger, &watch));
    verdict
}

/// The fault is over; what the ledger says. The books balance in themselves.
pub async fn end(rig: &Rig, fleet: Fleet) -> Verdict {
    let (_, verdict) = ended(rig, fleet).await;
    books::balanced(&rig.gateway);
    verdict
}

async fn ended(rig: &Rig, fleet: Fleet) -> (Ledger, Verdict) {
    let ledger = fleet.stop_and_drain(ANSWERED_MAX).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    println!("{verdict}");
    (ledger, verdict)
}
