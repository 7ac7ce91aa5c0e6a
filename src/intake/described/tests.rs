//! Is what devices really publish understood, and what anybody could publish held within bounds?
//!
//! The payloads lie in `tests/fixtures/payloads`, where each file names its source; others name theirs here.

use super::*;

const MQTT: &str = "mqtt";

fn source() -> Source {
    Source::from(MQTT)
}

/// What a document says, as `check` shows it.
fn says(payload: &str) -> Vec<String> {
    explained(payload.as_bytes())
}

/// What is known of a topic whose plain value is called `state`.
fn known(described: &Described, topic: &str) -> Vec<String> {
    described.of(MQTT, topic, "state").iter().map(ToString::to_string).collect()
}

/// From a file of payloads, the one on that topic.
fn fixture(file: &str, topic: &str) -> String {
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let examples = file["examples"].as_array().unwrap();
    examples.iter().find(|example| example["topic"] == topic).unwrap()["payload"].to_string()
}

const DISCOVERY: &str =
    include_str!("../../../tests/fixtures/payloads/home-assistant-discovery.json");
const ESPHOME: &str = include_str!("../../../tests/fixtures/payloads/esphome.json");

#[test]
fn what_devices_publish_is_understood() {
    for (file, topic, wanted) in [
        (
            DISCOVERY, // Zigbee2MQTT
            "homeassistant/sensor/0x00158d0008aa5a0d/linkquality/config",
            "describes `zigbee2mqtt/Temperatur Balkon`: linkquality: lqi, measurement; Temperatur Balkon, Linkquality",
        ),
        (
            DISCOVERY, // Tasmota, before version 9
            "homeassistant/sensor/522851_ENERGY_Yesterday/config",
            "describes `tasmota01/tele/SENSOR`: ENERGY.Yesterday: kWh, power; Tasmota ENERGY Yesterday",
        ),
        (
            DISCOVERY,
            "homeassistant/sensor/sensorBedroomT/config",
            "describes `homeassistant/sensor/sensorBedroom/state`: temperature: °C, temperature; Temperature",
        ),
        (
            DISCOVERY,
            "homeassistant/switch/irrigation/config",
            "describes `homeassistant/switch/irrigation/state`: garden",
        ),
        (
            ESPHOME,
            "homeassistant/sensor/c3-debug-7b55e0/pressure_voltage/config",
            "describes `c3-debug/sensor/pressure_voltage/state`: V, voltage, measurement; c3-debug-7b55e0, Pressure voltage",
        ),
    ] {
        assert_eq!(says(&fixture(file, topic)), [wanted], "{topic}");
    }
}

/// Source: the example of device discovery in Home Assistant's documentation, its options for all
/// components shortened: <https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload>.
#[test]
fn a_device_describes_all_its_components() {
    let payload = r#"{"dev":{"ids":"ea334450945afc","name":"Kitchen","mf":"Bla electronics"},
        "o":{"name":"bla2mqtt","sw":"2.1"},
        "cmps":{
            "some_unique_component_id1":{"p":"sensor","device_class":"temperature",
                "unit_of_measurement":"°C","value_template":"{{ value_json.temperature}}",
                "unique_id":"temp01ae_t"},
            "some_unique_id2":{"p":"sensor","device_class":"humidity","unit_of_measurement":"%",
                "value_template":"{{ value_json.humidity}}","unique_id":"temp01ae_h"},
            "own":{"p":"sensor","~":"own","stat_t":"~/t","name":null},
            "removed":{"p":"sensor"}},
        "~":"base","state_topic":"sensorBedroom/~/state","qos":2}"#;
    assert_eq!(
        says(payload),
        [
            "describes `sensorBedroom/~/state`: temperature: °C, temperature; Kitchen",
            "describes `sensorBedroom/~/state`: humidity: %, humidity; Kitchen",
            "describes `own/t`: Kitchen",
            "describes `sensorBedroom/~/state`: Kitchen",
        ]
    );
}

