//! The network's half of a connection: polls, keeps alive, decodes what a poll brought and hands it over.
//!
//! Never waits for a sync: it waits for room among what is taken and not durable yet, and then stops reading.
//! A poll is never cancelled in the middle of a connection, for it may hold a half-written acknowledgement.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use journal::Source;
use rumqttc::{
    Outgoing,
    v5::{
        AsyncClient, ConnectionError, Event, EventLoop, Incoming,
        mqttbytes::{
            QoS,
            v5::{ConnAck, Publish, SubAck, SubscribeReasonCode},
        },
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::intake::sparkplug::Rebirth;
use crate::intake::{Gather, Intake};

use super::{
    Settings, Stats,
    gate::{Carry, Gate, Message},
    options,
};

/// After DISCONNECT the broker closes; if it does not, we do.
const LINGER: Duration = Duration::from_secs(2);

/// What one poll brought.
#[derive(Debug)]
pub(super) struct Burst {
    /// `None`: nothing but resends of what is durable already.
    pub gather: Option<Gather>,
    /// To be acknowledged when the gather is durable, in this order.
    pub messages: Vec<Message>,
    /// Its share of what may be taken and not durable.
    pub guard: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(super) struct Network<'a> {
    pub settings: &'a Settings,
    pub intake: &'a Intake,
    pub stats: &'a Stats,
    pub source: &'a Source,
    pub client: AsyncClient,
    pub gate: &'a Mutex<Gate<OwnedSemaphorePermit>>,
    pub carry: &'a mut Carry,
    pub unkept: Arc<Semaphore>,
    /// DISCONNECT is on its way.
    pub leaving: &'a CancellationToken,
    pub expects_session: bool,
    pub was_connected: bool,
}

/// Why the network ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As we wished.
    Left,
    /// Broken, refused, or of no use: why.
    Lost(String),
}

/// The messages of one poll, not looked at yet.
#[derive(Debug, Default)]
struct Brought {
    publishes: Vec<Publish>,
    bytes: usize,
}

impl Network<'_> {
    /// Until the connection ends. Not cancel safe: cancelled, the connection is gone.
    pub(super) async fn run(
        &mut self,
        mut events: EventLoop,
        bursts: mpsc::Sender<Burst>,
    ) -> Ended {
        let ended = self.poll(&mut events, &bursts).await;
        // Before the keeper can see the end of the bursts: nothing more is handed to this network.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).shut();
        self.stats.connected.set(0);
        if self.leaving.is_cancelled() { Ended::Left } else { ended }
    }

    async fn poll(&mut self, events: &mut EventLoop, bursts: &mpsc::Sender<Burst>) -> Ended {
        let leaving = self.leaving.clone();
        let mut overstayed = pin!(async move {
            leaving.cancelled().await;
            sleep(LINGER).await;
        });
        loop {
            let polled = tokio::select! {
                biased;
                polled = timeout(self.silence_max(), events.poll()) => polled,
                () = &mut overstayed => return Ended::Left,
                () = self.leaving.cancelled(), if !self.was_connected => return Ended::Left,
            };
            let first = match polled {
                Ok(Ok(event)) => event,
                Ok(Err(error)) => return Ended::Lost(reason(&error)),
                Err(_) => return Ended::Lost("the connection is stuck".to_owned()),
            };
            let mut brought = Brought::default();
            let mut next = Some(first);
            while let Some(event) = next {
                if let Err(refused) = self.event(event, events, &mut brought) {
                    return refused;
                }
                next = events.state.events.pop_front();
            }
            self.hand_over(brought, bursts).await;
        }
    }

    /// Even an idle connection polls through once per keep alive; twice that without a word is stuck.
    fn silence_max(&self) -> Duration {
        self.settings.keep_alive.max(Duration::from_secs(5)) * 2
    }

    fn event(
        &mut self,
        event: Event,
        events: &mut EventLoop,
        brought: &mut Brought,
    ) -> Result<(), Ended> {
        match event {
            Event::Incoming(Incoming::ConnAck(connack)) => self.connected(&connack, events),
            Event::Incoming(Incoming::SubAck(suback)) => self.subscribed(&suback),
            Event::Incoming(Incoming::Publish(publish)) => {
                self.stats.publishes.inc();
                brought.bytes += publish.topic.len() + publish.payload.len();
                brought.publishes.push(publish);
                Ok(())
            }
            Event::Outgoing(Outgoing::PubAck(_) | Outgoing::PubRec(_)) => {
                self.stats.acknowledged.inc();
                self.gate.lock().unwrap_or_else(PoisonError::into_inner).written();
                Ok(())
            }
            Event::Incoming(_) | Event::Outgoing(_) => Ok(()),
        }
    }

    fn connected(&mut self, connack: &ConnAck, events: &mut EventLoop) -> Result<(), Ended> {
        self.was_connected = true;
        self.stats.connects.inc();
        let broker = self.settings.id.as_str();
        info!(broker, session_present = connack.session_present, "connected");
        if !connack.session_present {
            self.carry.forget();
            if self.expects_session {
                self.stats.sessions_lost.inc();
                warn!(broker, "the broker has forgotten our session: what it kept for us is lost");
            }
        }
        // "No keep alive", said by a server, would make the library ping without pause.
        if events.options.keep_alive().is_zero() {
            events.options.set_keep_alive(self.settings.keep_alive.max(Duration::from_secs(5)));
        }
        // At every connection, also to a session that is there: the filters may have changed.
        self.client
            .try_subscribe_many(options::filters(self.settings))
            .map_err(|_| Ended::Lost("a topic filter of ours is malformed".to_owned()))
    }

    fn subscribed(&self, suback: &SubAck) -> Result<(), Ended> {
        let broker = self.settings.id.as_str();
        let mut refused = 0;
        for (topic, code) in self.settings.topics.iter().zip(&suback.return_codes) {
            if !matches!(code, SubscribeReasonCode::Success(_)) {
                refused += 1;
                error!(broker, topic, ?code, "the broker refuses a topic filter");
            }
        }
        if refused == self.settings.topics.len() {
            return Err(Ended::Lost("the broker refuses every topic filter".to_owned()));
        }
        self.stats.connected.set(1);
        Ok(())
    }

    /// Waits until there is room for them among what is taken and not durable, then decodes. Unless we leave:
    /// then they are dropped, and as they are not acknowledged they come again.
    async fn hand_over(&mut self, brought: Brought, bursts: &mpsc::Sender<Burst>) {
        if brought.publishes.is_empty() {
            return;
        }
        // A burst above the limit takes all of it.
        let share = brought.bytes.clamp(1, self.settings.limits.unkept_bytes_max.get());
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let room = tokio::select! {
            biased;
            () = bursts.closed() => return,
            room = Arc::clone(&self.unkept).acquire_many_owned(share) => room,
        };
        if let (Ok(guard), Ok(slot)) = (room, bursts.reserve().await) {
            slot.send(self.decode(&brought.publishes, guard));
        }
    }

    /// At QoS 0, as Sparkplug has commands; a node that does not hear it is asked again. A queue without
    /// room is one of a connection that is about to end.
    fn ask(&self, rebirth: Rebirth) {
        let Rebirth { topic, payload } = rebirth;
        debug!(broker = self.settings.id, topic, "asking a node for its births");
        if self.client.try_publish(topic, QoS::AtMostOnce, false, payload).is_ok() {
            self.intake.nodes().asked();
        }
    }

    fn decode(&mut self, publishes: &[Publish], guard: OwnedSemaphorePermit) -> Burst {
        let mut burst = Burst { gather: None, messages: Vec::new(), guard };
        for publish in publishes {
            #[cfg(feature = "faults")]
            journal::fault::point("broker");
            if publish.qos != QoS::AtMostOnce {
                let fingerprint = self.carry.fingerprint(&publish.topic, &publish.payload);
                burst.messages.push(Message {
                    packet_id: publish.pkid,
                    exactly_once: publish.qos == QoS::ExactlyOnce,
                    fingerprint,
                });
                if self.carry.is_resend(publish.pkid, publish.dup, fingerprint) {
                    self.stats.resends.inc();
                    continue;
                }
            }
            let gather = burst.gather.get_or_insert_with(|| self.intake.gather(self.source));
            gather.message(&String::from_utf8_lossy(&publish.topic), &publish.payload);
            for rebirth in gather.rebirths() {
                self.ask(rebirth);
            }
        }
        burst
    }
}

/// The client library's words, with advice where they are poor.
fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => format!("the broker refuses us: {code:?}"),
        ConnectionError::Timeout(_) => "no answer to CONNECT in time".to_owned(),
        other => other.to_string(),
    }
}
