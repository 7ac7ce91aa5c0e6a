//! `ESPHome`: `<prefix>/<component>/<name>/state`, as its MQTT component names topics.

use proto::mapping::{FieldType, Fields};

use super::{Look, Ruled, Seen, availability, fields, ignore, take, types};
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

pub(super) fn rules() -> Vec<Ruled> {
    let mut rules = vec![ignore("esphome/discover/#")];
    for (component, kind) in COMPONENTS {
        let state = Rule { format: kind.format(), ..rule(component, "{field}/state", kind) };
        let part = rule(component, "{field}/{part}/state", kind);
        rules.push((state, None));
        rules.push((Rule { format: Format::Plain, ..part }, Some(look_at_part as Look)));
        rules.push(ignore(&format!("{{device}}/{component}/+/command")));
        rules.push(ignore(&format!("{{device}}/{component}/+/+/command")));
    }
    let status = take("{device}/status", "esphome", fields(Fields::default()));
    rules.push((status, Some(status_word as Look)));
    rules.push((take("{device}/debug", "esphome", fields(Fields::default())), Some(log as Look)));
    rules
}

fn rule(component: &str, rest: &str, kind: Kind) -> Rule {
    let own = match kind {
        Kind::Plain => Fields::default(),
        Kind::Switch | Kind::Object => Fields { on_off: true, ..Fields::default() },
        Kind::Text => Fields { types: types(&[("*", FieldType::Text)]), ..Fields::default() },
    };
    Rule {
        tags: vec![("component".into(), component.into())],
        ..take(&format!("{{device}}/{component}/{rest}"), "esphome", fields(own))
    }
}

impl Kind {
    fn format(self) -> Format {
        if matches!(self, Self::Object) { Format::Auto } else { Format::Plain }
    }
}

/// `fan/NAME/speed/state` is the field `NAME_speed`.
fn look_at_part(matched: &mut Matched<'_>, _payload: &[u8]) -> Seen {
    let (Some(name), Some(part)) = (matched.field.take(), matched.take_tag("part")) else {
        return Seen::NotOurs;
    };
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
