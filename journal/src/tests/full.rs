//! What happens when the journal, or the disk, is full?

use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;

use super::*;
use crate::FullBecause;
use crate::Room;
use crate::disk::sim::SimDisk;
use crate::keeper;
use crate::keeper::Trouble;
use crate::open;
use crate::open::prepare;
use crate::open_with;
use crate::reader::fetcher_at_low;
use crate::testing::HeldDisk;

fn tiny(dir: &std::path::Path) -> Options {
    Options {
        segment_bytes: Some(16 * 1024),
        bytes_max: 4 * 16 * 1024,
        queue_bytes_max: 4096,
        tail_bytes_max: 0,
        ..Options::new(dir)
    }
}

fn noise(n: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(n);
    let noise: String = std::iter::repeat_with(|| rng.alphanumeric()).take(1000).collect();
    format!("{n} {noise}")
}

#[tokio::test]
async fn it_blocks_within_its_bound_and_goes_on_by_itself_when_readers_free_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let options = tiny(dir.path());
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut rejects = journal.rejects().unwrap();
    let mut room = appender.watch_room();
    let sender = {
        let appender = appender.clone();
        async move {
            let mut mark = Mark::new();
            for n in 0..200 {
                append(&appender, &mut mark, &noise(n)).await;
            }
            kept(&mut mark, 200).await;
        }
    };
    let sender = async { timeout(SOON, sender).await.unwrap() };
    let watcher = async {
        let full = room.wait_for(|room| matches!(room, Room::Full { .. }));
        timeout(SOON, full).await.unwrap().unwrap();
        is_full_because(&journal, FullBecause::NoRoom).await;
        let status = journal.status();
        assert!(status.bytes <= status.bytes_max, "{status:?}");
        assert!(position(&journal).pending < 200);
        // Nobody reads: nothing moves. Then somebody does.
        let mut read = Vec::new();
        while read.len() < 200 {
            let lease = next(&mut reader).await.unwrap();
            read.extend(texts(&lease));
            confirm(lease);
            while !rejects.at_head() {
                // Hands out nothing, and passes the data frames by.
                let waited = timeout(Duration::from_millis(1), rejects.next()).await;
                assert!(waited.is_err());
            }
        }
        assert_eq!(read, (0..200).map(noise).collect::<Vec<_>>());
    };
    tokio::join!(sender, watcher);
    assert_eq!((appender.room(), journal.status().full_because), (Room::Free, None));
    let status = journal.status();
    assert!(status.bytes <= status.bytes_max);
    drop(appender);
    close(journal).await;
}

#[tokio::test]
async fn closing_a_full_journal_breaks_the_marks_of_what_it_cannot_keep() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, appender, _) = open(&tiny(dir.path())).unwrap();
    let _reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut mark = Mark::new();
    let mut full = appender.watch_room();
    let filling = async {
        for n in 0..200 {
            append(&appender, &mut mark, &noise(n)).await;
        }
    };
    tokio::select! {
        () = filling => panic!("200 kB do not fit"),
        _ = full.wait_for(|room| *room != Room::Free) => {}
    }
    timeout(SOON, close(journal)).await.unwrap();
    // What was kept is told, and then that the rest was not.
    let broken = async { while mark.moved().await.is_ok() {} };
    timeout(SOON, broken).await.unwrap();
}

