//! A cheap load generator: packets encoded once, written in batches, answers found by scanning.
//!
//! Readings carry no time of their own: the gateway stamps each, so each is a point of its own
//! however often the same bytes are sent.

mod histogram;
pub mod http;
pub mod idle;
pub mod mqtt;
mod packet;
pub mod process;

use std::{fmt, io, time::Duration};

pub use histogram::Histogram;
use process::Usage;
use tokio::{task::JoinSet, time::Instant};

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    Elapsed(Duration),
    /// So many readings in all, split evenly among the connections.
    Readings(u64),
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Readings answered with success (QoS 0: taken in before the answer to a last PINGREQ).
    pub readings: u64,
    /// Requests or packets answered otherwise.
    pub refused: u64,
    pub took: Duration,
    /// From the write to the answer, of each packet (MQTT) or request (HTTP).
    pub latency: Histogram,
    pub processes: Vec<Process>,
    /// What the load generator itself used.
    pub own_cpu: Duration,
}

/// What one watched process used during the run.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: u32,
    pub cpu: Duration,
    pub rss_bytes: u64,
    pub rss_bytes_max: u64,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "for show")]
    pub fn readings_per_second(&self) -> f64 {
        self.readings as f64 / self.took.as_secs_f64().max(1e-9)
    }

    #[expect(clippy::cast_precision_loss, reason = "for show")]
    pub fn cpu_seconds_per_million(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.readings.max(1) as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, took) = (self.readings_per_second(), self.took.as_secs_f64());
        writeln!(f, "{} readings in {took:.2} s: {rate:.0} readings/s", self.readings)?;
        if self.refused > 0 {
            writeln!(f, "refused: {}", self.refused)?;
        }
        if self.latency.count() > 0 {
            let of = |part| self.latency.quantile(part).as_secs_f64() * 1e3;
            let max = self.latency.max().as_secs_f64() * 1e3;
            let (p50, p99) = (of(0.5), of(0.99));
            writeln!(f, "acknowledged after: p50 {p50:.2} ms  p99 {p99:.2} ms  max {max:.2} ms")?;
        }
        for process in &self.processes {
            let per_million = self.cpu_seconds_per_million(process.cpu);
            let cpu = process.cpu.as_secs_f64();
            write!(f, "pid {}: {cpu:.2} CPU s, {per_million:.2} per million; ", process.pid)?;
            let (rss, max) = (megabytes(process.rss_bytes), megabytes(process.rss_bytes_max));
            writeln!(f, "RSS {rss:.1} MB, at most {max:.1} MB")?;
        }
        let own = self.cpu_seconds_per_million(self.own_cpu);
        writeln!(f, "load generator: {own:.2} CPU s per million")
    }
}

#[expect(clippy::cast_precision_loss, reason = "for show")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Watches processes for as long as a run takes.
#[derive(Debug)]
struct Watched {
    before: Vec<(u32, Usage)>,
    own: Usage,
    began: Instant,
}

impl Watched {
    fn start(pids: &[u32]) -> io::Result<Self> {
        let before: io::Result<_> = pids.iter().map(|&pid| Ok((pid, Usage::of(pid)?))).collect();
        Ok(Self { before: before?, own: Usage::of_this_process()?, began: Instant::now() })
    }

    /// Waits for every connection: the sum of what they did, and what the processes took for it.
    async fn all(self, mut running: JoinSet<io::Result<Report>>) -> io::Result<Report> {
        let mut report = Report::default();
        while let Some(ended) = running.join_next().await {
            let one = ended.map_err(io::Error::other)??;
            report.readings += one.readings;
            report.refused += one.refused;
            report.latency.merge(&one.latency);
        }
        self.finish(&mut report)?;
        Ok(report)
    }

    fn finish(self, report: &mut Report) -> io::Result<()> {
        report.took = self.began.elapsed();
        report.own_cpu = Usage::of_this_process()?.cpu.saturating_sub(self.own.cpu);
        for (pid, before) in self.before {
            let after = Usage::of(pid)?;
            report.processes.push(Process {
                pid,
                cpu: after.cpu.saturating_sub(before.cpu),
                rss_bytes: after.rss_bytes,
                rss_bytes_max: after.rss_bytes_max,
            });
        }
        Ok(())
    }
}

/// When one connection has done its part.
#[derive(Clone, Copy, Debug)]
struct Part {
    deadline: Option<Instant>,
    readings: u64,
}

impl Part {
    /// Of connection `index` of `connections`.
    fn of(until: Until, index: u32, connections: u32) -> Self {
        match until {
            Until::Elapsed(time) => {
                Self { deadline: Some(Instant::now() + time), readings: u64::MAX }
            }
            Until::Readings(all) => {
                let (each, left) = (all / u64::from(connections), all % u64::from(connections));
                Self { deadline: None, readings: each + u64::from(u64::from(index) < left) }
            }
        }
    }

    fn is_over(&self, sent: u64) -> bool {
        sent >= self.readings || self.deadline.is_some_and(|at| Instant::now() >= at)
    }
}

/// A reading of about 100 bytes as a device would send it.
fn json(number: u64) -> String {
    format!(
        "{{\"temperature\":{}.{:02},\"humidity\":{}.{},\"pressure\":10{:02}.25,\"battery\":3.{:02},\
         \"rssi\":-{},\"seq\":{number}}}",
        18 + number % 9,
        number % 100,
        40 + number % 31,
        number % 10,
        number % 40,
        number % 90,
        50 + number % 40,
    )
}

#[cfg(test)]
mod tests;
