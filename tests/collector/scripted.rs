//! Against a broker that does exactly what the test says: what real ones do once in a thousand hours.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    Error, QoS,
    v5::{
        ConnAck, ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PubAck, PubRel,
        Publish, SubAck, SubscribeReasonCode,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::bench::{Bench, Collector, LIMIT, settings_of};
use crate::support::wait_for;

struct Script {
    listener: TcpListener,
}

/// One connection of the collector, as the broker sees it.
struct Peer {
    stream: TcpStream,
    received: BytesMut,
}

impl Script {
    async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// CONNECT, CONNACK, SUBSCRIBE, SUBACK.
    async fn accept(&self, session_present: bool) -> Peer {
        self.accept_with(session_present, SubscribeReasonCode::Success(QoS::AtLeastOnce)).await
    }

    async fn accept_with(&self, session_present: bool, code: SubscribeReasonCode) -> Peer {
        let (stream, _) = timeout(LIMIT, self.listener.accept()).await.unwrap().unwrap();
        let mut peer = Peer { stream, received: BytesMut::new() };
        let Packet::Connect(connect, ..) = peer.next().await else { panic!("no CONNECT") };
        assert!(!connect.clean_start, "the session is to persist");
        let connack =
            ConnAck { session_present, code: ConnectReturnCode::Success, properties: None };
        peer.send(&Packet::ConnAck(connack)).await;
        let Packet::Subscribe(subscribe) = peer.next().await else { panic!("no SUBSCRIBE") };
        assert!(subscribe.filters.iter().all(|f| f.qos == QoS::AtLeastOnce), "never QoS 2");
        let suback = SubAck { pkid: subscribe.pkid, return_codes: vec![code], properties: None };
        peer.send(&Packet::SubAck(suback)).await;
        peer
    }
}

impl Peer {
    async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn publish(&mut self, pkid: u16, qos: QoS, dup: bool, v: i64) {
        let payload = format!("climate,device=d1 v={v}i 1790000000000000000");
        let mut publish = Publish::new("tele/d1", qos, payload, None);
        (publish.pkid, publish.dup) = (pkid, dup);
        self.send(&Packet::Publish(publish)).await;
    }

    async fn next(&mut self) -> Packet {
        timeout(LIMIT, self.read())
            .await
            .expect("a packet in time")
            .expect("the connection is open")
    }

    /// `None`: closed.
    async fn read(&mut self) -> Option<Packet> {
        loop {
            // The codec does not read the short form of a DISCONNECT that it writes.
            if self.received.starts_with(&[0xE0, 0x00]) {
                let normal = DisconnectReasonCode::NormalDisconnection;
                return Some(Packet::Disconnect(Disconnect::new(normal)));
            }
            match Packet::read(&mut self.received, None) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
            if self.stream.read_buf(&mut self.received).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn expect_puback(&mut self, pkid: u16) {
        match self.next().await {
            Packet::PubAck(PubAck { pkid: acknowledged, .. }) => assert_eq!(acknowledged, pkid),
            other => panic!("{other:?}"),
        }
    }

    /// As long as a sync is held, nothing is to come.
    async fn expect_silence(&mut self) {
        let heard = timeout(Duration::from_millis(200), self.read()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

/// A collector of that broker; nothing becomes durable until `bench.held.release()`.
async fn held() -> (Script, Bench, Collector) {
    let script = Script::new().await;
    let mut bench = Bench::new();
    bench.tally(bench.reader());
    bench.held.hold();
    let collector = bench.collect(settings_of(script.port()));
    (script, bench, collector)
}

/// The connection breaks, and the collector knows it: what becomes durable from now on is not
/// acknowledged on it.
fn gone(peer: Peer, collector: &Collector) {
    let is = |connected: i64| {
        wait_for("a change of the connection", LIMIT, || match collector.stats.connected.get() {
            found if found == connected => Ok(()),
            found => Err(format!("connected {found}")),
        });
    };
    is(1);
    drop(peer);
    is(0);
}

fn found(bench: &Bench) -> Vec<(i64, u32)> {
    bench.found.lock().unwrap().iter().map(|(v, times)| (*v, *times)).collect()
}

/// The trap that loses data: an acknowledgement earned on one connection and spent on the next, where the
/// same identifier means another message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_never_crosses_to_a_later_connection() {
    let (script, bench, collector) = held().await;

    let mut first = script.accept(false).await;
    first.publish(1, QoS::AtLeastOnce, false, 10).await;
    first.expect_silence().await;
    gone(first, &collector);
    bench.held.release(); // Message 10 becomes durable with no connection to acknowledge it on.
    bench.wait_distinct(1);

    bench.held.hold();
    let mut second = script.accept(false).await; // Another session: identifiers begin anew.
    second.publish(1, QoS::AtLeastOnce, false, 20).await;
    second.expect_silence().await;
    bench.held.release();
    second.expect_puback(1).await;
    bench.wait_distinct(2);
    assert_eq!(found(&bench), [(10, 1), (20, 1)]);
    collector.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resend_of_what_became_durable_meanwhile_is_acknowledged_and_not_stored_again() {
    let (script, bench, collector) = held().await;

    let mut first = script.accept(false).await;
    for (pkid, v) in [(1, 10), (2, 20), (3, 30)] {
        first.publish(pkid, QoS::AtLeastOnce, false, v).await;
    }
    first.expect_silence().await;
    gone(first, &collector);
    bench.held.release();
    bench.wait_distinct(3);

    let mut second = script.accept(true).await;
    second.publish(1, QoS::AtLeastOnce, true, 10).await; // The same.
    second.publish(2, QoS::AtLeastOnce, true, 21).await; // The identifier only.
    second.publish(3, QoS::AtLeastOnce, false, 30).await; // A new message with the same content.
    for pkid in 1..=3 {
        second.expect_puback(pkid).await;
    }
    bench.wait_distinct(4);
    assert_eq!(collector.stats.resends.get(), 1);
    wait_for("the second 30", LIMIT, || {
        let found = found(&bench);
        let expected = [(10, 1), (20, 1), (21, 1), (30, 2)];
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
    collector.kill().await;
}

/// We ask for QoS 1 only; a broker that sends QoS 2 all the same is answered by its rules.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_sends_qos_2_is_answered() {
    let (script, bench, collector) = held().await;
    let mut peer = script.accept(false).await;
    peer.publish(7, QoS::ExactlyOnce, false, 1).await;
    peer.expect_silence().await;
    bench.held.release();
    assert!(matches!(peer.next().await, Packet::PubRec(pubrec) if pubrec.pkid == 7));
    peer.send(&Packet::PubRel(PubRel::new(7, None))).await;
    assert!(matches!(peer.next().await, Packet::PubComp(pubcomp) if pubcomp.pkid == 7));
    bench.wait_distinct(1);
    collector.kill().await;
}

/// Leaving: what was taken is acknowledged, then DISCONNECT; what comes after the request is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_acknowledges_what_it_took_and_then_disconnects() {
    let (script, bench, mut collector) = held().await;
    let mut peer = script.accept(false).await;
    peer.publish(1, QoS::AtLeastOnce, false, 10).await;
    peer.expect_silence().await;
    collector.shutdown.cancel();
    peer.expect_silence().await;
    peer.publish(2, QoS::AtLeastOnce, false, 20).await;
    peer.expect_silence().await;
    bench.held.release();
    peer.expect_puback(1).await;
    assert!(matches!(peer.next().await, Packet::Disconnect(_)));
    drop(peer);
    timeout(LIMIT, collector.tasks.join_next()).await.unwrap().unwrap().unwrap();
    bench.wait_distinct(1);
    assert_eq!(found(&bench), [(10, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refuses_every_filter_is_asked_again() {
    let script = Script::new().await;
    let bench = Bench::new();
    let collector = bench.collect(settings_of(script.port()));
    for _ in 0..2 {
        let mut peer = script.accept_with(false, SubscribeReasonCode::NotAuthorized).await;
        assert!(timeout(LIMIT, peer.read()).await.unwrap().is_none(), "it leaves");
    }
    assert_eq!(collector.stats.connected.get(), 0);
    collector.kill().await;
}
