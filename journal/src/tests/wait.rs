//! When is a group synced?

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::open;

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn what_nobody_waits_for_rides_with_the_next_that_somebody_does() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sync_wait: HOUR, ..Options::new(dir.path()) };
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    for n in 0..10 {
        appender.append(submission(&format!("nobody {n}"), Ticket::nobody())).await.unwrap();
    }
    assert_eq!(journal.status().syncs.count, 0);
    append_all(&appender, &mut Mark::new(), std::iter::once("somebody".to_owned())).await;
    assert_eq!(journal.status().syncs.count, 1);
    let lease = next(&mut reader).await.unwrap();
    assert_eq!(texts(&lease).len(), 11);
    drop((lease, reader, appender));
    close(journal).await;
}

#[tokio::test]
async fn what_nobody_waits_for_is_synced_after_its_wait() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sync_wait: Duration::from_millis(200), ..Options::new(dir.path()) };
    let (journal, appender, _) = open(&options).unwrap();
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    let started = std::time::SystemTime::now();
    appender.append(submission("nobody", Ticket::nobody())).await.unwrap();
    let lease = next(&mut reader).await.unwrap();
    assert!(started.elapsed().unwrap() >= Duration::from_millis(190));
    drop((lease, reader, appender));
    close(journal).await;
}

#[tokio::test]
async fn a_queue_full_of_what_nobody_waits_for_is_written_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { sync_wait: HOUR, queue_bytes_max: 64 * 1024, ..Options::new(dir.path()) };
    let (journal, appender, _) = open(&options).unwrap();
    let fill = async {
        for n in 0..2000 {
            appender.append(submission(&format!("nobody {n}"), Ticket::nobody())).await.unwrap();
        }
    };
    timeout(SOON, fill).await.unwrap(); // 2,000 do not fit at once: each costs 256 bytes and more.
    drop(appender);
    close(journal).await;
}

#[tokio::test]
async fn a_large_group_is_settled_by_the_runtime_and_its_guards_go_with_it() {
    struct Guard(Arc<AtomicBool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (journal, appender, _) = open(&Options::new(dir.path())).unwrap();
    let mut marks: Vec<_> = (0..500).map(|_| Mark::new()).collect();
    let released = Arc::new(AtomicBool::new(false));
    for mark in &mut marks {
        let mut submission = submission("one of many", mark.ticket());
        submission.guard = Some(Box::new(Guard(Arc::clone(&released))));
        appender.append(submission).await.unwrap();
    }
    for mark in &mut marks {
        kept(mark, 1).await;
    }
    drop(appender);
    close(journal).await;
    assert!(released.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_cancelled_append_breaks_its_mark() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, control) = crate::testing::HeldDisk::new(dir.path());
    let options = Options { queue_bytes_max: 1024, ..Options::new(dir.path()) };
    let (journal, appender, _) = crate::open_with(disk, &options).unwrap();
    control.hold();
    let (mut first, mut second) = (Mark::new(), Mark::new());
    append(&appender, &mut first, "held").await;
    assert!(control.wait_until_held(SOON));
    appender.append(submission(&"x".repeat(700), Ticket::nobody())).await.unwrap();
    let waiting = appender.append(submission(&"y".repeat(700), second.ticket()));
    assert!(timeout(Duration::from_millis(50), waiting).await.is_err());
    assert!(timeout(SOON, second.moved()).await.unwrap().is_err());
    control.release();
    kept(&mut first, 1).await;
    drop(appender);
    close(journal).await;
}
