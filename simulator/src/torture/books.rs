//! The gateway's own books, as it tells them on its control socket.

use std::{io, path::Path, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

const ANSWER_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// The part of `tidegate status --json` that is held against the ledger.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Status {
    pub(super) outputs: Vec<Fates>,
    pub(super) alarms: Vec<String>,
}

/// What became of an output's readings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Fates {
    pub id: String,
    pub pending: u64,
    pub confirmed: u64,
    pub dead: u64,
    pub dropped: u64,
    pub filtered: u64,
    pub quarantined: u64,
}

impl Status {
    pub(super) async fn ask(socket: &Path) -> io::Result<Self> {
        let exchange = async {
            let mut stream = UnixStream::connect(socket).await?;
            stream.write_all(b"status\n").await?;
            let mut reply = Vec::new();
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut reply).await?;
            Ok::<_, io::Error>(reply)
        };
        let reply = timeout(ANSWER_MAX, exchange).await??;
        serde_json::from_slice(&reply).map_err(io::Error::other)
    }

    pub(super) fn of(&self, output: &str) -> Fates {
        let found = self.outputs.iter().find(|fates| fates.id == output);
        found.cloned().unwrap_or_default()
    }

    pub(super) fn pending(&self) -> u64 {
        self.outputs.iter().map(|fates| fates.pending).sum()
    }
}
