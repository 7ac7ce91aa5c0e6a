//! Topic to rule: the first rule that matches takes the message; where none does, a preset's.
//!
//! No rule: measurement `mqtt`, tag `topic` = the whole topic, so that no two topics can meet in
//! one series. Topics of a broker's own (`$SYS/...`) are filtered, unless a rule names them from
//! the start: wildcards do not take them.

mod pattern;
mod problems;
#[cfg(test)]
mod tests;
mod tree;
pub(crate) mod zone;

use std::{borrow::Cow, cmp::Reverse, fmt};

use proto::{Mapping, Precision, TimeLimits};

use self::pattern::{Capture, Level};
use self::problems::Problems;
use self::tree::Tree;
use super::Format;
use super::presets::{self, Below, Look, Preset, Seen};

pub(crate) use self::pattern::{field_name_problem, tag_name_problem, tag_value_problem};

/// The field of a plain value that no rule gives a name.
pub(super) const FIELD: &str = "value";

/// Nodes that a message may visit in the tree of the rules: some 40 µs at most.
const STEPS_MAX: usize = 1_000;

/// One `[[rule]]`, as meant by its author; or one of a preset.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub topic: String,
    /// `None`: `{measurement}` if captured, else `mqtt`, or the format's own (`senml`).
    pub measurement: Option<String>,
    /// Added to every reading.
    pub tags: Vec<(String, String)>,
    pub format: Format,
    /// The unit of numeric times; `None`: by magnitude.
    pub precision: Option<Precision>,
    /// Of times in payloads; `None`: as everywhere.
    pub times: Option<TimeLimits>,
    /// Filtered: acknowledged, counted, not stored.
    pub drop: bool,
    /// What it says about the inside of a payload.
    pub mapping: Option<Mapping>,
    /// The preset that it belongs to; `None`: the operator's own.
    pub preset: Option<Preset>,
}

/// For a person: which rule this is.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.preset {
            None => write!(f, "rule `{}`", self.topic),
            Some(preset) => write!(f, "preset `{}`, rule `{}`", preset.name(), self.topic),
        }
    }
}

/// What is wrong with one rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {} (`{topic}`): {what}", rule + 1)]
pub struct RuleError {
    /// Which rule, from 0.
    pub rule: usize,
    pub topic: String,
    pub part: Part,
    pub what: String,
}

/// Which part of a rule an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The topic, at this byte.
    Topic(usize),
    Measurement,
    Tag(String),
    /// A tag whose value stands in the payload.
    TagFrom(String),
    Split,
}

/// What becomes of a message.
#[derive(Debug)]
pub enum Route<'a> {
    Take(Matched<'a>),
    /// Acknowledged, counted as filtered, not stored.
    Ignore(&'a Rule),
}

/// What the topic and its rule say about a message.
#[derive(Debug)]
pub struct Matched<'a> {
    pub topic: &'a str,
    /// `None`: no rule matched.
    pub rule: Option<&'a Rule>,
    /// `None`: neither set nor captured.
    pub measurement: Option<&'a str>,
    /// `{field}`, if captured.
    pub field: Option<&'a str>,
    /// What a value without a name is called.
    pub value: Cow<'a, str>,
    pub tags: Vec<(&'a str, &'a str)>,
    pub format: Format,
    pub precision: Option<Precision>,
    pub times: Option<TimeLimits>,
    pub mapping: Option<&'a Mapping>,
    /// What a preset's rule has to say once it sees the payload.
    look: Option<Look>,
}

/// All rules, compiled once.
#[derive(Debug)]
pub struct Routes {
    own: Table,
    presets: Table,
    /// Stands for what is built in, where a rule is asked for.
    system: Rule,
}

/// Rules in their order, and the tree that finds the first of them.
#[derive(Debug, Default)]
struct Table {
    rules: Vec<Compiled>,
    tree: Tree,
}

#[derive(Debug)]
struct Compiled {
    rule: Rule,
    levels: Vec<Level>,
    look: Option<Look>,
}

/// No rules and no presets: every topic has the default route.
impl Default for Routes {
    fn default() -> Self {
        let system = Rule { topic: "$...".into(), drop: true, ..Rule::default() };
        Self { own: Table::default(), presets: Table::default(), system }
    }
}

