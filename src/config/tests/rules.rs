//! What a rule says about the inside of a payload, and the presets.

use super::*;
use crate::intake::explain;
use proto::Timestamp;

/// The problems of a rule, one a line, without the file's name.
fn told(keys: &str) -> String {
    let text = format!("[[rule]]\ntopic = \"a/{{device}}/{{part}}\"\n{keys}\n[mqtt]\n{OUTPUT}");
    let errors = parse(&text).map(|config| panic!("taken: {config:?}")).unwrap_err();
    errors.to_string().replace("t.toml:", "")
}

/// What a payload on that topic becomes.
fn shown(tables: &str, topic: &str, payload: &str) -> explain::Explained {
    let config = good(&format!("{tables}\n[mqtt]\n{OUTPUT}"));
    let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    explain::message(&config.routes, &[], &config.intake, (topic, payload.as_bytes()), now)
}

#[test]
fn a_rule_looks_into_the_payload() {
    let rule = "[[rule]]\ntopic = \"site/+/report\"\nmeasurement = \"climate\"\nselect = \"/ports\"\n\
        split = \"port\"\ntags_from = { device = \"/meta/id\" }\nfields_from = { rssi = \"/meta/rssi\" }\n\
        time = [\"/sent\", \"when\"]\ntime_zone = \"Europe/Berlin\"\ndrop = [\"*_raw\", \"/ports/a/x\"]\n\
        scale = { t = 0.1 }\noffset = { t = 1 }\ntype = { n = \"integer\" }\n\
        rename = { t = \"temperature\" }\non_off = true\n";
    let payload = r#"{"meta":{"id":"d1","rssi":-80},"sent":"2023-11-14T23:13:20",
        "ports":{"a":{"t":215,"t_raw":1,"n":"7","x":{"y":1},"on":"ON"}}}"#;
    let shown = shown(rule, "site/x/report", payload);
    assert_eq!(shown.problems, [""; 0]);
    assert_eq!(shown.rule, "rule `site/+/report`");
    assert_eq!(
        shown.lines,
        ["climate,device=d1,port=a temperature=22.5,n=7i,on=t,rssi=-80.0 1700000000000000000"]
    );
}

#[test]
fn a_rule_that_cannot_be_meant_so_is_told_at_its_place() {
    for (keys, problem) in [
        ("select = \"data/x\"", "3:15: a pointer begins with a slash; did you mean `/data/x`?"),
        ("time = \"$.ts\"", "3:9: this is a JSON pointer, not JSONPath; did you mean `/ts`?"),
        ("time = [\"ts\", \"/a~\"]", "3:18: `~` is written `~0` in a pointer"),
        (
            "time_zone = \"Europe/Berlni\"",
            "3:13: `time_zone`: `Europe/Berlni` is no time zone; did you mean `Europe/Berlin`?",
        ),
        (
            "type = { n = \"int\" }",
            "3:14: `int` is no type; it is one of `float`, `integer`, `unsigned`, `boolean`, `text`",
        ),
        ("type = { n = \"integr\" }", "3:14: `integr` is no type; did you mean `integer`?"),
        ("scale = { v = \"x\" }", "3:15: expected a number, found a text"),
        (
            "scale = { v = 0 }",
            "3:15: times 0 every value is 0; to leave a field out write it under `drop`",
        ),
        ("rename = { a = \"time\" }", "3:16: InfluxDB keeps `time` for itself"),
        ("rename = { a = \"x\", b = \"x\" }", "3:25: two fields cannot both be called `x`"),
        ("tags_from = { device = \"/id\" }", "3:24: tag `device` is set twice"),
        ("split = \"part\"", "3:9: tag `part` is set twice"),
        (
            "drop = true\nscale = { v = 2 }",
            "4:9: a rule with `drop = true` stores nothing, so `scale` has no use",
        ),
        ("drop = \"x\"", "3:8: `drop`: expected true or false, found a text"),
        ("scael = { v = 2 }", "3:1: unknown key `scael`; did you mean `scale`?"),
    ] {
        assert_eq!(told(keys), problem, "{keys}");
    }
}

#[test]
fn presets_are_on_come_after_the_rules_and_can_be_off() {
    let topic = "tele/plug/SENSOR";
    let payload = "{\"AM2301\":{\"Temperature\":20.5}}";
    let on = shown("", topic, payload);
    assert_eq!(on.rule, "preset `tasmota`, rule `tele/{device..}/SENSOR`");
    assert!(on.lines[0].starts_with("tasmota,device=plug,sensor=AM2301 "), "{on:?}");
    let off = shown("[presets]\noff = [\"tasmota\", \"ttn\"]", topic, payload);
    assert!(off.lines[0].starts_with("mqtt,topic=tele/plug/SENSOR "), "{off:?}");
    let own = shown("[[rule]]\ntopic = \"tele/{device}/{last}\"", topic, payload);
    assert!(own.lines[0].starts_with("mqtt,device=plug,last=SENSOR "), "{own:?}");

    let text = format!("[presets]\noff = [\"tasmoto\", \"x\"]\n[mqtt]\n{OUTPUT}");
    let told = parse(&text).unwrap_err().to_string();
    let all = "`tasmota`, `shelly`, `esphome`, `ttn`, `sparkplug`, `home-assistant`, `collectd`, \
               `zigbee2mqtt`";
    assert_eq!(
        told,
        format!(
            "t.toml:2:8: `tasmoto` is no preset; did you mean `tasmota`?\n\
             t.toml:2:19: `x` is no preset; there are {all}"
        )
    );
}