#[tokio::test]
async fn without_space_it_starts_full_delivers_and_takes_again_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let options = tiny(dir.path());
    let (journal, appender, _) = open(&options).unwrap();
    drop(journal.reader(&output(), Start::Oldest).unwrap());
    append_all(&appender, &mut Mark::new(), numbered(0..3)).await;
    drop(appender);
    close(journal).await;

    let (disk, control) = HeldDisk::new(dir.path());
    control.refuse_space(true);
    let (journal, appender, _) = open_with(disk, &options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut mark = Mark::new();
    append(&appender, &mut mark, "waits").await;
    let mut room = appender.watch_room();
    timeout(SOON, room.wait_for(|room| *room != Room::Free)).await.unwrap().unwrap();
    let mut read = Vec::new();
    while read.len() < 3 {
        let lease = next(&mut reader).await.unwrap();
        read.extend(texts(&lease));
        confirm(lease);
    }
    assert_eq!(read, numbered(0..3).collect::<Vec<_>>());
    assert_eq!(mark.kept(), Ok(Kept(0)));
    control.refuse_space(false);
    kept(&mut mark, 1).await;
    timeout(SOON, room.wait_for(|room| *room == Room::Free)).await.unwrap().unwrap();
    assert_eq!(texts(&next(&mut reader).await.unwrap()), ["waits"]);
    drop((appender, reader));
    close(journal).await;
}

#[tokio::test]
async fn a_disk_that_fails_twice_in_a_row_is_tried_again_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, control) = HeldDisk::new(dir.path());
    let (journal, appender, _) = open_with(disk, &Options::new(dir.path())).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut mark = Mark::new();
    control.fail_syncs(3);
    append(&appender, &mut mark, "a").await;
    append(&appender, &mut mark, "b").await;
    let mut room = appender.watch_room();
    timeout(SOON, room.wait_for(|room| *room != Room::Free)).await.unwrap().unwrap();
    assert_eq!(mark.kept(), Ok(Kept(0)));
    kept(&mut mark, 2).await;
    drop(appender);
    assert_eq!(drain(&mut reader).await, ["a", "b"]);
    assert!(journal.status().commit_errors >= 2);
    close(journal).await;
}

#[tokio::test]
async fn closing_a_degraded_journal_ends_soon_and_breaks_the_marks_of_what_is_not_durable() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path());
    let (disk, control) = HeldDisk::new(dir.path());
    let (journal, appender, _) = open_with(disk, &options).unwrap();
    let _reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut mark = Mark::new();
    append_all(&appender, &mut mark, std::iter::once("durable".to_owned())).await;
    control.fail_syncs(u32::MAX);
    append(&appender, &mut mark, "not durable").await;
    let mut room = appender.watch_room();
    timeout(SOON, room.wait_for(|room| *room != Room::Free)).await.unwrap().unwrap();
    is_full_because(&journal, FullBecause::DiskFails).await;
    append(&appender, &mut mark, "nor this").await;
    timeout(SOON, close(journal)).await.unwrap();
    assert!(timeout(SOON, mark.moved()).await.unwrap().is_err());

    drop(appender);
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    let all = drain(&mut reader).await;
    assert_eq!(all.first().map(String::as_str), Some("durable"));
    assert!(!all.contains(&"nor this".to_owned()), "{all:?}: it was never written");
    close(journal).await;
}

/// For good: a segment that is only late makes it full for a moment as well.
async fn is_full_because(journal: &Journal, why: FullBecause) {
    let is_so = async {
        while journal.status().full_because != Some(why) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, is_so).await.unwrap();
}

#[tokio::test]
async fn a_disk_on_which_no_segment_can_be_prepared_is_said_to_fail_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, control) = HeldDisk::new(dir.path());
    control.fail_preparing(true);
    let (journal, appender, _) = open_with(disk, &tiny(dir.path())).unwrap();
    let mut mark = Mark::new();
    append(&appender, &mut mark, "waits").await;
    is_full_because(&journal, FullBecause::DiskFails).await;
    assert_eq!(mark.kept(), Ok(Kept(0)));
    control.fail_preparing(false);
    kept(&mut mark, 1).await;
    assert_eq!(journal.status().full_because, None);
    drop(appender);
    close(journal).await;
}

#[tokio::test]
async fn a_submission_beyond_its_bound_breaks_its_mark_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, appender, _) = open(&Options::new(dir.path())).unwrap();
    let (mut large, mut small) = (Mark::new(), Mark::new());
    let mut too_large = submission("", large.ticket());
    too_large.bytes = vec![0; crate::SUBMISSION_BYTES_MAX + 1];
    appender.append(too_large).await.unwrap();
    assert!(timeout(SOON, large.moved()).await.unwrap().is_err());
    let mut largest = submission("", small.ticket());
    largest.bytes = vec![7; crate::SUBMISSION_BYTES_MAX];
    appender.append(largest).await.unwrap();
    kept(&mut small, 1).await;
    drop(appender);
    close(journal).await;
}

