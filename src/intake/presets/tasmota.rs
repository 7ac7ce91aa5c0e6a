//! Tasmota: sensors, state and Zigbee of its bridges, under `tele/` and `stat/`, or with the device
//! first (`%topic%/%prefix%/`).

use proto::mapping::{Case, FieldType, Fields};

use super::{
    Look, Ruled, Seen, availability, globs, ignore, mapping, named, path, paths, take, types,
};
use crate::intake::Format;
use crate::intake::route::Matched;

/// `Epoch` wins; a `Time` without offset is not trusted.
const TIMES: [&str; 4] = ["Epoch", "Time", "/Epoch", "/Time"];

pub(super) fn rules() -> Vec<Ruled> {
    let mut rules: Vec<Ruled> =
        ["cmnd/#", "+/cmnd/#", "tasmota/discovery/#"].map(ignore).into_iter().collect();
    for topic in ["tele/{device}/", "tele/{device}/{node}/", "{device}/tele/"] {
        for last in ["SENSOR", "RESULT"] {
            rules.push((take(&format!("{topic}{last}"), "tasmota", sensors()), None));
        }
        rules.push((take(&format!("{topic}STATE"), "tasmota_state", state()), None));
        let online = take(&format!("{topic}LWT"), "tasmota_state", state());
        rules.push((online, Some(availability as Look)));
        for last in ["INFO1", "INFO2", "INFO3", "LOGGING", "HASS_STATE", "UPTIME"] {
            rules.push(ignore(&format!("{topic}{last}")));
        }
    }
    for topic in ["stat/{device}/", "{device}/stat/"] {
        for last in ["STATUS8", "STATUS10"] {
            rules.push((take(&format!("{topic}{last}"), "tasmota", sensors()), None));
        }
        for last in ["STATE", "STATUS11"] {
            rules.push((take(&format!("{topic}{last}"), "tasmota_state", state()), None));
        }
        let other = take(&format!("{topic}{{field}}"), "tasmota_state", state());
        rules.push((other, Some(answer as Look)));
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

/// `stat/+/POWER1` is a state; what else comes under `stat/` answers commands.
fn answer(matched: &mut Matched<'_>, _payload: &[u8]) -> Seen {
    let name = matched.field.unwrap_or_default();
    let digits = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    if name.strip_prefix("POWER").is_some_and(digits) {
        matched.format = Format::Plain;
        return Seen::Take;
    }
    let is_answer = name.strip_prefix("STATUS").is_some_and(digits)
        || ["RESULT", "LOGGING", "UPGRADE"].contains(&name);
    if is_answer { Seen::Nothing } else { Seen::NotOurs }
}
