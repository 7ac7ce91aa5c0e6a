//! Routes against a naive matcher, and rule by rule.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

fn rule(topic: &str) -> Rule {
    Rule { topic: topic.into(), ..Rule::default() }
}

fn compile_all(topics: &[&str]) -> Routes {
    Routes::compile(topics.iter().map(|topic| rule(topic)).collect()).unwrap()
}

/// One line: which rule took it, and what it made of the topic.
fn show(routes: &Routes, topic: &str) -> String {
    let matched = match routes.find(topic) {
        Route::Ignore(rule) => return format!("ignore by {}", rule.topic),
        Route::Take(matched) => matched,
    };
    let by = matched.rule.map_or("default", |rule| &rule.topic);
    let mut text = format!("{by}: {}", matched.measurement.unwrap_or("mqtt"));
    for (name, value) in &matched.tags {
        write!(text, ",{name}={value}").unwrap();
    }
    text + " " + matched.field.unwrap_or("value")
}

#[test]
fn captures_become_tags_and_names() {
    let routes = compile_all(&[
        "garden/{device}/{field}",
        "by/{measurement}/+/{room}",
        "zigbee2mqtt/{device..}",
        "all/#",
    ]);
    for (topic, shown) in [
        ("garden/d1/soil", "garden/{device}/{field}: mqtt,device=d1 soil"),
        ("by/climate/x/attic", "by/{measurement}/+/{room}: climate,room=attic value"),
        ("zigbee2mqtt/a b/c", "zigbee2mqtt/{device..}: mqtt,device=a b/c value"),
        ("all", "all/#: mqtt value"),
        ("all/", "all/#: mqtt value"),
        ("all/x/y/z", "all/#: mqtt value"),
        // No rule: too short, too long, nothing to capture.
        ("garden/d1", "default: mqtt,topic=garden/d1 value"),
        ("garden/d1/soil/x", "default: mqtt,topic=garden/d1/soil/x value"),
        ("garden//soil", "default: mqtt,topic=garden//soil value"),
        ("zigbee2mqtt", "default: mqtt,topic=zigbee2mqtt value"),
        ("zigbee2mqtt/", "default: mqtt,topic=zigbee2mqtt/ value"),
        ("", "default: mqtt,topic= value"),
        ("/garden/d1/soil", "default: mqtt,topic=/garden/d1/soil value"),
    ] {
        assert_eq!(show(&routes, topic), shown, "{topic}");
    }
}

#[test]
fn the_first_rule_that_matches_takes_it_however_special_a_later_one_is() {
    let routes = compile_all(&["a/+/c", "a/b/{field}", "a/#", "x/{device}/t", "x/y/+"]);
    for (topic, by) in [
        ("a/b/c", "a/+/c"),
        ("a/b/d", "a/b/{field}"),
        ("a/b/d/e", "a/#"),
        ("x/y/t", "x/{device}/t"),
        ("x/y/u", "x/y/+"),
    ] {
        assert!(show(&routes, topic).starts_with(&format!("{by}: ")), "{topic}");
    }
}

#[test]
fn what_a_rule_sets_is_carried() {
    let set = Rule {
        topic: "m/{device}".into(),
        measurement: Some("machine".into()),
        tags: vec![("hall".into(), "3".into())],
        format: Format::Plain,
        precision: Some(Precision::Seconds),
        ..Rule::default()
    };
    let routes = Routes::compile(vec![set]).unwrap();
    let Route::Take(matched) = routes.find("m/press") else { panic!("not taken") };
    assert_eq!(matched.measurement, Some("machine"));
    assert_eq!(matched.tags, [("device", "press"), ("hall", "3")]);
    assert_eq!((matched.format, matched.precision), (Format::Plain, Some(Precision::Seconds)));
}

#[test]
fn dropped_and_system_topics_are_ignored() {
    let drop = Rule { drop: true, ..rule("cmnd/#") };
    let routes = Routes::compile(vec![drop, rule("$SYS/broker/load/{field}"), rule("#")]).unwrap();
    assert_eq!(show(&routes, "cmnd/x/POWER"), "ignore by cmnd/#");
    assert_eq!(show(&routes, "$SYS/broker/uptime"), "ignore by $...");
    assert_eq!(
        show(&routes, "$SYS/broker/load/1min"),
        "$SYS/broker/load/{field}: mqtt 1min",
        "a rule may ask for them by name"
    );
    assert_eq!(show(&routes, "x/$SYS"), "#: mqtt value");
}

