//! What does a restart find?

use std::{fs, io, path::Path};

use super::*;
use crate::PositionAlarm;
use crate::Seq;
use crate::open;
use crate::verify;
use crate::verify::SegmentState;

pub(super) fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("seg-"))
        .collect();
    found.sort_unstable();
    found
}

pub(super) fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Small segments, so that a few readings fill several.
pub(super) fn small(dir: &Path) -> Options {
    Options {
        segment_bytes: Some(16 * 1024),
        bytes_max: 64 * 16 * 1024,
        tail_bytes_max: 0,
        ..Options::new(dir)
    }
}

/// Each reading a group of its own, and long enough that a segment holds few.
pub(super) async fn run(options: &Options, range: std::ops::Range<u32>) -> Recovery {
    let (journal, appender, recovery) = open(options).unwrap();
    drop(journal.reader(&output(), Start::Oldest).unwrap());
    let mut mark = Mark::new();
    for n in range {
        append_all(&appender, &mut mark, std::iter::once(long(n))).await;
    }
    drop(appender);
    close(journal).await;
    recovery
}

pub(super) fn long(n: u32) -> String {
    let mut rng = fastrand::Rng::with_seed(u64::from(n));
    let noise: String = std::iter::repeat_with(|| rng.alphanumeric()).take(700).collect();
    format!("{n} {noise}")
}

pub(super) async fn read(options: &Options) -> (Vec<String>, PositionStatus, Recovery) {
    let (journal, appender, recovery) = open(options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    let all = drain(&mut reader).await;
    let position = position(&journal);
    close(journal).await;
    (all, position, recovery)
}

#[tokio::test]
async fn everything_durable_and_the_position_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..30).await;
    let (journal, appender, recovery) = open(&options).unwrap();
    assert_eq!((recovery.frames_scanned > 0, recovery.corrupt.len()), (true, 0));
    let mut reader = journal.reader(&output(), Start::New).unwrap(); // Known: `start` is not asked.
    for n in 0..10 {
        let lease = next(&mut reader).await.unwrap();
        assert_eq!(texts(&lease), [long(n)]);
        confirm(lease);
    }
    drop((reader, appender));
    close(journal).await;

    run(&options, 30..40).await;
    let (all, position, _) = read(&options).await;
    assert_eq!(all, (10..40).map(long).collect::<Vec<_>>());
    assert_eq!((position.journaled, position.pending, position.fates.confirmed), (40, 0, 40));
    assert_eq!(read(&options).await.1.low_on_disk, position.low);
}

#[tokio::test]
async fn the_last_counts_are_in_the_books_after_a_restart_and_no_output_sees_them() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut last = submission("", Ticket::nobody());
    (last.readings, last.counts.filtered) = (0, 7);
    appender.append(last).await.unwrap();
    drop(appender);
    assert!(next(&mut reader).await.is_none());
    drop(reader);
    close(journal).await;
    let (journal, appender, _) = open(&options).unwrap();
    assert_eq!(journal.status().books.filtered, 7);
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    assert!(next(&mut reader).await.is_none());
    assert_eq!(position(&journal).low, Seq(1));
    close(journal).await;
}

#[tokio::test]
async fn segments_go_when_every_position_has_passed_them_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..60).await;
    let before = segments(dir.path()).len();
    assert!(before > 3);
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    assert_eq!(drain(&mut reader).await.len(), 60);
    close(journal).await;
    // `intake-dead` has no reader yet.
    assert!(segments(dir.path()).len() >= before);

    let (journal, appender, _) = open(&options).unwrap();
    let mut mark = Mark::new();
    let mut rejects = journal.rejects().unwrap();
    append_all(&appender, &mut mark, std::iter::once("one more".to_owned())).await;
    drop(appender);
    assert!(next(&mut rejects).await.is_none());
    let freed = async {
        while journal.status().segments > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, freed).await.unwrap();
    close(journal).await;
    assert!(segments(dir.path()).len() <= 3); // The newest two, and the prepared one.
}

#[tokio::test]
async fn freed_segments_are_recycled_two_at_most_and_what_they_held_never_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    let spares = || {
        let names = fs::read_dir(dir.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("free-")).count()
    };
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut rejects = journal.rejects().unwrap();
    let (mut mark, mut spares_most) = (Mark::new(), 0);
    for n in 0..200 {
        append_all(&appender, &mut mark, std::iter::once(long(n))).await;
        let lease = next(&mut reader).await.unwrap();
        assert_eq!(texts(&lease), [long(n)]);
        confirm(lease);
        while !rejects.at_head() {
            assert!(timeout(Duration::from_millis(1), rejects.next()).await.is_err());
        }
        spares_most = spares_most.max(spares());
    }
    assert!((1..=2).contains(&spares_most), "{spares_most}");
    assert_eq!(journal.status().damaged_frames, 0);
    drop((appender, reader, rejects));
    close(journal).await;
    let verified = verify(dir.path()).unwrap();
    assert!(verified.is_sound(), "{verified:#?}");
    let (all, position, recovery) = read(&options).await;
    assert_eq!((all.len(), position.fates.confirmed, recovery.torn_bytes), (0, 200, 0));
    assert_eq!(spares(), 0, "recycled files are removed at open");
}

