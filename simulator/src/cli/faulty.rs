//! `tidegate-sim faulty-influx`

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use simulator::faulty::{Behaviour, Config, Faulty};
use tokio::signal;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Port 0: any free one; it is printed.
    #[arg(long, default_value = "127.0.0.1:8086")]
    listen: SocketAddr,
    /// Where the behaviour is set and looked at: POST and GET /behaviour, GET /stats /points
    /// /changes.
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// Count lines and keep nothing: the database costs next to nothing in a benchmark.
    #[arg(long)]
    null: bool,
    /// Ask for this token.
    #[arg(long)]
    token: Option<String>,
    /// How to behave from the start: JSON as POST /behaviour takes it.
    #[arg(long, value_parser = behaviour)]
    behaviour: Option<Behaviour>,
}

fn behaviour(text: &str) -> Result<Behaviour, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let config =
        Config { null: arguments.null, token: arguments.token.clone(), ..Config::default() };
    let faulty = Arc::new(Faulty::start(arguments.listen, config).await?);
    if let Some(behaviour) = arguments.behaviour {
        faulty.set(behaviour).await?;
    }
    println!("listening {}", faulty.url());
    if let Some(address) = arguments.admin {
        println!("admin http://{}", faulty.admin(address).await?);
    }
    signal::ctrl_c().await?;
    let stats = faulty.stats();
    println!("{}", serde_json::to_string(&stats)?);
    Ok(stats.malformed == 0)
}
