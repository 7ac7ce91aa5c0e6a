//! What becomes of what the disk does not let us read?

use std::{path::Path, sync::Arc};

use super::restart::long;
use super::*;
use crate::OpenError;
use crate::PositionAlarm;
use crate::disk::{Disk as _, sim::SimDisk};
use crate::open_with;

fn options() -> Options {
    Options {
        segment_bytes: Some(16 * 1024),
        bytes_max: 64 * 16 * 1024,
        free_bytes_min: 0,
        tail_bytes_max: 0,
        ..Options::new(Path::new("sim"))
    }
}

/// So many readings, each a group of its own, which nobody confirmed; the last segment is unsealed.
async fn left(readings: u32) -> SimDisk {
    let disk = SimDisk::new(1, 4 << 20);
    let (journal, appender, _) = open_with(Arc::new(disk.clone()), &options()).unwrap();
    drop(journal.reader(&output(), Start::Oldest).unwrap());
    append_all(&appender, &mut Mark::new(), (0..1).map(long)).await;
    for n in 1..readings {
        append_all(&appender, &mut Mark::new(), std::iter::once(long(n))).await;
    }
    drop(appender);
    close(journal).await;
    disk.kill();
    disk
}

fn segments(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.names();
    names.retain(|name| name.starts_with("seg-"));
    names
}

/// The newest segment with frames in it.
fn tail(disk: &SimDisk) -> String {
    let files = disk.files();
    let has_frames = |name: &String| files[name][4096..].iter().any(|byte| *byte != 0);
    segments(disk).into_iter().rev().find(has_frames).unwrap()
}

async fn read_all(disk: &SimDisk) -> (Vec<String>, u64) {
    let (journal, appender, recovery) = open_with(Arc::new(disk.clone()), &options()).unwrap();
    assert_eq!((recovery.closed.len(), recovery.corrupt.len()), (0, 0), "{recovery:?}");
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    let all = drain(&mut reader).await;
    let damaged = journal.status().damaged_frames;
    drop(reader);
    close(journal).await;
    disk.kill();
    (all, damaged)
}

/// Until nothing more comes.
async fn take(reader: &mut Reader) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(Some(lease)) = timeout(Duration::from_secs(1), reader.next()).await {
        all.extend(texts(&lease));
        confirm(lease);
    }
    all
}

#[tokio::test]
async fn a_tail_that_cannot_be_read_at_open_is_left_as_it_is_and_is_there_when_it_can() {
    let disk = left(40).await;
    let name = tail(&disk);
    let before = disk.files().remove(&name);
    disk.set_bad_page(Some((&name, 4096)));
    let (journal, appender, recovery) = open_with(Arc::new(disk.clone()), &options()).unwrap();
    assert_eq!(recovery.closed, std::slice::from_ref(&name));
    assert_eq!(recovery.corrupt, []);
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    append_all(&appender, &mut Mark::new(), std::iter::once("goes on".to_owned())).await;
    let got = take(&mut reader).await;
    assert!((10..40).contains(&got.len()), "{}", got.len());
    assert_eq!(position(&journal).alarm, Some(PositionAlarm::Stopped));
    drop((reader, appender));
    close(journal).await;
    disk.kill();
    assert_eq!(disk.files().remove(&name), before);

    disk.set_bad_page(None);
    let (rest, damaged) = read_all(&disk).await;
    let all: Vec<_> = got.into_iter().chain(rest).collect();
    let expected = (0..40).map(long).chain(["goes on".to_owned()]);
    assert_eq!((all, damaged), (expected.collect(), 0));
}

#[tokio::test]
async fn a_page_that_cannot_be_read_for_a_while_costs_nothing() {
    let disk = left(40).await;
    let (journal, appender, _) = open_with(Arc::new(disk.clone()), &options()).unwrap();
    let name = segments(&disk).remove(1);
    disk.set_bad_page(Some((&name, 2 * 4096)));
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut got = take(&mut reader).await;
    assert!((5..30).contains(&got.len()), "{}", got.len());
    assert_eq!(position(&journal).alarm, Some(PositionAlarm::Stopped));
    disk.set_bad_page(None);
    drop(appender);
    got.extend(drain(&mut reader).await);
    assert_eq!(got, (0..40).map(long).collect::<Vec<_>>());
    assert_eq!((journal.status().damaged_frames, position(&journal).alarm), (0, None));
    drop(reader);
    close(journal).await;
}

/// Found by a seed: a leap, and then a power cut that takes the file begun after it, but not the
/// position that names it.
#[tokio::test]
async fn numbers_do_not_come_again_though_the_file_begun_after_a_leap_is_lost() {
    let disk = left(40).await;
    let unread = tail(&disk);
    disk.set_bad_page(Some((&unread, 4096)));
    let (journal, appender, _) = open_with(Arc::new(disk.clone()), &options()).unwrap();
    drop(journal.reader(&OutputId::new("late").unwrap(), Start::New).unwrap());
    drop(appender);
    close(journal).await;
    disk.kill();
    disk.set_bad_page(None);
    for begun in segments(&disk).into_iter().filter(|name| *name > unread) {
        disk.remove(&begun).unwrap();
    }

    let append_to = async |disk: &SimDisk| {
        let (journal, appender, recovery) = open_with(Arc::new(disk.clone()), &options()).unwrap();
        let before = journal.status().durable;
        append_all(&appender, &mut Mark::new(), (0..5).map(long)).await;
        drop(appender);
        let after = journal.status().durable;
        close(journal).await;
        disk.kill();
        (recovery, before, after)
    };
    let (recovery, _, written) = append_to(&disk).await;
    assert_eq!((recovery.closed.len(), recovery.corrupt.len()), (0, 0), "{recovery:?}");
    disk.set_bad_page(Some((&tail(&disk), 4096)));
    let (recovery, before, after) = append_to(&disk).await;
    assert_eq!(recovery.closed.len(), 1, "{recovery:?}");
    assert!(before >= written && after > written, "{written:?}, then {before:?} to {after:?}");
}

