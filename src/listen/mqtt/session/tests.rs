//! Sessions without sockets: bytes in, bytes and steps out.

use super::*;
use crate::listen::mqtt::packet::{Framed, frame};

mod connects;
mod publishes;

/// A session and the bytes that it has sent.
struct Peer {
    session: Session,
    moment: Moment,
    out: Vec<u8>,
}

const CONNECT_31: &[u8] = b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x0a\x00\x02d1";
const CONNECT_311: &[u8] = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x0a\x00\x02d1";
const CONNECT_5: &[u8] = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x02d1";

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBCOMP: u8 = 0x70;

impl Peer {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let moment = Moment { now, is_full: false, is_stuck: false };
        Self { session: Session::new(limits, now), moment, out: Vec::new() }
    }

    /// With the default limits; the CONNACK is read already.
    fn connected(connect: &[u8]) -> Self {
        Self::connected_with(connect, Limits::default())
    }

    fn connected_with(connect: &[u8], limits: Limits) -> Self {
        let mut peer = Self::new(limits);
        peer.send(connect).unwrap();
        assert_eq!(peer.said()[0], 0x20);
        peer
    }

    /// What the step is called, with what it carries.
    fn send(&mut self, bytes: &[u8]) -> Result<String, Ending> {
        let Ok(Framed::Whole(frame)) = frame(bytes, self.session.packet_bytes_max()) else {
            panic!("{bytes:02x?}")
        };
        let assigned = || "assigned-1".to_owned();
        let step = self.session.take(frame, &self.moment, assigned, &mut self.out)?;
        let told = format!("{step:?}");
        if let Step::Message { delivery, .. } = step {
            self.session.took(delivery, false, bytes.len());
        }
        Ok(told)
    }

    /// A QoS 1 (or 2) message of three bytes.
    fn publish(&mut self, first: u8, id: u16) -> Result<String, Ending> {
        let [high, low] = id.to_be_bytes();
        let bytes = match self.session.version {
            Version::V5 => [first, 9, 0, 1, b't', high, low, 0, 1, 2, 3].to_vec(),
            _ => [first, 8, 0, 1, b't', high, low, 1, 2, 3].to_vec(),
        };
        self.send(&bytes)
    }

    fn said(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn seal(&mut self, ticket: u64) {
        self.session.seal(ticket, self.moment.now);
    }

    /// What is said once all tickets up to `ticket` are durable.
    fn kept(&mut self, ticket: u64) -> Vec<u8> {
        self.session.kept(Kept(ticket), self.moment.now, &mut self.out, |_| {});
        self.said()
    }

    fn farewell(&mut self, ending: Ending) -> Vec<u8> {
        self.session.farewell(ending, &mut self.out);
        self.said()
    }
}

fn answers(kind: u8, ids: impl IntoIterator<Item = u16>) -> Vec<u8> {
    ids.into_iter().flat_map(|id| [kind, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]).collect()
}
