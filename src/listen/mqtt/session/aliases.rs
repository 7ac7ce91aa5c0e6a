//! Topic aliases of version 5: a number instead of a topic that was named before.
//!
//! Bounded by their number and by the bytes of all topics of a connection together.

use crate::listen::mqtt::packet::Violation;

/// For all aliases of one connection together.
const TOPIC_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// At `alias - 1`; empty: not given yet.
    topics: Vec<Box<str>>,
    bytes: usize,
}

impl Aliases {
    /// A PUBLISH has `alias` and perhaps a topic, which the alias stands for from now on.
    pub(super) fn note(&mut self, alias: u16, topic: &str, max: u16) -> Result<(), Violation> {
        let at = usize::from(alias).checked_sub(1).filter(|_| alias <= max);
        let at = at.ok_or(Violation::TopicAlias)?;
        if topic.is_empty() {
            return Ok(());
        }
        if at >= self.topics.len() {
            self.topics.resize_with(at + 1, Box::default);
        }
        let Some(slot) = self.topics.get_mut(at) else { return Err(Violation::TopicAlias) };
        if **slot == *topic {
            return Ok(());
        }
        let bytes = self.bytes - slot.len() + topic.len();
        if bytes > TOPIC_BYTES_MAX {
            return Err(Violation::AliasMemory);
        }
        self.bytes = bytes;
        *slot = topic.into();
        Ok(())
    }

    pub(super) fn topic(&self, alias: u16) -> Result<&str, Violation> {
        let at = usize::from(alias).wrapping_sub(1);
        let topic = self.topics.get(at).filter(|topic| !topic.is_empty());
        topic.map(AsRef::as_ref).ok_or(Violation::TopicAlias)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.topics.capacity() * size_of::<Box<str>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_the_topic_it_came_with_last() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.note(3, "a/b", 10), Ok(()));
        assert_eq!(aliases.note(3, "", 10), Ok(()));
        assert_eq!(aliases.topic(3), Ok("a/b"));
        assert_eq!(aliases.note(3, "c", 10), Ok(()));
        assert_eq!(aliases.topic(3), Ok("c"));
    }

    #[test]
    fn an_alias_that_was_never_given_or_is_out_of_range_is_a_violation() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.note(0, "a", 10), Err(Violation::TopicAlias));
        assert_eq!(aliases.note(11, "a", 10), Err(Violation::TopicAlias));
        assert_eq!(aliases.note(2, "a", 10), Ok(()));
        for alias in [0, 1, 3, u16::MAX] {
            assert_eq!(aliases.topic(alias), Err(Violation::TopicAlias), "{alias}");
        }
    }

    #[test]
    fn the_topics_of_a_connection_are_bounded_in_bytes() {
        let mut aliases = Aliases::default();
        let long = "x".repeat(40_000);
        assert_eq!(aliases.note(1, &long, 10), Ok(()));
        assert_eq!(aliases.note(2, &long, 10), Err(Violation::AliasMemory));
        assert_eq!(aliases.note(1, "short", 10), Ok(()));
        assert_eq!(aliases.note(2, &long, 10), Ok(()));
        assert!(aliases.bytes() < TOPIC_BYTES_MAX + 1024);
    }
}
