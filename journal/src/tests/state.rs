//! Where does an output with a state go on?

use std::sync::Arc;

use super::restart::{long, read, run, segments, small};
use super::*;
use crate::PositionAlarm;
use crate::Rejected;
use crate::Seq;
use crate::WhenFull;
use crate::disk::sim::SimDisk;
use crate::open;
use crate::open_with;

/// An output that keeps what it has seen as its state.
async fn take(reader: &mut Reader, count: usize) -> (Seq, Vec<String>) {
    let (mut last, mut all) = (Seq(0), Vec::new());
    for _ in 0..count {
        let lease = next(reader).await.unwrap();
        last = lease.seq;
        all.extend(texts(&lease));
        confirm(lease);
    }
    (last, all)
}

fn state(reader: &Reader) -> String {
    String::from_utf8(reader.state().to_vec()).unwrap()
}

#[tokio::test]
async fn it_goes_on_after_the_frame_that_its_state_is_of() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..30).await;
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    reader.keep_state(0);
    assert_eq!(state(&reader), "");
    let (seq, _) = take(&mut reader, 10).await;
    let checkpoint = reader.checkpoint(seq, b"ten".to_vec(), 0);
    let (_, seen) = take(&mut reader, 10).await;
    assert_eq!(position(&journal).fates.confirmed, 20);
    checkpoint.confirm();
    // Taken, and not confirmed.
    let (seq, _) = take(&mut reader, 1).await;
    let unconfirmed = reader.checkpoint(seq, b"lost".to_vec(), 0);
    drop((reader, appender));
    close(journal).await;
    drop(unconfirmed);

    for _ in 0..2 {
        let (journal, appender, _) = open(&options).unwrap();
        assert_eq!(position(&journal).fates.confirmed, 10, "as of the state's frame");
        let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
        assert_eq!(state(&reader), "ten");
        reader.keep_state(0);
        assert_eq!(take(&mut reader, 10).await.1, seen);
        // Without a checkpoint the next life begins where this one did.
        drop((reader, appender));
        close(journal).await;
    }
}

#[tokio::test]
async fn what_came_of_its_frames_must_be_done_with_first() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..10).await;
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    reader.keep_state(0);
    let open_lease = next(&mut reader).await.unwrap();
    let (seq, _) = take(&mut reader, 4).await;
    reader.checkpoint(seq, b"five".to_vec(), 0).confirm();
    let before = position(&journal);
    confirm(open_lease);
    take(&mut reader, 2).await;
    drop((reader, appender));
    close(journal).await;
    assert_eq!(before.fates.confirmed, 4);

    let (journal, appender, _) = open(&options).unwrap();
    let reader = journal.reader(&output(), Start::Oldest).unwrap();
    assert_eq!((state(&reader).as_str(), position(&journal).fates.confirmed), ("five", 5));
    drop((reader, appender));
    close(journal).await;
}

#[tokio::test]
async fn a_segment_stays_until_the_restart_has_passed_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..60).await;
    let (journal, appender, _) = open(&options).unwrap();
    let mut rejects = journal.rejects().unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    reader.keep_state(0);
    let before = segments(dir.path()).len();
    let (seq, _) = take(&mut reader, 60).await;
    drop(appender);
    assert!(next(&mut rejects).await.is_none());
    assert!(next(&mut reader).await.is_none());
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(segments(dir.path()).len() >= before, "nothing is freed without a checkpoint");
    reader.checkpoint(seq, b"all".to_vec(), 0).confirm();
    let freed = async {
        while segments(dir.path()).len() > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, freed).await.unwrap();
    drop((reader, rejects));
    close(journal).await;
}