impl Routes {
    /// As `with_presets`, with none.
    pub fn compile(rules: Vec<Rule>) -> Result<Self, Vec<RuleError>> {
        Self::with_presets(rules, &[])
    }

    /// As `with_presets_below`, each below its usual prefix.
    pub fn with_presets(rules: Vec<Rule>, presets: &[Preset]) -> Result<Self, Vec<RuleError>> {
        let below: Vec<_> = presets.iter().map(|preset| preset.usually()).collect();
        Self::with_presets_below(rules, &below)
    }

    /// Checks every rule and reports all that is wrong with them. The presets are tried after them:
    /// first what begins with more words of its own, so that `home/zigbee2mqtt` comes before `home`.
    pub fn with_presets_below(rules: Vec<Rule>, presets: &[Below]) -> Result<Self, Vec<RuleError>> {
        let mut routes = Self::default();
        let mut errors = Vec::new();
        for (number, rule) in rules.into_iter().enumerate() {
            let (compiled, mut problems) = compile(rule, &routes.own);
            let was_cheap = routes.own.tree.steps_max() <= STEPS_MAX;
            routes.own.insert(&compiled.levels);
            if was_cheap && routes.own.tree.steps_max() > STEPS_MAX {
                problems.push((Part::Topic(0), too_many_ways(routes.own.tree.steps_max())));
            }
            let topic = &compiled.rule.topic;
            errors.extend(problems.into_iter().map(|(part, what)| RuleError {
                rule: number,
                topic: topic.clone(),
                part,
                what,
            }));
            routes.own.rules.push(compiled);
        }
        let mut known: Vec<_> = presets::rules(presets).into_iter().map(compile_known).collect();
        known.sort_by_key(|compiled| Reverse(compiled.words()));
        for compiled in known {
            routes.presets.add(compiled);
        }
        if errors.is_empty() { Ok(routes) } else { Err(errors) }
    }

    /// What becomes of this message.
    pub fn route<'a>(&'a self, topic: &'a str, payload: &[u8]) -> Route<'a> {
        let mut matched = match self.find(topic) {
            Route::Take(matched) => matched,
            ignored @ Route::Ignore(_) => return ignored,
        };
        let Some(look) = matched.look.take() else { return Route::Take(matched) };
        match (look(&mut matched, payload), matched.rule) {
            (Seen::Take, _) => Route::Take(matched),
            (Seen::Nothing, Some(rule)) => Route::Ignore(rule),
            (Seen::NotOurs, _) | (Seen::Nothing, None) => Route::Take(unmatched(topic)),
        }
    }

    /// Costs a look-up per level of the topic, however many rules there are; more only where rules mix
    /// words and wildcards at the same levels, and never more than `STEPS_MAX` (and few for presets).
    fn find<'a>(&'a self, topic: &'a str) -> Route<'a> {
        match self.own.find(topic).or_else(|| self.presets.find(topic)) {
            Some(compiled) if compiled.rule.drop && compiled.look.is_none() => {
                Route::Ignore(&compiled.rule)
            }
            Some(compiled) => Route::Take(compiled.matched(topic)),
            None if topic.starts_with('$') => Route::Ignore(&self.system),
            None => Route::Take(unmatched(topic)),
        }
    }

    /// Whether a preset is on.
    pub(super) fn has(&self, preset: Preset) -> bool {
        self.presets.rules.iter().any(|compiled| compiled.rule.preset == Some(preset))
    }

    /// Whether one of the rules takes this topic, be it to drop it.
    pub(super) fn names(&self, topic: &str) -> bool {
        self.own.find(topic).is_some()
    }
}

impl Table {
    fn add(&mut self, compiled: Compiled) {
        self.insert(&compiled.levels);
        self.rules.push(compiled);
    }

    /// Those of the rule that comes next. One without levels is wrong, and takes nothing.
    fn insert(&mut self, levels: &[Level]) {
        if !levels.is_empty() {
            self.tree.insert(self.rules.len(), levels);
        }
    }

    fn find(&self, topic: &str) -> Option<&Compiled> {
        self.tree.find(topic).and_then(|number| self.rules.get(number))
    }
}

