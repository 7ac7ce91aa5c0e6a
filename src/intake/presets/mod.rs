//! What the topics and payloads of common devices mean, so that nobody has to write it down.
//!
//! A preset is a list of rules like the operator's, tried after them. Where a topic alone does not
//! tell enough, a rule has a small function that looks at the payload: it may take the message, say
//! that there is nothing in it to store (a command, a log line), or that it is not of this kind of
//! device at all: then the default route takes it, and nothing is lost by a preset that is on.
//!
//! What holds for all of them: keys stay as the device sends them; what tells one thing from another
//! is a tag; a time without offset, or of a clock that was never set, is not trusted.

mod collectd;
mod esphome;
mod home_assistant;
mod shelly;
mod sparkplug;
mod tasmota;
#[cfg(test)]
mod tests;
mod ttn;
mod zigbee2mqtt;

use std::sync::LazyLock;

use proto::{
    Mapping, Timestamp,
    mapping::{Case, FieldType, Fields, Glob, Path},
};

use super::Format;
use super::route::{Matched, Rule};

/// One family of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    HomeAssistant,
    Tasmota,
    Zigbee2mqtt,
    Shelly,
    Esphome,
    Ttn,
    Collectd,
    Sparkplug,
}

/// What a rule's function sees in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Take,
    /// Nothing to store, and nothing wrong.
    Nothing,
    /// Sent by something else on a topic that looks alike.
    NotOurs,
}

/// A rule's function: it may correct what the topic said.
pub type Look = for<'a> fn(&mut Matched<'a>, payload: &[u8]) -> Seen;

pub(super) type Ruled = (Rule, Option<Look>);

/// A clock that says less was never set: devices start in 1970.
const TRUSTED_FROM: Timestamp = Timestamp::from_nanos(1_262_304_000_000_000_000);

impl Preset {
    /// In the order in which they are tried: those that begin with a word of their own first.
    pub const ALL: &'static [Self] = &[
        Self::HomeAssistant,
        Self::Tasmota,
        Self::Zigbee2mqtt,
        Self::Ttn,
        Self::Collectd,
        Self::Sparkplug,
        Self::Shelly,
        Self::Esphome,
    ];

    /// As it is called in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HomeAssistant => "home-assistant",
            Self::Tasmota => "tasmota",
            Self::Zigbee2mqtt => "zigbee2mqtt",
            Self::Shelly => "shelly",
            Self::Esphome => "esphome",
            Self::Ttn => "ttn",
            Self::Collectd => "collectd",
            Self::Sparkplug => "sparkplug",
        }
    }

    pub(super) fn rules(self) -> Vec<Ruled> {
        let rules = match self {
            Self::HomeAssistant => home_assistant::rules(),
            Self::Tasmota => tasmota::rules(),
            Self::Zigbee2mqtt => zigbee2mqtt::rules(),
            Self::Shelly => shelly::rules(),
            Self::Esphome => esphome::rules(),
            Self::Ttn => ttn::rules(),
            Self::Collectd => collectd::rules(),
            Self::Sparkplug => sparkplug::rules(),
        };
        let own = |(rule, look)| (Rule { preset: Some(self), ..rule }, look);
        rules.into_iter().map(own).collect()
    }
}

/// The operator's own rules count first; a message of this shape is filtered.
fn ignore(topic: &str) -> Ruled {
    (Rule { topic: topic.into(), drop: true, ..Rule::default() }, None)
}

fn take(topic: &str, measurement: &str, mapping: Mapping) -> Rule {
    Rule {
        topic: topic.into(),
        measurement: Some(measurement.into()),
        mapping: Some(mapping),
        ..Rule::default()
    }
}

/// What holds for every preset.
fn mapping(cases: Vec<Case>) -> Mapping {
    Mapping { cases, trusted_from: Some(TRUSTED_FROM), optional: true, ..Mapping::default() }
}

/// What the preset's own tests have seen to be a path.
fn path(text: &str) -> Path {
    let parsed = Path::parse(text);
    debug_assert!(parsed.is_ok(), "{text}: {parsed:?}");
    parsed.unwrap_or_default()
}

fn paths(list: &[&str]) -> Vec<Path> {
    list.iter().map(|text| path(text)).collect()
}

fn named(list: &[(&str, &str)]) -> Vec<(String, Path)> {
    list.iter().map(|(name, text)| ((*name).to_owned(), path(text))).collect()
}

fn globs(list: &[&str]) -> Vec<Glob> {
    list.iter().map(|pattern| Glob::new(pattern)).collect()
}

fn types(list: &[(&str, FieldType)]) -> Vec<(Glob, FieldType)> {
    list.iter().map(|(pattern, kind)| (Glob::new(pattern), *kind)).collect()
}

fn fields(fields: Fields) -> Mapping {
    mapping(vec![Case { fields, ..Case::default() }])
}

/// The field `online`, from a word or from the `state` of an object.
static ONLINE: LazyLock<Mapping> = LazyLock::new(|| {
    let fields = Fields { types: types(&[("online", FieldType::Boolean)]), ..Fields::default() };
    mapping(vec![Case { select: path("/state"), fields, ..Case::default() }])
});

/// The last will of most firmware: `online` or `offline`, in any case.
fn availability(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    let is = |word: &str| payload.trim_ascii().eq_ignore_ascii_case(word.as_bytes());
    let is_json = payload.trim_ascii_start().starts_with(b"{");
    if !is_json && !is("online") && !is("offline") {
        return Seen::NotOurs;
    }
    matched.value = "online".into();
    matched.mapping = Some(&ONLINE);
    matched.format = if is_json { Format::Json } else { Format::Plain };
    Seen::Take
}

fn is_object(payload: &[u8]) -> bool {
    payload.trim_ascii_start().starts_with(b"{")
}
