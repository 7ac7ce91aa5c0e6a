//! Are devices known that lie below a prefix, without a setting where their topics tell, and with one
//! where they cannot?

use proto::Timestamp;
use tidegate::intake::{
    Limits,
    explain::{self, Explained},
    presets::{Below, Preset},
    route::Routes,
};

use super::{ARRIVAL, expect, expect_nothing, parsed};

const ENERGY: &str = "{\"ENERGY\":{\"Power\":2635}}";
const RADIO: &str = "{\"ZbReceived\":{\"0x5ADF\":{\"Device\":\"0x5ADF\",\"Humidity\":40}}}";
const NOTIFIES: &str = "{\"src\":\"shellyplus1-1\",\"method\":\"NotifyStatus\",\
    \"params\":{\"ts\":1631186545.04,\"switch:0\":{\"id\":0,\"output\":true}}}";
const UPDATE: &str = "{\"current_version\":\"1\",\"title\":\"t\"}";

/// What becomes of it with these prefixes, and all other presets below their usual ones.
fn below(prefixes: &[(Preset, &str)], topic: &str, payload: &str) -> Explained {
    let named = |preset: &Preset| prefixes.iter().any(|(named, _)| named == preset);
    let usual = Preset::ALL.iter().filter(|preset| !named(preset)).map(|preset| preset.usually());
    let own =
        prefixes.iter().map(|(preset, prefix)| Below { preset: *preset, prefix: (*prefix).into() });
    let below: Vec<_> = usual.chain(own).collect();
    let routes = Routes::with_presets_below(Vec::new(), &below).unwrap();
    let now = Timestamp::from_nanos(ARRIVAL);
    explain::message(&routes, &[], &Limits::default(), (topic, payload.as_bytes()), now)
}

fn expect_below(prefixes: &[(Preset, &str)], topic: &str, payload: &str, points: &[&str]) {
    let shown = below(prefixes, topic, payload);
    assert_eq!(shown.problems, [""; 0], "{topic}");
    let points: Vec<_> = points.iter().map(|&point| point.to_owned()).collect();
    assert_eq!(parsed(&shown.lines), parsed(&points), "{topic}: {shown:?}");
    assert_eq!(shown.is_filtered, points.is_empty(), "{topic}: {shown:?}");
}

/// As it is on a topic that nobody knows.
fn expect_unknown(topic: &str, payload: &str) {
    let value = if payload.starts_with(|c: char| c.is_ascii_digit()) && !payload.contains(':') {
        payload.to_owned()
    } else {
        format!("\"{payload}\"")
    };
    let value = if ["true", "false"].contains(&payload) { payload.to_owned() } else { value };
    expect("unknown", topic, payload.as_bytes(), &[&format!("mqtt,topic={topic} value={value} @")]);
}

#[test]
fn tasmota_is_known_by_where_its_words_stand_and_its_topic_may_hold_slashes() {
    for (topic, series) in [
        ("tele/pow1/SENSOR", "device=pow1"),
        // `%prefix%/%topic%/`, with a `%topic%` of several levels.
        ("tele/home/pow1/SENSOR", "device=home/pow1"),
        ("tele/home/attic/pow1/SENSOR", "device=home/attic/pow1"),
        // `%topic%/%prefix%/`
        ("pow1/tele/SENSOR", "device=pow1"),
        ("home/attic/pow1/tele/SENSOR", "device=home/attic/pow1"),
        // `home/%prefix%/%topic%/`
        ("home/tele/pow1/SENSOR", "device=pow1,prefix=home"),
        ("my/home/tele/pow1/SENSOR", "device=pow1,prefix=my/home"),
    ] {
        let point = format!("tasmota,{series},sensor=ENERGY Power=2635 @");
        expect("sensor", topic, ENERGY.as_bytes(), &[&point]);
        let of = |word: &str, last: &str| topic.replace("tele", word).replace("SENSOR", last);
        let point = |fields: &str| format!("tasmota_state,{series} {fields} @");
        expect("state", &of("tele", "STATE"), b"{\"POWER\":\"ON\"}", &[&point("POWER=true")]);
        expect("power", &of("stat", "POWER2"), b"OFF", &[&point("POWER2=false")]);
        expect("will", &of("tele", "LWT"), b"Offline", &[&point("online=false")]);
        let status = format!("{{\"StatusSNS\":{ENERGY}}}");
        let energy = format!("tasmota,{series},sensor=ENERGY Power=2635 @");
        expect("status", &of("stat", "STATUS10"), status.as_bytes(), &[&energy]);
        for (word, last) in
            [("cmnd", "POWER"), ("tele", "INFO1"), ("stat", "RESULT"), ("stat", "STATUS5")]
        {
            expect_nothing("nothing", &of(word, last), b"{}");
        }
    }
}

