//! Connections that do nothing: what does each cost the gateway?

use std::{io, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{mqtt, process::Usage};

#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port`
    pub address: String,
    pub connections: u32,
    /// Do not even send CONNECT: the gateway must close such connections by its own deadline.
    pub silent: bool,
    /// How long they are held once all are open.
    pub hold: Duration,
    pub pids: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub connected: u32,
    /// Could not be opened, or were answered with anything but an accepting CONNACK.
    pub failed: u32,
    pub connecting_took: Duration,
    /// Closed by the gateway by the end.
    pub closed: u32,
    /// Of each process: before, with all connections open, at the end.
    pub processes: Vec<(u32, [Usage; 3])>,
}

const CONNECT_MAX: Duration = Duration::from_secs(10);

/// `progress` is told how many are open.
pub async fn run(options: &Options, mut progress: impl FnMut(u32)) -> io::Result<Report> {
    let usages = || options.pids.iter().map(|&pid| Usage::of(pid)).collect::<io::Result<Vec<_>>>();
    let before = usages()?;
    let mut report = Report::default();
    let began = Instant::now();
    let mut open = Vec::new();
    for index in 0..options.connections {
        match connect(options, index).await {
            Ok(stream) => open.push(stream),
            Err(error) => {
                report.failed += 1;
                tracing::debug!(%error, "cannot connect");
            }
        }
        progress(index + 1);
    }
    report.connecting_took = began.elapsed();
    report.connected = u32::try_from(open.len()).unwrap_or(u32::MAX);
    let with_all = usages()?;
    sleep(options.hold).await;
    let after = usages()?;
    let closed = open.iter().filter(|stream| is_closed(stream)).count();
    report.closed = u32::try_from(closed).unwrap_or(u32::MAX);
    for (((&pid, b), w), a) in options.pids.iter().zip(before).zip(with_all).zip(after) {
        report.processes.push((pid, [b, w, a]));
    }
    Ok(report)
}

async fn connect(options: &Options, index: u32) -> io::Result<TcpStream> {
    if options.silent {
        return timeout(CONNECT_MAX, TcpStream::connect(&options.address)).await?;
    }
    mqtt::connect(&options.address, &format!("idle-{index}"), 3600).await
}

/// Whether the other side has closed it (or reset it).
fn is_closed(stream: &TcpStream) -> bool {
    let mut byte = [0];
    match stream.try_read(&mut byte) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let took = self.connecting_took.as_secs_f64();
        writeln!(f, "{} connected in {took:.2} s, {} failed", self.connected, self.failed)?;
        writeln!(f, "{} were closed by the gateway", self.closed)?;
        for (pid, [before, with_all, after]) in &self.processes {
            let growth = with_all.rss_bytes.saturating_sub(before.rss_bytes);
            let each = growth / u64::from(self.connected.max(1));
            writeln!(
                f,
                "pid {pid}: RSS {} kB before, {} kB with all open, {} kB at the end: {each} bytes \
                 a connection",
                before.rss_bytes / 1024,
                with_all.rss_bytes / 1024,
                after.rss_bytes / 1024,
            )?;
        }
        Ok(())
    }
}
