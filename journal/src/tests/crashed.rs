//! What becomes of a frame on which the process itself crashes?

use std::{fs, path::Path};

use super::restart::{long, read, run, small};
use super::*;
use crate::open;

/// The directory as it is now, elsewhere: what a process that ends now leaves.
fn snapshot(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("quarantine")).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

/// Opens, takes one lease, and leaves as a process does that ends while it works on that frame.
async fn ended_at_a_frame(dir: &Path, crashed: bool) -> (tempfile::TempDir, Vec<String>) {
    let (journal, appender, _) = open(&Options { crashed, ..small(dir) }).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let lease = next(&mut reader).await.unwrap();
    let left = (snapshot(dir), texts(&lease));
    drop((lease, reader, appender));
    close(journal).await;
    left
}

#[tokio::test]
async fn a_frame_on_which_the_process_crashed_twice_is_set_aside_counted_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    run(&small(dir.path()), 0..5).await;
    let (first, at) = ended_at_a_frame(dir.path(), false).await;
    assert_eq!(at, [long(0)]);
    let (second, at) = ended_at_a_frame(first.path(), true).await;
    assert_eq!(at, [long(0)], "once is not enough");

    let (journal, appender, _) = open(&Options { crashed: true, ..small(second.path()) }).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    assert_eq!(drain(&mut reader).await, (1..5).map(long).collect::<Vec<_>>());
    let position = position(&journal);
    assert_eq!((position.fates.quarantined, position.fates.confirmed), (1, 4));
    assert_eq!((journal.status().set_aside_frames, position.pending), (1, 0));
    let kept = second.path().join("quarantine/frame-0000000000000001.home");
    assert!(fs::read(kept).unwrap().ends_with(long(0).as_bytes()));
    drop(reader);
    close(journal).await;
    let (all, position, _) = read(&Options { crashed: true, ..small(second.path()) }).await;
    assert_eq!((all.len(), position.fates.quarantined), (0, 1), "and that is that");
}

#[tokio::test]
async fn kills_and_power_cuts_set_nothing_aside_however_often_they_meet_the_same_frame() {
    let dir = tempfile::tempdir().unwrap();
    run(&small(dir.path()), 0..5).await;
    let mut left = snapshot(dir.path());
    for _ in 0..5 {
        let (next, at) = ended_at_a_frame(left.path(), false).await;
        assert_eq!(at, [long(0)]);
        left = next;
    }
    // Not even after one crash.
    let (mut left, _) = ended_at_a_frame(left.path(), true).await;
    for _ in 0..3 {
        let (next, at) = ended_at_a_frame(left.path(), false).await;
        assert_eq!(at, [long(0)]);
        left = next;
    }
    let (all, position, _) = read(&small(left.path())).await;
    assert_eq!((all.len(), position.fates.quarantined), (5, 0));
}

#[tokio::test]
async fn after_a_crash_the_mark_goes_when_its_frame_was_got_through() {
    let dir = tempfile::tempdir().unwrap();
    run(&small(dir.path()), 0..3).await;
    let crashed = Options { crashed: true, ..small(dir.path()) };
    let (journal, appender, _) = open(&crashed).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let leases = [next(&mut reader).await, next(&mut reader).await, next(&mut reader).await];
    // Asks for more than there is: nothing is worked on, and the disk knows it soon.
    assert!(timeout(Duration::from_secs(1), reader.next()).await.is_err());
    let left = snapshot(dir.path());
    drop((leases, reader, appender));
    close(journal).await;
    let (all, ..) = read(&Options { crashed: true, ..small(left.path()) }).await;
    assert_eq!(all.len(), 3);
}
