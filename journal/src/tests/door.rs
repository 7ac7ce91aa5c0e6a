//! What can an operator look at, and take out?

use std::{path::Path, sync::Arc};

use super::*;
use crate::Dumped;
use crate::ForgetError;
use crate::Kind;
use crate::Offline;
use crate::OpenError;
use crate::Seq;
use crate::disk::sim::SimDisk;
use crate::dump;
use crate::forget;
use crate::open;
use crate::open::prepare;
use crate::open_with;

fn small(dir: &Path) -> Options {
    Options {
        segment_bytes: Some(16 * 1024),
        bytes_max: 64 * 16 * 1024,
        tail_bytes_max: 0,
        ..Options::new(dir)
    }
}

fn long(n: u32) -> String {
    let mut rng = fastrand::Rng::with_seed(u64::from(n));
    let noise: String = std::iter::repeat_with(|| rng.alphanumeric()).take(700).collect();
    format!("{n} {noise}")
}

/// A run in which `gone` never read anything and `home` confirmed the first ten of 60.
async fn left_behind(options: &Options) -> OutputId {
    let gone = OutputId::new("gone").unwrap();
    let (journal, appender, _) = open(options).unwrap();
    drop(journal.reader(&gone, Start::Oldest).unwrap());
    let mut home = journal.reader(&output(), Start::Oldest).unwrap();
    for n in 0..60 {
        append_all(&appender, &mut Mark::new(), std::iter::once(long(n))).await;
        if n < 10 {
            confirm(next(&mut home).await.unwrap());
        }
    }
    drop((appender, home));
    close(journal).await;
    gone
}

#[tokio::test]
async fn forgetting_an_output_that_is_gone_frees_what_only_it_needed() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    let gone = left_behind(&options).await;
    let (journal, appender, _) = open(&options).unwrap();
    let mut home = journal.reader(&output(), Start::Oldest).unwrap();
    let mut rejects = journal.rejects().unwrap();
    append_all(&appender, &mut Mark::new(), std::iter::once("one more".to_owned())).await;
    drop(appender);
    assert_eq!(drain(&mut home).await.len(), 51);
    assert!(next(&mut rejects).await.is_none());
    let held = journal.status();
    assert!(held.segments > 3, "{held:?}");

    for (id, why) in [(output(), "reads as"), (OutputId::intake_dead(), "journal's own")] {
        let refused = journal.forget(&id).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    journal.forget(&gone).unwrap();
    assert!(matches!(journal.forget(&gone), Err(ForgetError::Unknown(_))));
    let freed = async {
        while journal.status().segments > 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, freed).await.unwrap();
    assert!(journal.status().bytes < held.bytes);
    drop((home, rejects));
    close(journal).await;

    let (journal, ..) = open(&options).unwrap();
    assert_eq!(journal.status().positions.len(), 2, "it does not come back");
    close(journal).await;
}

#[tokio::test]
async fn offline_the_lock_is_held_and_a_position_is_shown_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    let gone = left_behind(&options).await;
    let (journal, ..) = open(&options).unwrap();
    assert!(matches!(Offline::open(dir.path()), Err(OpenError::Locked(_))));
    close(journal).await;
    let elsewhere = tempfile::tempdir().unwrap();
    assert!(Offline::open(elsewhere.path()).is_err());
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is made");

    let offline = Offline::open(dir.path()).unwrap();
    assert!(matches!(open(&options), Err(OpenError::Locked(_))));
    let positions = offline.positions(&offline.verify().unwrap());
    let of = |id: &OutputId| positions.iter().find(|position| position.id == *id).unwrap();
    assert_eq!((of(&gone).low, of(&gone).pending), (Seq(0), 60));
    assert_eq!((of(&output()).pending, of(&output()).fates.confirmed), (50, 10));
    assert!(matches!(offline.forget(&OutputId::intake_dead()), Err(ForgetError::BuiltIn(_))));
    offline.forget(&gone).unwrap();
    drop(offline);
    let again = Offline::open(dir.path()).unwrap();
    assert!(matches!(again.forget(&gone), Err(ForgetError::Unknown(_))));
    assert_eq!(again.positions(&again.verify().unwrap()).len(), 2);
}

#[tokio::test]
async fn a_dump_shows_every_frame_from_where_it_is_asked_to_and_says_what_it_cannot_show() {
    let dir = tempfile::tempdir().unwrap();
    left_behind(&small(dir.path())).await;
    let collect = |from, count: usize| {
        let mut all: Vec<Dumped> = Vec::new();
        dump(dir.path(), Seq(from), |frame| {
            all.push(frame);
            all.len() < count
        })
        .unwrap();
        all
    };
    let all = collect(1, usize::MAX);
    assert!(all.iter().map(|frame| frame.seq.0).eq(1..=60));
    let text = |dumped: &Dumped| {
        let frame = dumped.frame.as_ref().unwrap();
        assert_eq!(frame.kind, Kind::Data);
        frame.submissions().next().unwrap().unwrap().bytes.to_vec()
    };
    assert_eq!(text(&all[41]), long(41).into_bytes());
    let some = collect(42, 3);
    assert!(some.iter().map(|frame| frame.seq.0).eq(42..45));

    let path = dir.path().join(&all[7].segment);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = usize::try_from(all[7].offset).unwrap();
    bytes[at + 60] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let damaged = collect(8, 1);
    assert_eq!(damaged[0].frame.as_ref().unwrap_err(), &"its payload is damaged");
}

#[tokio::test]
async fn a_position_whose_forgetting_failed_is_claimed_by_nobody() {
    let disk = SimDisk::new(1, 4 << 20);
    let options = Options { free_bytes_min: 0, ..small(Path::new("sim")) };
    let gone = OutputId::new("gone").unwrap();
    let (journal, appender, _) = open_with(Arc::new(disk.clone()), &options).unwrap();
    drop(journal.reader(&gone, Start::Oldest).unwrap());
    append_all(&appender, &mut Mark::new(), std::iter::once(long(1))).await;
    drop(appender);
    close(journal).await;
    disk.kill();

    let (shared, _) = prepare(Arc::new(disk.clone()), Path::new("sim"), options.limits()).unwrap();
    let of = || shared.positions().into_iter().find(|at| at.id == gone);
    disk.set_call_failures(1, 0);
    assert!(matches!(forget::forget(&shared, &gone), Err(ForgetError::Io(_))));
    assert!(of().is_some_and(|position| !position.is_claimed()));
    disk.set_call_failures(0, 0);
    forget::forget(&shared, &gone).unwrap();
    assert!(of().is_none());
}
