//! The whole path on a real directory: in, durable, out, confirmed, and the end.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::Closed;
use crate::OpenError;
use crate::Rejected;
use crate::Seq;
use crate::open;
use crate::open_with;
use crate::testing::HeldDisk;

#[tokio::test]
async fn what_goes_in_comes_out_in_order_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path());
    let (journal, appender, recovery) = open(&options).unwrap();
    assert_eq!(recovery, Recovery::default());
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    assert!(matches!(journal.reader(&output(), Start::Oldest), Err(OpenError::Taken(_))));

    let mut mark = Mark::new();
    append_all(&appender, &mut mark, (0..1000).map(|n| format!("reading {n}"))).await;
    append_all(&appender, &mut mark, (1000..1010).map(|n| format!("reading {n}"))).await;
    drop(appender);
    let mut read = Vec::new();
    while let Some(lease) = timeout(SOON, reader.next()).await.unwrap() {
        read.extend(texts(&lease));
        confirm(lease);
    }
    assert_eq!(read, (0..1010).map(|n| format!("reading {n}")).collect::<Vec<_>>());
    let status = journal.status();
    let home = status.positions.iter().find(|position| position.id == output()).unwrap();
    assert_eq!((home.journaled, home.pending, home.fates.confirmed), (1010, 0, 1010));
    assert_eq!(status.books.journaled, 1010);
    assert!(status.syncs.count >= 1 && status.groups >= 1);
    close(journal).await;
}

#[tokio::test]
async fn a_dropped_receipt_brings_the_frame_again_from_memory_or_disk() {
    for tail_bytes_max in [0, 1 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { tail_bytes_max, ..Options::new(dir.path()) };
        let (journal, appender, _) = open(&options).unwrap();
        let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
        let mut mark = Mark::new();
        for n in 1..=5 {
            append_all(&appender, &mut mark, std::iter::once(format!("{n}"))).await;
        }
        drop(appender);
        let mut leases = Vec::new();
        for _ in 0..4 {
            leases.push(timeout(SOON, reader.next()).await.unwrap().unwrap());
        }
        let [first, second, third, fourth] = <[Lease; 4]>::try_from(leases).unwrap();
        confirm(third);
        drop(second);
        let share = fourth.receipt.share();
        drop(fourth);
        share.confirm(&Fates { confirmed: 1, ..Fates::default() }); // Void: its other half is not.
        let mut again = Vec::new();
        while let Some(lease) = timeout(SOON, reader.next()).await.unwrap() {
            again.push((lease.seq.0, texts(&lease)));
            confirm(lease);
        }
        let expected = [2, 4, 5].map(|n| (n, vec![format!("{n}")]));
        assert_eq!(again, expected);
        confirm(first);
        let home = journal.status().positions.into_iter().find(|p| p.id == output()).unwrap();
        assert_eq!((home.low, home.pending, home.fates.confirmed), (Seq(5), 0, 5));
        close(journal).await;
    }
}

#[tokio::test]
async fn what_was_refused_goes_to_its_own_reader_and_counts_come_along() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, appender, _) = open(&Options::new(dir.path())).unwrap();
    let mut rejects = journal.rejects().unwrap();
    let mut mark = Mark::new();
    let refused = Rejected {
        topic: "garden/t".to_owned(),
        index: 0,
        kind: "json",
        reason: "byte 3: expected `:`".to_owned(),
        bytes: b"{\"a\"1}".to_vec(),
        readings: 1,
    };
    let mut first = submission("", mark.ticket());
    first.readings = 0;
    first.counts = Counts { filtered: 2, ..Counts::default() }; // Nothing to write: settles alone.
    appender.append(first).await.unwrap();
    assert_eq!(timeout(SOON, mark.moved()).await.unwrap(), Ok(Kept(1)));
    assert_eq!(journal.status().groups, 0);

    let mut second = submission("21.5", mark.ticket());
    second.rejected = vec![refused.clone()];
    second.counts = Counts { refused: 1, ..Counts::default() };
    appender.append(second).await.unwrap();
    assert_eq!(timeout(SOON, mark.moved()).await.unwrap(), Ok(Kept(2)));
    let lease = timeout(SOON, rejects.next()).await.unwrap().unwrap();
    let entry = lease.frame.rejected().next().unwrap().unwrap();
    assert_eq!((entry.topic, entry.kind, entry.bytes), ("garden/t", "json", &refused.bytes[..]));
    let books = journal.status().books;
    assert_eq!((books.journaled, books.rejected, books.refused, books.filtered), (1, 1, 1, 2));
    confirm(lease);
    let dead = &journal.status().positions[0];
    assert_eq!((dead.pending, dead.fates.confirmed, dead.low), (0, 1, Seq(2)));
    drop(appender);
    assert!(timeout(SOON, rejects.next()).await.unwrap().is_none());
    close(journal).await;
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_has_closed() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path());
    let (journal, appender, _) = open(&options).unwrap();
    assert!(matches!(open(&options), Err(OpenError::Locked(_))));
    drop(appender);
    close(journal).await;
    let (journal, ..) = open(&options).unwrap();
    close(journal).await;
}

