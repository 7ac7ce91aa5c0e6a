//! Presets by their rules: they are right, and they keep out of each other's way.

use super::*;
use crate::intake::route::{Route, Routes};

fn routes() -> Routes {
    Routes::with_presets(Vec::new(), Preset::ALL).unwrap()
}

/// The preset that takes or filters it.
fn by(topic: &str, payload: &str) -> Option<Preset> {
    let routes = routes();
    match routes.route(topic, payload.as_bytes()) {
        Route::Take(matched) => matched.rule.and_then(|rule| rule.preset),
        Route::Ignore(rule) => rule.preset,
    }
}

/// `with_presets` asserts it of every rule and path of every preset.
#[test]
fn every_rule_of_a_preset_is_one_that_an_operator_could_write() {
    for preset in Preset::ALL {
        let rules = rules(&[preset.usually()]);
        assert!(!rules.is_empty());
        assert!(rules.iter().all(|(rule, _)| rule.preset == Some(*preset)));
        Routes::with_presets(Vec::new(), &[*preset]).unwrap();
        let prefix = "home/below".to_owned();
        Routes::with_presets_below(Vec::new(), &[Below { preset: *preset, prefix }]).unwrap();
    }
    LazyLock::force(&ONLINE);
}

#[test]
fn topics_that_look_alike_find_their_own_preset() {
    for (topic, payload, preset) in [
        ("homeassistant/sensor/attic/state", "21.5", Some(Preset::HomeAssistant)),
        ("attic/sensor/t/state", "21.5", Some(Preset::Esphome)),
        ("attic/status", "online", Some(Preset::Esphome)),
        ("attic/status/switch:0", "{}", Some(Preset::Shelly)),
        ("attic/status/mood", "{}", None),
        ("tele/attic/LWT", "Online", Some(Preset::Tasmota)),
        ("tele/attic/LWT", "perhaps", None),
        ("zigbee2mqtt/attic", "{}", Some(Preset::Zigbee2mqtt)),
        ("shellies/attic/relay/0", "on", Some(Preset::Shelly)),
        ("v3/app@ttn/devices/d/up", "{}", Some(Preset::Ttn)),
        ("collectd/box/cpu-0/cpu-idle", "1700000000:1", Some(Preset::Collectd)),
        ("collectd/box/cpu-0/cpu-idle", "21.5", None),
        ("attic/online", "true", None),
        ("attic/debug", "21.5", None),
        ("garden/bed/soil", "21.5", None),
    ] {
        assert_eq!(by(topic, payload), preset, "{topic} {payload}");
    }
}

/// Whatever comes on them.
#[test]
fn no_payload_makes_a_look_panic() {
    let routes = routes();
    let topics = [
        "zigbee2mqtt/",
        "zigbee2mqtt//",
        "zigbee2mqtt/set",
        "zigbee2mqtt//set",
        "shellies/x/0",
        "shellies/x//",
        "stat/x/POWER",
        "x/rpc",
        "x/debug",
        "x/status",
        "x/fan/a/b/state",
        "homeassistant/a/b/c",
        "collectd/a/-/-",
        "x/status/",
        "tele/x/LWT",
        "shellyx/online",
        "/x/status/",
        "a//sensor//state",
        "a/b/fan/x/speed/state",
        "a/b/debug",
        "a//rpc",
        "tele/a//SENSOR",
        "tele//a/SENSOR",
        "a/stat/b/POWER",
    ];
    for topic in topics {
        for payload in ["", "\0", "{", "{\"src\"", "\u{1b}[", "\u{1b}[m", "[", "é", "\"", "N:", ":"]
        {
            drop(routes.route(topic, payload.as_bytes()));
        }
    }
}
