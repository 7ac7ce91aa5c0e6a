//! The simulated devices of a run: every way in that the configuration has, at a moderate rate.

use std::time::Duration;

use super::super::config::Listener;
use crate::{
    fleet::{Group, Http, Link, Mqtt, Version},
    payload::Encoding,
};

/// Where they publish; the gateway has a rule for it.
pub(super) const TOPIC: &str = "tidegate-torture/{kind}/{device}";

const PERIOD: Duration = Duration::from_millis(100);
/// Of a whole run. Longer runs are slower: each reading is kept, in the database and in the ledger.
const READINGS_MAX: u32 = 500_000;
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(300);

/// MQTT 3.1.1 and 5 at QoS 1, WebSocket, HTTP; JSON, frames, line protocol.
pub(super) fn groups(
    mqtt: Option<Listener>,
    http: Option<Listener>,
    run_for: Duration,
) -> Vec<Group> {
    let link = |version| Link::Mqtt(Mqtt { topic: TOPIC.to_owned(), ..Mqtt::new(version, 1) });
    let mut groups = Vec::new();
    let mut add = |room: &mut u32, most: u32, name, link, encoding| {
        let devices = most.min(*room);
        *room -= devices;
        if devices > 0 {
            groups.push(Group { encoding, ..Group::new(name, devices, link) });
        }
    };
    // A port that takes few connections gets few devices.
    let mut room = mqtt.map_or(0, |listener| listener.connections_max);
    add(&mut room, 12, "mqtt", link(Version::V4), Encoding::Json);
    add(&mut room, 8, "mqtt5", link(Version::V5), Encoding::Frame);
    let mut room = http.map_or(0, |listener| listener.connections_max);
    add(&mut room, 8, "ws", Link::WebSocket, Encoding::Json);
    add(&mut room, 6, "http", Link::Http(Http::default()), Encoding::Line);

    let devices: u32 = groups.iter().map(|group| group.devices).sum();
    let slow = run_for.saturating_mul(devices) / READINGS_MAX;
    for group in &mut groups {
        group.period = PERIOD.max(slow);
        (group.retry_first, group.retry_max) = (RETRY_FIRST, RETRY_MAX);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(connections_max: u32) -> Listener {
        Listener { address: ([127, 0, 0, 1], 1).into(), connections_max }
    }

    fn named(groups: &[Group]) -> Vec<(&str, u32)> {
        groups.iter().map(|group| (group.name.as_str(), group.devices)).collect()
    }

    #[test]
    fn every_port_there_is_gets_devices_as_far_as_it_takes_them() {
        let minute = Duration::from_mins(1);
        let all = groups(Some(listener(100)), Some(listener(100)), minute);
        assert_eq!(named(&all), [("mqtt", 12), ("mqtt5", 8), ("ws", 8), ("http", 6)]);
        let few = groups(Some(listener(14)), None, minute);
        assert_eq!(named(&few), [("mqtt", 12), ("mqtt5", 2)]);
        assert_eq!(named(&groups(None, Some(listener(1)), minute)), [("ws", 1)]);
        assert_eq!(all[0].period, PERIOD);
    }

    #[test]
    fn a_long_run_has_no_more_readings_than_can_be_kept() {
        let day = Duration::from_hours(24);
        let all = groups(Some(listener(100)), Some(listener(100)), day);
        let devices = u128::from(all.iter().map(|group| group.devices).sum::<u32>());
        let readings = day.as_millis() * devices / all[0].period.as_millis();
        assert!((400_000..=510_000).contains(&readings), "{readings}");
    }
}
