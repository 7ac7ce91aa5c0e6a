//! All rules in one tree over topic levels, searched for the first rule that matches.
//!
//! A node has at most three ways on: the child of that literal, the child of captures (levels that
//! are not empty) and the child of `+`. A search visits one node per level where rules are literal,
//! and never the same node twice; it skips what holds no rule earlier than the one found. So its
//! cost goes with the levels, not with the number of rules, as long as rules do not mix: where some
//! have a literal, some a capture and some `+` at the same level, it branches, up to three ways at
//! each such level: 3^6 rules can make it visit 1,093 nodes. How many it may visit at most, whatever
//! the topic, is known with each rule that is added (`steps_max`); `Routes` refuses rules beyond
//! `STEPS_MAX`.
//!
//! ```text
//!  {device..}/tele/SENSOR   tele/{device..}/SENSOR    (root) --tele--> ( ) - -ends- -> ( ) --SENSOR--> tail
//!                                                        ` - -ends- -> ( ) --SENSOR--> ( ) --tele--> tail
//! ```
//!
//! Where more levels come after a rule's tail, they hang below the node of that tail, from the last one
//! on, and are searched from the end of the topic: what they leave over is the tail. That is one walk
//! more, no longer than such a rule, for each node that has tails of this kind.

use std::{collections::HashMap, fmt};

use super::pattern::{Level, around_tail};

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
    /// Where a tail begins that more levels come after: those, from the end.
    ends: Option<usize>,
    /// How many nodes a search may visit from this one on, and from the widest of its literals.
    steps: usize,
    literal_steps: usize,
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
            ends: None,
            steps: 1,
            literal_steps: 0,
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
        let (before, tail, after) = around_tail(levels);
        let turn = tail.filter(|_| !after.is_empty());
        let mut at = 0;
        let mut path = vec![at];
        for level in before.iter().chain(turn).chain(after.iter().rev()) {
            at = self.step(at, level, number);
            path.push(at);
        }
        self.count_steps(&path);
        let Some(node) = self.nodes.get_mut(at) else { return };
        node.least = node.least.min(number);
        let place = match tail {
            None => &mut node.here,
            Some(Level::AnyTail) => &mut node.any_tail,
            Some(_) => &mut node.captured_tail,
        };
        place.get_or_insert(number);
    }

    /// The node that a level leads to, made if it is not there; the rule lies in or below it.
    fn step(&mut self, at: usize, level: &Level, number: Number) -> usize {
        let fresh = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        node.least = node.least.min(number);
        let next = match level {
            Level::Literal(text) => *node.literals.entry(text.clone()).or_insert(fresh),
            Level::Any => *node.any.get_or_insert(fresh),
            Level::Capture(_) => *node.captured.get_or_insert(fresh),
            Level::AnyTail | Level::CaptureTail(_) => *node.ends.get_or_insert(fresh),
        };
        if next == fresh {
            self.nodes.push(Node::new());
        }
        next
    }

    /// Counts anew from the last of these nodes to the first, each of which leads to the next.
    fn count_steps(&mut self, path: &[usize]) {
        let mut below = None;
        for at in path.iter().rev() {
            let steps_of = |at: usize| self.nodes.get(at).map_or(0, |node| node.steps);
            let Some(node) = self.nodes.get(*at) else { continue };
            let wild = [node.captured, node.any, node.ends];
            let is_literal = |child: &usize| !wild.contains(&Some(*child));
            let literal_steps =
                below.filter(is_literal).map_or(0, steps_of).max(node.literal_steps);
            let steps = 1 + literal_steps + wild.into_iter().flatten().map(steps_of).sum::<usize>();
            let Some(node) = self.nodes.get_mut(*at) else { continue };
            (node.steps, node.literal_steps) = (steps, literal_steps);
            below = Some(*at);
        }
    }

    /// No topic makes a search visit more nodes.
    pub(super) fn steps_max(&self) -> usize {
        self.nodes.first().map_or(0, |root| root.steps)
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
        if let Some(ends) = node.ends.filter(|_| wild) {
            self.search_back(ends, Some(rest), first);
        }

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

    /// The same from the topic's end. What is left over is the tail, and there must be something.
    fn search_back(&self, at: usize, rest: Option<&str>, first: &mut Number) {
        let Some(node) = self.nodes.get(at).filter(|node| node.least < *first) else { return };
        let Some(rest) = rest else { return };
        if let Some(number) = node.captured_tail.filter(|_| !rest.is_empty()) {
            *first = number.min(*first);
        }
        let (before, level) = match rest.rsplit_once('/') {
            Some((before, level)) => (Some(before), level),
            None => (None, rest),
        };
        let ways = [
            node.literals.get(level).copied(),
            node.captured.filter(|_| !level.is_empty()),
            node.any,
        ];
        for way in ways.into_iter().flatten() {
            self.search_back(way, before, first);
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
        if let Some(ends) = node.ends.filter(|_| wild) {
            self.cover_back(ends, levels, first);
        }
        if level.is_tail() {
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

    fn cover_back(&self, at: usize, levels: &[Level], first: &mut Number) {
        let Some(node) = self.nodes.get(at).filter(|node| node.least < *first) else { return };
        let is_something = match levels {
            [] | [Level::Any | Level::AnyTail] => false,
            [Level::Literal(text)] => !text.is_empty(),
            _ => true,
        };
        if let Some(number) = node.captured_tail.filter(|_| is_something) {
            *first = number.min(*first);
        }
        let Some((level, before)) = levels.split_last().filter(|(level, _)| !level.is_tail())
        else {
            return;
        };
        let (is_empty, literal) = match level {
            Level::Literal(text) => (text.is_empty(), Some(text)),
            level => (*level == Level::Any, None),
        };
        let ways = [
            literal.and_then(|text| node.literals.get(text)).copied(),
            node.captured.filter(|_| !is_empty),
            node.any,
        ];
        for way in ways.into_iter().flatten() {
            self.cover_back(way, before, first);
        }
    }
}

#[cfg(test)]
impl Tree {
    /// How many nodes a topic can reach, without the shortcut for rules already beaten.
    pub(super) fn visited(&self, topic: &str) -> usize {
        let levels: Vec<_> = topic.split('/').collect();
        self.reached(0, &levels, false)
    }

    fn reached(&self, at: usize, levels: &[&str], is_back: bool) -> usize {
        let node = &self.nodes[at];
        let ends = node.ends.map_or(0, |ends| self.reached(ends, levels, true));
        let split = if is_back { levels.split_last() } else { levels.split_first() };
        let Some((level, rest)) = split else { return 1 };
        let ways = [node.literals.get(*level).copied(), node.captured, node.any];
        let further = ways.into_iter().flatten().map(|way| self.reached(way, rest, is_back));
        1 + ends + further.sum::<usize>()
    }
}
