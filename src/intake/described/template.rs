//! Which value a template takes out of a payload: `{{ value_json.a['b'] | round(1) }}` is `a`, then `b`.
//!
//! Only what is no more than a way into the payload is followed. Where a template calculates, chooses
//! or calls, its result may have another unit than what the payload holds: then what is said is said
//! of the topic as a whole. Leaves out everything else of Jinja.

use super::{About, TEXT_BYTES_MAX};

const KEYS_MAX: usize = 8;

/// Filters that leave a value what it is, as far as its unit goes.
const FILTERS: [&str; 13] = [
    "abs",
    "bool",
    "default",
    "float",
    "int",
    "is_defined",
    "lower",
    "round",
    "string",
    "title",
    "tojson",
    "trim",
    "upper",
];

/// An empty template takes the payload as it is.
pub(super) fn about(template: &str) -> About {
    if template.trim().is_empty() {
        return About::Value;
    }
    followed(template).unwrap_or(About::Topic)
}

fn followed(template: &str) -> Option<About> {
    let inside = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inside = inside.strip_prefix('-').unwrap_or(inside);
    let inside = inside.strip_suffix('-').unwrap_or(inside).trim();
    let (about, rest) = match inside.strip_prefix("value_json") {
        Some(rest) => {
            let (keys, rest) = keys(rest)?;
            (About::Keys(keys), rest)
        }
        None => (About::Value, inside.strip_prefix("value")?),
    };
    are_harmless(rest.trim()).then_some(about)
}

/// `.a['b'][0]`, and what comes behind it. `None`: none, too many, or too long.
fn keys(mut rest: &str) -> Option<(Vec<String>, &str)> {
    let mut keys = Vec::new();
    while let Some((key, after)) = key(rest) {
        keys.push(key.to_owned());
        rest = after;
        if keys.len() > KEYS_MAX {
            return None;
        }
    }
    let bytes: usize = keys.iter().map(String::len).sum();
    (!keys.is_empty() && bytes <= TEXT_BYTES_MAX).then_some((keys, rest))
}

fn key(rest: &str) -> Option<(&str, &str)> {
    if let Some(rest) = rest.strip_prefix('.') {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        return rest.split_at_checked(end).filter(|(key, _)| !key.is_empty());
    }
    let rest = rest.strip_prefix('[')?.trim_start();
    let (key, after) = match rest.chars().next()? {
        '\'' => rest.strip_prefix('\'')?.split_once('\'')?,
        '"' => rest.strip_prefix('"')?.split_once('"')?,
        _ => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            rest.split_at_checked(end).filter(|(key, _)| !key.is_empty())?
        }
    };
    let after = after.trim_start().strip_prefix(']')?;
    (!key.contains('\\')).then_some((key, after))
}

/// `| float(0) | round(1)`, or nothing.
fn are_harmless(filters: &str) -> bool {
    let mut parts = filters.split('|');
    let is_value_over = parts.next().is_some_and(|before| before.trim().is_empty());
    is_value_over && parts.all(|part| is_harmless(part.trim()))
}

fn is_harmless(filter: &str) -> bool {
    let (name, arguments) = filter.split_once('(').unwrap_or((filter, ")"));
    let is_one_call = arguments.strip_suffix(')').is_some_and(|it| !it.contains(['(', ')']));
    is_one_call && FILTERS.contains(&name.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(template: &str) -> String {
        match about(template) {
            About::Keys(keys) => keys.join("/"),
            About::Value => "the value".to_owned(),
            About::Topic => "the topic".to_owned(),
        }
    }

    #[test]
    fn a_way_into_the_payload_is_followed() {
        for (template, wanted) in [
            ("{{ value_json.temperature}}", "temperature"),
            ("{{value_json['ENERGY'].Yesterday}}", "ENERGY/Yesterday"),
            ("{{ value_json[\"a b\"]['c'] | round(1) }}", "a b/c"),
            ("{{- value_json.update.state -}}", "update/state"),
            ("{{ value_json.action[0] | default('', true) | string }}", "action/0"),
            ("{{ value_json.größe|float }}", "größe"),
            ("{{ value }}", "the value"),
            ("{{ value | float(0) | round(2) }}", "the value"),
            ("", "the value"),
        ] {
            assert_eq!(keys_of(template), wanted, "{template}");
        }
    }

    #[test]
    fn what_calculates_or_chooses_is_said_of_the_topic() {
        for template in [
            "{{ value_json }}",
            "{{ value_json.a * 10 }}",
            "{{ value_json.a | float * 0.1 }}",
            "{{ value_json.a | float(0) * (2) }}",
            "{{ value_json.a | multiply(0.001) }}",
            "{{ (value_json.a | float) / 10 }}",
            "{{ value_json.a.get('b') }}",
            "{{ value_json.a }}{{ value_json.b }}",
            "{{ value_json.a if value_json.b else 0 }}",
            "{{ value_json['a }}",
            "{{ value_json['a\\'b'] }}",
            "{{ value_json[] }}",
            "{{ value_json. }}",
            "{{ value_template }}",
            "{{ values }}",
            "{% if value_json.a %}on{% endif %}",
            "{{",
            "}}{{",
            "text",
        ] {
            assert_eq!(keys_of(template), "the topic", "{template}");
        }
        assert_eq!(about(&format!("{{{{ value_json{} }}}}", ".a".repeat(9))), About::Topic);
        assert_eq!(about(&format!("{{{{ value_json.{} }}}}", "a".repeat(257))), About::Topic);
    }
}