#[test]
fn what_a_tasmota_bridge_hears_by_radio_has_its_node() {
    let point = |series: &str| format!("tasmota_zigbee,{series},sensor=0x5ADF Humidity=40 @");
    for (topic, series) in [
        ("tele/bridge/SENSOR", "device=bridge"),
        ("tele/bridge/5ADF/SENSOR", "device=bridge,node=5ADF"),
        ("tele/home/bridge/5ADF/SENSOR", "device=home/bridge,node=5ADF"),
        ("bridge/5ADF/tele/SENSOR", "device=bridge,node=5ADF"),
    ] {
        expect("radio", topic, RADIO.as_bytes(), &[&point(series)]);
    }
}

#[test]
fn tasmota_below_a_named_prefix() {
    let home = [(Preset::Tasmota, "home")];
    let point = |series: &str| format!("tasmota,{series},sensor=ENERGY Power=2635 @");
    for (topic, series) in [
        ("home/tele/pow1/SENSOR", "device=pow1,prefix=home"),
        ("home/tele/attic/pow1/SENSOR", "device=attic/pow1,prefix=home"),
        ("home/attic/pow1/tele/SENSOR", "device=attic/pow1,prefix=home"),
    ] {
        expect_below(&home, topic, ENERGY, &[&point(series)]);
    }
    expect_below(&home, "home/cmnd/attic/pow1/POWER", "ON", &[]);
    let elsewhere = "mqtt,topic=tele/pow1/SENSOR ENERGY_Power=2635 @";
    expect_below(&home, "tele/pow1/SENSOR", ENERGY, &[elsewhere]);
    let both = [(Preset::Tasmota, "home"), (Preset::Tasmota, "")];
    expect_below(&both, "tele/pow1/SENSOR", ENERGY, &[&point("device=pow1")]);
    expect_below(&both, "home/tele/pow1/SENSOR", ENERGY, &[&point("device=pow1,prefix=home")]);
}

#[test]
fn esphome_is_known_behind_any_prefix_which_is_the_device() {
    for device in ["powerwall", "attic/powerwall", "home/attic/powerwall"] {
        for (topic, payload, point) in [
            ("sensor/power_demand/state", "190", "component=sensor,device=DEV power_demand=190"),
            ("switch/restart/state", "OFF", "component=switch,device=DEV restart=false"),
            ("text_sensor/version/state", "12", "component=text_sensor,device=DEV version=\"12\""),
            ("fan/attic/speed_level/state", "2", "component=fan,device=DEV attic_speed_level=2"),
            // A component and an entity of one name.
            ("fan/fan/speed/state", "2", "component=fan,device=DEV fan_speed=2"),
            ("climate/hall/mode/state", "heat", "component=climate,device=DEV hall_mode=\"heat\""),
            (
                "update/firmware/state",
                UPDATE,
                "component=update,device=DEV,field=firmware current_version=\"1\",title=\"t\"",
            ),
        ] {
            let point = format!("esphome,{} @", point.replace("DEV", device));
            expect("esphome", &format!("{device}/{topic}"), payload.as_bytes(), &[&point]);
        }
        for topic in ["switch/relay/command", "fan/attic/speed/command", "cover/door/tilt/command"]
        {
            expect_nothing("command", &format!("{device}/{topic}"), b"ON");
        }
        let log = b"\x1b[0;36m[D][sensor:092]: 'Pressure': Sending state 3.3 V\x1b[0m";
        expect_nothing("log", &format!("{device}/debug"), log);
    }
    expect("status", "attic/status", b"online", &["esphome,device=attic online=true @"]);
}

