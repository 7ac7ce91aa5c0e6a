//! One run: the parts, the rounds, the end.

mod crowd;
mod parts;

use std::{net::SocketAddr, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::parts::Database;
use super::{
    Error, Options,
    books::Status,
    config::{Destination, Output},
    fault::{Fault, Faults},
    gateway::Gateway,
    report::{Delivered, Report},
};
use crate::{
    bench::Histogram,
    faulty::Behaviour,
    fleet::Fleet,
    ledger::Ledger,
    proxy::{Proxy, Weather},
    verify::{self, Allowed, Row},
    watch::Watch,
};

/// What a round waits before its kill, and from there to the fault's end.
const BEFORE_MS: Range<u64> = 200..1_500;
const AFTER_MS: Range<u64> = 300..1_200;
/// From a kill to the next start.
const DOWN_MS: Range<u64> = 0..300;
/// From a start to the kill that is to hit the recovery.
const RECOVERY_MS: Range<u64> = 0..120;
const STANDSTILL: Duration = Duration::from_secs(2);
/// With no fault in the way: until something is acknowledged, something is delivered.
const PROGRESS_MAX: Duration = Duration::from_mins(1);
/// For the last acknowledgements, once nothing new is measured.
const DRAIN_MAX: Duration = Duration::from_mins(2);
/// For a gateway with nothing left to do to end.
const END_MAX: Duration = Duration::from_secs(30);

/// What the gateway asks a database for of its own accord.
const PROBE: &str = "tidegate_probe";

pub(super) struct Trial {
    // Dropped in this order: the gateway first.
    gateway: Gateway,
    fleet: Option<Fleet>,
    watch: Arc<Watch>,
    databases: Vec<Database>,
    /// From devices to each port of the gateway.
    ways: Vec<Proxy>,
    ports: Vec<SocketAddr>,
    outputs: Vec<Output>,
    socket: PathBuf,
    faults: Faults,
    random: fastrand::Rng,
    began: Instant,
    starts: Histogram,
    rounds: u64,
    kills: u64,
    stops: u64,
    seed: u64,
}

impl Trial {
    /// Rounds until the time is up. Cancel safe: dropping the trial ends all of its parts.
    pub(super) async fn rounds(
        &mut self,
        options: &Options,
        stop: &CancellationToken,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let kills_max = options.kills_max.unwrap_or(u64::MAX);
        while self.began.elapsed() < options.run_for
            && self.kills < kills_max
            && !stop.is_cancelled()
        {
            self.rounds += 1;
            let fault = self.faults.next(&mut self.random);
            let done = self.round(&fault).await?;
            let now = self.watch.look();
            say(&format!(
                "round {:>3} {:>6.1} s  {done}: {fault}; sent {} acknowledged {}",
                self.rounds,
                self.began.elapsed().as_secs_f64(),
                now.sent,
                now.acknowledged
            ));
        }
        Ok(())
    }

    /// One fault and, but for a standstill, a kill in the midst of it; what was done.
    async fn round(&mut self, fault: &Fault) -> Result<String, Error> {
        self.begin(fault).await?;
        let before = self.pause(BEFORE_MS).await?;
        let done = if *fault == Fault::Stop {
            self.gateway.signal(Signal::STOP)?;
            sleep(STANDSTILL).await;
            self.gateway.signal(Signal::CONT)?;
            self.stops += 1;
            format!("stopped for {STANDSTILL:?}")
        } else {
            self.kill(DOWN_MS).await?;
            if *fault == Fault::KillTwice {
                self.gateway.start()?;
                self.pause(RECOVERY_MS).await?;
                self.kill(0..1).await?;
            }
            let started = self.start().await?.as_millis();
            format!("killed after {before} ms, listening after {started} ms")
        };
        self.pause(AFTER_MS).await?;
        self.end(fault).await?;
        self.progress().await?;
        Ok(done)
    }

    /// At a moment that nobody chose; how many milliseconds that were.
    async fn pause(&mut self, ms: Range<u64>) -> Result<u64, Error> {
        let ms = self.random.u64(ms);
        tokio::select! {
            error = self.gateway.ended() => Err(error),
            () = sleep(Duration::from_millis(ms)) => Ok(ms),
        }
    }

    async fn kill(&mut self, down_ms: Range<u64>) -> Result<(), Error> {
        self.gateway.kill().await?;
        self.kills += 1;
        sleep(Duration::from_millis(self.random.u64(down_ms))).await;
        Ok(())
    }

    async fn start(&mut self) -> Result<Duration, Error> {
        self.gateway.start()?;
        let took = self.gateway.listening(&self.ports).await?;
        self.starts.add(took, 1);
        Ok(took)
    }

    async fn begin(&self, fault: &Fault) -> Result<(), Error> {
        match fault {
            Fault::Kill | Fault::KillTwice | Fault::Stop => {}
            Fault::Database(sickness) => self.behave(&sickness.behaviour()).await?,
            Fault::ToDatabase(weather) => set(self.databases.iter().map(Database::way), *weather),
            Fault::FromDevices(weather) => set(&self.ways, *weather),
        }
        Ok(())
    }

    async fn end(&self, fault: &Fault) -> Result<(), Error> {
        match fault {
            Fault::Kill | Fault::KillTwice | Fault::Stop => {}
            Fault::Database(_) => self.behave(&Behaviour::default()).await?,
            Fault::ToDatabase(_) => clear(self.databases.iter().map(Database::way)),
            Fault::FromDevices(_) => clear(&self.ways),
        }
        Ok(())
    }

    async fn behave(&self, behaviour: &Behaviour) -> Result<(), Error> {
        for database in &self.databases {
            database.faulty.set(behaviour.clone()).await?;
        }
        Ok(())
    }

    /// Nothing is in the way: something must be acknowledged.
    async fn progress(&mut self) -> Result<(), Error> {
        let (before, began) = (self.watch.look().acknowledged, Instant::now());
        while self.watch.look().acknowledged == before {
            self.gateway.check()?;
            if began.elapsed() > PROGRESS_MAX {
                let status = Status::ask(&self.socket).await;
                return Err(Error::Gateway(format!(
                    "nothing is acknowledged for {PROGRESS_MAX:?} although no fault is in the way; it \
                     says of itself: {status:?}"
                )));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// All is well again: everything sent must be answered, and everything acknowledged delivered.
    pub(super) async fn verdict(mut self) -> Result<Report, Error> {
        let took = self.began.elapsed();
        let ledger = self.drained().await?;
        let status = self.delivered().await?;
        let mut wrong = Vec::new();
        match self.gateway.terminate(END_MAX).await? {
            Some(status) if status.success() => {}
            Some(status) => wrong.push(format!("asked to end, it ended with {status}")),
            None => wrong.push(format!("asked to end, it had not ended after {END_MAX:?}")),
        }
        let totals = ledger.totals();
        let outputs = self.outputs.iter().map(|output| self.compare(output, &ledger, &status));
        let outputs = outputs.collect::<Result<_, Error>>()?;
        Ok(Report {
            seed: self.seed,
            took,
            rounds: self.rounds,
            kills: self.kills,
            stops: self.stops,
            sent: totals.sent,
            acknowledged: totals.acknowledged,
            refused: totals.refused,
            resent: self.watch.look().resent,
            latencies: self.watch.latencies(),
            starts: self.starts.clone(),
            disk_bytes: self.gateway.written(),
            outputs,
            alarms: status.alarms,
            wrong,
        })
    }

    async fn drained(&mut self) -> Result<Ledger, Error> {
        let Some(fleet) = self.fleet.take() else {
            return Err(Error::Usage("a trial has one verdict".to_owned()));
        };
        tokio::select! {
            ledger = fleet.stop_and_drain(DRAIN_MAX) => Ok(ledger?),
            error = self.gateway.ended() => Err(error),
        }
    }

    /// Its books once nothing is pending, or once that does not get less.
    async fn delivered(&mut self) -> Result<Status, Error> {
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            self.gateway.check()?;
            let asked = Status::ask(&self.socket).await;
            if let Ok(status) = &asked {
                if status.pending() < least {
                    (least, since) = (status.pending(), Instant::now());
                }
                if status.pending() == 0 {
                    return Ok(asked?);
                }
            }
            if since.elapsed() > PROGRESS_MAX {
                return Ok(asked?);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn compare(
        &self,
        output: &Output,
        ledger: &Ledger,
        status: &Status,
    ) -> Result<Delivered, Error> {
        let fates = status.of(&output.id);
        let (rows, malformed) = match &output.to {
            Destination::Files(dir) => (verify::file::rows(dir)?, 0),
            Destination::Database(place) => self.databases.get(*place).map_or_else(
                || (Vec::new(), 0),
                |database| (database.faulty.rows(), database.faulty.stats().malformed),
            ),
        };
        let is_reading = |row: &Row| row.measurement != PROBE;
        let count = fates.pending + fates.dead + fates.dropped + fates.filtered + fates.quarantined;
        let allowed = Allowed { count, ..Allowed::default() };
        let rows = rows.into_iter().filter(is_reading);
        let verdict = verify::compare(ledger, rows, &allowed);
        Ok(Delivered { fates, verdict, malformed })
    }
}

fn set<'p>(ways: impl IntoIterator<Item = &'p Proxy>, weather: Weather) {
    ways.into_iter().for_each(|way| way.set(weather));
}

/// Who waits for an answer that is gone must not wait out its keep alive: it loses the connection.
fn clear<'p>(ways: impl IntoIterator<Item = &'p Proxy>) {
    for way in ways {
        way.set(Weather::Clear);
        way.reset();
    }
}
