//! What goes when the journal is full under `drop-oldest`, is every reading of it counted, and what
//! gives the space of an output back that is gone?

use std::{collections::BTreeSet, fs, path::Path, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use simulator::faulty::{Answer, Behaviour};

use crate::support::{
    books,
    filler::{self, Poster},
    gateway::{Gateway, Setup},
    rig::{OUTPUT, Rig, is_long},
    wait_for,
};

/// Of the journal that is full soon: four segments of 4 MiB.
const SMALL: &str = "bytes_max = \"16MiB\"\nwhen_full = \"drop-oldest\"\n";
/// What an output of this holds in its hands is little, and the journal waits only once for it.
pub const HOLDS_LITTLE: &str = "batch_lines_max = 10\nrequests_max = 1\nprobe_every = \"20ms\"\nbackoff_first = \"20ms\"\nbackoff_max = \"50ms\"\n";
/// So much may such an output hold, in readings: some batches, and what it is about to put into one.
const HELD_MAX: u64 = 64;
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Of the filler, on the disk.
const SEGMENT_READINGS: u64 = 480;
const PATIENCE: Duration = Duration::from_mins(1);

fn dropped(gateway: &Gateway, output: &str) -> u64 {
    books::of(&gateway.status(), output).dropped
}

fn delivered(gateway: &Gateway, output: &str) {
    wait_for("delivery", PATIENCE, || match gateway.pending(output) {
        0 => Ok(()),
        pending => Err(format!("{pending} pending of {output}")),
    });
}

fn second_output(rig: &Rig) -> String {
    format!(
        "[[output]]\nid = \"stuck\"\ntype = \"influxdb\"\nurl = \"{}\"\ndatabase = \"iot\"\n\
         [output.limits]\nbatch_age_max = \"20ms\"\n{HOLDS_LITTLE}",
        rig.database.url()
    )
}

async fn refuse(rig: &Rig) {
    let unauthorized = Behaviour { answer: Answer::Status { code: 401 }, ..Behaviour::default() };
    rig.behave(unauthorized).await;
}

/// One output delivers, the other is refused until three segments of its readings are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_output_that_is_stuck_loses_readings_and_each_is_counted() {
    let (rig, other) = (Rig::prepare(SMALL, "").await, Rig::prepare("", "").await);
    let tables = format!("{}{}", rig.output_table(), second_output(&other));
    rig.gateway.configure(&Setup { journal: SMALL, tables: &tables });
    let mut rig = rig;
    rig.gateway.run();
    refuse(&other).await;
    let mut poster = Poster::default();
    while dropped(&rig.gateway, "stuck") < 2 * SEGMENT_READINGS {
        poster.post_more(&rig.gateway, 64);
        delivered(&rig.gateway, OUTPUT);
    }
    other.behave(Behaviour::default()).await;
    delivered(&rig.gateway, "stuck");
    let status = books::balanced(&rig.gateway);
    books::metrics_agree(&rig.gateway, &status);
    let (well, stuck) = (books::of(&status, OUTPUT), books::of(&status, "stuck"));
    let all = poster.order.len() as u64;
    assert_eq!((well.confirmed, well.dropped, well.dead), (all, 0, 0), "{well:?}");
    assert_eq!(stuck.confirmed + stuck.dropped, all, "{stuck:?}");
    assert_eq!(stuck.journaled, all, "{stuck:?}");
    let is_silent = !status.alarms.iter().any(|alarm| alarm.contains("damaged"));
    assert!(is_silent, "{:?}", status.alarms);

    let everything: BTreeSet<u64> = poster.order.iter().copied().collect();
    assert_eq!(filler::numbers(&rig.database.rows()), everything);
    // The oldest, but for the few that the output held in its hands, which got through after all.
    let stored = filler::numbers(&other.database.rows());
    let missing: Vec<u64> = everything.difference(&stored).copied().collect();
    let (first, last) = (missing[0], missing[missing.len() - 1]);
    assert_eq!(missing.len() as u64, stuck.dropped);
    assert_eq!(last + 1 - first, stuck.dropped, "not the oldest in a row: {missing:?}");
    assert!(first <= HELD_MAX, "the oldest that is missing is {first}");
}

/// Bytes of all files in it, as the journal counts them too.
fn bytes_of(journal: &Path) -> u64 {
    let entries = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    entries.filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}

fn forget(gateway: &Gateway, place: &[&str]) {
    let mut command = gateway.command();
    let said = command.args(["journal", "forget", "stuck"]).args(place).output().unwrap();
    assert!(said.status.success(), "{said:?}");
}

