//! What happens when the disk is really full (ENOSPC) while the database is away?
//!
//! Nothing is acknowledged, the process lives, also when it is killed and started on the full disk;
//! once the database is back everything arrives. And is what others need left free?

use std::time::Duration;

use super::{
    mount::LoopMount,
    trial::{devices, more_acknowledged, with_database, without_database},
};
use crate::giving_way::{HOLDS_LITTLE, drops_the_oldest_and_counts_them_across_kills};
use crate::support::{
    books::Sent,
    filler,
    http::get,
    rig::{OUTPUT, Rig, at_rest, is_long},
    wait_for,
};

const MIB: u64 = 1024 * 1024;
const DISK_BYTES: u64 = 32 * MIB;
/// More than the disk has: the disk itself says that it is full, not a bound of ours.
const LIMITS: &str = "bytes_max = \"128MiB\"\nfree_bytes_min = \"0B\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_withholds_acknowledgements_and_loses_nothing() {
    let Some(mount) = LoopMount::new(DISK_BYTES) else { return };
    let mut rig = Rig::start(&format!("{}{LIMITS}", mount.journal_dir())).await;
    without_database(&rig).await;
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    more_acknowledged(&watch, 200);
    let others = mount.fill();
    let (posted, _) = filler::until_full(rig.gateway.http_port);
    wait_for("a full journal", Duration::from_secs(30), || {
        let journal = rig.gateway.status().journal;
        if journal.full { Ok(()) } else { Err(format!("{journal:?}")) }
    });
    let before = at_rest(&watch).await;
    println!("full after {} and {posted} acknowledged", before.acknowledged);

    let rest = Duration::from_secs(if is_long() { 30 } else { 2 });
    tokio::time::sleep(rest).await;
    let during = watch.look();
    assert_eq!(during.acknowledged, before.acknowledged, "acknowledged while full");
    assert_eq!(get(rig.gateway.http_port, "/healthz", &[]).unwrap().status, 200);

    // It starts, also here; with nothing to write into it delivers.
    rig.gateway.kill();
    let command = rig.gateway.run_command(&[]);
    rig.gateway.launch(command);
    rig.gateway.answers("/healthz");
    let pending = rig.gateway.pending(OUTPUT);
    assert!(pending >= before.acknowledged + posted, "{pending} pending, {before:?}");
    with_database(&rig).await;
    wait_for("delivery from a full disk", Duration::from_mins(1), || {
        let now = rig.gateway.pending(OUTPUT);
        if now < pending { Ok(()) } else { Err(format!("{now} pending")) }
    });
    drop(others);
    let ledger = fleet.stop_and_drain(Duration::from_mins(2)).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict_of(&ledger, |row| row.measurement != filler::MEASUREMENT);
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    let rows = rig.database.rows();
    let stored = rows.iter().filter(|row| row.measurement == filler::MEASUREMENT).count() as u64;
    let posted = posted..=posted + filler::LINES;
    assert!(posted.contains(&stored), "{stored} of {posted:?}");
    let books = rig.books_are_right(Sent::by(&ledger, &watch).and(posted));
    rig.books_survive_a_kill(&books);
    drop(rig); // Before its disk.
}

/// The journal is full for itself while the disk is not: others find what it was told to leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_stay_free_on_the_disk_stays_free_and_loses_nothing() {
    let Some(mount) = LoopMount::new(DISK_BYTES) else { return };
    let limits = "bytes_max = \"128MiB\"\nfree_bytes_min = \"12MiB\"\n";
    let rig = Rig::start(&format!("{}{limits}", mount.journal_dir())).await;
    without_database(&rig).await;
    let (posted, answer) = filler::until_full(rig.gateway.http_port);
    assert!(answer.body.contains("full"), "{}", answer.body);
    let (free, journal) = (mount.free_bytes(), rig.gateway.status().journal);
    assert!(journal.full, "{journal:?}");
    println!("full after {posted}, {free} bytes free");
    // Beside segments there are positions and the like, of some pages each.
    assert!((12 * MIB - 256 * 1024..17 * MIB).contains(&free), "{free} bytes free: {journal:?}");

    with_database(&rig).await;
    wait_for("room", Duration::from_mins(1), || {
        let journal = rig.gateway.status().journal;
        if journal.full { Err(format!("{journal:?}")) } else { Ok(()) }
    });
    rig.delivered();
    let rows = rig.database.rows();
    let stored = rows.iter().filter(|row| row.measurement == filler::MEASUREMENT).count() as u64;
    assert!((posted..=posted + filler::LINES).contains(&stored), "{stored} of {posted}");
    drop(rig); // Before its disk.
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_drop_oldest_costs_the_oldest_and_they_are_counted_across_kills() {
    let Some(mount) = LoopMount::new(DISK_BYTES) else { return };
    let limits = format!("{}{LIMITS}when_full = \"drop-oldest\"\n", mount.journal_dir());
    let mut rig = Rig::with_output(&limits, HOLDS_LITTLE).await;
    drops_the_oldest_and_counts_them_across_kills(&mut rig).await;
    drop(rig); // Before its disk.
}
