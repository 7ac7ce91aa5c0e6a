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
//! anywhere says nothing at all: no reading is lost with it.

use std::borrow::Cow;

use proto::json;

use super::{Description, MESSAGE_MAX, Said, TEXT_BYTES_MAX, TOPIC_BYTES_MAX, Words, template};

/// What a message says; as little as it likes to.
pub(super) fn read(payload: &[u8]) -> Said {
    let mut document = Document::default();
    if json::texts(payload, |keys, text| document.text(keys, text)).is_err() {
        return Said { refused: 1, ..Said::default() };
    }
    let Document { root, device, component, components, refused } = document;
    let mut said = Said { refused, ..Said::default() };
    if component.is_none() {
        said.add(&root, &device);
    }
    for entity in components {
        said.add(&entity.below(&root), &device);
    }
    said
}

/// What concerns one value. Empty: not said.
#[derive(Debug, Default)]
struct Entity<'p> {
    /// Stands for `~` at either end of a topic.
    base: Cow<'p, str>,
    state_topic: Cow<'p, str>,
    value_template: Cow<'p, str>,
    unit: Cow<'p, str>,
    device_class: Cow<'p, str>,
    state_class: Cow<'p, str>,
    name: Cow<'p, str>,
}

/// The texts of a message that say something here.
#[derive(Debug, Default)]
struct Document<'p> {
    root: Entity<'p>,
    /// The device's name.
    device: Cow<'p, str>,
    /// Whose texts came last. `None`: the message is about one entity.
    component: Option<String>,
    components: Vec<Entity<'p>>,
    /// Components that are too many.
    refused: u64,
}

impl<'p> Document<'p> {
    fn text(&mut self, keys: &[Cow<'p, str>], text: Cow<'p, str>) {
        match keys {
            [key] => self.root.set(key, text),
            [device, name] if matches!(&**device, "device" | "dev") && name == "name" => {
                self.device = text;
            }
            [all, id, key] if matches!(&**all, "components" | "cmps") => {
                self.component_text(id, key, text);
            }
            _ => {}
        }
    }

    fn component_text(&mut self, id: &str, key: &str, text: Cow<'p, str>) {
        if self.component.as_deref() != Some(id) {
            self.component = Some(id.to_owned());
            if self.components.len() < MESSAGE_MAX {
                self.components.push(Entity::default());
            } else {
                self.refused += 1;
            }
        }
        if self.refused == 0
            && let Some(entity) = self.components.last_mut()
        {
            entity.set(key, text);
        }
    }
}

impl<'p> Entity<'p> {
    fn set(&mut self, key: &str, text: Cow<'p, str>) {
        let place = match key {
            "~" => &mut self.base,
            "state_topic" | "stat_t" => &mut self.state_topic,
            "value_template" | "val_tpl" => &mut self.value_template,
            "unit_of_measurement" | "unit_of_meas" => &mut self.unit,
            "device_class" | "dev_cla" => &mut self.device_class,
            "state_class" | "stat_cla" => &mut self.state_class,
            "name" => &mut self.name,
            _ => return,
        };
        *place = text;
    }

    /// What all components of a device share stands beside them.
    fn below(self, root: &Entity<'p>) -> Self {
        let or = |own: Cow<'p, str>, shared: &Cow<'p, str>| {
            if own.is_empty() { shared.clone() } else { own }
        };
        // A base counts where it stands: that of the device for a topic of the device.
        let base =
            if self.state_topic.is_empty() { root.base.clone() } else { or(self.base, &root.base) };
        Self { base, state_topic: or(self.state_topic, &root.state_topic), ..self }
    }

    /// `None`: longer than a topic may be here.
    fn topic(&self) -> Option<String> {
        let (base, topic) = (&*self.base, &*self.state_topic);
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
    fn add(&mut self, entity: &Entity<'_>, device: &str) {
        let Entity { unit, device_class, state_class, name, .. } = entity;
        let texts: [&str; 5] = [unit, device_class, state_class, name, device];
        if entity.state_topic.is_empty() || texts.iter().all(|text| text.is_empty()) {
            return;
        }
        let is_long = texts.iter().any(|text| text.len() > TEXT_BYTES_MAX);
        let Some(topic) = entity.topic().filter(|_| !is_long) else {
            self.refused += 1;
            return;
        };
        let [unit, device_class, state_class, name, device] = texts.map(str::to_owned);
        let words = Words { unit, device_class, state_class, name, device };
        let about = template::about(&entity.value_template);
        self.descriptions.push(Description { topic, about, words });
    }
}
