//! All rules in one tree over topic levels, searched for the first rule that matches.
//!
//! A node has at most three ways on: the child of that literal, the child of captures (levels that
//! are not empty) and the child of `+`. A search visits one node per level where rules are literal,
//! and never the same node twice; it skips what holds no rule earlier than the one found. So its
//! cost goes with the levels, not with the number of rules; only rules that mix literals and
//! wildcards at many levels make it branch, and those are the operator's, not a device's.

use std::{collections::HashMap, fmt};

use super::pattern::Level;

/// A rule's place in the order of rules.
pub(super) type Number = usize;

pub(super) struct Tree {
    nodes: Vec<Node>,
}

struct Node {
    /// The first rule in or below this node.
    least: Number,
    literals: HashMap<Box<str>, usize>,
    captured: Option<usize>,
    any: Option<usize>,
    /// The first rule that ends here, and those that end here in a tail.
    here: Option<Number>,
    any_tail: Option<Number>,
    captured_tail: Option<Number>,
}

impl Node {
    fn new() -> Self {
        Self {
            least: Number::MAX,
            literals: HashMap::new(),
            captured: None,
            any: None,
            here: None,
            any_tail: None,
            captured_tail: None,
        }
    }
}

/// It follows from the rules, which are shown.
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("nodes", &self.nodes.len()).finish()
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::new()] }
    }
}

impl Tree {
    /// Rules must come in their order.
    pub(super) fn insert(&mut self, number: Number, levels: &[Level]) {
        let mut at = 0;
        for level in levels {
            let fresh = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            node.least = node.least.min(number);
            at = match level {
                Level::Literal(text) => *node.literals.entry(text.clone()).or_insert(fresh),
                Level::Any => *node.any.get_or_insert(fresh),
                Level::Capture(_) => *node.captured.get_or_insert(fresh),
                // Tails are last in their rule: nothing more to walk.
                Level::AnyTail => {
                    node.any_tail.get_or_insert(number);
                    return;
                }
                Level::CaptureTail(_) => {
                    node.captured_tail.get_or_insert(number);
                    return;
                }
            };
            if at == fresh {
                self.nodes.push(Node::new());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.least = node.least.min(number);
            node.here.get_or_insert(number);
        }
    }

    /// The first rule that matches.
    pub(super) fn find(&self, topic: &str) -> Option<Number> {
        let mut first = Number::MAX;
        self.search(0, Some(topic), &mut first);
        (first != Number::MAX).then_some(first)
    }

    /// `rest` is what the topic still has: `None` at its end. Recursion goes no deeper than the
    /// longest rule.
    fn search(&self, at: usize, rest: Option<&str>, first: &mut Number) {
        let Some(node) = self.nodes.get(at).filter(|node| node.least < *first) else { return };
        let mut found = |rule: Option<Number>| *first = rule.map_or(*first, |n| n.min(*first));
        let Some(rest) = rest else {
            found(node.here);
            found(node.any_tail); // `a/#` takes `a` too.
            return;
        };
        // MQTT 4.7.2: a wildcard at the start does not take the server's own topics.
        let wild = at != 0 || !rest.starts_with('$');
        found(node.any_tail.filter(|_| wild));
        found(node.captured_tail.filter(|_| wild && !rest.is_empty()));

        let (level, after) = match rest.split_once('/') {
            Some((level, after)) => (level, Some(after)),
            None => (rest, None),
        };
        let ways = [
            node.literals.get(level).copied(),
            node.captured.filter(|_| wild && !level.is_empty()),
            node.any.filter(|_| wild),
        ];
        for way in ways.into_iter().flatten() {
            self.search(way, after, first);
        }
    }

    /// An earlier rule that takes everything these levels could take.
    pub(super) fn cover(&self, levels: &[Level]) -> Option<Number> {
        let mut first = Number::MAX;
        self.search_cover(0, levels, &mut first);
        (first != Number::MAX).then_some(first)
    }

    fn search_cover(&self, at: usize, levels: &[Level], first: &mut Number) {
        let Some(node) = self.nodes.get(at).filter(|node| node.least < *first) else { return };
        let mut found = |rule: Option<Number>| *first = rule.map_or(*first, |n| n.min(*first));
        let Some((level, after)) = levels.split_first() else {
            found(node.here);
            found(node.any_tail);
            return;
        };
        let (wild, is_empty, literal) = match level {
            Level::Literal(text) => {
                (at != 0 || !text.starts_with('$'), text.is_empty(), Some(text))
            }
            Level::Any | Level::AnyTail => (true, true, None),
            Level::Capture(_) | Level::CaptureTail(_) => (true, false, None),
        };
        found(node.any_tail.filter(|_| wild));
        // A level that may be empty may also be the last one, which leaves nothing to capture.
        found(node.captured_tail.filter(|_| wild && !is_empty));
        if matches!(level, Level::AnyTail | Level::CaptureTail(_)) {
            return;
        }
        let ways = [
            literal.and_then(|text| node.literals.get(text)).copied(),
            node.captured.filter(|_| wild && !is_empty),
            node.any.filter(|_| wild),
        ];
        for way in ways.into_iter().flatten() {
            self.search_cover(way, after, first);
        }
    }
}

#[cfg(test)]
impl Tree {
    /// How many nodes a topic can reach, without the shortcut for rules already beaten.
    pub(super) fn visited(&self, topic: &str) -> usize {
        let mut reached = vec![0];
        let mut visited = 1;
        for level in topic.split('/') {
            reached = reached
                .into_iter()
                .flat_map(|at| {
                    let node = &self.nodes[at];
                    [node.literals.get(level).copied(), node.captured, node.any]
                })
                .flatten()
                .collect();
            visited += reached.len();
        }
        visited
    }
}
