//! One message of discovery, read: an entity, or a device with its components.
//!
//! ```text
//! {"~":"base", "state_topic|stat_t":"~/t", "value_template|val_tpl":"{{ .. }}", "unit_of_measurement|unit_of_meas":"..",
//!  "device_class|dev_cla":"..", "state_class|stat_cla":"..", "name":"..", "device|dev":{"name":".."}}
//! {"device|dev":{"name":".."}, "state_topic|stat_t":"of all", "components|cmps":{"id":{an entity without a device}}}
//! ```
//!
//! Anything else in it is skipped, and what is no text where one belongs is not said. An entity without a
//! state topic, or of which nothing is said, gives nothing and is no fault. A document that is broken
//! anywhere says nothing at all: no reading is lost with it, so none of what ADR 1 asks of a scanner
//! is needed here.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{Description, MESSAGE_MAX, Said, TEXT_BYTES_MAX, TOPIC_BYTES_MAX, Words, template};

/// What a message says; as little as it likes to.
pub(super) fn read(payload: &[u8]) -> Said {
    let unreadable = Said { refused: 1, ..Said::default() };
    // A list of values would pass for an object with its keys left out.
    if !payload.trim_ascii_start().starts_with(b"{") {
        return unreadable;
    }
    let (Ok(root), Ok(device)) =
        (serde_json::from_slice::<Entity<'_>>(payload), serde_json::from_slice(payload))
    else {
        return unreadable;
    };
    let Device { device: Named { name }, components } = device;
    let Some(Components { entities, refused }) = components else {
        let mut said = Said::default();
        said.add(&root, &name);
        return said;
    };
    let mut said = Said { refused, ..Said::default() };
    for entity in entities {
        said.add(&entity.below(&root), &name);
    }
    said
}

/// What concerns one value.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entity<'p> {
    /// Stands for `~` at either end of a topic.
    #[serde(rename = "~", borrow)]
    base: Text<'p>,
    #[serde(alias = "stat_t", borrow)]
    state_topic: Text<'p>,
    #[serde(alias = "val_tpl", borrow)]
    value_template: Text<'p>,
    #[serde(alias = "unit_of_meas", borrow)]
    unit_of_measurement: Text<'p>,
    #[serde(alias = "dev_cla", borrow)]
    device_class: Text<'p>,
    #[serde(alias = "stat_cla", borrow)]
    state_class: Text<'p>,
    #[serde(borrow)]
    name: Text<'p>,
}

/// The rest of the same message: whose value it is, and all of them if it is about the device.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Device<'p> {
    #[serde(alias = "dev", borrow)]
    device: Named<'p>,
    #[serde(alias = "cmps", borrow)]
    components: Option<Components<'p>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named<'p> {
    #[serde(borrow)]
    name: Text<'p>,
}

#[derive(Debug, Default)]
struct Components<'p> {
    entities: Vec<Entity<'p>>,
    /// Those that are too many.
    refused: u64,
}

/// Empty where there is no text.
#[derive(Debug, Default)]
struct Text<'p>(Cow<'p, str>);

impl<'p> Entity<'p> {
    /// What all components of a device share stands beside them.
    fn below(self, root: &Entity<'p>) -> Self {
        let or = |own: Text<'p>, shared: &Text<'p>| {
            if own.0.is_empty() { Text(shared.0.clone()) } else { own }
        };
        // A base counts where it stands: that of the device for a topic of the device.
        let base = if self.state_topic.0.is_empty() {
            Text(root.base.0.clone())
        } else {
            or(self.base, &root.base)
        };
        Self { base, state_topic: or(self.state_topic, &root.state_topic), ..self }
    }

    /// `None`: longer than a topic may be here.
    fn topic(&self) -> Option<String> {
        let (base, topic) = (&*self.base.0, &*self.state_topic.0);
        if base.len().max(topic.len()) > TOPIC_BYTES_MAX {
            return None;
        }
        let (head, topic) = match topic.strip_prefix('~').filter(|_| !base.is_empty()) {
            Some(rest) => (base, rest),
            None => ("", topic),
        };
        let (topic, tail) = match topic.strip_suffix('~').filter(|_| !base.is_empty()) {
            Some(rest) => (rest, base),
            None => (topic, ""),
        };
        Some([head, topic, tail].concat()).filter(|topic| topic.len() <= TOPIC_BYTES_MAX)
    }
}

impl Said {
    fn add(&mut self, entity: &Entity<'_>, device: &Text<'_>) {
        let Entity { unit_of_measurement, device_class, state_class, name, .. } = entity;
        let texts = [unit_of_measurement, device_class, state_class, name, device];
        if entity.state_topic.0.is_empty() || texts.iter().all(|text| text.0.is_empty()) {
            return;
        }
        let is_long = texts.iter().any(|text| text.0.len() > TEXT_BYTES_MAX);
        let Some(topic) = entity.topic().filter(|_| !is_long) else {
            self.refused += 1;
            return;
        };
        let [unit, device_class, state_class, name, device] = texts.map(|it| it.0.to_string());
        let words = Words { unit, device_class, state_class, name, device };
        let about = template::about(&entity.value_template.0);
        self.descriptions.push(Description { topic, about, words });
    }
}

impl<'de: 'p, 'p> Deserialize<'de> for Components<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<'p>(PhantomData<&'p ()>);
        impl<'de: 'p, 'p> Visitor<'de> for Each<'p> {
            type Value = Components<'p>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("components by their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut components = Components::default();
                while map.next_key::<IgnoredAny>()?.is_some() {
                    if components.entities.len() < MESSAGE_MAX {
                        components.entities.push(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        components.refused += 1;
                    }
                }
                Ok(components)
            }
        }
        deserializer.deserialize_map(Each(PhantomData))
    }
}

impl<'de: 'p, 'p> Deserialize<'de> for Text<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<'p>(PhantomData<&'p ()>);
        impl<'de: 'p, 'p> Visitor<'de> for Any<'p> {
            type Value = Text<'p>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Text::default())
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Text::default())
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Text::default())
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Text::default())
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Text::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(Any(PhantomData))
    }
}
