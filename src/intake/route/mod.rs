//! Topic to rule: the first rule that matches takes the message.
//!
//! No rule: measurement `mqtt`, tag `topic` = the whole topic, so that no two topics can meet in
//! one series. Topics of a broker's own (`$SYS/...`) are filtered, unless a rule names them from
//! the start: wildcards do not take them.
//!
//! Left out for now: presets; renaming, scaling, typing fields; zones.

mod pattern;
#[cfg(test)]
mod tests;
mod tree;

use proto::{Precision, TimeLimits};

use self::pattern::{Capture, Level};
use self::tree::Tree;
use super::Format;

pub(crate) use self::pattern::{tag_name_problem, tag_value_problem};

/// One `[[rule]]`, as meant by its author.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// `None`: no rule matched.
    pub rule: Option<&'a Rule>,
    /// `None`: neither set nor captured.
    pub measurement: Option<&'a str>,
    /// `{field}`, if captured.
    pub field: Option<&'a str>,
    pub tags: Vec<(&'a str, &'a str)>,
    pub format: Format,
    pub precision: Option<Precision>,
    pub times: Option<TimeLimits>,
}

/// All rules, compiled once.
#[derive(Debug)]
pub struct Routes {
    rules: Vec<Compiled>,
    tree: Tree,
    /// Stands for what is built in, where a rule is asked for.
    system: Rule,
}

#[derive(Debug)]
struct Compiled {
    rule: Rule,
    levels: Vec<Level>,
}

impl Default for Routes {
    fn default() -> Self {
        let system = Rule { topic: "$...".into(), drop: true, ..Rule::default() };
        Self { rules: Vec::new(), tree: Tree::new(), system }
    }
}

impl Routes {
    /// Checks every rule and reports all that is wrong with them.
    pub fn compile(rules: Vec<Rule>) -> Result<Self, Vec<RuleError>> {
        let mut routes = Self::default();
        let mut errors = Vec::new();
        for (number, rule) in rules.into_iter().enumerate() {
            let (compiled, problems) = compile(rule, &routes);
            if problems.is_empty() {
                routes.tree.insert(number, &compiled.levels);
            }
            let topic = &compiled.rule.topic;
            errors.extend(problems.into_iter().map(|(part, what)| RuleError {
                rule: number,
                topic: topic.clone(),
                part,
                what,
            }));
            routes.rules.push(compiled);
        }
        if errors.is_empty() { Ok(routes) } else { Err(errors) }
    }

    /// Costs a look-up per level of the topic, however many rules there are.
    pub fn find<'a>(&'a self, topic: &'a str) -> Route<'a> {
        match self.tree.find(topic).and_then(|number| self.rules.get(number)) {
            Some(compiled) if compiled.rule.drop => Route::Ignore(&compiled.rule),
            Some(compiled) => Route::Take(compiled.matched(topic)),
            None if topic.starts_with('$') => Route::Ignore(&self.system),
            None => Route::Take(unmatched(topic)),
        }
    }
}

impl Routes {
    /// Whether one of the rules takes this topic, be it to drop it.
    pub(super) fn names(&self, topic: &str) -> bool {
        self.tree.find(topic).is_some()
    }
}

fn unmatched(topic: &str) -> Matched<'_> {
    Matched {
        rule: None,
        measurement: None,
        field: None,
        tags: vec![("topic", topic)],
        format: Format::Auto,
        precision: None,
        times: None,
    }
}

type Problems = Vec<(Part, String)>;

fn compile(rule: Rule, earlier: &Routes) -> (Compiled, Problems) {
    let (levels, mut problems) = match pattern::parse(&rule.topic) {
        Ok(levels) => (levels, Vec::new()),
        Err(error) => (Vec::new(), vec![(Part::Topic(error.at), error.what)]),
    };
    problems.extend(tag_problems(&rule, &levels));
    if let Some(problem) = measurement_problem(&rule, &levels) {
        problems.push((Part::Measurement, problem));
    }
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
    (Compiled { rule, levels }, problems)
}

fn tag_problems(rule: &Rule, levels: &[Level]) -> Problems {
    let mut problems = Vec::new();
    for (at, (name, value)) in rule.tags.iter().enumerate() {
        let mut problem = |what| problems.push((Part::Tag(name.clone()), what));
        if let Some(what) = tag_name_problem(name) {
            problem(what);
        }
        if let Some(what) = tag_value_problem(value) {
            problem(what);
        }
        let is_captured = pattern::captures(levels)
            .any(|capture| matches!(capture, Capture::Tag(tag) if **tag == **name));
        if is_captured {
            problem(format!("`{{{name}}}` is captured and set as well; one of them must go"));
        }
        if rule.tags.iter().take(at).any(|(earlier, _)| earlier == name) {
            problem(format!("tag `{name}` is set twice"));
        }
    }
    problems
}

fn measurement_problem(rule: &Rule, levels: &[Level]) -> Option<String> {
    let measurement = rule.measurement.as_deref()?;
    if measurement.is_empty() || measurement.chars().any(char::is_control) {
        return Some("a measurement must not be empty or hold control characters".into());
    }
    pattern::captures(levels)
        .any(|capture| *capture == Capture::Measurement)
        .then(|| "`{measurement}` is captured and set as well; one of them must go".into())
}

impl Compiled {
    /// `topic` must match.
    fn matched<'a>(&'a self, topic: &'a str) -> Matched<'a> {
        let mut matched = Matched {
            rule: Some(&self.rule),
            measurement: self.rule.measurement.as_deref(),
            field: None,
            tags: Vec::with_capacity(self.levels.len() + self.rule.tags.len()),
            format: self.rule.format,
            precision: self.rule.precision,
            times: self.rule.times,
        };
        let mut rest = topic;
        for level in &self.levels {
            let (text, after) = rest.split_once('/').unwrap_or((rest, ""));
            match level {
                Level::Capture(capture) => matched.capture(capture, text),
                Level::CaptureTail(capture) => matched.capture(capture, rest),
                Level::Literal(_) | Level::Any | Level::AnyTail => {}
            }
            rest = after;
        }
        let set = self.rule.tags.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        matched.tags.extend(set);
        matched
    }
}

impl<'a> Matched<'a> {
    fn capture(&mut self, capture: &'a Capture, text: &'a str) {
        match capture {
            Capture::Measurement => self.measurement = Some(text),
            Capture::Field => self.field = Some(text),
            Capture::Tag(name) => self.tags.push((name, text)),
        }
    }
}
