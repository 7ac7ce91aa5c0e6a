//! `ESPHome`: `<prefix>/<component>/<name>/state`, as its MQTT component names topics. The prefix is the
//! device's name, and may hold slashes.

use proto::mapping::{FieldType, Fields};

use super::{Look, Ruled, Seen, availability, below, fields, is_near, take, types};
use crate::intake::Format;
use crate::intake::route::{Matched, Rule};

/// How a component's states are read.
#[derive(Clone, Copy)]
enum Kind {
    /// A number is a number, anything else a text.
    Plain,
    /// `ON` and `OFF`.
    Switch,
    /// Always a text, even if it looks like a number today.
    Text,
    /// JSON.
    Object,
}

const COMPONENTS: [(&str, Kind); 22] = [
    ("sensor", Kind::Plain),
    ("number", Kind::Plain),
    ("climate", Kind::Plain),
    ("cover", Kind::Plain),
    ("valve", Kind::Plain),
    ("lock", Kind::Plain),
    ("water_heater", Kind::Plain),
    ("alarm_control_panel", Kind::Plain),
    ("media_player", Kind::Plain),
    ("binary_sensor", Kind::Switch),
    ("switch", Kind::Switch),
    ("fan", Kind::Switch),
    ("siren", Kind::Switch),
    ("text_sensor", Kind::Text),
    ("text", Kind::Text),
    ("select", Kind::Text),
    ("event", Kind::Text),
    ("date", Kind::Text),
    ("time", Kind::Text),
    ("datetime", Kind::Text),
    ("update", Kind::Object),
    ("light", Kind::Object),
];

/// Components with states besides the one that they are named for, and those: `fan/attic/speed/state`.
const PARTS: [(&str, &[&str]); 5] = [
    ("fan", &["oscillation", "speed_level", "speed", "direction", "preset_mode"]),
    ("cover", &["position", "tilt"]),
    ("valve", &["position"]),
    ("climate", &CLIMATE),
    ("water_heater", &CLIMATE),
];
const CLIMATE: [&str; 12] = [
    "mode",
    "action",
    "away",
    "preset",
    "fan_mode",
    "swing_mode",
    "current_temperature",
    "current_humidity",
    "target_temperature",
    "target_temperature_low",
    "target_temperature_high",
    "target_humidity",
];

pub(super) fn rules(prefix: &str) -> Vec<Ruled> {
    let one = |rest: &str| take(&below(prefix, rest), "esphome", fields(Fields::default()));
    let mut rules = Vec::new();
    // Before the states: `fan` and `speed` might be a component's name and a state of it.
    for (component, part) in parts() {
        let part = |last: &str| format!("{{device..}}/{component}/{{field}}/{part}/{last}");
        let kind = component_kind(component);
        let state = rule(component, kind, &below(prefix, &part("state")));
        rules.push((Rule { format: Format::Plain, ..state }, Some(look_at_part as Look)));
        rules.push((one(&part("command")), Some(command as Look)));
    }
    for (component, kind) in COMPONENTS {
        let topic = |last: &str| format!("{{device..}}/{component}/{{field}}/{last}");
        let state = rule(component, kind, &below(prefix, &topic("state")));
        rules.push((Rule { format: kind.format(), ..state }, Some(look_at_state as Look)));
        rules.push((one(&topic("command")), Some(command as Look)));
    }
    let status = if prefix.is_empty() { "{device}/status" } else { "{device..}/status" };
    rules.push((one(status), Some(status_word as Look)));
    rules.push((one("{device..}/debug"), Some(log as Look)));
    rules
}

fn parts() -> impl Iterator<Item = (&'static str, &'static str)> {
    PARTS.iter().flat_map(|(component, parts)| parts.iter().map(|part| (*component, *part)))
}

fn component_kind(component: &str) -> Kind {
    let found = COMPONENTS.iter().find(|(name, _)| *name == component);
    found.map_or(Kind::Plain, |(_, kind)| *kind)
}

fn rule(component: &str, kind: Kind, topic: &str) -> Rule {
    let own = match kind {
        Kind::Plain => Fields::default(),
        Kind::Switch | Kind::Object => Fields { on_off: true, ..Fields::default() },
        Kind::Text => Fields { types: types(&[("*", FieldType::Text)]), ..Fields::default() },
    };
    Rule {
        tags: vec![("component".into(), component.into())],
        ..take(topic, "esphome", fields(own))
    }
}

impl Kind {
    fn format(self) -> Format {
        if matches!(self, Self::Object) { Format::Auto } else { Format::Plain }
    }
}

fn look_at_state(matched: &mut Matched<'_>, _payload: &[u8]) -> Seen {
    if is_ours(matched) { Seen::Take } else { Seen::NotOurs }
}

fn command(matched: &mut Matched<'_>, _payload: &[u8]) -> Seen {
    if is_ours(matched) { Seen::Nothing } else { Seen::NotOurs }
}

/// Behind a prefix of several levels a name must look as the firmware makes it (letters, digits, `-`
/// and `_`), and the prefix must not be the word that Home Assistant's topics begin with.
fn is_ours(matched: &Matched<'_>) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = matched.field.unwrap_or_default();
    let prefix = matched.tag("device").unwrap_or_default();
    is_near(matched) || (name.chars().all(is_part) && !prefix.ends_with("/homeassistant"))
}

/// `fan/NAME/speed/state` is the field `NAME_speed`.
fn look_at_part(matched: &mut Matched<'_>, _payload: &[u8]) -> Seen {
    let part = matched.topic.rsplit('/').nth(1).unwrap_or_default();
    if !is_ours(matched) {
        return Seen::NotOurs;
    }
    let name = matched.field.take().unwrap_or_default();
    matched.value = format!("{name}_{part}").into();
    Seen::Take
}

/// Only the words: `x/status` may be anything.
fn status_word(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    if payload.trim_ascii_start().starts_with(b"{") {
        return Seen::NotOurs;
    }
    availability(matched, payload)
}

/// `[D][sensor:092]: ...`, mostly with the colours of a terminal.
fn log(_matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    let colour = payload.strip_prefix(b"\x1b[").and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'm')?;
        rest.get(end + 1..)
    });
    let line = colour.unwrap_or(payload);
    let is_line = matches!(line, [b'[', level, b']', b'[', ..] if level.is_ascii_uppercase());
    // Newer ones begin with the time: `[12:00:00][D][sensor:092]`.
    let is_dated = matches!(line, [b'[', b'0'..=b'2', b'0'..=b'9', b':', ..]);
    if is_line || is_dated { Seen::Nothing } else { Seen::NotOurs }
}
