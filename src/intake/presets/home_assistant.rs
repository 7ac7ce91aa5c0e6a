//! Home Assistant: states below its prefix, `homeassistant/`, as devices with discovery and its own
//! `mqtt_statestream` publish them. Discovery itself is nothing to store;
//! what it says of other topics is kept by `described`.

use std::sync::LazyLock;

use proto::{
    Mapping,
    mapping::{Case, FieldType, Fields},
};

use super::{Look, Ruled, Seen, below, fields, ignore, is_object, mapping, take, types};
use crate::intake::Format;
use crate::intake::route::Matched;

/// Attributes that describe an entity and are no measurement.
const DESCRIPTIONS: [&str; 21] = [
    "assumed_state",
    "attribution",
    "device_class",
    "editable",
    "effect_list",
    "entity_picture",
    "friendly_name",
    "icon",
    "id",
    "last_changed",
    "last_reset",
    "last_updated",
    "max",
    "min",
    "mode",
    "options",
    "restored",
    "state_class",
    "step",
    "supported_features",
    "unit_of_measurement",
];
const SWITCHES: [&str; 9] = [
    "automation",
    "binary_sensor",
    "fan",
    "humidifier",
    "input_boolean",
    "light",
    "script",
    "siren",
    "switch",
];
const TEXTS: [&str; 7] =
    ["device_tracker", "event", "input_select", "input_text", "person", "select", "text"];

/// `on` and `off`.
static SWITCH: LazyLock<Mapping> =
    LazyLock::new(|| fields(Fields { on_off: true, ..Fields::default() }));
/// Always a text, even if it looks like a number today.
static TEXT: LazyLock<Mapping> = LazyLock::new(|| {
    fields(Fields { types: types(&[("state", FieldType::Text)]), ..Fields::default() })
});

/// Of what the rules below filter: `<prefix>/<component>/[<node>/]<object>/config`.
pub(super) fn is_discovery(topic: &str) -> bool {
    topic.ends_with("/config")
}

pub(super) fn rules(prefix: &str) -> Vec<Ruled> {
    let one =
        |rest: &str| take(&below(prefix, rest), "homeassistant", mapping(vec![Case::default()]));
    vec![
        ignore(&below(prefix, "status")),
        ignore(&below(prefix, "+/+/config")),
        ignore(&below(prefix, "+/+/+/config")),
        (one("{component}/{object}/state"), Some(look_at_state as Look)),
        (one("{component}/{object}/{attribute}"), Some(look_at_attribute as Look)),
    ]
}

fn look_at_state(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    matched.value = "state".into();
    let component = matched.tag("component").unwrap_or_default();
    if SWITCHES.contains(&component) {
        matched.mapping = Some(&SWITCH);
    } else if TEXTS.contains(&component) {
        matched.mapping = Some(&TEXT);
    }
    if !is_object(payload) {
        matched.format = Format::Plain;
    }
    Seen::Take
}

/// `mqtt_statestream` writes attributes as JSON: a text has its quotes.
fn look_at_attribute(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    let Some(name) = matched.take_tag("attribute") else { return Seen::NotOurs };
    if DESCRIPTIONS.contains(&name) || ["set", "cmd", "command"].contains(&name) {
        return Seen::Nothing;
    }
    matched.value = name.into();
    if matches!(payload.trim_ascii_start().first(), Some(b'"' | b'[' | b'{')) {
        matched.format = Format::Json;
    }
    Seen::Take
}