#[tokio::test]
async fn a_page_that_stays_unreadable_costs_its_frames_and_the_file_is_kept() {
    let disk = left(40).await;
    let (journal, appender, _) = open_with(Arc::new(disk.clone()), &options()).unwrap();
    let name = segments(&disk).remove(1);
    disk.set_bad_page(Some((&name, 2 * 4096)));
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut rejects = journal.rejects().unwrap();
    tokio::time::pause();
    let got = take_long(&mut reader).await;
    tokio::time::resume();
    let lost = 40 - got.len() as u64;
    assert!((1..=8).contains(&lost), "{lost}");
    assert_eq!(journal.status().damaged_frames, lost);
    let at = position(&journal);
    assert_eq!((at.fates.quarantined, at.pending, at.alarm), (lost, 0, None));
    // The other way stops there as well, and must not free the file either.
    tokio::time::pause();
    take_long(&mut rejects).await;
    tokio::time::resume();
    let kept = format!("quarantine/{name}");
    let freed = async {
        while !disk.names().contains(&kept) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, freed).await.unwrap();
    drop((reader, rejects, appender));
    close(journal).await;
}

/// With a clock that jumps: until nothing more comes.
async fn take_long(reader: &mut Reader) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(Some(lease)) = timeout(Duration::from_secs(200), reader.next()).await {
        all.extend(texts(&lease));
        confirm(lease);
    }
    all
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_does_not_give_way() {
    let disk = left(40).await;
    let drops = Options {
        when_full: crate::WhenFull::DropOldest,
        bytes_max: disk.used() + 2 * 16 * 1024,
        ..options()
    };
    let (journal, appender, _) = open_with(Arc::new(disk.clone()), &drops).unwrap();
    let oldest = segments(&disk).remove(0);
    disk.set_bad_page(Some((&oldest, 2 * 4096)));
    let mut mark = Mark::new();
    let mut room = appender.watch_room();
    let filling = async {
        for n in 0..200 {
            append(&appender, &mut mark, &long(n)).await;
        }
    };
    tokio::select! {
        () = filling => {}
        _ = room.wait_for(|room| *room != crate::Room::Free) => {}
    }
    timeout(SOON, room.wait_for(|room| *room != crate::Room::Free)).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(position(&journal).fates.dropped, 0);
    assert!(disk.names().contains(&oldest));
    close(journal).await;
}

#[tokio::test]
async fn many_segments_need_few_files_and_with_too_few_it_does_not_start() {
    let disk = left(200).await;
    let (count, before) = (segments(&disk).len(), disk.files());
    assert!(count > 10, "{count}");
    disk.set_files_max(disk.open_files());
    let opened = open_with(Arc::new(disk.clone()), &options());
    assert!(matches!(opened, Err(OpenError::Io { .. })), "{opened:?}");
    drop(opened);
    disk.kill();
    assert_eq!(disk.files(), before, "nothing is touched");
    disk.set_files_max(disk.open_files() + 10);
    let (all, damaged) = read_all(&disk).await;
    assert_eq!((all.len(), damaged), (200, 0));
}

#[tokio::test]
async fn without_a_valid_position_it_starts_before_what_cannot_be_read() {
    let disk = left(40).await;
    for slot in ["pos-home.0", "pos-home.1"] {
        disk.damage(slot, |bytes| bytes[44] ^= 1);
    }
    let first = segments(&disk).remove(0);
    disk.set_bad_page(Some((&first, 0)));
    let (journal, appender, recovery) = open_with(Arc::new(disk.clone()), &options()).unwrap();
    assert_eq!(recovery.closed, [first]);
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let another = OutputId::new("another").unwrap();
    let mut another = journal.reader(&another, Start::Oldest).unwrap();
    assert_eq!(take(&mut reader).await, [""; 0]);
    assert_eq!(take(&mut another).await, [""; 0]);
    drop((reader, another, appender));
    close(journal).await;
    disk.kill();
    disk.set_bad_page(None);
    assert_eq!(read_all(&disk).await.0.len(), 40);
}

/// Found by a seed: nothing tells which journal this is while its only segment cannot be read.
#[tokio::test]
async fn what_is_written_while_nothing_tells_the_journals_name_belongs_to_it() {
    let disk = left(3).await;
    for name in disk.names().into_iter().filter(|name| name.starts_with("pos-")) {
        disk.remove(&name).unwrap();
    }
    let unread = segments(&disk);
    for name in &unread[1..] {
        disk.remove(name).unwrap();
    }
    disk.set_bad_page(Some((&unread[0], 0)));
    // Twice: what the first wrote names no journal for the second either.
    for n in 3..5 {
        let (journal, appender, recovery) = open_with(Arc::new(disk.clone()), &options()).unwrap();
        assert_eq!((&*recovery.closed, &*recovery.quarantined), (&unread[..1], &[][..]));
        drop(journal.reader(&output(), Start::Oldest).unwrap());
        append_all(&appender, &mut Mark::new(), std::iter::once(long(n))).await;
        drop(appender);
        close(journal).await;
        disk.kill();
    }
    disk.set_bad_page(None);
    let expected: Vec<_> = (0..5).map(long).collect();
    assert_eq!(read_all(&disk).await, (expected, 0));
    assert!(!disk.names().iter().any(|name| name.starts_with("quarantine/")));

    let (journal, appender, _) = open_with(Arc::new(disk.clone()), &options()).unwrap();
    assert_ne!(journal.id(), [0; 16], "the first one's again");
    drop(appender);
    close(journal).await;
}
