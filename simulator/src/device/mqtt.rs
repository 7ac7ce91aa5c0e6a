//! A device that speaks MQTT 3.1.1 or 5 through `rumqttc`.
//!
//! `rumqttc` says which packet identifier a publish got only by its event loop, in the order of
//! the requests; `Window` keeps the two together. On a reconnect it would replay by itself, so
//! each connection gets a client of its own, with a clean session. Its packet identifiers run in
//! a ring of the size of its window: the window here closes at the *oldest* identifier that is
//! still in use, so that the ring never meets itself (rumqttc would stall until it is free).

use std::{collections::VecDeque, io, pin::pin, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use super::{Connected, Ended, Next, Runner};
use crate::{
    fleet::{Mqtt, Version},
    payload,
};

const KEEP_ALIVE: Duration = Duration::from_secs(30);
const GOODBYE_MAX: Duration = Duration::from_secs(1);
const PACKET_BYTES_MAX: u32 = 256 * 1024;

pub(super) async fn session(runner: &mut Runner, link: &Mqtt) -> io::Result<Ended> {
    let (publisher, mut events) = open(runner, link);
    let mut window = Window::new(link.inflight_max.get());
    let mut connected = None;
    let leave_at = runner.leave_at();
    loop {
        let mut polled = pin!(events.next());
        // One poll is awaited to its end, across any number of sends: `poll` does not say that it
        // is cancel safe.
        let happened = loop {
            if runner.is_finished() {
                break None;
            }
            let next = if connected.is_some() {
                send(runner, link, &publisher, &mut window)?
            } else {
                Next::Full
            };
            tokio::select! {
                happened = &mut polled => break Some(happened),
                () = runner.due(next) => {}
                () = sleep_until(leave_at) => return Ok(Ended::Left),
            }
        };
        match happened {
            None => break,
            Some(Err(why)) => return Ok(Ended::Failed(why)),
            Some(Ok(Happened::Connected { receive_max })) => {
                window.limit(receive_max);
                connected = Some(Connected::new(&runner.shared.watch));
                runner.backoff.reset();
            }
            Some(Ok(happened)) => {
                if let Some(ended) = answer(runner, &mut window, happened)? {
                    return Ok(ended);
                }
            }
        }
    }
    say_goodbye(&publisher, &mut events).await;
    Ok(Ended::Finished)
}

/// Sends what is due as far as the window allows, and says what to wait for.
fn send(
    runner: &mut Runner,
    link: &Mqtt,
    publisher: &Publisher,
    window: &mut Window,
) -> io::Result<Next> {
    let room = window.room();
    if room == 0 {
        return Ok(Next::Full);
    }
    let (seqs, next) = runner.take(room)?;
    for seq in seqs {
        let mut bytes = Vec::with_capacity(256);
        payload::encode(&runner.device, &[seq], runner.group.encoding, &mut bytes);
        let topic = link
            .topic
            .replace("{kind}", runner.device.kind.measurement())
            .replace("{device}", &runner.device.name);
        publisher.publish(topic, link.qos, bytes).map_err(io::Error::other)?;
        window.requested(seq);
    }
    // With the window full the next event is what to wait for.
    Ok(if window.room() == 0 { Next::Full } else { next })
}

fn answer(
    runner: &mut Runner,
    window: &mut Window,
    happened: Happened,
) -> io::Result<Option<Ended>> {
    match happened {
        Happened::Sent(pkid) => {
            if let Some(seq) = window.sent(pkid) {
                runner.unanswerable(seq);
            }
        }
        Happened::Taken { pkid, done } => {
            if let Some(seq) = window.answered(pkid) {
                runner.acknowledged(&[seq])?;
            }
            if done {
                window.free(pkid);
            }
        }
        Happened::Done(pkid) => window.free(pkid),
        Happened::Refused { pkid, why, done } => {
            if let Some(seq) = window.answered(pkid) {
                runner.refused(&[seq], &why)?;
            }
            if !done {
                // rumqttc does not free the place of a refused QoS 2 publish.
                return Ok(Some(Ended::Failed(why)));
            }
            window.free(pkid);
        }
        Happened::Connected { .. } | Happened::Other => {}
    }
    Ok(None)
}

/// DISCONNECT, if the other side takes it soon enough.
async fn say_goodbye(publisher: &Publisher, events: &mut Events) {
    publisher.disconnect();
    let deadline = Instant::now() + GOODBYE_MAX;
    while let Ok(Ok(_)) = timeout(deadline - Instant::now(), events.next()).await {}
}

/// Which reading travels under which packet identifier.
#[derive(Debug)]
struct Window {
    size: usize,
    /// Handed to rumqttc; their identifiers are not known yet.
    requested: VecDeque<u64>,
    /// In the order of their identifiers, from the oldest that is still in use.
    used: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    pkid: u16,
    /// None once answered.
    seq: Option<u64>,
    free: bool,
}

impl Window {
    fn new(size: u16) -> Self {
        Self { size: usize::from(size), requested: VecDeque::new(), used: VecDeque::new() }
    }

    fn limit(&mut self, receive_max: u16) {
        self.size = self.size.min(usize::from(receive_max));
    }

    fn room(&self) -> usize {
        self.size.saturating_sub(self.requested.len() + self.used.len())
    }

    fn requested(&mut self, seq: u64) {
        self.requested.push_back(seq);
    }

    /// Gives the reading back if it went out without an identifier (QoS 0).
    fn sent(&mut self, pkid: u16) -> Option<u64> {
        let seq = self.requested.pop_front()?;
        if pkid == 0 {
            return Some(seq);
        }
        self.used.push_back(Slot { pkid, seq: Some(seq), free: false });
        None
    }

    fn answered(&mut self, pkid: u16) -> Option<u64> {
        self.used.iter_mut().find(|slot| slot.pkid == pkid)?.seq.take()
    }

    fn free(&mut self, pkid: u16) {
        if let Some(slot) = self.used.iter_mut().find(|slot| slot.pkid == pkid && !slot.free) {
            slot.free = true;
        }
        while self.used.front().is_some_and(|slot| slot.free) {
            self.used.pop_front();
        }
    }
}

/// What the event loop reports, as far as it matters here.
#[derive(Debug)]
enum Happened {
    Connected {
        receive_max: u16,
    },
    /// The oldest request went out; 0 at QoS 0.
    Sent(u16),
    /// PUBACK or PUBREC: the gateway has it. `done`: the identifier is free.
    Taken {
        pkid: u16,
        done: bool,
    },
    Refused {
        pkid: u16,
        why: String,
        done: bool,
    },
    /// PUBCOMP.
    Done(u16),
    Other,
}

#[derive(Debug)]
enum Publisher {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

enum Events {
    V4(Box<rumqttc::EventLoop>),
    V5(Box<rumqttc::v5::EventLoop>),
}

fn open(runner: &Runner, link: &Mqtt) -> (Publisher, Events) {
    let (host, port) = runner.shared.gateway.mqtt();
    let id = runner.device.name.clone();
    let inflight = link.inflight_max.get();
    match link.version {
        Version::V4 => {
            let mut options = rumqttc::MqttOptions::new(id, host, port);
            let bytes_max = PACKET_BYTES_MAX as usize;
            options.set_keep_alive(KEEP_ALIVE).set_inflight(inflight).set_clean_session(true);
            options.set_max_packet_size(bytes_max, bytes_max);
            let (client, events) = rumqttc::AsyncClient::new(options, usize::from(inflight) + 1);
            (Publisher::V4(client), Events::V4(Box::new(events)))
        }
        Version::V5 => {
            let mut options = rumqttc::v5::MqttOptions::new(id, host, port);
            options.set_keep_alive(KEEP_ALIVE).set_clean_start(true);
            options.set_outgoing_inflight_upper_limit(inflight);
            options.set_max_packet_size(Some(PACKET_BYTES_MAX));
            let capacity = usize::from(inflight) + 1;
            let (client, events) = rumqttc::v5::AsyncClient::new(options, capacity);
            (Publisher::V5(client), Events::V5(Box::new(events)))
        }
    }
}

impl Publisher {
    fn publish(&self, topic: String, qos: u8, payload: Vec<u8>) -> Result<(), String> {
        match self {
            Self::V4(client) => {
                let qos = rumqttc::qos(qos).map_err(|e| e.to_string())?;
                client.try_publish(topic, qos, false, payload).map_err(|e| e.to_string())
            }
            Self::V5(client) => {
                let qos = rumqttc::v5::mqttbytes::qos(qos).ok_or("no such QoS")?;
                client.try_publish(topic, qos, false, payload).map_err(|e| e.to_string())
            }
        }
    }

    fn disconnect(&self) {
        // The queue has one place more than the window: full means that it is already in there.
        match self {
            Self::V4(client) => drop(client.try_disconnect()),
            Self::V5(client) => drop(client.try_disconnect()),
        }
    }
}

impl Events {
    async fn next(&mut self) -> Result<Happened, String> {
        match self {
            Self::V4(events) => events.poll().await.map(v4).map_err(|e| e.to_string()),
            Self::V5(events) => events.poll().await.map(v5).map_err(|e| e.to_string()),
        }
    }
}

fn v4(event: rumqttc::Event) -> Happened {
    use rumqttc::{Event, Outgoing, Packet};
    match event {
        Event::Incoming(Packet::ConnAck(_)) => Happened::Connected { receive_max: u16::MAX },
        Event::Incoming(Packet::PubAck(ack)) => Happened::Taken { pkid: ack.pkid, done: true },
        Event::Incoming(Packet::PubRec(rec)) => Happened::Taken { pkid: rec.pkid, done: false },
        Event::Incoming(Packet::PubComp(comp)) => Happened::Done(comp.pkid),
        Event::Outgoing(Outgoing::Publish(pkid)) => Happened::Sent(pkid),
        _ => Happened::Other,
    }
}

fn v5(event: rumqttc::v5::Event) -> Happened {
    use rumqttc::{
        Outgoing,
        v5::{
            Event,
            mqttbytes::v5::{Packet, PubAckReason, PubRecReason},
        },
    };
    match event {
        Event::Incoming(Packet::ConnAck(ack)) => {
            let receive_max = ack.properties.and_then(|p| p.receive_max);
            Happened::Connected { receive_max: receive_max.unwrap_or(u16::MAX) }
        }
        Event::Incoming(Packet::PubAck(ack)) => match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => {
                Happened::Taken { pkid: ack.pkid, done: true }
            }
            reason => Happened::Refused { pkid: ack.pkid, why: format!("{reason:?}"), done: true },
        },
        Event::Incoming(Packet::PubRec(rec)) => match rec.reason {
            PubRecReason::Success | PubRecReason::NoMatchingSubscribers => {
                Happened::Taken { pkid: rec.pkid, done: false }
            }
            reason => Happened::Refused { pkid: rec.pkid, why: format!("{reason:?}"), done: false },
        },
        Event::Incoming(Packet::PubComp(comp)) => Happened::Done(comp.pkid),
        Event::Outgoing(Outgoing::Publish(pkid)) => Happened::Sent(pkid),
        _ => Happened::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_closes_at_the_oldest_identifier_in_use() {
        let mut window = Window::new(3);
        for seq in [10, 11, 12] {
            window.requested(seq);
        }
        assert_eq!(window.room(), 0);
        for pkid in [1, 2, 3] {
            assert_eq!(window.sent(pkid), None);
        }
        assert_eq!(window.answered(2), Some(11));
        window.free(2);
        assert_eq!(window.room(), 0, "identifier 1 is still in use");
        assert_eq!(window.answered(1), Some(10));
        assert_eq!(window.answered(1), None, "only once");
        window.free(1);
        assert_eq!(window.room(), 2);
    }

    #[test]
    fn at_qos_0_a_reading_leaves_the_window_when_it_is_sent() {
        let mut window = Window::new(2);
        window.requested(7);
        assert_eq!(window.sent(0), Some(7));
        assert_eq!(window.room(), 2);
    }

    #[test]
    fn a_server_may_ask_for_less() {
        let mut window = Window::new(20);
        window.limit(4);
        window.limit(u16::MAX);
        assert_eq!(window.room(), 4);
    }
}