fn drop_oldest(dir: &std::path::Path) -> Options {
    Options { when_full: crate::WhenFull::DropOldest, ..tiny(dir) }
}

#[tokio::test]
async fn drop_oldest_goes_on_and_counts_to_the_reading_what_only_the_stuck_output_loses() {
    let dir = tempfile::tempdir().unwrap();
    let options = drop_oldest(dir.path());
    let (journal, appender, _) = open(&options).unwrap();
    let stuck = OutputId::new("stuck").unwrap();
    let mut home = journal.reader(&output(), Start::Oldest).unwrap();
    let mut behind = journal.reader(&stuck, Start::Oldest).unwrap();
    let mut rejects = journal.rejects().unwrap();
    let mut mark = Mark::new();
    for n in 0..200 {
        append_all(&appender, &mut mark, std::iter::once(noise(n))).await;
        let lease = next(&mut home).await.unwrap();
        assert_eq!(texts(&lease), [noise(n)]);
        confirm(lease);
        while !rejects.at_head() {
            assert!(timeout(Duration::from_millis(1), rejects.next()).await.is_err());
        }
    }
    assert_eq!(position(&journal).fates.dropped, 0);
    drop(appender);
    let rest = drain(&mut behind).await;
    let dropped = 200 - rest.len() as u64;
    assert!((100..200).contains(&dropped), "{dropped}");
    assert_eq!(rest, (dropped..200).map(noise).collect::<Vec<_>>(), "only the oldest went");
    let status = journal.status();
    let counted = |id: &OutputId| status.positions.iter().find(|at| at.id == *id).unwrap().clone();
    let of_stuck = counted(&stuck);
    assert_eq!((of_stuck.fates.dropped, of_stuck.fates.confirmed), (dropped, 200 - dropped));
    assert_eq!((of_stuck.journaled, of_stuck.pending), (200, 0));
    assert_eq!((counted(&output()).fates.confirmed, status.damaged_frames), (200, 0));
    drop((home, behind, rejects));
    close(journal).await;
    let (journal, ..) = open(&options).unwrap();
    let again = journal.status().positions.into_iter().find(|at| at.id == stuck).unwrap();
    assert_eq!(again.fates, of_stuck.fates, "the counts are on the disk");
    close(journal).await;
}

#[tokio::test]
async fn a_lease_out_of_what_was_dropped_that_gets_through_after_all_is_not_counted_as_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let disk = std::sync::Arc::new(crate::disk::RealDisk::new(dir.path()));
    let mut limits = drop_oldest(dir.path()).limits();
    limits.lease_wait = Duration::ZERO;
    let (journal, appender, _) =
        crate::open::open_within(disk, &drop_oldest(dir.path()), limits).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let _rejects = journal.rejects().unwrap();
    let mut mark = Mark::new();
    append_all(&appender, &mut mark, std::iter::once(noise(0))).await;
    append_all(&appender, &mut mark, std::iter::once(noise(1))).await;
    let through = next(&mut reader).await.unwrap();
    let given_up = next(&mut reader).await.unwrap();
    for n in 2..100 {
        append_all(&appender, &mut mark, std::iter::once(noise(n))).await;
    }
    let dropped = position(&journal).fates.dropped;
    assert!(dropped > 30, "{dropped}");
    confirm(through);
    drop(given_up);
    let fates = position(&journal).fates;
    assert_eq!((fates.dropped, fates.confirmed), (dropped - 1, 1));
    drop(appender);
    let rest = drain(&mut reader).await;
    assert_eq!(rest, (dropped..100).map(noise).collect::<Vec<_>>());
    assert_eq!(position(&journal).pending, 0);
    close(journal).await;
}