#[tokio::test]
async fn nothing_is_taken_after_the_close_and_what_waits_breaks_or_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sync_wait: Duration::from_hours(1), ..Options::new(dir.path()) };
    let (journal, appender, _) = open(&options).unwrap();
    appender.append(submission("nobody waits", Ticket::nobody())).await.unwrap();
    close(journal).await; // Does not wait an hour.
    assert_eq!(appender.append(submission("late", Ticket::nobody())).await, Err(Closed));
}

#[tokio::test]
async fn a_held_sync_holds_every_acknowledgement_and_a_failed_one_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, control) = HeldDisk::new(dir.path());
    let (journal, appender, _) = open_with(disk, &Options::new(dir.path())).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let mut mark = Mark::new();

    control.hold();
    appender.append(submission("held", mark.ticket())).await.unwrap();
    assert!(control.wait_until_held(SOON));
    assert_eq!((mark.kept(), reader.at_head()), (Ok(Kept(0)), true));
    control.fail_syncs(1); // And then it fails: still nothing is acknowledged for it.
    control.release();
    assert_eq!(timeout(SOON, mark.moved()).await.unwrap(), Ok(Kept(1)));
    let lease = timeout(SOON, reader.next()).await.unwrap().unwrap();
    assert_eq!((lease.seq, texts(&lease)), (Seq(1), vec!["held".to_owned()]));
    assert_eq!(journal.status().commit_errors, 1);
    drop((appender, lease, reader));
    close(journal).await;
}

#[tokio::test]
async fn a_writer_that_dies_is_noticed_and_breaks_every_mark() {
    struct Fault;
    impl Drop for Fault {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "a fault of ours, in the writer's thread");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (disk, control) = HeldDisk::new(dir.path());
    let (journal, appender, _) = open_with(disk, &Options::new(dir.path())).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let (mut first, mut second) = (Mark::new(), Mark::new());
    control.hold();
    let mut faulty = submission("settled, and then it goes wrong", first.ticket());
    faulty.guard = Some(Box::new(Fault));
    appender.append(faulty).await.unwrap();
    assert!(control.wait_until_held(SOON));
    append(&appender, &mut second, "behind it").await;
    control.release();
    timeout(SOON, journal.died()).await.unwrap();
    assert_eq!(appender.append(submission("late", Ticket::nobody())).await, Err(Closed));
    assert_eq!(timeout(SOON, first.moved()).await.unwrap(), Ok(Kept(1)));
    assert!(timeout(SOON, second.moved()).await.unwrap().is_err());
    let lease = next(&mut reader).await.unwrap();
    assert_eq!(texts(&lease).len(), 1);
    // No end of input: an output must not take a fault for a clean shutdown.
    assert!(timeout(Duration::from_millis(50), reader.next()).await.is_err());
}

#[tokio::test]
async fn the_mutant_that_acknowledges_before_the_sync_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, control) = HeldDisk::new(dir.path());
    let (journal, appender, _) = open_with(disk, &Options::new(dir.path())).unwrap();
    let mut mark = Mark::new();
    control.hold();
    control.lie();
    appender.append(submission("not durable", mark.ticket())).await.unwrap();
    assert_eq!(timeout(SOON, mark.moved()).await.unwrap(), Ok(Kept(1)));
    drop(appender);
    close(journal).await;
}
