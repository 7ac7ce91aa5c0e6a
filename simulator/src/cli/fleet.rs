//! `tidegate-sim fleet`

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use proto::Timestamp;
use simulator::{
    fleet::{Fleet, FleetConfig, Gateway, Group, Http, Link, Mqtt, Version},
    ledger::Totals,
    payload::Encoding,
    signals::Kind,
    watch::Summary,
};
use tokio::{
    signal,
    time::{Instant, interval, sleep_until},
};

use super::{duration, progress};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The gateway's MQTT listener.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1883")]
    mqtt: String,
    /// The gateway's HTTP and WebSocket listener.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    http: String,
    /// How the devices are connected, in equal parts.
    #[arg(long, value_delimiter = ',', default_value = "mqtt")]
    link: Vec<LinkName>,
    /// All devices together.
    #[arg(long, default_value_t = 20)]
    devices: u32,
    /// What they measure; all kinds in turn if it is left out.
    #[arg(long)]
    kind: Option<KindName>,
    #[arg(long, default_value = "json")]
    encoding: EncodingName,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Time between two readings of a device.
    #[arg(long, value_parser = duration::parse, default_value = "1s")]
    every: Duration,
    /// How irregular they are, as a part of that time.
    #[arg(long, default_value_t = 0.2)]
    jitter: f64,
    /// Readings of one POST at most.
    #[arg(long, default_value = "50")]
    batch: NonZeroUsize,
    /// How long to run; without it, and without --readings: until Ctrl-C.
    #[arg(long = "for", value_parser = duration::parse)]
    run_for: Option<Duration>,
    /// Readings of each device.
    #[arg(long)]
    readings: Option<u64>,
    /// Begin with the readings of so long ago, sent as fast as they are taken.
    #[arg(long, value_parser = duration::parse, default_value = "0s")]
    backlog: Duration,
    /// Each device breaks its connection about so often.
    #[arg(long, value_parser = duration::parse)]
    leave_every: Option<Duration>,
    /// How long to wait for the last acknowledgements.
    #[arg(long, value_parser = duration::parse, default_value = "60s")]
    drain: Duration,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A new file for the ledger, for `verify`.
    #[arg(long)]
    ledger: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LinkName {
    /// MQTT 3.1.1
    Mqtt,
    Mqtt5,
    Ws,
    Http,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EncodingName {
    Json,
    Line,
    Frame,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindName {
    Greenhouse,
    Energy,
    Weather,
    Machine,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let config = config(&arguments)?;
    let mut fleet = Fleet::start(&config)?;
    let watch = fleet.watch();
    let all = arguments.readings.map(|each| each * u64::from(arguments.devices));
    let bar = progress::bar(all);
    let never = Duration::from_hours(24 * 365 * 10);
    let end = Instant::now() + arguments.run_for.unwrap_or(never);
    let mut tick = interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            _ = tick.tick() => {
                show(&bar, &watch.look());
                if fleet.is_finished() {
                    break;
                }
            }
            () = sleep_until(end) => break,
            _ = signal::ctrl_c() => break,
        }
    }
    bar.set_message("draining");
    let ledger = fleet.stop_and_drain(arguments.drain).await?;
    bar.finish_and_clear();
    let summary = watch.look();
    let Totals { sent, acknowledged, refused } = ledger.totals();
    println!("sent {sent}  acknowledged {acknowledged}  refused {refused}");
    let Summary { resent, deferred, connects, failures, .. } = summary;
    println!("resent {resent}  deferred {deferred}  connections {connects}  failed {failures}");
    // At QoS 0 nobody acknowledges.
    let only_qos_0 = config.groups.iter().all(|g| matches!(&g.link, Link::Mqtt(m) if m.qos == 0));
    Ok(only_qos_0 || sent == acknowledged)
}

fn show(bar: &ProgressBar, summary: &Summary) {
    let Summary { devices, connected, sent, acknowledged, failures, .. } = summary;
    bar.set_position(*acknowledged);
    bar.set_message(format!(
        "{connected}/{devices} connected, sent {sent}, acknowledged {acknowledged}, \
         {failures} connections failed"
    ));
}

fn config(arguments: &Arguments) -> anyhow::Result<FleetConfig> {
    let links = u32::try_from(arguments.link.len())?.max(1);
    let mut groups = Vec::new();
    for (index, link) in (0_u32..).zip(&arguments.link) {
        let devices = arguments.devices / links + u32::from(index < arguments.devices % links);
        let (name, link) = match link {
            LinkName::Mqtt => ("mqtt", Link::Mqtt(Mqtt::new(Version::V4, arguments.qos))),
            LinkName::Mqtt5 => ("mqtt5", Link::Mqtt(Mqtt::new(Version::V5, arguments.qos))),
            LinkName::Ws => ("ws", Link::WebSocket),
            LinkName::Http => ("http", Link::Http(Http { batch_max: arguments.batch })),
        };
        groups.push(Group {
            kind: arguments.kind.map(Kind::from),
            encoding: arguments.encoding.into(),
            period: arguments.every,
            jitter: arguments.jitter,
            readings_max: arguments.readings,
            leave_every: arguments.leave_every,
            ..Group::new(name, devices, link)
        });
    }
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let start = since_epoch.saturating_sub(arguments.backlog).as_nanos();
    Ok(FleetConfig {
        gateway: Gateway::new(&arguments.mqtt, &arguments.http),
        groups,
        seed: arguments.seed,
        start: Some(Timestamp::from_nanos(i64::try_from(start)?)),
        ledger: arguments.ledger.clone(),
    })
}

impl From<KindName> for Kind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::Greenhouse => Self::Greenhouse,
            KindName::Energy => Self::Energy,
            KindName::Weather => Self::Weather,
            KindName::Machine => Self::Machine,
        }
    }
}

impl From<EncodingName> for Encoding {
    fn from(name: EncodingName) -> Self {
        match name {
            EncodingName::Json => Self::Json,
            EncodingName::Line => Self::Line,
            EncodingName::Frame => Self::Frame,
        }
    }
}
