//! What must hold of the MQTT packet codec and the session on any bytes.
//!
//! Input: the bytes of a connection from its start. The session runs over them as the connection
//! loop would run it; every frame is also parsed as each version and as CONNECT.

use std::time::Duration;

use journal::Kept;
use tidegate::listen::mqtt::Limits;
use tidegate::listen::mqtt::packet::{self, Connect, Frame, Framed, Packet, Version};
use tidegate::listen::mqtt::session::{Moment, Session, Step};
use tokio::time::Instant;

const LIMITS: fn() -> Limits = || Limits {
    packet_bytes_max: 4096,
    receive_max: 8,
    unacked_messages_max: 16,
    topic_alias_max: 4,
    ..Limits::default()
};

pub fn packets(bytes: &[u8]) {
    let limits = LIMITS();
    let start = Instant::now();
    let mut session = Session::new(limits, start);
    let moment = Moment { now: start, is_full: false, is_stuck: false };
    let mut rest = bytes;
    let mut out = Vec::new();
    let mut ticket = 0;
    while let Some(frame) = next(rest, session.packet_bytes_max()) {
        rest = &rest[frame.len..];
        sound(frame);
        let before = out.len();
        match session.take(frame, &moment, || "assigned".to_owned(), &mut out) {
            Err(ending) => {
                session.farewell(ending, &mut out);
                break;
            }
            Ok(Step::Message { topic, delivery, .. }) => {
                assert!(!topic.is_empty() && !topic.contains(['\0', '+', '#']), "{topic:?}");
                session.took(delivery, frame.len % 5 == 0, frame.len);
                assert_eq!(out.len(), before, "answered before it is durable");
            }
            Ok(_) => {}
        }
        if frame.len % 3 == 0 {
            ticket += 1;
            session.seal(ticket, start);
        }
        if frame.len % 7 == 0 {
            session.kept(Kept(ticket), start, &mut out, |_| {});
        }
        assert!(session.remembered_bytes() <= 64 * 1024 + 256);
    }
    session.seal(ticket + 1, start);
    session.kept(Kept(ticket + 1), start, &mut out, |_| {});
    assert!(!session.owes(), "an answer is owed after everything is durable");
    assert!(session.deadline() <= start + Duration::from_secs(100_000));
    readable(&out);
}

fn next(bytes: &[u8], bytes_max: usize) -> Option<Frame<'_>> {
    match packet::frame(bytes, bytes_max) {
        Ok(Framed::Whole(frame)) => {
            assert!(frame.len <= bytes.len() && frame.len <= bytes_max);
            Some(frame)
        }
        Ok(Framed::Partial { wanted }) => {
            assert!(wanted > bytes.len() && wanted <= bytes_max.max(5));
            None
        }
        Err(_) => None,
    }
}

fn sound(frame: Frame<'_>) {
    for version in [Version::V31, Version::V311, Version::V5] {
        if let Ok(Packet::Publish(publish)) = frame.packet(version) {
            assert!(!publish.topic.is_empty() || publish.alias.is_some());
            assert!(publish.topic.len() + publish.payload.len() < frame.len);
        }
    }
    if let Ok(connect) = Connect::parse(frame) {
        assert_eq!(connect.version, Connect::dialect(frame));
    }
}

/// What we say is a row of whole packets.
fn readable(mut out: &[u8]) {
    while !out.is_empty() {
        let Ok(Framed::Whole(frame)) = packet::frame(out, usize::MAX) else { panic!("{out:02x?}") };
        out = &out[frame.len..];
    }
}
