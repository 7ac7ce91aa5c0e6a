//! What discovery says of values (unit, device class, name), kept for whoever looks at them.
//!
//! Devices tell Home Assistant what they measure: a JSON document on `homeassistant/.../config`
//! (<https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery>). It is nothing to store. What it
//! says of a state topic is kept in memory until its config topic says something else, or, with an
//! empty payload, nothing any more.
//!
//! Bounded in descriptions and bytes, together and for each message and topic; what finds no room is
//! not taken and counted. Ordinary messages never come here, and nobody looks anything up for them
//! unless somebody watches. Leaves out what survives a restart: brokers keep discovery, and devices
//! publish it again. What is written in a description changes no reading.

pub mod list;
mod parse;
mod template;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use journal::Source;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use crate::stats::Counter;
use crate::stats::Gauge;

/// Descriptions that are held.
const DESCRIPTIONS_MAX: usize = 4_096;
/// Bytes of their texts, their topics included.
const BYTES_MAX: usize = 1024 * 1024;
/// Descriptions of one message (a device with all its components), and of one state topic.
const MESSAGE_MAX: usize = 256;
const TOPIC_MAX: usize = 256;
/// A text of a description, and a topic.
const TEXT_BYTES_MAX: usize = 256;
const TOPIC_BYTES_MAX: usize = 1_024;
/// Descriptions told of one payload.
const TOLD_MAX: usize = 64;

/// What was said of one value, in the words of its device. Empty: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Words {
    pub unit: String,
    pub device_class: String,
    pub state_class: String,
    pub name: String,
    pub device: String,
}

/// What was said of one value, told beside a payload that may hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its keys in the payload, joined with `.`; the name of a value without keys. Empty: the topic
    /// as a whole.
    pub value: String,
    #[serde(flatten)]
    pub words: Words,
}

/// `temperature: °C, temperature, measurement; Balcony, Temperature`
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Words { unit, device_class, state_class, name, device } = &self.words;
        let said = |words: &[&String]| -> String {
            let said: Vec<_> = words.iter().filter(|it| !it.is_empty()).map(|it| &***it).collect();
            said.join(", ")
        };
        let (what, who) = (said(&[unit, device_class, state_class]), said(&[device, name]));
        let (colon, semicolon) = (
            if self.value.is_empty() { "" } else { ": " },
            if what.is_empty() || who.is_empty() { "" } else { "; " },
        );
        write!(f, "{}{colon}{what}{semicolon}{who}", self.value)
    }
}

/// Which value of a topic's payload is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum About {
    /// The payload is the value.
    #[default]
    Value,
    /// It lies there in a JSON payload.
    Keys(Vec<String>),
    /// It is made of the payload in a way that is not followed.
    Topic,
}

/// One value that a message of discovery describes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Description {
    /// Where the value is published.
    topic: String,
    about: About,
    words: Words,
}

/// What one message of discovery says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    descriptions: Vec<Description>,
    /// Not taken: not readable, too long, too many.
    refused: u64,
}

/// All that is known of values.
#[derive(Debug, Default)]
pub struct Described {
    held: Mutex<Held>,
    stats: Stats,
}

/// For the metrics and for `status`.
#[derive(Debug, Default)]
pub struct Stats {
    /// Descriptions that are held now.
    pub held: Gauge,
    /// Descriptions not taken: no room, too long, or not readable.
    pub refused: Counter,
}

/// Who said something: where it came from, and the config topic.
type Speaker = (Source, String);

#[derive(Debug, Default)]
struct Held {
    speakers: HashMap<Speaker, Vec<Arc<Entry>>>,
    /// The same by state topic.
    topics: HashMap<String, Vec<Arc<Entry>>>,
    descriptions: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    source: Source,
    description: Description,
    bytes: usize,
}

