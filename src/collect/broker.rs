//! The broker collector: subscribes to an MQTT broker that is already there.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::{intake::Intake, stats::Counter};

/// One `[[broker]]` table, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the source: `broker:<id>`.
    pub id: String,
    pub host: String,
    pub port: u16,
    pub tls: bool,
    pub client_id: String,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// Topic filters, shared ones (`$share/...`) included.
    pub topics: Vec<String>,
    pub keep_alive: Duration,
    /// Take retained messages at subscribe (default no).
    pub retained: bool,
    pub packet_bytes_max: u32,
    pub receive_max: u16,
    pub session_expiry: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub publishes: Counter,
}

/// Collects until `shutdown`; returns when everything taken is durable and acknowledged.
pub async fn run(
    settings: Settings,
    intake: Intake,
    stats: Arc<Stats>,
    shutdown: CancellationToken,
) {
    unimplemented!("{settings:?} {intake:?} {stats:?} {shutdown:?}")
}
