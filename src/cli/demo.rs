//! `tidegate demo`: the gateway and a small simulated fleet in one process, over real sockets on
//! loopback, delivering into line-protocol files; at the end the ledger is held against the files.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use simulator::{
    fleet::{Fleet, FleetConfig, Gateway as Target, Group, Http, Link, Mqtt, Version},
    ledger::Ledger,
    payload::Encoding,
    signals::Kind,
    verify::{self, Allowed, Verdict},
    watch::{Summary, Watch},
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{
    Ending, complain, logging,
    run::{Signals, runtime},
    say,
    status::screen,
};
use crate::app::{self, Gateway, running::Drained};
use crate::config::{Config, Surroundings};

const REDRAW_EVERY: Duration = Duration::from_secs(1);
/// Without a terminal: a line now and then.
const LINE_EVERY: u64 = 5;
const DRAIN_MAX: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Simulated devices: half speak MQTT, a quarter WebSocket, a quarter HTTP.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(4..=2000))]
    devices: u32,
    /// Readings of each device in a second.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    rate: u32,
    /// Stop by itself after so long, for example `30s`; otherwise with Ctrl-C.
    #[arg(long = "for", value_name = "TIME", value_parser = crate::config::duration)]
    time: Option<Duration>,
    /// Keep journal and files here; otherwise they go with the demo.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub fn execute(arguments: &Arguments) -> anyhow::Result<Ending> {
    logging::start(&logging::only_warnings(), false)?;
    let place = Place::new(arguments.dir.as_deref())?;
    let config = config(&place.dir)?;
    runtime(&config)?.block_on(demo(arguments, config, &place.dir))
}

async fn demo(arguments: &Arguments, config: Config, dir: &Path) -> anyhow::Result<Ending> {
    let mut signals = Signals::new()?;
    let mut gateway = app::start(config).await?;
    let fleet = Fleet::start(&fleet(arguments, &gateway)?)?;
    let (watch, status) = (fleet.watch(), gateway_status(&gateway));
    let asked = tokio::select! {
        name = signals.next() => Some(name),
        () = gateway.stage_stopped() => None,
        () = end(arguments.time) => Some("the time is over"),
        () = show(&status, &watch) => None,
    };
    say(&format!("stopping: {}", asked.unwrap_or("a stage of the gateway stopped by itself")));
    let balance = async {
        let ledger = fleet.stop_and_drain(DRAIN_MAX).await.context("the ledger")?;
        let drained = gateway.drain().await;
        anyhow::Ok((ledger, drained))
    };
    let (ledger, drained) = tokio::select! {
        balance = balance => balance?,
        _ = signals.next() => return Ok(Ending::Failed),
    };
    let verdict = verdict(&ledger, &dir.join("readings"))?;
    say(&format!("{verdict}"));
    let balanced = verdict.is_clean() && verdict.acknowledged > 0 && drained == Drained::Empty;
    if balanced {
        say("balanced: every acknowledged reading is in the files, once, with its value");
    } else {
        complain("not balanced");
    }
    Ok(if balanced && asked.is_some() { Ending::Ok } else { Ending::Failed })
}

async fn end(time: Option<Duration>) {
    match time {
        Some(time) => sleep_until(Instant::now() + time).await,
        None => std::future::pending().await,
    }
}

/// What the demo draws, without borrowing the gateway.
fn gateway_status(gateway: &Gateway) -> Arc<dyn Fn() -> String + Send + Sync> {
    let status = gateway.status_reader();
    Arc::new(move || screen(&status()))
}