#[test]
fn a_preset_lies_below_its_prefix_or_several() {
    let one = "[presets.zigbee2mqtt]\nprefix = \"home/zigbee2mqtt\"";
    let lamp = shown(one, "home/zigbee2mqtt/lamp", "{\"t\":1}");
    assert_eq!(lamp.rule, "preset `zigbee2mqtt`, rule `home/zigbee2mqtt/{device..}`");
    assert!(lamp.lines[0].starts_with("zigbee2mqtt,device=lamp,prefix=home/zigbee2mqtt t=1"));
    assert!(shown(one, "zigbee2mqtt/lamp", "{\"t\":1}").lines[0].starts_with("mqtt,topic="));
    let many = "[presets]\noff = [\"ttn\"]\ntasmota = { prefix = [\"\", \"home\"] }";
    for (topic, series) in [
        ("tele/plug/SENSOR", "tasmota,device=plug,sensor=A "),
        ("home/tele/plug/SENSOR", "tasmota,device=plug,prefix=home,sensor=A "),
    ] {
        let told = shown(many, topic, "{\"A\":{\"t\":1}}");
        assert!(told.lines[0].starts_with(series), "{told:?}");
    }
}

#[test]
fn a_wrong_prefix_is_told_where_and_what_was_meant() {
    let told = |text: &str| {
        let text = format!("{text}\n[mqtt]\n{OUTPUT}");
        let errors = parse(&text).map(|config| panic!("taken: {config:?}")).unwrap_err();
        errors.to_string().replace("t.toml:", "")
    };
    let deep = format!("home{}", "/x".repeat(32));
    for (preset, prefix, problem) in [
        (
            "zigbee2mqtt",
            "\"home/+\"",
            "2:16: `+` in a prefix, which is the beginning of topics as they are sent; several are a list",
        ),
        ("zigbee2mqtt", "\"home/\"", "2:15: without the slash at its end"),
        ("zigbee2mqtt", "\"\"", "2:11: must not be empty; the usual one is `zigbee2mqtt`"),
        (
            "zigbee2mqtt",
            "[]",
            "2:10: no prefix at all; to have it off write `off = [\"zigbee2mqtt\"]`",
        ),
        ("zigbee2mqtt", "[\"a\", \"b\", \"a\"]", "2:22: `a` is there twice"),
        (
            "zigbee2mqtt",
            "[\"a\", \"b/{x}\"]",
            "2:19: `{` in a prefix, which is the beginning of topics as they are sent; several are a list",
        ),
        ("zigbee2mqtt", "7", "2:10: `prefix`: expected a text in quotes, found a whole number"),
        (
            "zigbee2mqtt",
            "\"homeassistant\"",
            "2:11: `homeassistant` is the prefix of `home-assistant` already, and `zigbee2mqtt` takes all below its own too",
        ),
        (
            "tasmota",
            "\"home/%prefix%/%topic%/\"",
            "2:15: only what stands before `%prefix%` and `%topic%`, here \"home\"",
        ),
        ("esphome", "\"$x\"", "2:11: topics that begin with `$` are a broker's own"),
        ("shelly", &format!("\"{deep}\""), "2:77: more than 32 levels"),
    ] {
        assert_eq!(told(&format!("[presets.{preset}]\nprefix = {prefix}")), problem);
    }
    assert_eq!(
        told("[presets]\noff = [\"tasmota\"]\n[presets.tasmota]\nprefix = \"x\""),
        "4:10: `tasmota` is off, so its prefix has no use"
    );
    assert_eq!(
        told("[presets.zigbee2mqtt]\nbase_topic = \"x\""),
        "2:1: unknown key `base_topic`; [presets.zigbee2mqtt] takes `prefix`"
    );
    assert_eq!(
        told("[presets.tasmoto]\nprefix = \"x\""),
        "1:10: unknown key `tasmoto`; did you mean `tasmota`?"
    );
    let fixed = told("[presets.ttn]\nprefix = \"x\"");
    assert!(
        fixed.starts_with("1:10: unknown key `ttn`; [presets] takes `off`, `tasmota`"),
        "{fixed}"
    );
}