/// `x/y/status` and the like may be anybody's.
#[test]
fn what_could_be_anybodys_is_not_taken_for_a_known_device() {
    expect_unknown("home/attic/status", "online");
    expect_unknown("home/attic/debug", "7");
    expect_unknown("home/homeassistant/sensor/attic/state", "21.5");
    expect_unknown("ring/1234/lock/abcd/lock/state", "LOCKED");
    expect_unknown("home/attic/sensor/Living$Room/state", "21.5");
    expect_unknown("home/attic/online", "true");
    expect_unknown("home/stat/kitchen/mood", "7");
    expect_unknown("home/tele/kitchen/sensor", "7");
    expect_unknown("home/attic/tele/Sensor", "7");
    let json = b"{\"t\":1}";
    for topic in
        ["home/attic/status/light", "a/b/events/rpc", "a/b/rpc", "home/attic/status/mood:0"]
    {
        expect("not ours", topic, json, &[&format!("mqtt,topic={topic} t=1 @")]);
    }
    let answer = b"{\"src\":\"x\",\"id\":1}";
    expect("not ours", "a/b/rpc", answer, &["mqtt,topic=a/b/rpc src=\"x\",id=1 @"]);
}

#[test]
fn esphome_and_shelly_below_a_named_prefix_have_their_short_topics_too() {
    let home = [(Preset::Esphome, "home"), (Preset::Shelly, "home")];
    let device = "device=attic/wall,prefix=home";
    for (topic, payload, point) in [
        ("sensor/t/state", "20.5", format!("esphome,component=sensor,{device} t=20.5 @")),
        (
            "sensor/Living$Room/state",
            "2",
            format!("esphome,component=sensor,{device} Living$Room=2 @"),
        ),
        ("status", "offline", format!("esphome,{device} online=false @")),
        ("online", "true", format!("shelly,{device} online=true @")),
        (
            "status/cloud",
            "{\"connected\":true}",
            format!("shelly,component=cloud,{device} connected=true @"),
        ),
    ] {
        expect_below(&home, &format!("home/attic/wall/{topic}"), payload, &[&point]);
    }
    expect_below(&home, "home/attic/wall/debug/log", "started", &[]);
    let elsewhere = "mqtt,topic=attic/sensor/t/state value=20.5 @";
    expect_below(&home, "attic/sensor/t/state", "20.5", &[elsewhere]);
    // The first generation has a root of its own, which no setting moves.
    let first = "shelly,channel=0,device=shelly1-A1 relay=true @";
    expect_below(&home, "shellies/shelly1-A1/relay/0", "on", &[first]);
}

#[test]
fn shelly_is_known_behind_any_prefix_which_is_the_device() {
    for device in ["plug", "home/plug", "home/attic/shellyplus1-441793"] {
        let at = "1631186545040000000";
        let point = format!("shelly,component=switch:0,device={device} output=true {at}");
        expect("notifies", &format!("{device}/events/rpc"), NOTIFIES.as_bytes(), &[&point]);
        let point = format!("shelly,component=switch:0,device={device} output=true @");
        expect("status", &format!("{device}/status/switch:0"), b"{\"output\":true}", &[&point]);
    }
    let device = "home/shellyplus1-441793";
    let point = format!("shelly,device={device} online=false @");
    expect("online", &format!("{device}/online"), b"false", &[&point]);
    let point = format!("shelly,component=cloud,device={device} connected=true @");
    expect("status", &format!("{device}/status/cloud"), b"{\"connected\":true}", &[&point]);
    expect_nothing("log", &format!("{device}/debug/log"), b"started");
    expect_nothing(
        "request",
        &format!("{device}/rpc"),
        b"{\"id\":1,\"src\":\"x\",\"method\":\"Sys.Reboot\"}",
    );
    let status =
        b"{\"id\":1,\"src\":\"shellyplus1-1\",\"result\":{\"sys\":{\"unixtime\":1707326936},\
        \"switch:0\":{\"output\":true}}}";
    let point = "shelly,component=switch:0,device=shellyplus1-1 output=true 1707326936000000000";
    expect("answer", "home/ui/rpc", status, &[point]);
}

