//! Tasmota: sensors, state and Zigbee of its bridges, with `tele` and `stat` first in the topic
//! (`%prefix%/%topic%/`), after the device (`%topic%/%prefix%/`), or behind a prefix. The device is
//! `%topic%`, which may hold slashes.

use std::iter;

use proto::mapping::{Case, FieldType, Fields};

use super::{
    Look, Ruled, Seen, availability, below, globs, ignore, mapping, named, path, paths, take, types,
};
use crate::intake::Format;
use crate::intake::route::{Matched, Rule};

/// `Epoch` wins; a `Time` without offset is not trusted.
const TIMES: [&str; 4] = ["Epoch", "Time", "/Epoch", "/Time"];

/// More has no device.
const RELAYS: usize = 32;

pub(super) fn rules(prefix: &str) -> Vec<Ruled> {
    let mut rules = Vec::new();
    for topic in ["cmnd/#", "+/cmnd/#", "{device..}/cmnd/+"] {
        rules.push(ignore(&below(prefix, topic)));
    }
    let mut orders = vec!["WORD/{device..}", "{device..}/WORD"];
    if prefix.is_empty() {
        // One that nobody has named. What stands before it cannot be told from a longer `%topic%`.
        orders.push("{prefix..}/WORD/{device}");
        rules.push(ignore("{prefix..}/cmnd/+/+"));
    }
    for order in orders {
        let topic = |word: &str, last: &str| {
            below(prefix, &format!("{}/{last}", order.replace("WORD", word)))
        };
        rules.extend(tele(|last| topic("tele", last)));
        rules.extend(stat(|last| topic("stat", last)));
    }
    rules
}

fn tele(topic: impl Fn(&str) -> String) -> Vec<Ruled> {
    let mut rules = Vec::new();
    for last in ["SENSOR", "RESULT"] {
        rules.push((take(&topic(last), "tasmota", sensors()), Some(sensor as Look)));
    }
    rules.push((take(&topic("STATE"), "tasmota_state", state()), None));
    rules.push((take(&topic("LWT"), "tasmota_state", state()), Some(availability as Look)));
    for last in ["INFO1", "INFO2", "INFO3", "LOGGING", "HASS_STATE", "UPTIME"] {
        rules.push(ignore(&topic(last)));
    }
    rules
}

/// `POWER1` is a state; what else comes under `stat/` answers commands.
fn stat(topic: impl Fn(&str) -> String) -> Vec<Ruled> {
    let mut rules = Vec::new();
    for last in ["STATUS8", "STATUS10"] {
        rules.push((take(&topic(last), "tasmota", sensors()), None));
    }
    for last in ["STATE", "STATUS11"] {
        rules.push((take(&topic(last), "tasmota_state", state()), None));
    }
    let numbered = |name: &str, most: usize| {
        let numbered = (0..=most).map(|number| format!("{name}{number}"));
        iter::once(name.to_owned()).chain(numbered).collect::<Vec<_>>()
    };
    for last in numbered("POWER", RELAYS) {
        let rule = Rule { format: Format::Plain, ..take(&topic(&last), "tasmota_state", state()) };
        rules.push((rule, Some(power as Look)));
    }
    for last in numbered("STATUS", 15) {
        if !["STATUS8", "STATUS10", "STATUS11"].contains(&last.as_str()) {
            rules.push(ignore(&topic(&last)));
        }
    }
    for last in ["RESULT", "LOGGING", "UPGRADE"] {
        rules.push(ignore(&topic(last)));
    }
    rules
}

/// Each sensor is a reading with the tag `sensor`; `Id` tells probes on one wire apart.
fn sensors() -> proto::Mapping {
    let sensor = Case {
        split: Some("sensor".into()),
        tags: named(&[("id", "Id")]),
        times: Some(paths(&TIMES)),
        fields: Fields {
            drop: globs(&["*StartTime", "TempUnit", "PressureUnit", "SpeedUnit"]),
            on_off: true,
            ..Fields::default()
        },
        ..Case::default()
    };
    let mut cases: Vec<_> = ["/ZbReceived", "/ZbInfo"].map(zigbee).into();
    cases.push(Case { measurement: Some("tasmota_lorawan".into()), ..zigbee("/LwReceived") });
    cases.push(Case { select: path("/StatusSNS"), ..sensor.clone() });
    cases.push(sensor);
    mapping(cases)
}

/// Here `Power` is whether something is on: sent as `true` and as 1 alike.
fn zigbee(part: &str) -> Case {
    let constant =
        ["Device", "Name", "IEEEAddr", "ModelId", "Manufacturer", "Endpoints_*", "Config_*"];
    Case {
        select: path(part),
        measurement: Some("tasmota_zigbee".into()),
        split: Some("sensor".into()),
        tags: named(&[("name", "Name"), ("endpoint", "Endpoint")]),
        times: Some(paths(&TIMES)),
        fields: Fields {
            drop: globs(&constant),
            types: types(&[("Power", FieldType::Boolean), ("Reachable", FieldType::Boolean)]),
            on_off: true,
            ..Fields::default()
        },
        ..Case::default()
    }
}

/// `UptimeSec` says what `Uptime` says as a text.
fn state() -> proto::Mapping {
    let state = Case {
        times: Some(paths(&TIMES)),
        fields: Fields { drop: globs(&["Uptime"]), on_off: true, ..Fields::default() },
        ..Case::default()
    };
    mapping(vec![Case { select: path("/StatusSTS"), ..state.clone() }, state])
}

/// With `SetOption89` a device that is reached by radio has a topic of its own below its bridge's.
fn sensor(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    let has = |key: &str| payload.windows(key.len()).any(|window| window == key.as_bytes());
    let by_radio = ["\"ZbReceived\"", "\"ZbInfo\"", "\"LwReceived\"", "\"Device\":\"0x"];
    if let Some((bridge, node)) = matched.tag("device").and_then(|device| device.rsplit_once('/'))
        && !bridge.is_empty()
        && by_radio.into_iter().any(has)
    {
        matched.set_tag("device", bridge);
        matched.set_tag("node", node);
    }
    Seen::Take
}

fn power(matched: &mut Matched<'_>, _payload: &[u8]) -> Seen {
    matched.value = matched.topic.rsplit('/').next().unwrap_or_default().into();
    Seen::Take
}