#[tokio::test]
async fn a_damaged_payload_and_a_zeroed_page_cost_their_frames_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..40).await;
    // The first frame's payload in the first segment, a header somewhere in the second.
    let files = segments(dir.path());
    damage(&files[0], |bytes| bytes[4096 + 100] ^= 1);
    damage(&files[1], |bytes| bytes[2 * 4096..3 * 4096].fill(0));
    let verified = verify(dir.path()).unwrap();
    assert!(!verified.is_sound() && !verified.live);
    assert_eq!(verified.segments[0].corrupt, [(1, 1)]);
    let in_second: Vec<_> = verified.segments[1].corrupt.clone();
    assert_eq!(in_second.len(), 1);

    let (journal, appender, recovery) = open(&options).unwrap();
    assert_eq!(recovery.corrupt, [], "sealed segments are checked when they are read");
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    let all = drain(&mut reader).await;
    let lost = 1 + in_second[0].1 + 1 - in_second[0].0;
    assert_eq!(all.len() as u64, 40 - lost);
    let status = journal.status();
    assert_eq!(status.damaged_frames, lost);
    let position = position(&journal);
    assert_eq!((position.journaled, position.pending), (40, 0), "the books balance");
    assert_eq!(position.fates.quarantined, lost);
    close(journal).await;
    let kept = verify(dir.path()).unwrap().quarantine;
    assert!(kept.iter().any(|(name, _)| name.starts_with("seg-0000000000000001.log.1000-")));
}

#[tokio::test]
async fn garbage_in_the_directory_never_keeps_it_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..20).await;
    fs::write(dir.path().join("seg-00000000000000aa.log"), b"no segment").unwrap();
    fs::write(dir.path().join("seg-00000000000000ab.log"), vec![0; 16384]).unwrap();
    fs::write(dir.path().join("pos-home.0"), b"no position").unwrap();
    fs::write(dir.path().join("new-pos-x.1"), b"cut short").unwrap();
    fs::write(dir.path().join("something else"), b"not ours").unwrap();
    let (all, position, recovery) = read(&options).await;
    assert_eq!(all.len(), 20);
    assert_eq!(recovery.quarantined, ["seg-00000000000000aa.log"]);
    assert_eq!((position.pending, position.alarm), (0, None));
    assert!(dir.path().join("quarantine/seg-00000000000000aa.log").try_exists().unwrap());
    assert!(dir.path().join("something else").try_exists().unwrap());
    assert!(!dir.path().join("new-pos-x.1").try_exists().unwrap());
}

#[tokio::test]
async fn without_a_valid_position_everything_comes_again_with_an_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..5).await;
    assert_eq!(read(&options).await.0.len(), 5);
    for slot in ["pos-home.0", "pos-home.1"] {
        damage(&dir.path().join(slot), |bytes| bytes[44] ^= 1);
    }
    let (all, position, _) = read(&options).await;
    assert_eq!((all.len(), position.alarm), (5, Some(PositionAlarm::Damaged)));
    assert_eq!((position.journaled, position.pending, position.fates.confirmed), (5, 0, 5));
    assert_eq!(read(&options).await.1.alarm, None, "it is on the disk again");

    let theirs = small(other.path());
    run(&theirs, 0..1).await;
    assert_eq!(read(&theirs).await.0.len(), 1);
    for slot in ["pos-home.0", "pos-home.1"] {
        fs::copy(other.path().join(slot), dir.path().join(slot)).unwrap();
    }
    let (all, position, _) = read(&options).await;
    assert_eq!((all.len(), position.alarm), (5, Some(PositionAlarm::OtherJournal)));
}

#[tokio::test]
async fn a_deleted_log_does_not_make_new_readings_count_as_sent() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..5).await;
    let (_, position, _) = read(&options).await;
    assert_eq!(position.low, Seq(5));
    for path in segments(dir.path()) {
        fs::remove_file(path).unwrap();
    }
    run(&options, 5..7).await;
    let (all, position, _) = read(&options).await;
    assert_eq!(all, [long(5), long(6)]);
    assert_eq!((position.low, position.pending), (Seq(7), 0));
}

#[tokio::test]
async fn verify_finds_nothing_wrong_with_a_sound_journal_and_nothing_in_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(verify(empty.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing is made");

    let options = small(dir.path());
    run(&options, 0..40).await;
    let (journal, ..) = open(&options).unwrap();
    let verified = verify(dir.path()).unwrap();
    assert!(verified.is_sound() && verified.live, "{verified:#?}");
    assert_eq!((verified.frames(), verified.readings()), (40, 40));
    assert_eq!(verified.segments[0].state, SegmentState::Sealed);
    assert_eq!(verified.positions.len(), 2);
    assert_eq!(verified.bytes, journal.status().bytes);
    close(journal).await;
}

#[tokio::test]
async fn what_no_output_needs_is_freed_once_all_have_asked_also_before_anything_comes() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..40).await;
    let (journal, appender, _) = open(&options).unwrap();
    let mut rejects = journal.rejects().unwrap();
    while !rejects.at_head() {
        // Hands out nothing, and passes the data frames by.
        assert!(timeout(Duration::from_millis(5), rejects.next()).await.is_err());
    }
    journal.forget(&output()).unwrap();
    let before = journal.status().segments;
    assert!(before > 2, "{before}");
    journal.begin();
    let freed = async {
        while journal.status().segments > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, freed).await.unwrap();
    drop((appender, rejects));
    close(journal).await;
}