/// Nothing is left but what is written to now, what is prepared, and two files to be used again.
fn freed(gateway: &Gateway, before: u64) {
    let journal = gateway.dir().join("journal");
    wait_for("the space", PATIENCE, || match bytes_of(&journal) {
        now if now < before / 2 && now <= 4 * SEGMENT_BYTES + SEGMENT_BYTES / 16 => Ok(()),
        now => Err(format!("{now} bytes of {before}")),
    });
    let alarms = gateway.status().alarms;
    assert!(alarms.is_empty(), "{alarms:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_an_output_that_is_gone_needed_is_freed_when_it_is_forgotten() {
    const LIMITS: &str = "bytes_max = \"64MiB\"\n";
    let (mut rig, other) = (Rig::prepare(LIMITS, "").await, Rig::prepare("", "").await);
    let alone = rig.output_table();
    let both = format!("{alone}{}", second_output(&other));
    rig.gateway.configure(&Setup { journal: LIMITS, tables: &both });
    rig.gateway.run();
    refuse(&other).await;
    Poster::default().post_more(&rig.gateway, 8 * SEGMENT_READINGS);
    delivered(&rig.gateway, OUTPUT);
    assert!(rig.gateway.terminate(PATIENCE).success());
    let journal = rig.gateway.dir().join("journal");
    let before = bytes_of(&journal);
    assert!(before >= 8 * SEGMENT_BYTES, "{before}");
    let mut offline = Gateway::prepare(&Setup { journal: LIMITS, tables: &alone });
    copy(&journal, &offline.dir().join("journal"));

    rig.gateway.configure(&Setup { journal: LIMITS, tables: &alone });
    rig.gateway.run();
    let alarms = rig.gateway.status().alarms;
    assert!(alarms.iter().any(|alarm| alarm.contains("output stuck is gone")), "{alarms:?}");
    // The end of what was written last is cut at the start, and what was prepared is made anew.
    let kept = bytes_of(&journal);
    assert!(kept >= 7 * SEGMENT_BYTES, "{kept} of {before}: freed though nobody said so");
    let config = rig.gateway.config_file();
    forget(&rig.gateway, &["-c", config.to_str().unwrap()]);
    freed(&rig.gateway, before);

    let journal = offline.dir().join("journal");
    forget(&offline, &["--offline", journal.to_str().unwrap()]);
    offline.run();
    freed(&offline, before);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The database is away, more is posted than the journal's place holds, and the gateway is killed in the
/// middle of it: what is missing in the end are the oldest readings in the journal's order, to the one
/// that the books say.
pub async fn drops_the_oldest_and_counts_them_across_kills(rig: &mut Rig) {
    let away = Behaviour { answer: Answer::Refuse, ..Behaviour::default() };
    rig.behave(away).await;
    let mut poster = Poster::default();
    for kill in 0..if is_long() { 10 } else { 1 } {
        let before = dropped(&rig.gateway, OUTPUT);
        while dropped(&rig.gateway, OUTPUT) == before {
            poster.post_more(&rig.gateway, 64);
        }
        let killer = kill_soon(&rig.gateway, Duration::from_millis(kill * 83 % 500 + 50));
        while poster.post(&rig.gateway).is_ok() || !killer.is_finished() {}
        killer.join().unwrap();
        rig.gateway.kill();
        rig.gateway.run();
        poster.recount(&rig.gateway);
    }
    poster.post_more(&rig.gateway, SEGMENT_READINGS);
    // So that nothing is in the output's hands when the database comes back.
    rig.gateway.kill();
    rig.behave(Behaviour::default()).await;
    rig.gateway.run();
    rig.delivered();

    let status = books::balanced(&rig.gateway);
    books::metrics_agree(&rig.gateway, &status);
    let output = books::of(&status, OUTPUT);
    let all = poster.order.len();
    assert_eq!(output.journaled, all as u64, "{output:?}");
    assert_eq!((output.confirmed + output.dropped, output.dead), (all as u64, 0), "{output:?}");
    let dropped = usize::try_from(output.dropped).unwrap();
    assert!(output.dropped > SEGMENT_READINGS / 2, "{output:?}");
    let kept: BTreeSet<u64> = poster.order[dropped..].iter().copied().collect();
    let stored = filler::numbers(&rig.database.rows());
    let (lost, too_many): (Vec<_>, Vec<_>) =
        (kept.difference(&stored).collect(), stored.difference(&kept).collect());
    assert!(lost.is_empty() && too_many.is_empty(), "LOST {lost:?}, not dropped {too_many:?}");
}

fn kill_soon(gateway: &Gateway, after: Duration) -> thread::JoinHandle<()> {
    let id = Pid::from_raw(i32::try_from(gateway.process().id()).unwrap()).unwrap();
    thread::spawn(move || {
        thread::sleep(after);
        kill_process(id, Signal::KILL).unwrap();
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_oldest_is_exact_to_the_reading_across_kills() {
    let mut rig = Rig::with_output(SMALL, HOLDS_LITTLE).await;
    drops_the_oldest_and_counts_them_across_kills(&mut rig).await;
}
