//! Is a memory limit that a small box would set enough, and is nothing lost when the kernel kills the
//! gateway for its memory?
//!
//! The gateway runs in a memory cgroup of its own. Page cache counts there too: what the journal writes
//! and reads is thrown out of memory as soon as it can be.

use std::{
    fs, io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use super::trial::{
    ANSWERED_MAX, database, devices, more_acknowledged, with_database, without_database,
};
use crate::support::{
    books::Sent,
    filler, missing,
    rig::{Rig, is_long, mqtt},
    show, wait_for,
};

const ROOT: &str = "/sys/fs/cgroup";
/// As `MemoryMax=` of its service would say on a board with little memory.
const LIMIT: u64 = 48 << 20;
/// For a gateway that is out of memory to be killed.
const KILL_MAX: Duration = Duration::from_mins(1);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A memory cgroup, of the first version or the second. Gone when dropped, after what ran in it.
#[derive(Debug)]
struct Group {
    dir: PathBuf,
    is_v1: bool,
}

impl Group {
    /// `None`: this machine cannot, and it was said.
    fn new(limit: u64) -> Option<Self> {
        let name = format!("tidegate-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let made = Self::of_v1(&name).or_else(|of_v1| {
            Self::of_v2(&name).map_err(|of_v2| format!("v1: {of_v1}, v2: {of_v2}"))
        });
        let group = made.map_err(|why| missing("a memory cgroup", &format!("needs root: {why}")));
        let group = group.ok()?;
        group.limit(limit).unwrap();
        Some(group)
    }

    fn of_v1(name: &str) -> io::Result<Self> {
        let dir = Path::new(ROOT).join("memory").join(name);
        fs::create_dir(&dir).map(|()| Self { dir, is_v1: true })
    }

    fn of_v2(name: &str) -> io::Result<Self> {
        fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+memory")?;
        let dir = Path::new(ROOT).join(name);
        fs::create_dir(&dir).map(|()| Self { dir, is_v1: false })
    }

    fn limit(&self, bytes: u64) -> io::Result<()> {
        let file = if self.is_v1 { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(self.dir.join(file), bytes.to_string())
    }

    /// How often something had to be thrown out to stay below the limit.
    fn limited(&self) -> u64 {
        if self.is_v1 {
            self.number("memory.failcnt", "")
        } else {
            self.number("memory.events", "max ")
        }
    }

    fn killed(&self) -> u64 {
        let file = if self.is_v1 { "memory.oom_control" } else { "memory.events" };
        self.number(file, "oom_kill ")
    }

    fn number(&self, file: &str, before: &str) -> u64 {
        let text = fs::read_to_string(self.dir.join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(before));
        line.unwrap_or_else(|| panic!("no `{before}` in {text}")).parse().unwrap()
    }

    /// Starts the gateway in it.
    fn run(&self, rig: &mut Rig) {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.dir.display());
        let command = rig.gateway.run_command(&["sh", "-c", &enter, "sh"]);
        rig.gateway.launch(command);
        rig.gateway.answers("/readyz");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let gone = || fs::remove_dir(&self.dir).map_err(|error| error.to_string());
        if thread::panicking() {
            drop(gone()); // What ran in it is gone before it: most likely that is all.
        } else {
            // The kernel takes a moment to see that what was killed is gone.
            wait_for("the end of the cgroup", Duration::from_secs(20), gone);
        }
    }
}

/// The least limit that the kernel takes: at once what is needed, with no page to spare. The second
/// version of cgroups takes any, and kills.
fn squeeze(group: &Group) {
    const STEP: u64 = 1 << 20;
    let mut limit = LIMIT;
    let killed = group.killed();
    while limit > STEP && group.killed() == killed && group.limit(limit - STEP).is_ok() {
        limit -= STEP;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_of_several_times_the_memory_limit_is_taken_and_delivered() {
    let Some(group) = Group::new(LIMIT) else { return };
    let journal = if is_long() { "bytes_max = \"192MiB\"\n" } else { "bytes_max = \"128MiB\"\n" };
    let mut rig = Rig::prepare(journal, "backoff_max = \"500ms\"\n").await;
    without_database(&rig).await;
    group.run(&mut rig);
    let (acknowledged, _) = filler::until_full(rig.gateway.http_port);
    with_database(&rig).await;
    rig.delivered();
    let stored = filler::numbers(&rig.database.rows());
    let missing = (0..acknowledged).filter(|number| !stored.contains(number)).count();
    assert_eq!(missing, 0, "of {acknowledged}");
    assert!(acknowledged > 50_000 && group.limited() > 0, "the limit was never felt");
    assert_eq!(group.killed(), 0);
    let rss = rig.gateway.usage().rss_bytes_max >> 20;
    show(&format!(
        "{acknowledged} readings through a memory limit of {} MiB, RSS {rss} MiB",
        LIMIT >> 20
    ));
    drop(rig); // Before its group.
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_the_kernel_kills_for_its_memory_loses_nothing_acknowledged() {
    let rounds = if is_long() { 20 } else { 2 };
    let Some(group) = Group::new(LIMIT) else { return };
    let mut rig = Rig::prepare("", "").await;
    group.run(&mut rig);
    let fleet = rig.fleet(devices());
    let watch = fleet.watch();
    let mut crowds = Vec::new();
    for round in 0..rounds {
        // Every other one leaves what it acknowledged in the journal alone.
        database(&rig, round % 2 == 1).await;
        more_acknowledged(&watch, 200);
        squeeze(&group);
        // They want what is not there.
        let name = format!("crowd{round}");
        let crowd = rig.fleet(vec![mqtt(&name, 2_000, Duration::from_millis(500))]);
        let crowd_watch = crowd.watch();
        let status = rig.gateway.ended(KILL_MAX);
        assert_eq!((status.signal(), group.killed()), (Some(9), round + 1), "{status}");
        crowds.push((name, crowd.kill().await, crowd_watch));
        group.limit(LIMIT).unwrap();
        group.run(&mut rig);
    }
    with_database(&rig).await;
    more_acknowledged(&watch, 200);
    let ledger = fleet.stop_and_drain(ANSWERED_MAX).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict_of(&ledger, |row| !row.device.starts_with("crowd"));
    println!("{verdict}");
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    let mut sent = Sent::by(&ledger, &watch);
    for (name, ledger, watch) in &crowds {
        let verdict = rig.verdict_of(ledger, |row| row.device.starts_with(&format!("{name}-")));
        assert!(verdict.is_clean(), "{verdict}");
        sent = sent.and_by(ledger, watch);
    }
    rig.books_are_right(sent);
    drop(rig); // Before its group.
}
