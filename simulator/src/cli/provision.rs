//! `tidegate-sim provision`: an InfluxDB 2 made ready to be written to.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use influxdb2::{
    Client,
    api::{buckets::ListBucketsRequest, organization::ListOrganizationRequest},
    models::{PostBucketRequest, Status},
};
use tokio::time::{Instant, sleep};

use super::duration;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where it listens: scheme, host and port.
    #[arg(long, value_name = "URL")]
    influx2: String,
    #[arg(long, default_value = "home")]
    org: String,
    #[arg(long, default_value = "iot")]
    bucket: String,
    /// Needed unless the database is new.
    #[arg(long, env = "INFLUX_TOKEN", hide_env_values = true, default_value = "")]
    token: String,
    /// The first user of a new database.
    #[arg(long, default_value = "admin")]
    user: String,
    #[arg(long, env = "INFLUX_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// How long to wait until it is up.
    #[arg(long, value_parser = duration::parse, default_value = "30s")]
    wait: Duration,
}

/// Prints the token of a database that was new.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let Arguments { influx2, org, bucket, token, .. } = &arguments;
    let client = Client::new(influx2, org, token);
    wait_until_healthy(&client, arguments.wait).await?;
    if client.is_onboarding_allowed().await? {
        let password = arguments.password.as_ref().context("a new database needs --password")?;
        let user = &arguments.user;
        let made = client.onboarding(user, org, bucket, Some(password.clone()), None, None).await?;
        let token = made.auth.and_then(|auth| auth.token).context("it gave no token")?;
        println!("set up with bucket {bucket}");
        println!("token {token}");
        return Ok(true);
    }
    let wanted = ListBucketsRequest {
        name: Some(bucket.clone()),
        org: Some(org.clone()),
        ..ListBucketsRequest::default()
    };
    // A name that is not there is an error on some versions and an empty list on others.
    let found = client.list_buckets(Some(wanted)).await.unwrap_or_default();
    if !found.buckets.is_empty() {
        println!("bucket {bucket} is there");
        return Ok(true);
    }
    let organizations = client.list_organizations(ListOrganizationRequest::new()).await?;
    let id = organizations.orgs.into_iter().find(|known| known.name == *org).and_then(|o| o.id);
    let id = id.with_context(|| format!("there is no organization {org:?}"))?;
    client.create_bucket(Some(PostBucketRequest::new(id, bucket.clone()))).await?;
    println!("bucket {bucket} was made");
    Ok(true)
}

async fn wait_until_healthy(client: &Client, wait: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + wait;
    loop {
        let why = match client.health().await {
            Ok(health) if health.status == Status::Pass => match client.ready().await {
                Ok(_) => return Ok(()),
                Err(error) => error.to_string(),
            },
            Ok(health) => health.message.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            bail!("not healthy: {why}");
        }
        sleep(Duration::from_millis(200)).await;
    }
}
