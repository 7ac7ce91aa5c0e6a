//! What a later release wrote: it is left alone, intake goes on, and the later one finds everything when
//! it comes back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::restart::{damage, long, read, run, segments, small};
use super::*;
use crate::PositionAlarm;
use crate::Seq;
use crate::frame;
use crate::open;
use crate::position::record;
use crate::segment;

/// The segment as a later release would have begun it.
fn as_newer(segment: &Path) {
    of_version(segment, 2);
}

fn of_version(segment: &Path, version: u8) {
    damage(segment, |bytes| {
        for at in [0, 2048] {
            bytes[at + 8] = version;
            let crc = crc32c::crc32c(&bytes[at..at + 124]);
            bytes[at + 124..at + 128].copy_from_slice(&crc.to_le_bytes());
        }
    });
}

/// The older release cannot tell where the newest segment ends, nor what is in it.
#[tokio::test]
async fn who_goes_on_after_the_newest_segment_loses_no_number_and_no_count_once_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..20).await;
    let has_frames = |path: &PathBuf| fs::read(path).unwrap()[4096..].iter().any(|b| *b != 0);
    let newest = segments(dir.path()).into_iter().rfind(has_frames).unwrap();
    as_newer(&newest);
    run(&options, 20..30).await;
    run(&options, 30..35).await;
    of_version(&newest, 1);
    run(&options, 35..40).await;
    let (journal, appender, recovery) = open(&options).unwrap();
    assert_eq!(recovery.corrupt, []);
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    let all = drain(&mut reader).await;
    assert_eq!(all, (0..40).map(long).collect::<Vec<_>>());
    let (status, position) = (journal.status(), position(&journal));
    assert_eq!((status.damaged_frames, status.books.journaled), (0, 40));
    assert_eq!((position.journaled, position.pending), (40, 0));
    assert_eq!(position.fates, Fates { confirmed: 40, ..Fates::default() });
    close(journal).await;
}

#[tokio::test]
async fn what_a_later_release_wrote_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..40).await;
    let newer = segments(dir.path()).remove(1);
    as_newer(&newer);
    let before = fs::read(&newer).unwrap();
    let (journal, appender, recovery) = open(&options).unwrap();
    assert_eq!(recovery.closed, [newer.file_name().unwrap().to_str().unwrap()]);
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut mark = Mark::new();
    append_all(&appender, &mut mark, std::iter::once("goes on".to_owned())).await;
    let first = segment::id_of("seg-0000000000000001.log");
    assert_eq!(first, Some(1));
    let mut read = 0;
    while !reader.at_head()
        && let Ok(Some(lease)) = timeout(Duration::from_secs(1), reader.next()).await
    {
        assert_eq!(texts(&lease), [long(read)]);
        confirm(lease);
        read += 1;
    }
    assert!((1..30).contains(&read), "{read}: it stops before the segment it cannot read");
    assert_eq!(position(&journal).alarm, Some(PositionAlarm::NewerFrames));
    assert!(journal.status().newer);
    drop((reader, appender));
    close(journal).await;
    assert_eq!(fs::read(&newer).unwrap(), before);
}

#[tokio::test]
async fn a_frame_of_a_later_release_is_neither_skipped_nor_dropped_when_full_and_intake_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { bytes_max: 6 * 16 * 1024, ..small(dir.path()) };
    run(&options, 0..20).await;
    let first = segments(dir.path()).remove(0);
    damage(&first, |bytes| {
        let salt = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
        bytes[4096 + 34] = 9; // Its schema.
        frame::stamp(&mut bytes[4096..], salt);
    });
    let drops = Options { when_full: crate::WhenFull::DropOldest, ..options };
    let (journal, appender, _) = open(&drops).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut mark = Mark::new();
    append_all(&appender, &mut mark, std::iter::once("goes on".to_owned())).await;
    let stands = async {
        while position(&journal).alarm.is_none() {
            assert!(timeout(Duration::from_millis(50), reader.next()).await.is_err());
        }
    };
    timeout(SOON, stands).await.unwrap();
    let status = journal.status();
    assert!(status.newer, "{status:?}");
    assert_eq!(position(&journal).alarm, Some(PositionAlarm::NewerFrames));
    let mut full = appender.watch_room();
    let filling = async {
        for n in 0..200 {
            append(&appender, &mut mark, &long(n)).await;
        }
    };
    tokio::select! {
        () = filling => {}
        _ = full.wait_for(|room| *room != crate::Room::Free) => {}
    }
    timeout(SOON, full.wait_for(|room| *room != crate::Room::Free)).await.unwrap().unwrap();
    assert_eq!((position(&journal).fates.dropped, position(&journal).low), (0, Seq(0)));
    assert!(first.try_exists().unwrap());
    drop(reader);
    close(journal).await;
}

#[tokio::test]
async fn a_position_of_a_later_release_waits_for_it_and_keeps_its_frames() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..5).await;
    let path = dir.path().join("pos-home.1");
    let newer = record::with_version(fs::read(&path).unwrap(), 2);
    fs::write(&path, &newer).unwrap();
    let (all, position, _) = read(&options).await;
    assert_eq!((all.len(), position.alarm), (0, Some(PositionAlarm::Newer)));
    assert_eq!(fs::read(&path).unwrap(), newer);
}
