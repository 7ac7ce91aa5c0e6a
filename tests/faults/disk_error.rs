//! What happens while the disk answers EIO, and after?
//!
//! Nothing is acknowledged, the gateway says that it is degraded, and it recovers by itself. A small
//! preloaded library (`shim.c`) makes the calls fail: the standard library writes and syncs through
//! the C library, so it sees them. (`fallocate` goes past it, straight to the kernel.)

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    tools::{has, run},
    trial::{clean_end, devices, more_acknowledged},
};
use crate::support::{
    http::get,
    rig::{Rig, at_rest, is_long},
    wait_for,
};

/// A new segment is tried every 1 to 30 s.
const NOTICED_MAX: Duration = Duration::from_secs(45);

/// The library, and the file that switches it.
struct Shim {
    dir: TempDir,
}

impl Shim {
    fn build() -> Option<Self> {
        if !has("cc", "gcc") {
            return None;
        }
        let shim = Self { dir: tempfile::tempdir().unwrap() };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let (library, source) = (shim.library(), source.to_str().unwrap());
        run("cc", &["-shared", "-fPIC", "-O1", "-o", &library, source, "-ldl"]);
        Some(shim)
    }

    fn library(&self) -> String {
        self.dir.path().join("shim.so").to_str().unwrap().to_owned()
    }

    fn control(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    fn fail(&self, calls: &str) {
        fs::write(self.control(), calls).unwrap();
    }

    fn work(&self) {
        fs::remove_file(self.control()).unwrap();
    }
}

async fn degraded_and_back(rig: &Rig, shim: &Shim, calls: &str, watch: &simulator::watch::Watch) {
    more_acknowledged(watch, 200);
    shim.fail(calls);
    wait_for("the degraded state", NOTICED_MAX, || {
        let journal = rig.gateway.status().journal;
        if journal.degraded { Ok(()) } else { Err(format!("{calls}: {journal:?}")) }
    });
    let before = at_rest(watch).await.acknowledged;
    tokio::time::sleep(Duration::from_secs(if is_long() { 40 } else { 2 })).await;
    assert_eq!(watch.look().acknowledged, before, "{calls}: acknowledged while failing");
    assert_eq!(get(rig.gateway.http_port, "/healthz", &[]).unwrap().status, 200, "{calls}");
    assert_ne!(get(rig.gateway.http_port, "/readyz", &[]).unwrap().status, 200, "{calls}");
    shim.work();
    wait_for("the way back", NOTICED_MAX, || {
        let journal = rig.gateway.status().journal;
        if journal.degraded { Err(format!("{calls}: {journal:?}")) } else { Ok(()) }
    });
    more_acknowledged(watch, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_while_writes_or_syncs_fail_and_it_recovers_by_itself() {
    let Some(shim) = Shim::build() else { return };
    let mut rig = Rig::prepare("", "").await;
    let journal = rig.gateway.dir().join("journal");
    rig.gateway.run_with(&[
        ("LD_PRELOAD", &shim.library()),
        ("SHIM_CONTROL", shim.control().to_str().unwrap()),
        ("SHIM_DIR", journal.to_str().unwrap()),
    ]);
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    for calls in ["sync", "write", "write and sync"] {
        degraded_and_back(&rig, &shim, calls, &watch).await;
    }
    clean_end(&rig, fleet).await;
}
