//! One connection to a broker from CONNECT to its end: the network's half and the journal's, in one task.

use std::sync::{Arc, Mutex, PoisonError};

use journal::Source;
use rumqttc::v5::AsyncClient;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::intake::Intake;

use super::{
    Settings, Stats,
    gate::{Carry, Gate},
    keeper::{Keeper, Left},
    network::{Ended, Network},
    options,
};

/// Every packet identifier may be acknowledged at once; SUBSCRIBE and DISCONNECT beside them.
const REQUESTS_MAX: usize = 65_536 + 16;
/// Polls that may wait for the journal's half. What they hold is bounded by `unkept_bytes_max`.
const BURSTS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Connection<'a> {
    pub settings: &'a Settings,
    pub intake: &'a Intake,
    pub stats: &'a Stats,
    /// It is news if the broker does not know our session.
    pub expects_session: bool,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) struct End {
    pub why: Why,
    pub was_connected: bool,
}

#[derive(Debug)]
pub(super) enum Why {
    /// Asked to.
    Left,
    /// The journal is full.
    Full,
    /// Not reached, refused, or broken: in the log's words.
    Lost(String),
}

impl Connection<'_> {
    /// Returns when the connection has ended and what it took is durable, or never will be. Cancelled: what is
    /// not acknowledged comes again.
    pub(super) async fn run(&self, carry: &mut Carry, shutdown: &CancellationToken) -> End {
        let options = match options::connect(self.settings) {
            Ok(options) => options,
            Err(error) => return End { why: Why::Lost(error.to_string()), was_connected: false },
        };
        let source: Source = format!("broker:{}", self.settings.id).into();
        let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
        let gate = Mutex::new(Gate::new());
        let leaving = CancellationToken::new();
        let (sender, bursts) = mpsc::channel(BURSTS_MAX);
        let keeper = Keeper {
            settings: self.settings,
            intake: self.intake,
            client: client.clone(),
            gate: &gate,
            leaving: &leaving,
            shutdown,
        };
        let mut network = Network {
            settings: self.settings,
            intake: self.intake,
            stats: self.stats,
            source: &source,
            client,
            gate: &gate,
            carry,
            unkept: Arc::new(Semaphore::new(self.settings.limits.unkept_bytes_max.get())),
            leaving: &leaving,
            expects_session: self.expects_session,
            was_connected: false,
        };
        let (ended, left) = tokio::join!(network.run(events, sender), keeper.run(bursts));
        let was_connected = network.was_connected;

        let gate = gate.into_inner().unwrap_or_else(PoisonError::into_inner);
        *carry = gate.into_carry(std::mem::take(carry));
        End { why: why(ended, left), was_connected }
    }
}

fn why(ended: Ended, left: Option<Left>) -> Why {
    match (ended, left) {
        (_, Some(Left::Full)) => Why::Full,
        (_, Some(Left::Broken)) => Why::Lost("the journal took not everything".to_owned()),
        (Ended::Lost(reason), None) => Why::Lost(reason),
        (_, Some(Left::Shutdown)) | (Ended::Left, None) => Why::Left,
    }
}
