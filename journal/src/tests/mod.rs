//! Through the public door: files by question.

mod crashed;
mod door;
mod full;
mod newer;
mod notes;
mod path;
mod restart;
mod state;
mod unreadable;
mod wait;

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::Appender;
use crate::Counts;
use crate::Fates;
use crate::Journal;
use crate::Kept;
use crate::Lease;
use crate::Mark;
use crate::Options;
use crate::OutputId;
use crate::PositionStatus;
use crate::Reader;
use crate::Recovery;
use crate::Start;
use crate::Submission;
use crate::Ticket;

/// A generous bound: what takes longer hangs.
const SOON: Duration = Duration::from_secs(30);

fn submission(text: &str, ticket: Ticket) -> Submission {
    Submission {
        source: "test".into(),
        arrival_ns: 1,
        clock_epoch: 0,
        readings: 1,
        bytes: text.as_bytes().to_vec(),
        rejected: Vec::new(),
        counts: Counts::default(),
        note: Bytes::new(),
        ticket,
        guard: None,
    }
}

fn output() -> OutputId {
    OutputId::new("home").unwrap()
}

fn texts(lease: &Lease) -> Vec<String> {
    let bytes = lease.frame.submissions().map(|submission| submission.unwrap().bytes.to_vec());
    bytes.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
}

fn confirm(lease: Lease) {
    let confirmed = u64::from(lease.frame.readings);
    lease.receipt.confirm(&Fates { confirmed, ..Fates::default() });
}

async fn close(journal: Journal) {
    tokio::task::spawn_blocking(|| journal.close()).await.unwrap();
}

async fn append(appender: &Appender, mark: &mut Mark, text: &str) {
    appender.append(submission(text, mark.ticket())).await.unwrap();
}

async fn append_all(appender: &Appender, mark: &mut Mark, texts: impl Iterator<Item = String>) {
    let mut last = 0;
    for text in texts {
        let ticket = mark.ticket();
        last = ticket.number();
        appender.append(submission(&text, ticket)).await.unwrap();
    }
    kept(mark, last).await;
}

async fn kept(mark: &mut Mark, number: u64) {
    let all = async { while mark.moved().await.unwrap() < Kept(number) {} };
    timeout(SOON, all).await.unwrap();
}

async fn next(reader: &mut Reader) -> Option<Lease> {
    timeout(SOON, reader.next()).await.unwrap()
}

/// Reads and confirms to the end.
async fn drain(reader: &mut Reader) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(lease) = next(reader).await {
        all.extend(texts(&lease));
        confirm(lease);
    }
    all
}

fn position(journal: &Journal) -> PositionStatus {
    journal.status().positions.into_iter().find(|position| position.id == output()).unwrap()
}

fn numbered(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|n| format!("reading {n}"))
}
