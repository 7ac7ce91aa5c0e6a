//! `tidegate-sim verify`

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use simulator::{
    ledger::Ledger,
    verify::{Allowed, Comparison, Row, Verdict, faulty, file, influx1::Influx1, influx2::Influx2},
};

use super::progress;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What `fleet` wrote; it may still be writing.
    #[arg(long)]
    ledger: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Organisation of the InfluxDB 2.
    #[arg(long, default_value = "home")]
    org: String,
    #[arg(long, default_value = "iot")]
    bucket: String,
    #[arg(long, env = "INFLUX_TOKEN", hide_env_values = true, default_value = "")]
    token: String,
    /// Database of the InfluxDB 1.x.
    #[arg(long, default_value = "iot")]
    database: String,
    /// Acknowledged readings that need not be stored: pending, dead and the like.
    #[arg(long, default_value_t = 0)]
    allowed: u64,
    /// One reading may be several points.
    #[arg(long)]
    duplicates_allowed: bool,
}

/// Where the readings should be.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// An InfluxDB 2: scheme, host and port.
    #[arg(long, value_name = "URL")]
    influx2: Option<String>,
    /// An InfluxDB 1.x.
    #[arg(long, value_name = "URL")]
    influx1: Option<String>,
    /// The directory of the `file` output.
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// The admin port of `faulty-influx`.
    #[arg(long, value_name = "URL")]
    faulty: Option<String>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let ledger = Ledger::load(&arguments.ledger)?;
    let allowed = Allowed { named: HashMap::new(), count: arguments.allowed };
    let verdict = compare(&arguments, &ledger, &allowed).await?;
    print!("{verdict}");
    let is_clean = if arguments.duplicates_allowed {
        verdict.is_clean_but_for_duplicates()
    } else {
        verdict.is_clean()
    };
    println!("{}", if is_clean { "clean" } else { "NOT CLEAN" });
    Ok(is_clean)
}

async fn compare(
    arguments: &Arguments,
    ledger: &Ledger,
    allowed: &Allowed,
) -> anyhow::Result<Verdict> {
    let mut comparison = Comparison::new(ledger);
    let bar = progress::bar(Some(ledger.totals().sent));
    let mut each = |row: Row| {
        comparison.row(&row);
        bar.inc(1);
    };
    let Place { influx2, influx1, files, faulty: faulty_url } = &arguments.place;
    if let Some(url) = influx2 {
        let (org, token, bucket) = (&arguments.org, &arguments.token, &arguments.bucket);
        let database = Influx2::new(url, org, token, bucket);
        database.read(ledger, each, |_| ()).await.with_context(|| url.clone())?;
    } else if let Some(url) = influx1 {
        let database = Influx1::new(url, &arguments.database);
        database.read(each).await.with_context(|| url.clone())?;
    } else if let Some(dir) = files {
        file::rows(dir)?.into_iter().for_each(&mut each);
    } else if let Some(url) = faulty_url {
        faulty::read(url, each).await.with_context(|| url.clone())?;
    } else {
        bail!("no database was named");
    }
    bar.finish_and_clear();
    Ok(comparison.finish(allowed))
}
