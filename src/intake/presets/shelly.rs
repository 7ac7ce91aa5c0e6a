//! Shelly: notifications, status topics and answers of the second generation (and later ones), and
//! the topic for each value of the first.
//!
//! The prefix of the second generation's topics is the device's name, and may hold slashes.

use proto::{
    Mapping,
    mapping::{Case, FieldType, Fields},
};

use super::{
    Look, Ruled, Seen, below, globs, ignore, is_near, is_object, mapping, named, path, paths, take,
    types,
};
use crate::intake::Format;
use crate::intake::route::Matched;

/// What the second generation calls its components.
const COMPONENTS: [&str; 47] = [
    "ble",
    "blugw",
    "blutrv",
    "boolean",
    "bthome",
    "bthomedevice",
    "bthomesensor",
    "button",
    "cct",
    "cloud",
    "cover",
    "devicepower",
    "em",
    "em1",
    "em1data",
    "emdata",
    "enum",
    "eth",
    "flood",
    "group",
    "ht_ui",
    "humidity",
    "illuminance",
    "input",
    "knx",
    "light",
    "matter",
    "modbus",
    "mqtt",
    "number",
    "plugs_ui",
    "pm1",
    "presence",
    "presencezone",
    "rgb",
    "rgbcct",
    "rgbw",
    "script",
    "smoke",
    "switch",
    "sys",
    "temperature",
    "text",
    "thermostat",
    "voltmeter",
    "wifi",
    "ws",
];

pub(super) fn rules(prefix: &str) -> Vec<Ruled> {
    let one = |rest: &str, mapping| take(&below(prefix, rest), "shelly", mapping);
    vec![
        (one("{device..}/events/rpc", notifications()), Some(notification as Look)),
        (one("{device..}/status/{component}", plain()), Some(status as Look)),
        (one("{device..}/online", plain()), Some(online as Look)),
        (one("{device..}/debug/log", plain()), Some(log as Look)),
    ]
}

/// Answers go to whoever asked, and the first generation has one root.
pub(super) fn rules_anywhere() -> Vec<Ruled> {
    let one = |topic: &str, mapping| take(topic, "shelly", mapping);
    vec![
        (one("{asker..}/rpc", answers()), Some(answer as Look)),
        ignore("shellies/announce"),
        ignore("shellies/command"),
        (one("shellies/{device}/{rest..}", first_generation()), Some(first as Look)),
    ]
}

/// Numbers of the component and clocks that are no measurement.
fn own_fields() -> Fields {
    Fields {
        drop: globs(&["id", "ts", "time", "unixtime", "*by_minute_*", "*minute_ts"]),
        ..Fields::default()
    }
}

fn plain() -> Mapping {
    mapping(vec![Case { times: Some(Vec::new()), fields: own_fields(), ..Case::default() }])
}

fn notifications() -> Mapping {
    let events = Case {
        select: path("/params/events"),
        tags: named(&[("component", "component")]),
        times: Some(paths(&["ts", "/params/ts"])),
        fields: own_fields(),
        ..Case::default()
    };
    mapping(vec![events, components("/params", "/params/ts")])
}

fn answers() -> Mapping {
    let tags = named(&[("device", "/src")]);
    mapping(vec![Case { tags, ..components("/result", "/result/sys/unixtime") }])
}

fn components(part: &str, time: &str) -> Case {
    Case {
        select: path(part),
        split: Some("component".into()),
        times: Some(paths(&[time])),
        fields: own_fields(),
        ..Case::default()
    }
}

fn first_generation() -> Mapping {
    let on_off = ["relay", "light", "color", "white", "online"];
    let types = types(&on_off.map(|name| (name, FieldType::Boolean)));
    let own = Fields { types, on_off: true, ..own_fields() };
    mapping(vec![Case { times: Some(paths(&["/unixtime"])), fields: own, ..Case::default() }])
}

/// Any topic may end in `events/rpc`, even if few do.
fn notification(_matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    if is_object(payload) && has_key(payload, "method") { Seen::Take } else { Seen::NotOurs }
}

/// `shellyplus1pm-441793/status/switch:0`. Behind a prefix of several levels `status/light` may be
/// anything, `status/light:0` is nobody else's.
fn status(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    let component = matched.tag("component").unwrap_or_default();
    let (kind, number) = component.split_once(':').unwrap_or((component, ""));
    let is_numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let is_ours = COMPONENTS.contains(&kind) && is_object(payload);
    if is_ours && (is_numbered || is_known(matched) || is_near(matched)) {
        Seen::Take
    } else {
        Seen::NotOurs
    }
}

/// Any topic may end in `online`: only names that the firmware gives are known.
fn online(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    if !is_known(matched) || !matches!(payload.trim_ascii(), b"true" | b"false") {
        return Seen::NotOurs;
    }
    matched.value = "online".into();
    Seen::Take
}

fn log(matched: &mut Matched<'_>, _payload: &[u8]) -> Seen {
    if is_known(matched) { Seen::Nothing } else { Seen::NotOurs }
}

/// By its name, of which the last level counts, or by a prefix that was named.
fn is_known(matched: &Matched<'_>) -> bool {
    let name = matched.tag("device").and_then(|device| device.rsplit('/').next());
    name.is_some_and(|name| name.starts_with("shelly")) || matched.tag("prefix").is_some()
}

/// Of all answers only a whole status has the device's clock in it. What is no answer is a request.
fn answer(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    matched.take_tag("asker");
    let has = |key: &str| has_key(payload, key);
    if !is_object(payload) || !has("src") {
        return Seen::NotOurs;
    }
    if has("result") && has("unixtime") {
        return Seen::Take;
    }
    let is_rpc = has("id") && ["method", "result", "error"].into_iter().any(has);
    if is_rpc { Seen::Nothing } else { Seen::NotOurs }
}

fn has_key(payload: &[u8], key: &str) -> bool {
    let key = format!("\"{key}\"");
    payload.windows(key.len()).any(|window| window == key.as_bytes())
}

/// `relay/0/power` is the field `relay_power` of channel 0.
fn first(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    let rest = matched.take_tag("rest").unwrap_or_default();
    let last = rest.rsplit('/').next().unwrap_or_default();
    if ["announce", "command", "set"].contains(&last) {
        return Seen::Nothing;
    }
    let is_number = |level: &&str| !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit());
    if let Some(channel) = rest.split('/').find(is_number) {
        matched.set_tag("channel", channel);
    }
    let mut names = rest.split('/').filter(|level| !is_number(level));
    if is_object(payload) {
        if let Some(component) = names.next() {
            matched.set_tag("component", component);
        }
    } else {
        matched.value = names.collect::<Vec<_>>().join("_").into();
        matched.format = Format::Plain;
    }
    Seen::Take
}