#[tokio::test]
async fn states_of_any_size_come_back_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..12).await;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut former: Arc<[u8]> = Arc::default();
    for (n, size) in [0, 10, 5000, 700_000, 3, 300_000, 0].into_iter().enumerate() {
        let (journal, appender, _) = open(&options).unwrap();
        let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
        assert_eq!(reader.state(), former, "{n}");
        reader.keep_state(0);
        let (seq, seen) = take(&mut reader, 1).await;
        assert_eq!(seen, [long(u32::try_from(n).unwrap())]);
        former = std::iter::repeat_with(|| rng.u8(..)).take(size).collect();
        reader.checkpoint(seq, former.to_vec(), 0).confirm();
        drop((reader, appender));
        close(journal).await;
        let files = ["pos-home.0", "pos-home.1"].map(|name| dir.path().join(name));
        let largest = files.map(|file| std::fs::metadata(file).unwrap().len());
        assert!(largest.into_iter().max().unwrap() >= size as u64);
        let (journal, appender, _) = open(&options).unwrap();
        let on_disk = std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap());
        let on_disk =
            on_disk.filter_map(|it| it.metadata().ok()).filter(std::fs::Metadata::is_file);
        let on_disk: u64 = on_disk.map(|it| it.len()).sum();
        assert_eq!(journal.status().bytes, on_disk, "after a state of {size}");
        drop(appender);
        close(journal).await;
    }
}

#[tokio::test]
async fn an_output_with_a_state_gives_way_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { bytes_max: 8 * 16 * 1024, when_full: WhenFull::DropOldest, ..small(dir.path()) };
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let rejects = journal.rejects().unwrap();
    reader.keep_state(0);
    let mut mark = Mark::new();
    append_all(&appender, &mut mark, (0..5).map(long)).await;
    let (seq, _) = take(&mut reader, 1).await;
    reader.checkpoint(seq, b"old".to_vec(), 0).confirm();
    append_all(&appender, &mut mark, (5..400).map(long)).await;
    let dropped = position(&journal).fates.dropped;
    assert!(dropped > 100, "{dropped}");
    drop((reader, rejects, appender));
    close(journal).await;
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    // It has seen all that there was before the gap.
    assert_eq!((state(&reader).as_str(), reader.has_lost_state()), ("old", false));
    let rest = drain(&mut reader).await;
    assert_eq!(rest.last(), Some(&long(399)));
    let after = position(&journal);
    assert_eq!(after.fates.total(), 400, "{after:?}");
    drop(reader);
    close(journal).await;
}

/// Until so many are dropped; nobody reads.
async fn fill(appender: &Appender, journal: &Journal, dropped: u64) {
    let mut mark = Mark::new();
    for n in 0..400 {
        append_all(appender, &mut mark, std::iter::once(long(n))).await;
        if position(journal).fates.dropped >= dropped {
            return;
        }
    }
    panic!("nothing gives way");
}

#[tokio::test]
async fn readings_that_only_a_lost_state_held_count_as_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { bytes_max: 8 * 16 * 1024, when_full: WhenFull::DropOldest, ..small(dir.path()) };
    run(&options, 0..10).await;
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let rejects = journal.rejects().unwrap();
    reader.keep_state(0);
    let absorb = async |reader: &mut Reader, count| {
        let mut last = Seq(0);
        for _ in 0..count {
            let lease = next(reader).await.unwrap();
            last = lease.seq;
            lease.receipt.confirm(&Fates { absorbed: 1, ..Fates::default() });
        }
        last
    };
    // A window of three closed; two are in the state when it is stored, two more come after that.
    let seq = absorb(&mut reader, 5).await;
    reader.checkpoint(seq, b"two".to_vec(), 2).confirm();
    absorb(&mut reader, 2).await;
    fill(&appender, &journal, 20).await;
    let living = position(&journal).fates;
    assert_eq!(living.absorbed, 7, "the process still knows them: {living:?}");
    drop((reader, rejects, appender));
    close(journal).await;

    let (journal, appender, _) = open(&options).unwrap();
    let found = position(&journal).fates;
    assert_eq!((found.absorbed, found.dropped), (3, living.dropped + 4), "{found:?}");
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    assert_eq!((state(&reader).as_str(), reader.has_lost_state()), ("", true));
    reader.keep_state(0);
    let lease = next(&mut reader).await.unwrap();
    let seq = lease.seq;
    confirm(lease);
    reader.checkpoint(seq, b"new".to_vec(), 0).confirm();
    assert!(!reader.has_lost_state());
    drop((reader, appender));
    close(journal).await;
}

