//! Is what was acknowledged still there after a power cut?
//!
//! The journal lies on a file system of its own whose power is cut while devices send, see `mount`. The
//! same with syncs that lie (libeatmydata turns `fsync` and `fdatasync` into nothing) must lose
//! something, or the cut would prove nothing.

use std::time::Duration;

use super::{
    mount::{FileSystem, LoopMount},
    tools::has,
    trial::{
        clean_end, database, devices, end, more_acknowledged, with_database, without_database,
    },
};
use crate::support::rig::{Rig, is_long};

const DISK_BYTES: u64 = 160 * 1024 * 1024;
/// The least that mkfs.xfs makes, of which only what is written takes room.
const XFS_BYTES: u64 = 300 * 1024 * 1024;
const LIMITS: &str = "bytes_max = \"64MiB\"\nfree_bytes_min = \"4MiB\"\n";
/// Syncs that lie may be lucky once: the kernel writes back on its own after a while.
const TRIES_MAX: u32 = 3;

/// The journal's disk loses its power, and the process with it; then both are back.
fn cut_power(rig: &mut Rig, mount: &mut LoopMount) {
    mount.cut_power(rig.gateway.process().id());
    rig.gateway.kill();
    mount.restore_power();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_power_cuts() {
    let Some(mount) = LoopMount::new(DISK_BYTES) else { return };
    cuts_lose_nothing(mount, if is_long() { 100 } else { 3 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_power_cuts_on_xfs() {
    let Some(mount) = LoopMount::of(FileSystem::Xfs, XFS_BYTES) else { return };
    cuts_lose_nothing(mount, if is_long() { 50 } else { 3 }).await;
}

async fn cuts_lose_nothing(mut mount: LoopMount, cuts: u64) {
    let mut rig = Rig::start(&format!("{}{LIMITS}", mount.journal_dir())).await;
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    for cut in 0..cuts {
        // Two of three leave what they acknowledged in the journal alone.
        database(&rig, cut % 3 == 2).await;
        let acknowledged = more_acknowledged(&watch, 200);
        tokio::time::sleep(Duration::from_millis(cut * 37 % 250)).await;
        cut_power(&mut rig, &mut mount);
        println!("cut {cut}: {acknowledged} acknowledged");
        rig.gateway.run();
    }
    with_database(&rig).await;
    let verdict = clean_end(&rig, fleet).await;
    assert!(verdict.acknowledged >= cuts * 200, "{verdict}");
    drop(rig); // Before its disk.
}

/// One cut under syncs that lie; how many acknowledged readings it lost.
async fn lost_when_syncs_lie() -> Option<u64> {
    let mut mount = LoopMount::new(DISK_BYTES)?;
    let mut rig = Rig::prepare(&format!("{}{LIMITS}", mount.journal_dir()), "").await;
    rig.gateway.run_with(&[("LD_PRELOAD", "libeatmydata.so")]);
    without_database(&rig).await;
    let fleet = rig.fleet(devices());
    more_acknowledged(&fleet.watch(), 500);
    cut_power(&mut rig, &mut mount);
    rig.gateway.run(); // It starts on what is left, whatever that is.
    with_database(&rig).await;
    let verdict = end(&rig, fleet).await;
    assert_eq!((verdict.phantom, verdict.wrong), (0, 0), "{verdict}");
    Some(verdict.lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_with_syncs_that_lie_does_lose_something() {
    if !has("eatmydata", "eatmydata") {
        return;
    }
    for _ in 0..TRIES_MAX {
        match lost_when_syncs_lie().await {
            Some(0) => {}
            Some(_) | None => return,
        }
    }
    panic!("{TRIES_MAX} power cuts lost nothing without a single sync: they cut nothing");
}
