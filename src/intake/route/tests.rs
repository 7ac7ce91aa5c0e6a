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
fn several_levels_may_stand_before_and_between_others() {
    let routes = compile_all(&[
        "tele/{device..}/SENSOR",
        "{device..}/sensor/{field}/state",
        "a/{x..}/b/{y}",
        "$own/{device..}/t",
    ]);
    for (topic, shown) in [
        ("tele/home/pow1/SENSOR", "tele/{device..}/SENSOR: mqtt,device=home/pow1 value"),
        ("tele/pow1/SENSOR", "tele/{device..}/SENSOR: mqtt,device=pow1 value"),
        ("h/a/p/sensor/t/state", "{device..}/sensor/{field}/state: mqtt,device=h/a/p t"),
        ("/p/sensor/t/state", "{device..}/sensor/{field}/state: mqtt,device=/p t"),
        ("sensor/sensor/t/state", "{device..}/sensor/{field}/state: mqtt,device=sensor t"),
        ("a/1/2/b/3", "a/{x..}/b/{y}: mqtt,x=1/2,y=3 value"),
        ("a/b/b/b", "a/{x..}/b/{y}: mqtt,x=b,y=b value"),
        ("$own/a/b/t", "$own/{device..}/t: mqtt,device=a/b value"),
        // Nothing for the tail.
        ("tele/SENSOR", "default: mqtt,topic=tele/SENSOR value"),
        ("tele//SENSOR", "default: mqtt,topic=tele//SENSOR value"),
        ("sensor/t/state", "default: mqtt,topic=sensor/t/state value"),
        ("/sensor/t/state", "default: mqtt,topic=/sensor/t/state value"),
        ("a/b/b", "default: mqtt,topic=a/b/b value"),
        // A broker's own, which wildcards do not take.
        ("$SYS/sensor/t/state", "ignore by $..."),
        ("h/sensor/$t/state", "{device..}/sensor/{field}/state: mqtt,device=h $t"),
    ] {
        assert_eq!(show(&routes, topic), shown, "{topic}");
    }
}