#[test]
fn all_that_is_wrong_with_rules_is_said_at_once() {
    let rules = vec![
        rule("a/{devcie}"),
        Rule {
            measurement: Some("m".into()),
            tags: vec![("room".into(), "x".into()), ("time".into(), String::new())],
            ..rule("{measurement}/{room}")
        },
        rule("b/#"),
        rule("b/{device}/{field}"),
        Rule { measurement: Some(String::new()), ..rule("c") },
        Rule { tags: vec![("t".into(), "1".into()), ("t".into(), "2".into())], ..rule("d") },
    ];
    let errors = Routes::compile(rules).unwrap_err();
    let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "rule 1 (`a/{devcie}`): did you mean `{device}`?",
            "rule 2 (`{measurement}/{room}`): `{room}` is captured and set as well; one of them must go",
            "rule 2 (`{measurement}/{room}`): InfluxDB keeps `time` for itself",
            "rule 2 (`{measurement}/{room}`): a tag's value must not be empty or hold control characters",
            "rule 2 (`{measurement}/{room}`): `{measurement}` is captured and set as well; one of them must go",
            "rule 4 (`b/{device}/{field}`): this rule can never match: rule 3 (`b/#`) comes first and takes all it could take",
            "rule 5 (`c`): a measurement must not be empty or hold control characters",
            "rule 6 (`d`): tag `t` is set twice",
        ]
    );
    assert_eq!(errors[0].part, Part::Topic(3));
    assert_eq!(errors[1].part, Part::Tag("room".into()));
    assert_eq!(errors[4].part, Part::Measurement);
}

#[test]
fn ten_thousand_rules_are_searched_level_by_level() {
    let rules = (0..10_000).map(|n| rule(&format!("site{}/dev{}/{{field}}", n % 100, n / 100)));
    let routes = Routes::compile(rules.collect()).unwrap();
    let topic = "site99/dev99/t";
    assert_eq!(show(&routes, topic), "site99/dev99/{field}: mqtt t");
    assert!(routes.own.tree.visited(topic) <= 4, "{} nodes", routes.own.tree.visited(topic));
}

/// MQTT's matching, written down the slow way.
fn naive(levels: &[Level], topic: &[&str], is_first: bool) -> bool {
    let wild = |text: &str| !(is_first && text.starts_with('$'));
    match (levels, topic) {
        ([] | [Level::AnyTail], []) => true,
        ([], [_, ..]) | ([_, ..], []) => false,
        ([Level::AnyTail, ..], [text, ..]) => wild(text),
        ([Level::CaptureTail(_), ..], [text, rest @ ..]) => {
            wild(text) && !(text.is_empty() && rest.is_empty())
        }
        ([level, levels @ ..], [text, rest @ ..]) => {
            let is_taken = match level {
                Level::Literal(literal) => **literal == **text,
                Level::Any => wild(text),
                Level::Capture(_) => wild(text) && !text.is_empty(),
                Level::AnyTail | Level::CaptureTail(_) => unreachable!("matched above"),
            };
            is_taken && naive(levels, rest, false)
        }
    }
}

fn any_topic() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "", "$s"]), 1..5)
        .prop_map(|levels| levels.join("/"))
}

fn any_pattern() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "", "$s", "+", "{x}", "a", "b"]);
    let tail = prop::sample::select(vec!["", "", "/#", "/{y..}", "/+"]);
    let whole = (prop::collection::vec(level, 1..4), tail).prop_map(|(levels, tail)| {
        // A name may be captured once only.
        let named = levels.iter().enumerate();
        let levels: Vec<_> =
            named.map(|(at, level)| level.replace('x', &format!("x{at}"))).collect();
        levels.join("/") + tail
    });
    whole.prop_filter("not empty", |pattern| !pattern.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_tree_finds_what_trying_every_rule_in_order_finds(
        patterns in prop::collection::vec(any_pattern(), 1..12),
        topics in prop::collection::vec(any_topic(), 8),
    ) {
        let mut tree = Tree::default();
        let parsed: Vec<_> = patterns.iter().map(|p| pattern::parse(p).unwrap()).collect();
        for (number, levels) in parsed.iter().enumerate() {
            tree.insert(number, levels);
        }
        for topic in topics {
            let texts: Vec<_> = topic.split('/').collect();
            let expected = parsed.iter().position(|levels| naive(levels, &texts, true));
            prop_assert_eq!(tree.find(&topic), expected, "{} in {:?}", topic, patterns);
        }
    }

    /// A rule that is said to be covered must not match anything that no earlier rule takes.
    #[test]
    fn a_covered_rule_never_matches_first(
        patterns in prop::collection::vec(any_pattern(), 1..6),
        last in any_pattern(),
        topics in prop::collection::vec(any_topic(), 32),
    ) {
        let mut tree = Tree::default();
        for (number, topic) in patterns.iter().enumerate() {
            tree.insert(number, &pattern::parse(topic).unwrap());
        }
        let levels = pattern::parse(&last).unwrap();
        if tree.cover(&levels).is_some() {
            tree.insert(patterns.len(), &levels);
            for topic in topics {
                prop_assert_ne!(tree.find(&topic), Some(patterns.len()), "{} by {}", topic, last);
            }
        }
    }

    #[test]
    fn no_rule_text_is_a_panic(text in "[{}a-d/#+.$<>*é ]{0,24}") {
        drop(Routes::compile(vec![rule(&text)]));
    }
}
