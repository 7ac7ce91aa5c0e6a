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
    assert_eq!(on.rule, "preset `tasmota`, rule `tele/{device}/SENSOR`");
    assert!(on.lines[0].starts_with("tasmota,device=plug,sensor=AM2301 "), "{on:?}");
    let off = shown("[presets]\noff = [\"tasmota\", \"ttn\"]", topic, payload);
    assert!(off.lines[0].starts_with("mqtt,topic=tele/plug/SENSOR "), "{off:?}");
    let own = shown("[[rule]]\ntopic = \"tele/{device}/{last}\"", topic, payload);
    assert!(own.lines[0].starts_with("mqtt,device=plug,last=SENSOR "), "{own:?}");

    let text = format!("[presets]\noff = [\"tasmoto\", \"x\"]\n[mqtt]\n{OUTPUT}");
    let told = parse(&text).unwrap_err().to_string();
    let all = "`home-assistant`, `tasmota`, `zigbee2mqtt`, `ttn`, `collectd`, `sparkplug`, \
               `shelly`, `esphome`";
    assert_eq!(
        told,
        format!(
            "t.toml:2:8: `tasmoto` is no preset; did you mean `tasmota`?\n\
             t.toml:2:19: `x` is no preset; there are {all}"
        )
    );
}
