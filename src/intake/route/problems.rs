//! What is wrong with a rule beside its topic: names that cannot be, and what is said twice.

use super::pattern::{self, Capture, Level, tag_name_problem, tag_value_problem};
use super::{Part, Rule};

pub(super) type Problems = Vec<(Part, String)>;

pub(super) fn of(rule: &Rule, levels: &[Level]) -> Problems {
    let mut problems = tag_problems(rule, levels);
    problems.extend(found_tag_problems(rule, levels));
    let measurement = measurement_problem(rule, levels);
    problems.extend(measurement.map(|problem| (Part::Measurement, problem)));
    problems
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

/// Tags that are found in the payload.
fn found_tag_problems(rule: &Rule, levels: &[Level]) -> Problems {
    let Some(mapping) = &rule.mapping else { return Vec::new() };
    let mut set: Vec<&str> = rule.tags.iter().map(|(name, _)| name.as_str()).collect();
    set.extend(pattern::captures(levels).filter_map(|capture| match capture {
        Capture::Tag(name) => Some(&**name),
        Capture::Measurement | Capture::Field => None,
    }));
    let mut problems = Vec::new();
    for case in &mapping.cases {
        let mut given = set.clone();
        let from = case.tags.iter().map(|(name, _)| (name, Part::TagFrom(name.clone())));
        for (name, part) in from.chain(case.split.iter().map(|name| (name, Part::Split))) {
            if let Some(what) = tag_name_problem(name) {
                problems.push((part, what));
            } else if given.contains(&name.as_str()) {
                problems.push((part, format!("tag `{name}` is set twice")));
            } else {
                given.push(name);
            }
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