#[tokio::test]
async fn under_block_a_position_that_nobody_claims_gives_way_and_one_that_is_claimed_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let options = tiny(dir.path());
    let (journal, appender, _) = open(&options).unwrap();
    let removed = OutputId::new("removed").unwrap();
    drop(journal.reader(&removed, Start::Oldest).unwrap());
    drop(appender);
    close(journal).await;

    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut rejects = journal.rejects().unwrap();
    let mut mark = Mark::new();
    for n in 0..100 {
        append_all(&appender, &mut mark, std::iter::once(noise(n))).await;
        confirm(next(&mut reader).await.unwrap());
        while !rejects.at_head() {
            assert!(timeout(Duration::from_millis(1), rejects.next()).await.is_err());
        }
    }
    let of =
        |id: &OutputId| journal.status().positions.into_iter().find(|at| at.id == *id).unwrap();
    let gone = of(&removed);
    assert!(gone.fates.dropped > 30 && !gone.claimed, "{gone:?}");
    assert_eq!(gone.fates.dropped + gone.pending, 100);
    assert_eq!(of(&output()).fates.confirmed, 100);
    drop((appender, reader, rejects));
    close(journal).await;
}

/// A file system that shows late what was freed: one segment is given, not all there are.
#[tokio::test]
async fn when_what_was_dropped_does_not_show_as_free_no_more_is_dropped_for_a_while() {
    let disk = SimDisk::new(1, 4 << 20);
    let options = Options { free_bytes_min: 0, ..drop_oldest(std::path::Path::new("sim")) };
    let options = Options { bytes_max: 20 * 16 * 1024, ..options };
    let (journal, appender, _) = open_with(Arc::new(disk.clone()), &options).unwrap();
    drop(journal.reader(&output(), Start::Oldest).unwrap());
    drop(journal.rejects().unwrap());
    for n in 0..60 {
        append_all(&appender, &mut Mark::new(), std::iter::once(noise(n))).await;
    }
    drop(appender);
    close(journal).await;
    disk.kill();

    let mut limits = options.limits();
    (limits.lease_wait, limits.free_bytes_min) = (Duration::ZERO, 4 << 20);
    let (shared, _) = prepare(Arc::new(disk.clone()), std::path::Path::new("sim"), limits).unwrap();
    shared.in_use.store(true, Ordering::Release);
    shared.desk.want(true);
    let segments = || shared.catalog.places().len();
    let (before, now) = (segments(), Instant::now());
    assert!(before > 4, "{before}");
    let mut trouble = Trouble::default();
    for _ in 0..5 {
        keeper::round(&shared, now, &mut trouble);
    }
    assert_eq!(segments(), before - 1);
    keeper::round(&shared, now + Duration::from_millis(101), &mut trouble);
    assert_eq!(segments(), before - 2);
}

#[tokio::test]
async fn a_reader_at_the_head_keeps_no_file_open_that_is_done_with() {
    let disk = SimDisk::new(1, 4 << 20);
    let options =
        Options { free_bytes_min: 0, tail_bytes_max: 1 << 20, ..tiny(std::path::Path::new("sim")) };
    let (journal, appender, _) = open_with(Arc::new(disk.clone()), &options).unwrap();
    drop(journal.reader(&output(), Start::Oldest).unwrap());
    append_all(&appender, &mut Mark::new(), (0..3).map(noise)).await;
    drop(appender);
    close(journal).await;
    disk.kill();

    let (shared, _) =
        prepare(Arc::new(disk.clone()), std::path::Path::new("sim"), options.limits()).unwrap();
    let home = shared.positions().into_iter().find(|at| at.id == output()).unwrap();
    let mut fetcher = fetcher_at_low(&shared, &home);
    let (durable, open) = (shared.durable(), disk.open_files());
    while fetcher.next() <= durable {
        assert!(!fetcher.take_from_disk(durable).is_empty());
    }
    assert_eq!(disk.open_files(), open);
}