fn unmatched(topic: &str) -> Matched<'_> {
    Matched {
        topic,
        rule: None,
        measurement: None,
        field: None,
        value: FIELD.into(),
        tags: vec![("topic", topic)],
        format: Format::Auto,
        precision: None,
        times: None,
        mapping: None,
        look: None,
    }
}

fn compile(rule: Rule, earlier: &Table) -> (Compiled, Problems) {
    let (levels, mut problems) = match pattern::parse(&rule.topic) {
        Ok(levels) => (levels, Vec::new()),
        Err(error) => (Vec::new(), vec![(Part::Topic(error.at), error.what)]),
    };
    problems.extend(problems::of(&rule, &levels));
    if !levels.is_empty()
        && let Some(number) = earlier.tree.cover(&levels)
    {
        let topic = earlier.rules.get(number).map_or("", |earlier| &earlier.rule.topic);
        let what = format!(
            "this rule can never match: rule {} (`{topic}`) comes first and takes all it could take",
            number + 1
        );
        problems.push((Part::Topic(0), what));
    }
    (Compiled { rule, levels, look: None }, problems)
}

fn too_many_ways(steps: usize) -> String {
    format!(
        "with this rule a message may have to be compared {steps} times, which is more than \
         {STEPS_MAX}: at too many levels some rules have a word where others have `+` or a capture"
    )
}

/// A preset's rule, which has no problems.
fn compile_known((rule, look): presets::Ruled) -> Compiled {
    let (compiled, problems) = compile(rule, &Table::default());
    debug_assert!(problems.is_empty(), "{}: {problems:?}", compiled.rule);
    Compiled { look, ..compiled }
}

/// The last so many levels, and what stands before them.
fn split_last(text: &str, levels: usize) -> (&str, &str) {
    let Some(nth) = levels.checked_sub(1) else { return (text, "") };
    let slash = text.rmatch_indices('/').nth(nth).map(|(at, _)| at);
    slash.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))).unwrap_or((text, ""))
}

impl Compiled {
    /// With how many levels of its own it begins.
    fn words(&self) -> usize {
        self.levels.iter().take_while(|level| matches!(level, Level::Literal(_))).count()
    }

    /// `topic` must match.
    fn matched<'a>(&'a self, topic: &'a str) -> Matched<'a> {
        let mut matched = Matched {
            topic,
            rule: Some(&self.rule),
            measurement: self.rule.measurement.as_deref(),
            field: None,
            value: FIELD.into(),
            tags: Vec::with_capacity(self.levels.len() + self.rule.tags.len()),
            format: self.rule.format,
            precision: self.rule.precision,
            times: self.rule.times,
            mapping: self.rule.mapping.as_ref(),
            look: self.look,
        };
        let mut rest = topic;
        for (nth, level) in self.levels.iter().enumerate() {
            let (text, after) = match level {
                Level::CaptureTail(_) => split_last(rest, self.levels.len() - nth - 1),
                _ => rest.split_once('/').unwrap_or((rest, "")),
            };
            if let Level::Capture(capture) | Level::CaptureTail(capture) = level {
                matched.capture(capture, text);
            }
            rest = after;
        }
        let set = self.rule.tags.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        matched.tags.extend(set);
        matched
    }
}

impl<'a> Matched<'a> {
    pub(super) fn tag(&self, name: &str) -> Option<&'a str> {
        self.tags.iter().find(|(tag, _)| *tag == name).map(|(_, value)| *value)
    }

    /// Takes a tag away: what it captured was not meant as one.
    pub(super) fn take_tag(&mut self, name: &str) -> Option<&'a str> {
        let at = self.tags.iter().position(|(tag, _)| *tag == name)?;
        Some(self.tags.remove(at).1)
    }

    pub(super) fn set_tag(&mut self, name: &'a str, value: &'a str) {
        match self.tags.iter_mut().find(|(tag, _)| *tag == name) {
            Some(tag) => tag.1 = value,
            None => self.tags.push((name, value)),
        }
    }

    fn capture(&mut self, capture: &'a Capture, text: &'a str) {
        match capture {
            Capture::Measurement => self.measurement = Some(text),
            Capture::Field => self.field = Some(text),
            Capture::Tag(name) => self.tags.push((name, text)),
        }
    }
}
