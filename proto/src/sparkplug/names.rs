//! What a birth told: names and data types, by alias and by name.

use std::{collections::HashMap, sync::Arc};

use super::{
    payload::{DataType, Metric, Payload},
    wire::{put_bytes, put_number},
};

pub(super) const BD_SEQ: &str = "bdSeq";

/// Of one speaker: a node, or a device behind it.
#[derive(Clone, Debug, Default)]
pub struct Names {
    by_alias: HashMap<u64, Arc<str>>,
    by_name: HashMap<Arc<str>, Option<DataType>>,
    /// A message was missed since: an alias may mean something else by now.
    pub(super) is_stale: bool,
    pub(super) bytes: usize,
}

impl Names {
    /// Both tables' room for a metric, its name apart.
    const ENTRY_BYTES: usize = 128;

    /// What this birth tells, as far as `bytes_max` goes; and how many metrics had no room.
    pub(super) fn learn(birth: &Payload<'_>, bytes_max: usize) -> (Self, u32) {
        let mut names = Self::default();
        let mut forgotten = 0;
        for metric in birth.metrics().flatten() {
            let Some(name) = metric.name.filter(|name| !name.is_empty()) else { continue };
            let bytes = names.bytes + name.len() + Self::ENTRY_BYTES;
            if bytes > bytes_max {
                forgotten += 1;
                continue;
            }
            names.bytes = bytes;
            let name: Arc<str> = name.into();
            if let Some(alias) = metric.alias {
                names.by_alias.insert(alias, Arc::clone(&name));
            }
            names.by_name.insert(name, metric.data_type);
        }
        (names, forgotten)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The metric's name, and its type if that is known. `None`: nothing names it.
    pub(super) fn resolve<'m>(
        &'m self,
        metric: &Metric<'m>,
    ) -> Option<(&'m str, Option<DataType>)> {
        let by_alias = || {
            let name = metric.alias.and_then(|alias| self.by_alias.get(&alias));
            name.filter(|_| !self.is_stale).map(|name| &**name)
        };
        let name = metric.name.filter(|name| !name.is_empty()).or_else(by_alias)?;
        let told = || self.by_name.get(name).copied().flatten();
        Some((name, metric.data_type.or_else(told)))
    }

    /// A birth that tells just this.
    pub fn birth(&self, bd_seq: Option<u64>) -> Vec<u8> {
        let mut payload = Vec::new();
        let mut put = |name: &str, alias: Option<u64>, number: Option<u64>| {
            let mut metric = Vec::new();
            put_bytes(1, name.as_bytes(), &mut metric);
            alias.inspect(|alias| put_number(2, *alias, &mut metric));
            let told = self.by_name.get(name).copied().flatten();
            told.inspect(|told| put_number(4, told.number(), &mut metric));
            number.inspect(|number| put_number(11, *number, &mut metric));
            put_bytes(2, &metric, &mut payload);
        };
        let mut with_alias: Vec<&str> = Vec::with_capacity(self.by_alias.len());
        for (alias, name) in self.by_alias.iter().filter(|(_, name)| &***name != BD_SEQ) {
            with_alias.push(name);
            put(name, Some(*alias), None);
        }
        with_alias.sort_unstable();
        let without = |name: &&Arc<str>| with_alias.binary_search(&&***name).is_err();
        for name in self.by_name.keys().filter(without).filter(|name| &***name != BD_SEQ) {
            put(name, None, None);
        }
        bd_seq.inspect(|number| put(BD_SEQ, None, Some(*number)));
        payload
    }
}