#[test]
fn zigbee2mqtt_home_assistant_and_collectd_are_told_their_prefix() {
    let prefixes = [
        (Preset::Zigbee2mqtt, "home/zigbee2mqtt"),
        (Preset::HomeAssistant, "home"),
        (Preset::HomeAssistant, "homeassistant"),
        (Preset::Collectd, "home/collectd"),
        (Preset::Collectd, "net"),
    ];
    for (topic, payload, point) in [
        (
            "home/zigbee2mqtt/up/lamp",
            "{\"state\":\"ON\"}",
            "zigbee2mqtt,device=up/lamp,prefix=home/zigbee2mqtt state=\"ON\"",
        ),
        (
            "home/zigbee2mqtt/lamp/availability",
            "online",
            "zigbee2mqtt,device=lamp,prefix=home/zigbee2mqtt online=true",
        ),
        (
            "home/zigbee2mqtt/lamp/brightness",
            "215",
            "zigbee2mqtt,device=lamp,prefix=home/zigbee2mqtt brightness=215",
        ),
        (
            "home/sensor/attic/state",
            "21.5",
            "homeassistant,component=sensor,object=attic,prefix=home state=21.5",
        ),
        (
            "home/switch/pump/state",
            "on",
            "homeassistant,component=switch,object=pump,prefix=home state=true",
        ),
        (
            "home/climate/hall/current_temperature",
            "20.5",
            "homeassistant,component=climate,object=hall,prefix=home current_temperature=20.5",
        ),
        (
            "homeassistant/sensor/attic/state",
            "21.5",
            "homeassistant,component=sensor,object=attic state=21.5",
        ),
        (
            "home/collectd/box/users/users",
            "N:2",
            "collectd,device=box,plugin=users,prefix=home/collectd,type=users value=2",
        ),
        (
            "net/box/users/users",
            "N:2",
            "collectd,device=box,plugin=users,prefix=net,type=users value=2",
        ),
    ] {
        expect_below(&prefixes, topic, payload, &[&format!("{point} @")]);
    }
    for topic in [
        "home/zigbee2mqtt/bridge/state",
        "home/zigbee2mqtt/lamp/set",
        "home/status",
        "home/sensor/attic/config",
        "home/sensor/node/attic/config",
        "home/sensor/attic/unit_of_measurement",
    ] {
        expect_below(&prefixes, topic, "{\"name\":\"x\"}", &[]);
    }
    expect_below(
        &prefixes,
        "zigbee2mqtt/lamp",
        "{\"t\":1}",
        &["mqtt,topic=zigbee2mqtt/lamp t=1 @"],
    );
    // A rule that begins with more words comes first, whatever preset it is of.
    let nested = [(Preset::Zigbee2mqtt, "home"), (Preset::Tasmota, "home/tasmota")];
    let point = "tasmota,device=pow1,prefix=home/tasmota,sensor=ENERGY Power=2635 @";
    expect_below(&nested, "home/tasmota/tele/pow1/SENSOR", ENERGY, &[point]);
}

#[test]
fn what_could_be_a_preset_below_another_prefix_is_explained() {
    let note = "if this comes from zigbee2mqtt: `[presets.zigbee2mqtt]` with `prefix = \"home/zigbee2mqtt\"`";
    let shown = below(&[], "home/zigbee2mqtt/lamp", "{\"t\":1}");
    assert_eq!(
        (shown.rule.as_str(), shown.notes.as_slice()),
        ("no rule matches: the default route", &[note.to_owned()][..])
    );
    for topic in ["home/zigbee2mqtt", "zigbee2mqtt/lamp", "home/zigbee2mqtts/lamp", "a/b"] {
        assert_eq!(below(&[], topic, "{\"t\":1}").notes, [""; 0], "{topic}");
    }
    let named = [(Preset::Zigbee2mqtt, "home/zigbee2mqtt")];
    let shown = below(&named, "home/zigbee2mqtt/lamp", "{\"t\":1}");
    assert_eq!(shown.rule, "preset `zigbee2mqtt`, rule `home/zigbee2mqtt/{device..}`");
    assert_eq!(shown.notes, [""; 0]);
}

#[test]
fn discovery_is_looked_for_below_the_prefix_that_is_named() {
    let discovery = r#"{"stat_t":"lamp/power","unit_of_meas":"W","dev_cla":"power"}"#;
    let named = [(Preset::HomeAssistant, "home/ha")];
    for topic in [
        "home/ha/sensor/lamp/config",
        "home/ha/sensor/node/lamp/config",
        "home/ha/device/lamp/config",
    ] {
        let shown = below(&named, topic, discovery);
        assert_eq!(shown.notes, ["describes `lamp/power`: W, power"], "{topic}");
        assert!(shown.is_filtered && shown.lines.is_empty(), "{topic}: {shown:?}");
    }
    for topic in ["homeassistant/sensor/lamp/config", "home/ha/config", "home/ha/status"] {
        let shown = below(&named, topic, discovery);
        let describes = shown.notes.iter().any(|note| note.starts_with("describes"));
        assert!(!describes, "{topic}: {shown:?}");
    }
}