#[test]
fn a_base_stands_at_either_end_of_a_topic() {
    for (base, topic, wanted) in [
        ("a/b", "~/c", "a/b/c"),
        ("a/b/", "~c", "a/b/c"),
        ("b", "a/~", "a/b"),
        ("b", "~", "b"),
        ("b", "a~c", "a~c"),
        ("", "~/c", "~/c"),
    ] {
        let payload = format!(r#"{{"stat_t":"{topic}","~":"{base}","name":"n"}}"#);
        assert_eq!(says(&payload), [format!("describes `{wanted}`: n")]);
    }
}

#[test]
fn what_says_nothing_of_a_value_is_no_fault_and_what_cannot_be_read_is_counted() {
    for nothing in [
        "{}",
        r#"{"name":"Restart","cmd_t":"a/b","pl_prs":"1"}"#,
        r#"{"stat_t":"a/b"}"#,
        r#"{"stat_t":["a"],"name":{"a":[1]},"unit_of_meas":7}"#,
        r#"{"stat_t":"a","name":["n"],"dev":7,"cmps":[{"stat_t":"a","name":"n"}]}"#,
    ] {
        assert_eq!(says(nothing), [""; 0], "{nothing}");
    }
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let long_topic = "x/".repeat(TOPIC_BYTES_MAX);
    for refused in [
        "online".to_owned(),
        r#"["","a","","°C","","","n"]"#.to_owned(),
        r#"{"stat_t":"a","name":"#.to_owned(),
        format!(r#"{{"stat_t":"a","name":"{long}"}}"#),
        format!(r#"{{"stat_t":"{long_topic}","name":"n"}}"#),
        format!(r#"{{"stat_t":"~~","~":"{}","name":"n"}}"#, "x".repeat(TOPIC_BYTES_MAX)),
        "{\"a\":".repeat(10_000),
        "[".repeat(10_000),
    ] {
        let shown = says(&refused);
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(shown[0].starts_with("1 descriptions not taken"), "{shown:?}");
    }
    let Said { descriptions, refused } = parse::read(b"{\"stat_t\":\"a\xFF\",\"name\":\"n\"}");
    assert_eq!((descriptions.len(), refused), (0, 1));
}

/// A cut document and one with a flipped byte are read, or counted; never worse.
#[test]
fn broken_documents_do_no_harm() {
    let whole = fixture(DISCOVERY, "homeassistant/sensor/522851_ENERGY_Yesterday/config");
    for at in 0..whole.len() {
        parse::read(&whole.as_bytes()[..at]);
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= flip;
            parse::read(&bytes);
        }
    }
}

#[test]
fn a_config_topic_says_something_else_or_nothing_any_more() {
    let described = Described::default();
    let hear = |topic: &str, payload: &str| described.hear(&source(), topic, payload.as_bytes());
    let temperature = r#"{"stat_t":"a","val_tpl":"{{ value_json.t }}","unit_of_meas":"°C"}"#;
    let humidity = r#"{"stat_t":"a","val_tpl":"{{ value_json.h }}","unit_of_meas":"%"}"#;
    let fahrenheit = r#"{"stat_t":"a","val_tpl":"{{ value_json.t }}","unit_of_meas":"°F"}"#;
    hear("1/config", temperature);
    hear("2/config", humidity);
    assert_eq!(known(&described, "a"), ["h: %", "t: °C"]);
    assert_eq!(known(&described, "b"), [""; 0]);
    hear("1/config", fahrenheit);
    assert_eq!(known(&described, "a"), ["h: %", "t: °F"]);
    hear("1/config", r#"{"stat_t":"b","unit_of_meas":"V"}"#);
    assert_eq!(known(&described, "a"), ["h: %"]);
    assert_eq!(known(&described, "b"), ["state: V"]);
    hear("2/config", "");
    hear("3/config", "");
    hear("1/config", "no JSON");
    assert_eq!((known(&described, "a"), known(&described, "b")), (Vec::new(), Vec::new()));
    let held = described.held();
    assert_eq!((held.descriptions, held.bytes), (0, 0));
    assert!(held.topics.is_empty() && held.speakers.is_empty());
    assert_eq!(described.stats().refused.get(), 1);
}

#[test]
fn two_brokers_with_the_same_topics_keep_apart_and_one_may_describe_what_another_brings() {
    let described = Described::default();
    let (home, barn) = (Source::from("broker:home"), Source::from("broker:barn"));
    described.hear(&home, "1/config", br#"{"stat_t":"lamp","unit_of_meas":"V"}"#);
    described.hear(&barn, "1/config", br#"{"stat_t":"lamp","unit_of_meas":"A"}"#);
    let unit = |source: &str| described.of(source, "lamp", "").remove(0).words.unit;
    assert_eq!((unit("broker:home").as_str(), unit("broker:barn").as_str()), ("V", "A"));
    described.hear(&barn, "1/config", b"");
    assert_eq!((unit("broker:home").as_str(), unit("broker:barn").as_str()), ("V", "V"));
}

#[test]
fn ten_thousand_hostile_messages_fill_the_bounds_and_no_more() {
    let described = Described::default();
    let text = "y".repeat(TEXT_BYTES_MAX);
    for n in 0..10_000 {
        let payload = format!(
            r#"{{"stat_t":"state/{n}","name":"{text}","dev_cla":"{text}","dev":{{"name":"{text}"}}}}"#
        );
        described.hear(&source(), &format!("homeassistant/sensor/{n}/config"), payload.as_bytes());
    }
    {
        let held = described.held();
        assert!(held.bytes <= BYTES_MAX && held.bytes > BYTES_MAX - 1_024, "{}", held.bytes);
        assert_eq!(held.speakers.len(), held.descriptions);
        let refused = usize::try_from(described.stats().refused.get()).unwrap();
        assert_eq!(held.descriptions + refused, 10_000);
    }

    let described = Described::default();
    for n in 0..10_000 {
        let payload = format!(r#"{{"stat_t":"s/{n}","name":"n"}}"#);
        described.hear(&source(), &format!("{n}/config"), payload.as_bytes());
    }
    assert_eq!(described.stats().held.get(), 4_096);
    assert_eq!(described.stats().refused.get(), 10_000 - 4_096);
    // What is full has room again for who says the same anew, and for others once that is gone.
    described.hear(&source(), "7/config", br#"{"stat_t":"s/7","name":"new"}"#);
    assert_eq!(known(&described, "s/7"), ["state: new"]);
    described.hear(&source(), "7/config", b"");
    described.hear(&source(), "other/config", br#"{"stat_t":"o","name":"other"}"#);
    assert_eq!(known(&described, "o"), ["state: other"]);
    assert_eq!(described.stats().held.get(), 4_096);
}

#[test]
fn one_message_one_topic_and_one_look_have_bounds_of_their_own() {
    let described = Described::default();
    let component = |n: usize| format!(r#""{n}":{{"stat_t":"s","name":"{n}"}}"#);
    let components: Vec<_> = (0..10_000).map(component).collect();
    let payload = format!("{{\"cmps\":{{{}}}}}", components.join(","));
    described.hear(&source(), "device/config", payload.as_bytes());
    assert_eq!(described.stats().held.get(), 256);
    assert_eq!(described.stats().refused.get(), 10_000 - 256);
    described.hear(&source(), "more/config", br#"{"stat_t":"s","name":"one more"}"#);
    assert_eq!(described.stats().refused.get(), 10_001 - 256);
    assert_eq!(known(&described, "s").len(), TOLD_MAX);

    let topic = format!("{}/config", "x".repeat(TOPIC_BYTES_MAX));
    described.hear(&source(), &topic, br#"{"stat_t":"t","name":"n"}"#);
    assert_eq!((known(&described, "t").len(), described.stats().held.get()), (0, 256));
}

#[test]
fn all_that_is_held_is_listed_in_pages_by_topic() {
    let described = Described::default();
    for n in (0..600).rev() {
        let payload = format!(r#"{{"stat_t":"s/{n:03}","unit_of_meas":"V"}}"#);
        described.hear(&source(), &format!("{n}/config"), payload.as_bytes());
    }
    described.hear(&source(), "x/config", br#"{"stat_t":"t","name":"n"}"#);
    let page = |filter: Option<&str>, from: usize| {
        described.page(&list::Asked { filter: filter.map(str::to_owned), from })
    };
    let first = page(None, 0).unwrap();
    assert_eq!((first.descriptions.len(), first.total, first.next), (500, 601, Some(500)));
    let second = page(None, 500).unwrap();
    assert_eq!((second.descriptions.len(), second.total, second.next), (101, 601, None));
    let topics = first.descriptions.iter().chain(&second.descriptions).map(|it| &it.topic);
    assert!(topics.is_sorted());
    let one = page(Some("s/+"), 599).unwrap();
    assert_eq!((one.descriptions.len(), one.total, one.next), (1, 600, None));
    let text = serde_json::to_string(&one.descriptions).unwrap();
    let start = r#"[{"topic":"s/599","source":"mqtt","value":"","unit":"V","#;
    assert!(text.starts_with(start), "{text}");
    for beyond in [601, usize::MAX] {
        assert_eq!(
            (page(None, beyond).unwrap().next, page(Some("u"), 0).unwrap().total),
            (None, 0)
        );
    }
    assert!(page(Some("a/#/b"), 0).unwrap_err().contains('#'));
}

#[test]
fn what_is_told_survives_json() {
    let words = Words { unit: "°C".into(), ..Words::default() };
    let told = Told { value: "t".into(), words };
    let text = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<Told>(&text).unwrap(), told);
    let bare: Told = serde_json::from_str(r#"{"value":"t"}"#).unwrap();
    assert_eq!(bare, Told { value: "t".into(), ..Told::default() });
}