#[test]
fn a_rule_that_is_covered_from_the_end_is_told() {
    let covered = |earlier: &str, later: &str| {
        Routes::compile(vec![rule(earlier), rule(later)]).map_err(|errors| errors.len())
    };
    for (earlier, later) in [
        ("{d..}/state", "a/{x..}/state"),
        ("{d..}/state", "a/+/state"),
        ("a/{d..}/{x}/state", "a/{d..}/b/state"),
        ("#", "{d..}/state"),
        ("{d..}", "{x..}/state"),
    ] {
        assert_eq!(covered(earlier, later).unwrap_err(), 1, "{earlier} {later}");
    }
    for (earlier, later) in [
        ("a/{x..}/state", "{d..}/state"),
        ("{d..}/state", "+/state"),
        ("{d..}/state", "$a/b/state"),
        ("{d..}/a/state", "{d..}/state"),
        ("{d..}/state", "a/#"),
        ("{d..}/{x}/state", "{d..}/state"),
    ] {
        covered(earlier, later).unwrap();
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

/// A rule for each way to have a word, a capture or `+` at each level: no rule can be left out, as
/// each takes something that those before it do not.
fn every_mixture(levels: u32, last: &str) -> Vec<Rule> {
    let mixture = |n: usize| {
        let level = |at: u32| match n / 3_usize.pow(levels - 1 - at) % 3 {
            0 => format!("w{at}/"),
            1 => format!("{{c{at}}}/"),
            _ => "+/".to_owned(),
        };
        rule(&((0..levels).map(level).collect::<Vec<_>>().concat() + last))
    };
    (0..3_usize.pow(levels)).map(mixture).collect()
}

#[test]
fn words_captures_and_wildcards_at_the_same_levels_cost_three_ways_each() {
    for (levels, nodes) in [(0, 2), (1, 7), (2, 22), (3, 67), (4, 202), (5, 607)] {
        let routes = Routes::compile(every_mixture(levels, "end")).unwrap();
        let words = (0..levels).fold(String::new(), |words, at| format!("{words}w{at}/"));
        let tree = &routes.own.tree;
        assert_eq!(tree.visited(&format!("{words}end")), nodes, "{levels} levels");
        assert_eq!(tree.steps_max(), nodes, "{levels} levels");
        let no_word = "x/".repeat(levels as usize);
        assert!(tree.visited(&format!("{no_word}end")) <= nodes, "{levels} levels");
    }
}

#[test]
fn ten_thousand_rules_that_would_make_a_message_dear_are_refused() {
    let mut rules = every_mixture(8, "end");
    let more = 10_000 - rules.len();
    rules.extend((0..more).map(|n| rule(&format!("site/{n}/{{device}}/t"))));
    let errors = Routes::compile(rules).unwrap_err();
    let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 1, "it is said once: {shown:?}");
    assert!(shown[0].contains("more than 1000: at too many levels some rules"), "{shown:?}");
    assert!(shown[0].starts_with("rule ") && shown[0].contains("w0/"), "{shown:?}");

    // Mixed at three levels, as somebody may do it, ten thousand are few steps.
    let rules = (0..10_000).map(|n| match n % 3 {
        0 => rule(&format!("site{}/dev{n}/t", n % 100)),
        1 => rule(&format!("site{}/{{device}}/t{n}", n % 100)),
        _ => rule(&format!("+/{{device}}/u{n}")),
    });
    let routes = Routes::compile(rules.collect()).unwrap();
    let tree = &routes.own.tree;
    assert!(tree.steps_max() <= 10, "{}", tree.steps_max());
    assert_eq!(show(&routes, "site0/x/u9998"), "+/{device}/u9998: mqtt,device=x value");
}

/// However many levels a topic has: a walk from its start, and few from its end.
#[test]
fn the_presets_cost_a_few_steps_a_message() {
    let routes = Routes::with_presets(Vec::new(), Preset::ALL).unwrap();
    for topic in ["a/b", "garden/bed3/soil/moisture", "home/attic/sensor/t/state", "tele/a/SENSOR"]
    {
        let deep = format!("{}{topic}", "x/".repeat(100));
        for topic in [topic, deep.as_str()] {
            let visited = routes.presets.tree.visited(topic);
            assert!(visited <= 16, "{visited} nodes for {topic}");
        }
    }
}

/// MQTT's matching, written down the slow way.
fn naive(levels: &[Level], topic: &[&str], is_first: bool) -> bool {
    let wild = |text: &str| !(is_first && text.starts_with('$'));
    match (levels, topic) {
        ([] | [Level::AnyTail], []) => true,
        ([], [_, ..]) | ([_, ..], []) => false,
        ([Level::AnyTail, ..], [text, ..]) => wild(text),
        ([Level::CaptureTail(_), after @ ..], [text, ..]) => {
            let takes = |taken: &usize| !topic[..*taken].join("/").is_empty();
            let fits = |taken: usize| naive(after, &topic[taken..], false);
            wild(text) && (1..=topic.len()).filter(takes).any(fits)
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
    let tail = prop::sample::select(vec!["", "", "#", "{y..}", "+"]);
    let whole = (prop::collection::vec(level, 1..4), tail, 0..5_usize);
    let whole = whole.prop_map(|(levels, tail, place)| {
        // A name may be captured once only.
        let named = levels.iter().enumerate();
        let mut levels: Vec<_> =
            named.map(|(at, level)| level.replace('x', &format!("x{at}"))).collect();
        let place = if tail == "{y..}" { place.min(levels.len()) } else { levels.len() };
        if !tail.is_empty() {
            levels.insert(place, tail.to_owned());
        }
        levels.join("/")
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
            prop_assert!(tree.visited(&topic) <= tree.steps_max(), "{} in {:?}", topic, patterns);
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
