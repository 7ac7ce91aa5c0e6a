//! `described` on the control socket: what is held, for whoever wants to show it.
//!
//! ```text
//!   described {"filter":"tele/#","from":0}    {"descriptions":[{"topic":..., "source":..., "value":..., "unit":..., ...}],
//!                                              "total":700, "next":500}
//! ```
//!
//! Both are optional. In the order of topics, values and sources, at most 500 at once; `next`, if there are
//! more, is the `from` of the next command. Read only. What comes and goes in between may be missed or told
//! twice: it is for display.

use serde::{Deserialize, Serialize};

use super::{Described, Told};
use crate::intake::watch;

const PAGE_MAX: usize = 500;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asked {
    /// A topic filter, for state topics. `None`: all.
    pub filter: Option<String>,
    /// So many are known already.
    pub from: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub descriptions: Vec<Listed>,
    /// On all pages.
    pub total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Where the value is published.
    pub topic: String,
    /// The listener or collector that the description came by.
    pub source: String,
    /// With an empty `value`, it is the payload itself that is described, or the topic as a whole.
    #[serde(flatten)]
    pub told: Told,
}

impl Described {
    /// Fails with words for the one who asked.
    pub fn page(&self, asked: &Asked) -> Result<Page, String> {
        let filter = asked.filter.as_deref().map(watch::compile).transpose()?;
        let mut held: Vec<_> = self.held().topics.values().flatten().cloned().collect();
        held.retain(|it| filter.as_ref().is_none_or(|filter| filter.names(&it.description.topic)));
        let mut listed: Vec<_> = held
            .iter()
            .map(|entry| Listed {
                topic: entry.description.topic.clone(),
                source: entry.source.to_string(),
                told: entry.description.told(""),
            })
            .collect();
        listed.sort_by(|a, b| a.place().cmp(&b.place()));
        let total = listed.len();
        let descriptions: Vec<_> = listed.into_iter().skip(asked.from).take(PAGE_MAX).collect();
        let next = asked.from.saturating_add(descriptions.len());
        Ok(Page { descriptions, total, next: (next < total).then_some(next) })
    }
}

impl Listed {
    fn place(&self) -> (&str, &str, &str) {
        (&self.topic, &self.told.value, &self.source)
    }
}