#[tokio::test]
async fn frames_that_only_pass_by_are_freed_and_the_state_stays() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { bytes_max: 8 * 16 * 1024, ..small(dir.path()) };
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut rejects = journal.rejects().unwrap();
    reader.keep_state(0);
    let mut mark = Mark::new();
    append_all(&appender, &mut mark, (0..1).map(long)).await;
    let (seq, _) = take(&mut reader, 1).await;
    reader.checkpoint(seq, b"one".to_vec(), 0).confirm();
    // Far more than fits: nothing of it is this output's.
    let filling = async {
        for n in 0..400 {
            let refused = Rejected {
                topic: "t".to_owned(),
                index: 0,
                kind: "json",
                reason: "broken".to_owned(),
                bytes: long(n).into_bytes(),
                readings: 1,
            };
            let ticket = mark.ticket();
            let number = ticket.number();
            let rejected = vec![refused];
            let empty = Submission { readings: 0, bytes: Vec::new(), ..submission("", ticket) };
            appender.append(Submission { rejected, ..empty }).await.unwrap();
            kept(&mut mark, number).await;
        }
    };
    tokio::select! {
        () = filling => {}
        lease = reader.next() => panic!("{lease:?}"),
        () = async { while let Some(lease) = rejects.next().await { confirm(lease); } } => {}
    }
    drop((reader, rejects, appender));
    close(journal).await;
    let (journal, appender, _) = open(&options).unwrap();
    let reader = journal.reader(&output(), Start::Oldest).unwrap();
    assert_eq!((state(&reader).as_str(), reader.has_lost_state()), ("one", false));
    assert_eq!(position(&journal).fates, Fates { confirmed: 1, ..Fates::default() });
    drop((reader, appender));
    close(journal).await;
}

#[tokio::test]
async fn a_state_that_has_grown_is_written_though_the_disk_is_full() {
    let disk = SimDisk::new(1, 4 << 20);
    let options = small(std::path::Path::new("sim"));
    let options = Options { free_bytes_min: 0, ..options };
    let opened = || open_with(Arc::new(disk.clone()), &options).unwrap();
    let (journal, appender, _) = opened();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    reader.keep_state(0);
    for n in 0..3 {
        append_all(&appender, &mut Mark::new(), std::iter::once(long(n))).await;
    }
    // Both files are large, and the next state is larger than either.
    for (file, size) in [("pos-home.0", 60_000), ("pos-home.1", 70_000)] {
        let (seq, _) = take(&mut reader, 1).await;
        reader.checkpoint(seq, vec![7; size], 0).confirm();
        let written = async {
            while disk.files().get(file).is_none_or(|bytes| bytes.len() < size) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, written).await.unwrap();
    }
    disk.set_space(disk.used() + 30_000);
    let (seq, _) = take(&mut reader, 1).await;
    reader.checkpoint(seq, vec![8; 95_000], 0).confirm();
    drop((reader, appender));
    close(journal).await;
    disk.kill();
    disk.set_space(4 << 20);
    let (journal, appender, _) = opened();
    let reader = journal.reader(&output(), Start::Oldest).unwrap();
    assert_eq!((reader.state().len(), position(&journal).fates.confirmed), (95_000, 3));
    drop((reader, appender));
    close(journal).await;
}

#[tokio::test]
async fn a_state_of_a_later_release_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    run(&options, 0..5).await;
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    reader.leave_to_newer();
    assert_eq!(position(&journal).alarm, Some(PositionAlarm::Newer));
    assert!(timeout(Duration::from_millis(50), reader.next()).await.is_err());
    drop(appender);
    assert!(next(&mut reader).await.is_none(), "it ends all the same");
    drop(reader);
    close(journal).await;
    assert_eq!(read(&options).await.0.len(), 5, "and nothing was passed");
}
