//! The same between a real journal and a scripted database.

use bytes::Bytes;
use journal::{Counts, Journal, Mark, Options, OutputId, Rejected, Start, Submission, Ticket};

use super::*;
use crate::output::{dead, rejects};

fn options(dir: &std::path::Path) -> Options {
    let sync_wait = Duration::from_millis(10);
    Options { bytes_max: 64 << 20, free_bytes_min: 0, sync_wait, ..Options::new(dir) }
}

fn submission(readings: &[proto::Reading], rejected: Vec<Rejected>, ticket: Ticket) -> Submission {
    Submission {
        source: "mqtt".into(),
        arrival_ns: twin::ARRIVAL_NS,
        clock_epoch: 0,
        readings: u32::try_from(readings.len()).unwrap(),
        bytes: encoded(readings),
        rejected,
        counts: Counts::default(),
        note: Bytes::new(),
        ticket,
        guard: None,
    }
}

fn fates(journal: &Journal, output: &str) -> Fates {
    let status = journal.status();
    let position = status.positions.iter().find(|position| position.id.as_str() == output);
    position.unwrap().fates
}

async fn close(journal: Journal) {
    tokio::task::spawn_blocking(move || journal.close()).await.unwrap();
}

#[tokio::test]
async fn what_is_confirmed_does_not_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let home = OutputId::new("home").unwrap();
    let readings = series("a", 0, 1000);
    for round in 0..2 {
        let (journal, appender, _) = journal::open(&options(dir.path())).unwrap();
        let reader = journal.reader(&home, Start::Oldest).unwrap();
        let twin = Twin::answering(Answer::Stored, NOW);
        let output = Output {
            id: "home".into(),
            sink: Arc::clone(&twin),
            limits: limits(64),
            process: process::Settings::default(),
            dead: None,
            stats: Metrics::default().output("home"),
            clock: Clock::default(),
        };
        if round == 0 {
            let mut mark = Mark::new();
            for part in readings.chunks(10) {
                appender.append(submission(part, Vec::new(), mark.ticket())).await.unwrap();
            }
        }
        drop(appender);
        run(output, reader, CancellationToken::new()).await;
        assert_eq!(fates(&journal, "home"), Fates { confirmed: 1000, ..Fates::default() });
        close(journal).await;
        let stored: BTreeSet<_> = twin.stored().into_iter().collect();
        let expected = if round == 0 { lines_of(&readings) } else { BTreeSet::new() };
        assert_eq!(stored, expected);
    }
}

#[tokio::test]
async fn what_was_given_up_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let home = OutputId::new("home").unwrap();
    let (journal, appender, _) = journal::open(&options(dir.path())).unwrap();
    let mut mark = Mark::new();
    appender.append(submission(&series("a", 0, 100), Vec::new(), mark.ticket())).await.unwrap();
    drop(appender);
    for round in 0..2 {
        let answer_after = if round == 0 { Duration::from_hours(1) } else { NOW };
        let twin = Twin::answering(Answer::Stored, answer_after);
        let stats = Metrics::default().output("home");
        let output = Output {
            id: "home".into(),
            sink: Arc::clone(&twin),
            limits: limits(10),
            process: process::Settings::default(),
            dead: None,
            stats,
            clock: Clock::default(),
        };
        let deadline = CancellationToken::new();
        let stop = deadline.clone();
        let reader = journal.reader(&home, Start::Oldest).unwrap();
        let wait_then_stop = async {
            while round == 0 && twin.requests().len() < 4 {
                tokio::task::yield_now().await;
            }
            if round == 0 {
                stop.cancel();
            }
        };
        tokio::join!(run(output, reader, deadline), wait_then_stop);
        assert_eq!(twin.stored().len(), round * 100);
    }
    close(journal).await;
}

#[tokio::test]
async fn what_intake_refused_becomes_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, appender, _) = journal::open(&options(&dir.path().join("journal"))).unwrap();
    let refused = |index, bytes: &[u8]| Rejected {
        topic: "a/b".to_owned(),
        index,
        kind: "undecodable",
        reason: "byte 3: expected a value".to_owned(),
        bytes: bytes.to_vec(),
        readings: 1,
    };
    let mut mark = Mark::new();
    let rejected = vec![refused(0, b"{\"t\":}"), refused(1, b"\xff")];
    appender.append(submission(&series("a", 0, 1), rejected, mark.ticket())).await.unwrap();
    drop(appender);
    let letters = DeadLetters::new(Settings::in_dir(dir.path().join("intake")));
    let stats = Metrics::default().output("intake-dead");
    let reader = journal.rejects().unwrap();
    rejects::run(reader, Some(letters), stats, CancellationToken::new()).await;
    assert_eq!(fates(&journal, "intake-dead"), Fates { dead: 2, ..Fates::default() });
    close(journal).await;
    let text = std::fs::read_to_string(dir.path().join("intake/dead.ndjson")).unwrap();
    let entries: Vec<Entry> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].payload.as_deref(), Some("{\"t\":}"));
    assert_eq!(entries[0].source.as_deref(), Some("mqtt"));
    assert_eq!(entries[0].topic.as_deref(), Some("a/b"));
    assert_eq!(entries[0].time, dead::rfc3339(twin::ARRIVAL_NS));
    assert_eq!((entries[0].reason.as_str(), entries[0].readings), ("undecodable", 1));
    assert_eq!(entries[1].payload_base64.as_deref(), Some("/w=="));

    let (journal, appender, _) = journal::open(&options(&dir.path().join("journal"))).unwrap();
    drop(appender);
    let stats = Metrics::default().output("intake-dead");
    let reader = journal.rejects().unwrap();
    rejects::run(reader, None, stats, CancellationToken::new()).await;
    let once = Fates { dead: 2, ..Fates::default() };
    assert_eq!(fates(&journal, "intake-dead"), once, "they do not come again");
    close(journal).await;
}
