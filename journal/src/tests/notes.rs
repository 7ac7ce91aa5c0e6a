//! Do notes come back with the readings that they go with?

use super::restart::{damage, long, read, segments, small};
use super::*;
use crate::open;

/// The notes that a walk of the last `bytes_max` bytes meets.
fn notes(journal: &Journal, bytes_max: u64) -> Vec<String> {
    let mut found = Vec::new();
    journal.notes(bytes_max, |note| found.push(String::from_utf8(note.to_vec()).unwrap()));
    found
}

#[tokio::test]
async fn notes_come_back_in_order_from_as_far_back_as_asked_and_readers_see_none() {
    let dir = tempfile::tempdir().unwrap();
    let options = small(dir.path());
    let (journal, appender, _) = open(&options).unwrap();
    drop(journal.reader(&output(), Start::Oldest).unwrap());
    let mut mark = Mark::new();
    for n in 0..60 {
        let ticket = mark.ticket();
        let number = ticket.number();
        let note = Bytes::from(format!("note {n}"));
        let text = if n % 10 == 9 { String::new() } else { long(n) };
        let readings = u32::from(!text.is_empty());
        let submission = Submission { readings, note, ..submission(&text, ticket) };
        appender.append(submission).await.unwrap();
        kept(&mut mark, number).await;
    }
    let all: Vec<_> = (0..60).map(|n| format!("note {n}")).collect();
    assert_eq!(notes(&journal, u64::MAX), all, "of a living journal");
    drop(appender);
    close(journal).await;

    let (journal, appender, _) = open(&options).unwrap();
    assert_eq!(notes(&journal, u64::MAX), all);
    let some = notes(&journal, 20 * 1024);
    assert!((10..40).contains(&some.len()), "{}", some.len());
    assert!(all.ends_with(&some));
    assert_eq!(notes(&journal, 0), [""; 0]);
    let mut reader = journal.reader(&output(), Start::Oldest).unwrap();
    drop(appender);
    let texts = drain(&mut reader).await;
    let expected: Vec<_> = (0..60).filter(|n| n % 10 != 9).map(long).collect();
    assert_eq!(texts, expected, "a note alone is nothing to hand out");
    drop(reader);
    close(journal).await;
}

#[tokio::test]
async fn readings_and_their_note_are_lost_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { tail_bytes_max: 0, ..Options::new(dir.path()) };
    let (journal, appender, _) = open(&options).unwrap();
    drop(journal.reader(&output(), Start::Oldest).unwrap());
    let mut mark = Mark::new();
    for n in 0..3 {
        let ticket = mark.ticket();
        let number = ticket.number();
        let note = Bytes::from(format!("note {n}"));
        let submission = Submission { note, ..submission(&long(n), ticket) };
        appender.append(submission).await.unwrap();
        kept(&mut mark, number).await;
    }
    drop(appender);
    close(journal).await;
    damage(&segments(dir.path())[0], |bytes| {
        let at = bytes.windows(6).position(|part| part == b"note 1").unwrap();
        bytes[at] ^= 1;
    });
    let (texts, ..) = read(&options).await;
    assert_eq!(texts, [long(0), long(2)]);
    let (journal, ..) = open(&options).unwrap();
    assert_eq!(notes(&journal, u64::MAX), ["note 0", "note 2"]);
}