/// Draws until it is dropped: on a terminal one screen, elsewhere a line now and then.
async fn show(status: &Arc<dyn Fn() -> String + Send + Sync>, watch: &Watch) {
    let is_terminal = std::io::stdout().is_terminal();
    let mut ticks = interval(REDRAW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Summary::default();
    for tick in 0_u64.. {
        ticks.tick().await;
        let now = watch.look();
        if is_terminal {
            draw(&format!("{}\n{}\n\n{}", status(), fleet_line(&now, &before), signals(&now)));
        } else if tick % LINE_EVERY == 0 {
            say(&fleet_line(&now, &before));
        }
        before = now;
    }
}

/// From the top left corner, over what stood there.
fn draw(text: &str) {
    let clear_to_end = "\x1b[K\n";
    let screen = format!("\x1b[H{}\x1b[J", text.replace('\n', clear_to_end) + clear_to_end);
    let mut out = std::io::stdout().lock();
    if out.write_all(screen.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::debug!("the terminal is gone");
    }
}

fn fleet_line(now: &Summary, before: &Summary) -> String {
    format!(
        "fleet    {} of {} devices connected, sent {} (+{}), acknowledged {}, sent again {}",
        now.connected,
        now.devices,
        now.sent,
        now.sent.saturating_sub(before.sent),
        now.acknowledged,
        now.resent
    )
}

fn signals(now: &Summary) -> String {
    let shown = Kind::ALL
        .iter()
        .zip(now.last)
        .filter_map(|(kind, last)| Some(format!("  {:<14} {:>10.2}", kind.measurement(), last?)));
    shown.collect::<Vec<_>>().join("\n")
}

fn fleet(arguments: &Arguments, gateway: &Gateway) -> anyhow::Result<FleetConfig> {
    let mqtt = gateway.mqtt.context("the demo listens on MQTT")?.to_string();
    let http = gateway.http.context("the demo listens on HTTP")?.to_string();
    let quarter = arguments.devices / 4;
    let mut groups = vec![
        Group::new("mqtt4", quarter, Link::Mqtt(Mqtt::new(Version::V4, 1))),
        Group::new("mqtt5", quarter, Link::Mqtt(Mqtt::new(Version::V5, 1))),
        Group::new("ws", quarter, Link::WebSocket),
        Group::new("http", arguments.devices - 3 * quarter, Link::Http(Http::default())),
    ];
    for group in &mut groups {
        group.period = Duration::from_secs(1) / arguments.rate;
        if matches!(group.link, Link::WebSocket) {
            group.encoding = Encoding::Frame;
        }
    }
    let gateway = Target::new(&mqtt, &http);
    Ok(FleetConfig { gateway, groups, seed: 1, start: None, ledger: None })
}

fn verdict(ledger: &Ledger, files: &Path) -> anyhow::Result<Verdict> {
    let rows = verify::file::rows(files).context("reading the files back")?;
    Ok(verify::compare(ledger, rows, &Allowed::default()))
}

/// Any free ports of the loopback, and one output into files.
fn config(dir: &Path) -> anyhow::Result<Config> {
    let text = r#"
        [mqtt]
        listen = "127.0.0.1:0"
        [http]
        listen = "127.0.0.1:0"
        [journal]
        dir = "journal"
        bytes_max = "256MiB"
        [dead_letters]
        dir = "dead-letters"
        [control]
        socket = "control.sock"
        [[rule]]
        topic = "sim/{measurement}/{device}"
        [[output]]
        id = "files"
        type = "file"
        path = "readings/demo.lp"
    "#;
    let around = Surroundings {
        dir: dir.to_owned(),
        hostname: "demo".to_owned(),
        env: &|_| None,
        read: &|path| fs::read_to_string(path),
    };
    Ok(Config::parse("demo", text, &around)?)
}

/// Where the demo keeps its journal and files.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    is_kept: bool,
}

impl Place {
    fn new(chosen: Option<&Path>) -> anyhow::Result<Self> {
        let dir = match chosen {
            Some(dir) => std::path::absolute(dir)?,
            None => std::env::temp_dir().join(format!("tidegate-demo-{}", std::process::id())),
        };
        fs::create_dir_all(dir.join("readings")).with_context(|| dir.display().to_string())?;
        Ok(Self { dir, is_kept: chosen.is_some() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = fs::remove_dir_all(&self.dir)
        {
            complain(&format!("{}: {error}", self.dir.display()));
        }
    }
}
