//! `[mqtt]` and `[http]`: ports that devices connect to. A table that is not there is a port that
//! is not opened.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::table::Table;
use crate::listen::accept;
use crate::listen::http as http_stage;
use crate::listen::mqtt as mqtt_stage;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const MOMENT: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

#[derive(Clone, Copy, Debug)]
pub struct Mqtt {
    pub listen: SocketAddr,
    pub ports: accept::Limits,
    pub limits: mqtt_stage::Limits,
}

#[derive(Clone, Copy, Debug)]
pub struct Http {
    pub listen: SocketAddr,
    pub ports: accept::Limits,
    pub limits: http_stage::Limits,
}

pub(super) fn mqtt(table: Table<'_>) -> Option<Mqtt> {
    let mut ports = accept::Limits::default();
    let mut limits = mqtt_stage::Limits::default();
    let listen = listen(&table, 1883);
    let inner = table.table("limits");
    connections(&inner, &mut ports);
    inner.bytes("packet_bytes_max", KIB..=MIB, &mut limits.packet_bytes_max);
    inner.duration("handshake_max", MOMENT..=HOUR, &mut limits.handshake_max);
    inner.duration("write_max", MOMENT..=HOUR, &mut limits.write_max);
    inner.count("receive_max", 1..=u16::MAX, &mut limits.receive_max);
    inner.count("overrun_factor", 1..=64, &mut limits.overrun_factor);
    inner.count("unacked_messages_max", 1..=65_535, &mut limits.unacked_messages_max);
    inner.bytes("unacked_bytes_max", KIB..=64 * MIB, &mut limits.unacked_bytes_max);
    inner.duration("full_wait", MOMENT..=HOUR, &mut limits.full_wait);
    inner.count("topic_alias_max", 0..=u16::MAX, &mut limits.topic_alias_max);
    inner.duration("keep_alive_max", Duration::from_secs(1)..=DAY, &mut limits.keep_alive_max);
    inner.bytes("held_bytes_max", MIB..=4096 * MIB, &mut limits.held_bytes_max);
    let packet = ("packet_bytes_max", limits.packet_bytes_max);
    has_room(&inner, ("unacked_bytes_max", limits.unacked_bytes_max), packet);
    has_room(&inner, ("held_bytes_max", limits.held_bytes_max), packet);
    inner.done();
    let is_there = table.is_there();
    table.done();
    is_there.then_some(Mqtt { listen, ports, limits })
}

pub(super) fn http(table: Table<'_>) -> Option<Http> {
    let mut ports = accept::Limits::default();
    let mut limits = http_stage::Limits::default();
    let listen = listen(&table, 8080);
    let inner = table.table("limits");
    connections(&inner, &mut ports);
    bodies(&inner, &mut limits);
    websocket(&inner, &mut limits);
    inner.duration("header_max", MOMENT..=HOUR, &mut limits.header_max);
    inner.duration("idle_max", MOMENT..=DAY, &mut limits.idle_max);
    inner.duration("write_max", MOMENT..=HOUR, &mut limits.write_max);
    inner.duration("full_wait", MOMENT..=HOUR, &mut limits.full_wait);
    inner.duration("durable_max", MOMENT..=HOUR, &mut limits.durable_max);
    inner.bytes("memory_bytes_max", MIB..=4096 * MIB, &mut limits.memory_bytes_max);
    let memory = ("memory_bytes_max", limits.memory_bytes_max);
    has_room(&inner, memory, ("document_bytes_max", limits.document_bytes_max));
    let message = ("websocket_message_bytes_max", limits.websocket_message_bytes_max);
    has_room(&inner, memory, message);
    inner.done();
    let is_there = table.is_there();
    table.done();
    is_there.then_some(Http { listen, ports, limits })
}

fn bodies(table: &Table<'_>, limits: &mut http_stage::Limits) {
    table.bytes("body_bytes_max", KIB..=1024 * MIB, &mut limits.body_bytes_max);
    table.bytes("inflated_bytes_max", KIB..=4096 * MIB, &mut limits.inflated_bytes_max);
    table.bytes("document_bytes_max", KIB..=64 * MIB, &mut limits.document_bytes_max);
    table.duration("body_pause_max", MOMENT..=HOUR, &mut limits.body_pause_max);
    table.duration("body_max", MOMENT..=DAY, &mut limits.body_max);
    table.bytes("body_bytes_per_second_min", 1..=MIB, &mut limits.body_bytes_per_second_min);
}

fn websocket(table: &Table<'_>, limits: &mut http_stage::Limits) {
    let message = &mut limits.websocket_message_bytes_max;
    table.bytes("websocket_message_bytes_max", KIB..=16 * MIB, message);
    let messages = &mut limits.websocket_unacked_messages_max;
    table.count("websocket_unacked_messages_max", 1..=65_535, messages);
    let bytes = &mut limits.websocket_unacked_bytes_max;
    table.bytes("websocket_unacked_bytes_max", KIB..=64 * MIB, bytes);
    table.duration("websocket_silence_max", MOMENT..=DAY, &mut limits.websocket_silence_max);
}

/// One limit must be at least as large as another.
fn has_room(table: &Table<'_>, (key, bytes): (&str, usize), (of, least): (&str, usize)) {
    if bytes < least {
        table.wrong(key, format!("`{key}` must be at least `{of}`, which is {least} bytes"));
    }
}

/// Whether one of two ports could not be opened.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same_ip
}

fn connections(table: &Table<'_>, ports: &mut accept::Limits) {
    table.count("connections_max", 1..=1_000_000, &mut ports.connections_max);
}

/// Loopback by default; anything else must be asked for twice, for now there are no users.
fn listen(table: &Table<'_>, port: u16) -> SocketAddr {
    let mut listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    table.address("listen", &mut listen);
    let mut allow_anonymous = false;
    table.flag("allow_anonymous", &mut allow_anonymous);
    if !allow_anonymous && !listen.ip().is_loopback() {
        let text = format!(
            "anyone who can reach {listen} could write here; if that is meant, add \
             `allow_anonymous = true`, else listen on 127.0.0.1:{}",
            listen.port()
        );
        table.wrong("listen", text);
    }
    listen
}
