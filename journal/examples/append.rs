//! How fast is the append path here? Small submissions from many connections, each waiting for its
//! acknowledgement before the next, on the disk of a directory:
//!
//! `cargo run --release -p tidegate-journal --example append -- [submissions] [connections] [bytes] [dir]`

#![expect(clippy::print_stdout, reason = "what it measures is its output")]

use std::{error::Error, time::Duration};

use bytes::Bytes;
use journal::{Counts, Fates, Journal, Mark, Options, OutputId, Start, Submission, Ticket};
use tokio::{task::JoinSet, time::Instant};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| -> Result<u64, std::num::ParseIntError> {
        arguments.next().map_or(Ok(default), |argument| argument.parse())
    };
    let (submissions, connections, bytes) = (number(200_000)?, number(64)?.max(1), number(100)?);
    let each = submissions / connections;
    let under = arguments.next().unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::tempdir_in(under)?;
    let options = Options { bytes_max: 1 << 30, ..Options::new(dir.path()) };
    let (journal, appender, _) = journal::open(&options)?;
    let mut outputs = JoinSet::new();
    read(&journal, &mut outputs)?;

    let (started, cpu) = (Instant::now(), cpu_time()?);
    let mut senders = JoinSet::new();
    for connection in 0..connections {
        let appender = appender.clone();
        senders.spawn(async move {
            let mut mark = Mark::new();
            for n in 0..each {
                let ticket = mark.ticket();
                let number = ticket.number();
                if appender.append(submission(connection, n, bytes, ticket)).await.is_err() {
                    return;
                }
                while mark.moved().await.is_ok_and(|kept| kept.0 < number) {}
            }
        });
    }
    while senders.join_next().await.is_some() {}
    let (took, cpu) = (started.elapsed(), cpu_time()?.saturating_sub(cpu));
    report(&journal, each * connections, bytes, took, cpu);
    drop(appender);
    while outputs.join_next().await.is_some() {}
    tokio::task::spawn_blocking(move || journal.close()).await?;
    Ok(())
}

/// An output that confirms whatever it gets, and the reader of rejections.
fn read(journal: &Journal, outputs: &mut JoinSet<()>) -> Result<(), Box<dyn Error>> {
    let id = OutputId::new("bench").ok_or("not an id")?;
    for mut reader in [journal.reader(&id, Start::Oldest)?, journal.rejects()?] {
        outputs.spawn(async move {
            while let Some(lease) = reader.next().await {
                let confirmed = u64::from(lease.frame.readings);
                lease.receipt.confirm(&Fates { confirmed, ..Fates::default() });
            }
        });
    }
    Ok(())
}

fn submission(connection: u64, n: u64, bytes: u64, ticket: Ticket) -> Submission {
    let mut text = format!("climate,device=d{connection} temperature=21.{n} {n}").into_bytes();
    text.resize(usize::try_from(bytes).unwrap_or(100), b' ');
    Submission {
        source: "bench".into(),
        arrival_ns: i64::try_from(n).unwrap_or(0),
        clock_epoch: 0,
        readings: 1,
        bytes: text,
        rejected: Vec::new(),
        counts: Counts::default(),
        note: Bytes::new(),
        ticket,
        guard: None,
    }
}

fn report(journal: &Journal, submissions: u64, bytes: u64, took: Duration, cpu: Duration) {
    let status = journal.status();
    let per = |whole: f64, part: f64| if part > 0.0 { whole / part } else { 0.0 };
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let float = |n: u64| n as f64;
    let (groups, seconds) = (float(status.groups), took.as_secs_f64());
    println!("{:.0} submissions/s", per(float(submissions), seconds));
    println!("{:.0} groups/s", per(groups, seconds));
    println!("{:.1} submissions a group", per(float(submissions), groups));
    let syncing = status.syncs.sum.as_secs_f64() * 1000.0;
    println!("{:.2} ms a sync", per(syncing, float(status.syncs.count)));
    let payload = float(submissions * bytes);
    println!("{:.2} bytes written per byte", per(float(status.bytes_written), payload));
    println!("{:.2} CPU s per million", per(cpu.as_secs_f64() * 1e6, float(submissions)));
}

/// User and system time of this process, told in ticks of 10 ms.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(") ").next().ok_or("no stat")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = |at: usize| -> Result<u64, Box<dyn Error>> {
        Ok(fields.get(at).ok_or("a short stat")?.parse()?)
    };
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}
