//! `tidegate-sim bench`

use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use clap::Args;
use simulator::bench::{Report, Until, http, idle, mqtt};

use super::{duration, progress};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// How many connections at once.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Messages under way on each MQTT connection.
    #[arg(long, default_value = "500")]
    window: NonZeroU16,
    /// Lines of each POST.
    #[arg(long, default_value = "100")]
    lines: NonZeroU32,
    #[arg(long)]
    gzip: bool,
    /// Messages a second of all connections together; without it as many as possible (MQTT).
    #[arg(long)]
    rate: Option<f64>,
    /// How long to run, or to hold idle connections.
    #[arg(long = "for", value_parser = duration::parse, default_value = "10s")]
    run_for: Duration,
    /// Instead of a time: how many readings.
    #[arg(long)]
    readings: Option<u64>,
    /// Open so many MQTT connections and do nothing with them.
    #[arg(long, value_name = "CONNECTIONS", requires = "mqtt")]
    idle: Option<u32>,
    /// Idle connections do not even send CONNECT.
    #[arg(long, requires = "idle")]
    silent: bool,
    /// A process to watch; may be given several times.
    #[arg(long = "pid", value_name = "PID")]
    pids: Vec<u32>,
}

/// What is measured.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// An MQTT listener, of a gateway or a broker.
    #[arg(long, value_name = "HOST:PORT")]
    mqtt: Option<String>,
    /// An HTTP listener that takes line protocol on /write.
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let until = match arguments.readings {
        Some(readings) => Until::Readings(readings),
        None => Until::Elapsed(arguments.run_for),
    };
    let report = match (&arguments.place.mqtt, &arguments.place.http) {
        (Some(address), _) if arguments.idle.is_some() => return idle(&arguments, address).await,
        (Some(address), _) => {
            let options = mqtt::Options {
                address: address.clone(),
                connections: arguments.connections,
                qos: arguments.qos,
                window: arguments.window,
                until,
                rate: arguments.rate,
                pids: arguments.pids,
            };
            wait(until, mqtt::run(&options)).await?
        }
        (None, Some(address)) => {
            let options = http::Options {
                address: address.clone(),
                connections: arguments.connections,
                lines: arguments.lines,
                gzip: arguments.gzip,
                until,
                pids: arguments.pids,
            };
            wait(until, http::run(&options)).await?
        }
        (None, None) => anyhow::bail!("neither --mqtt nor --http was given"),
    };
    print!("{report}");
    Ok(report.readings > 0 && report.refused == 0)
}

/// Shows on a terminal that something is going on.
async fn wait(
    until: Until,
    running: impl Future<Output = std::io::Result<Report>>,
) -> std::io::Result<Report> {
    let bar = progress::bar(None);
    bar.set_message(match until {
        Until::Elapsed(time) => format!("measuring for {time:?}"),
        Until::Readings(count) => format!("measuring {count} readings"),
    });
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    tokio::pin!(running);
    loop {
        tokio::select! {
            report = &mut running => {
                bar.finish_and_clear();
                return report;
            }
            _ = tick.tick() => bar.tick(),
        }
    }
}

async fn idle(arguments: &Arguments, address: &str) -> anyhow::Result<bool> {
    let connections = arguments.idle.unwrap_or_default();
    let options = idle::Options {
        address: address.to_owned(),
        connections,
        silent: arguments.silent,
        hold: arguments.run_for,
        pids: arguments.pids.clone(),
    };
    let bar = progress::bar(Some(u64::from(connections)));
    let report = idle::run(&options, |open| bar.set_position(u64::from(open))).await?;
    bar.finish_and_clear();
    print!("{report}");
    Ok(report.failed == 0)
}
