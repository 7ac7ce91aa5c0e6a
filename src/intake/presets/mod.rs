//! What the topics and payloads of common devices mean, so that nobody has to write it down.
//!
//! A preset is a list of rules like the operator's, tried after them. Where a topic alone does not
//! tell enough, a rule has a small function that looks at the payload: it may take the message, say
//! that there is nothing in it to store (a command, a log line), or that it is not of this kind of
//! device at all: then the default route takes it, and nothing is lost by a preset that is on.
//!
//! What holds for all of them: keys stay as the device sends them; what tells one thing from another
//! is a tag; a time without offset, or of a clock that was never set, is not trusted.
//!
//! Devices may lie below a prefix, `home/zigbee2mqtt`. Where the firmware's own words stand at the end of
//! a topic, they are found behind any prefix, which is part of the device's name then; one that the
//! operator names is the tag `prefix`, so that two devices of one name below two prefixes stay two. What
//! could be anything as well (`x/y/status`) is only taken on one level, or below a prefix that was named.

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

/// A family, and the levels that its topics begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    pub preset: Preset,
    /// Without a slash at its end; empty: the topics begin with the family's own words.
    pub prefix: String,
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
    /// In the order in which they are tried where their rules begin alike: those that take all that
    /// is below their prefix last.
    pub const ALL: &'static [Self] = &[
        Self::Tasmota,
        Self::Shelly,
        Self::Esphome,
        Self::Ttn,
        Self::Sparkplug,
        Self::HomeAssistant,
        Self::Collectd,
        Self::Zigbee2mqtt,
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

    /// The prefix that it has if nobody names another. `None`: it can have no other.
    pub const fn prefix(self) -> Option<&'static str> {
        match self {
            Self::HomeAssistant => Some("homeassistant"),
            Self::Zigbee2mqtt => Some("zigbee2mqtt"),
            Self::Collectd => Some("collectd"),
            Self::Tasmota | Self::Shelly | Self::Esphome => Some(""),
            Self::Ttn | Self::Sparkplug => None,
        }
    }

    /// Below its prefix everything is taken for its own: no two of these can share one.
    pub const fn takes_all(self) -> bool {
        matches!(self, Self::HomeAssistant | Self::Zigbee2mqtt | Self::Collectd)
    }

    /// Where it is if nobody says otherwise.
    pub fn usually(self) -> Below {
        Below { preset: self, prefix: self.prefix().unwrap_or_default().to_owned() }
    }

    /// What goes with a prefix.
    fn rules(self, prefix: &str) -> Vec<Ruled> {
        match self {
            Self::HomeAssistant => home_assistant::rules(prefix),
            Self::Tasmota => tasmota::rules(prefix),
            Self::Zigbee2mqtt => zigbee2mqtt::rules(prefix),
            Self::Shelly => shelly::rules(prefix),
            Self::Esphome => esphome::rules(prefix),
            Self::Collectd => collectd::rules(prefix),
            Self::Ttn | Self::Sparkplug => Vec::new(),
        }
    }

    /// What stands on topics that no setting of the device moves.
    fn rules_anywhere(self) -> Vec<Ruled> {
        match self {
            Self::Tasmota => vec![ignore("tasmota/discovery/#")],
            Self::Esphome => vec![ignore("esphome/discover/#")],
            Self::Shelly => shelly::rules_anywhere(),
            Self::Ttn => ttn::rules(),
            Self::Sparkplug => sparkplug::rules(),
            Self::HomeAssistant | Self::Zigbee2mqtt | Self::Collectd => Vec::new(),
        }
    }
}

/// Of all that are on, in the order in which they are tried.
pub(super) fn rules(on: &[Below]) -> Vec<Ruled> {
    let mut rules = Vec::new();
    for preset in Preset::ALL {
        let prefixes = on.iter().filter(|below| below.preset == *preset);
        let mut own: Vec<_> = prefixes.clone().flat_map(Below::rules).collect();
        if prefixes.count() > 0 {
            own.extend(preset.rules_anywhere());
        }
        rules.extend(own.into_iter().map(|(rule, look)| {
            let rule = Rule { preset: Some(*preset), ..rule };
            (rule, look)
        }));
    }
    rules
}

/// Whether a message that this rule filters describes values: `described` reads it.
pub(super) fn is_discovery(rule: &Rule, topic: &str) -> bool {
    rule.preset == Some(Preset::HomeAssistant) && home_assistant::is_discovery(topic)
}

/// A preset whose usual prefix stands further back in a topic, and the prefix that it would have there.
pub(super) fn meant(topic: &str) -> Option<Below> {
    let mut named = Preset::ALL.iter().filter_map(|preset| Some((*preset, preset.prefix()?)));
    let found = |(preset, word): (Preset, &str)| {
        let at = topic.find(&format!("/{word}/")).filter(|_| !word.is_empty())?;
        let prefix = topic.get(..at + 1 + word.len())?.to_owned();
        Some(Below { preset, prefix })
    };
    named.find_map(found)
}

impl Below {
    fn rules(&self) -> Vec<Ruled> {
        let mut rules = self.preset.rules(&self.prefix);
        if self.preset.prefix() != Some(&self.prefix) {
            for (rule, _) in rules.iter_mut().filter(|(rule, _)| !rule.drop) {
                rule.tags.push(("prefix".into(), self.prefix.clone()));
            }
        }
        rules
    }
}

/// The rest of a topic below a prefix.
fn below(prefix: &str, rest: &str) -> String {
    if prefix.is_empty() { rest.to_owned() } else { format!("{prefix}/{rest}") }
}

/// The device has a name of one level, or lies below a prefix that was named: a topic of few words
/// may be its own.
fn is_near(matched: &Matched<'_>) -> bool {
    matched.tag("prefix").is_some() || !matched.tag("device").unwrap_or_default().contains('/')
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