impl Described {
    /// Takes what a config topic says now, in place of what it said before.
    pub(super) fn hear(&self, source: &Source, topic: &str, payload: &[u8]) {
        let is_gone = payload.is_empty();
        let mut said = if is_gone { Said::default() } else { parse::read(payload) };
        if topic.len() > TOPIC_BYTES_MAX {
            said.refused += said.descriptions.drain(..).len() as u64;
        }
        let speaker = (Source::clone(source), topic.to_owned());
        let mut held = self.held();
        held.forget(&speaker);
        for description in said.descriptions {
            said.refused += u64::from(!held.take(&speaker, description));
        }
        self.stats.held.set(i64::try_from(held.descriptions).unwrap_or(i64::MAX));
        self.stats.refused.inc_by(said.refused);
    }

    /// What is known of a topic's values. `plain`: what a payload without keys is called there. What
    /// came the same way as the payload counts before what came another, say from a second broker.
    pub(super) fn of(&self, source: &str, topic: &str, plain: &str) -> Vec<Told> {
        let mut known = self.held().topics.get(topic).cloned().unwrap_or_default();
        if known.iter().any(|entry| *entry.source == *source) {
            known.retain(|entry| *entry.source == *source);
        }
        let mut told: Vec<_> =
            known.into_iter().map(|entry| entry.description.told(plain)).collect();
        told.sort_by(|a, b| a.value.cmp(&b.value));
        told.truncate(TOLD_MAX);
        told
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a message of discovery describes, in words, and how much of it would not be taken.
pub(super) fn explained(payload: &[u8]) -> Vec<String> {
    if payload.is_empty() {
        return Vec::new();
    }
    let Said { descriptions, refused } = parse::read(payload);
    let words = |it: &Description| format!("describes `{}`: {}", it.topic, it.told(""));
    let mut notes: Vec<_> = descriptions.iter().map(words).collect();
    if refused > 0 {
        notes.push(format!("{refused} descriptions not taken: not readable, too long or too many"));
    }
    notes
}

impl Stats {
    /// `registry` has the prefix `tidegate`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Descriptions of values (unit, device class, name) held of discovery messages";
        registry.register("descriptions", help, self.held.clone());
        let help = "Descriptions of values not taken: no room, too long, or not readable";
        registry.register("descriptions_refused", help, self.refused.clone());
    }
}

impl Description {
    fn told(&self, plain: &str) -> Told {
        let value = match &self.about {
            About::Value => plain.to_owned(),
            About::Keys(keys) => keys.join("."),
            About::Topic => String::new(),
        };
        Told { value, words: self.words.clone() }
    }

    fn bytes(&self) -> usize {
        let Words { unit, device_class, state_class, name, device } = &self.words;
        let words = [&self.topic, unit, device_class, state_class, name, device];
        let keys: &[String] = if let About::Keys(keys) = &self.about { keys } else { &[] };
        words.into_iter().chain(keys).map(String::len).sum()
    }
}

impl Held {
    /// False: there is no room.
    fn take(&mut self, speaker: &Speaker, description: Description) -> bool {
        let bytes = description.bytes() + speaker.1.len();
        let same_topic = self.topics.get(&description.topic).map_or(0, Vec::len);
        let has_room = self.descriptions < DESCRIPTIONS_MAX
            && self.bytes + bytes <= BYTES_MAX
            && same_topic < TOPIC_MAX;
        if !has_room {
            return false;
        }
        let topic = description.topic.clone();
        let entry = Arc::new(Entry { source: Source::clone(&speaker.0), description, bytes });
        self.descriptions += 1;
        self.bytes += bytes;
        self.topics.entry(topic).or_default().push(Arc::clone(&entry));
        self.speakers.entry(speaker.clone()).or_default().push(entry);
        true
    }

    fn forget(&mut self, speaker: &Speaker) {
        for entry in self.speakers.remove(speaker).unwrap_or_default() {
            self.descriptions -= 1;
            self.bytes -= entry.bytes;
            let topic = self.topics.entry(entry.description.topic.clone());
            if let hash_map::Entry::Occupied(mut same_topic) = topic {
                same_topic.get_mut().retain(|other| !Arc::ptr_eq(other, &entry));
                if same_topic.get().is_empty() {
                    same_topic.remove();
                }
            }
        }
    }
}
