//! Does a payload of a real device become the points that its owner expects?
//!
//! The payloads in `fixtures/payloads` name their sources. A row of a table below is named as in
//! the design's table of reference cases; points are compared parsed, so the order of fields is free.

mod collectd;
mod mutated;
mod prefixes;
pub mod sparkplug;

use std::{fs, path::Path};

use proto::{Context, Limits as ReadingLimits, Reading, Readings, Rejects, Timestamp, line};
use serde_json::Value;
use tidegate::intake::{
    Limits,
    explain::{self, Explained},
    presets::Preset,
    route::Routes,
};

/// `@` in a row. What carries no time gets this, and one nanosecond more for each repetition.
const ARRIVAL: i64 = 1_790_000_000_000_000_000;

pub fn payloads(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/payloads").join(file);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    file["examples"].as_array().unwrap().clone()
}

/// As a device sends it: texts without quotes.
pub fn bytes(payload: &Value) -> Vec<u8> {
    match payload {
        Value::String(text) => text.clone().into_bytes(),
        // The order of keys is not kept here, which no device promises either.
        object => object.to_string().into_bytes(),
    }
}

fn explained(topic: &str, payload: &[u8]) -> Explained {
    let routes = Routes::with_presets(Vec::new(), Preset::ALL).unwrap();
    let now = Timestamp::from_nanos(ARRIVAL);
    explain::message(&routes, &[], &Limits::default(), (topic, payload), now)
}

/// Points by series and time.
fn parsed(lines: &[String]) -> Vec<Reading> {
    let text = lines.join("\n").replace(" @", &format!(" {ARRIVAL}"));
    let (mut out, mut bad) = (Readings::new(ReadingLimits::default()), Rejects::default());
    out.begin();
    let context = Context::bare(Timestamp::from_nanos(ARRIVAL));
    line::decode(text.as_bytes(), &context, &mut out, &mut bad);
    assert!(bad.is_empty(), "{bad:?} in {text}");
    let mut cursor = proto::frame::Cursor::new(out.bytes());
    let mut readings = Vec::new();
    while let Some(reading) = cursor.next() {
        let mut reading = reading.unwrap().to_reading();
        reading.fields.sort_by(|a, b| a.0.cmp(&b.0));
        readings.push(reading);
    }
    readings.sort_by_key(|reading| format!("{:?}", (&reading.measurement, &reading.tags)));
    readings
}

/// All points of a payload.
fn expect(row: &str, topic: &str, payload: &[u8], points: &[&str]) {
    let shown = explained(topic, payload);
    assert_eq!(shown.problems, [""; 0], "{row}: {topic}");
    let points: Vec<_> = points.iter().map(|&point| point.to_owned()).collect();
    let (found, wanted) = (parsed(&shown.lines), parsed(&points));
    assert_eq!(found, wanted, "{row}: {topic}\n{:#?}", shown.lines);
}

/// Some of the points of a payload.
fn expect_among(row: &str, topic: &str, payload: &[u8], points: &[&str]) {
    let shown = explained(topic, payload);
    assert_eq!(shown.problems, [""; 0], "{row}: {topic}");
    let found = parsed(&shown.lines);
    for wanted in parsed(&points.iter().map(|&point| point.to_owned()).collect::<Vec<_>>()) {
        assert!(found.contains(&wanted), "{row}: {wanted:#?}\nnot in\n{:#?}", shown.lines);
    }
}

fn expect_nothing(row: &str, topic: &str, payload: &[u8]) {
    let shown = explained(topic, payload);
    assert!(shown.is_filtered, "{row}: {topic}: {shown:?}");
}

fn tasmota(topic: &str, has: &str) -> Vec<u8> {
    let payloads = payloads("tasmota.json");
    let of_topic = |p: &&Value| p["topic"] == topic && p["payload"].as_str().unwrap().contains(has);
    bytes(&payloads.iter().find(of_topic).unwrap()["payload"])
}

#[test]
fn t1_tasmota_energy_without_its_start_time() {
    expect(
        "T1",
        "tele/pow1/SENSOR",
        &tasmota("tele/pow1/SENSOR", "ENERGY"),
        &["tasmota,device=pow1,sensor=ENERGY Total=6.294,Yesterday=5.34,Today=0.954,Period=217,\
           Power=2635,ApparentPower=2650,ReactivePower=282,Factor=0.99,Voltage=227,Current=11.661 @"],
    );
}

#[test]
fn t2_tasmota_two_ble_sensors_are_two_series() {
    expect(
        "T2",
        "stat/tasmota/STATUS8",
        &tasmota("stat/tasmota/STATUS8", "Flora"),
        &[
            "tasmota,device=tasmota,sensor=Flora-6ab577 Temperature=21.7,Illuminance=21,Humidity=0,Fertility=0 @",
            "tasmota,device=tasmota,sensor=MJ_HT_V1-3108be Temperature=22.3,Humidity=56.1 @",
        ],
    );
}

#[test]
fn t3_tasmota_a_time_with_its_offset_and_switches() {
    let point = "tasmota,device=demo-sensor Switch1=false,Switch2=true 1624799024000000000";
    let topic = "tele/demo-sensor/SENSOR";
    expect("T3", topic, &tasmota(topic, "Switch2"), &[point]);
}

#[test]
fn t4_tasmota_the_epoch_wins() {
    let topic = "tele/tasmota/SENSOR";
    let point = "tasmota,device=tasmota,sensor=ANALOG A0=8 1567595328000000000";
    expect("T4", topic, &tasmota(topic, "Epoch"), &[point]);
}

#[test]
fn t5_tasmota_state_and_zigbee_have_measurements_of_their_own() {
    let topic = "tele/demo-sensor/STATE";
    let state = "tasmota_state,device=demo-sensor UptimeSec=13,Heap=28,SleepMode=\"Dynamic\",Sleep=50,\
        LoadAvg=19,MqttCount=1,POWER=true,Wifi_AP=1,Wifi_SSId=\"DEMOAP\",Wifi_BSSId=\"XX:XX:XX:XX:XX:XX\",\
        Wifi_Channel=1,Wifi_Mode=\"11n\",Wifi_RSSI=86,Wifi_Signal=-57,Wifi_LinkCount=1,\
        Wifi_Downtime=\"0T00:00:07\" 1624799024000000000";
    expect("T5", topic, &tasmota(topic, "Wifi"), &[state]);
    let topic = "tele/tasmota/SENSOR";
    let received = "tasmota_zigbee,device=tasmota,sensor=0x4773 Power=true,LinkQuality=52 @";
    expect("T5", topic, &tasmota(topic, "ZbReceived"), &[received]);
    let info = "tasmota_zigbee,device=xxxx,sensor=0x8959,name=Plug Dimmer=254,Power=false,\
        Reachable=false,LastSeen=16607299,LastSeenEpoch=1641742232,LinkQuality=147 @";
    expect("T5", "tele/xxxx/SENSOR", &tasmota("tele/xxxx/SENSOR", "ZbInfo"), &[info]);
    for (payload, online) in [("Online", true), ("Offline", false)] {
        let point = format!("tasmota_state,device=tasmota online={online} @");
        expect("T5", "tele/tasmota/LWT", payload.as_bytes(), &[&point]);
    }
}

#[test]
fn tasmota_probes_topics_and_answers() {
    let probe = "tasmota,device=ds1820,sensor=DS18B20,id=030597946B04 Temperature=20.9 @";
    expect("probe", "tele/ds1820/SENSOR", &tasmota("tele/ds1820/SENSOR", "DS18B20"), &[probe]);
    let nested = "tasmota,device=boiler,sensor=ANALOG A0=7 @";
    expect_among(
        "nested",
        "tele/boiler/SENSOR",
        &tasmota("tele/boiler/SENSOR", "ANALOG"),
        &[nested],
    );
    let lora = "tasmota_lorawan,device=core2,sensor=0x4AD6 Node=1,RSSI=-50,SNR=12,Events=0,\
        LastEvent=0,DoorOpen=1,Alarm=0,Battery=3 @";
    expect("lorawan", "tele/core2/SENSOR", &tasmota("tele/core2/SENSOR", "LwReceived"), &[lora]);
    let device_first = br#"{"Time":"2024-01-01T00:00:00","AM2301":{"Temperature":20.5}}"#;
    let point = "tasmota,device=plug,sensor=AM2301 Temperature=20.5 @";
    expect("device first", "plug/tele/SENSOR", device_first, &[point]);
    expect("power", "stat/plug/POWER2", b"ON", &["tasmota_state,device=plug POWER2=true @"]);
    // A clock that was never set.
    let reset = br#"{"Time":"1970-01-01T00:00:09Z","Epoch":9,"AM2301":{"Temperature":20.5}}"#;
    expect("reset", "plug/tele/SENSOR", reset, &[point]);
    for topic in ["cmnd/plug/POWER", "stat/plug/RESULT", "stat/plug/STATUS5", "tele/plug/INFO1"] {
        expect_nothing("commands", topic, b"{\"POWER\":\"ON\"}");
    }
    expect("not ours", "stat/plug/x", b"1", &["mqtt,topic=stat/plug/x value=1 @"]);
}

fn zigbee2mqtt(topic: &str) -> Vec<u8> {
    let payloads = payloads("zigbee2mqtt.json");
    bytes(&payloads.iter().find(|p| p["topic"] == topic).unwrap()["payload"])
}

#[test]
fn z1_zigbee2mqtt_a_sensor_by_its_friendly_name() {
    let topic = "zigbee2mqtt/Sleeping Room Temperature 01";
    let point = "zigbee2mqtt,device=Sleeping\\ Room\\ Temperature\\ 01 battery=100,voltage=3005,\
        linkquality=42,temperature=16.66,humidity=43.03 @";
    expect("Z1", topic, &zigbee2mqtt(topic), &[point]);
}

#[test]
fn z2_zigbee2mqtt_states_stay_texts() {
    let topic = "zigbee2mqtt/bulb";
    let point = "zigbee2mqtt,device=bulb state=\"ON\",brightness=215,color_temp=325 @";
    expect("Z2", topic, &zigbee2mqtt(topic), &[point]);
}

#[test]
fn z3_zigbee2mqtt_bridge_and_commands_are_nothing_and_names_may_hold_slashes() {
    for topic in
        ["zigbee2mqtt/bridge/logging", "zigbee2mqtt/bridge/event", "zigbee2mqtt/bridge/state"]
    {
        expect_nothing("Z3", topic, &zigbee2mqtt(topic));
    }
    for topic in
        ["bulb/set", "bulb/get", "bulb/set/brightness", "up/stairs/bulb/set", "a/get/state"]
    {
        expect_nothing("Z3", &format!("zigbee2mqtt/{topic}"), b"{\"state\":\"ON\"}");
    }
    let payload = br#"{"temperature":21.5,"device":{"model":"WSDCGQ11LM"}}"#;
    let point = "zigbee2mqtt,device=up/stairs/sensor temperature=21.5 @";
    expect("Z3", "zigbee2mqtt/up/stairs/sensor", payload, &[point]);
    let point = "zigbee2mqtt,device=up/stairs temperature=21.5 @";
    expect("attribute", "zigbee2mqtt/up/stairs/temperature", b"21.5", &[point]);
}

#[test]
fn z4_zigbee2mqtt_availability() {
    let point = ["zigbee2mqtt,device=x online=true @"];
    expect("Z4", "zigbee2mqtt/x/availability", b"{\"state\":\"online\"}", &point);
    expect("Z4", "zigbee2mqtt/x/availability", b"online", &point);
    let point = ["zigbee2mqtt,device=a/b online=false @"];
    expect("Z4", "zigbee2mqtt/a/b/availability", b"{\"state\":\"offline\"}", &point);
}

fn shelly(nth: usize) -> (String, Vec<u8>) {
    let payload = payloads("shelly-mqtt.json").remove(nth);
    (payload["topic"].as_str().unwrap().to_owned(), bytes(&payload["payload"]))
}

#[test]
fn s1_shelly_a_switch_notifies() {
    let (topic, payload) = shelly(0);
    let point = "shelly,component=switch:0,device=shellypro4pm-f008d1d8b8b8 \
        output=true,source=\"button\" 1631186545040000000";
    expect("S1", &topic, &payload, &[point]);
}

#[test]
fn s2_shelly_a_time_with_decimals_is_exact() {
    let (topic, payload) = shelly(1);
    let point = "shelly,component=cloud,device=shellypro4pm-f008d1d8b8b8 connected=false 1624348482250000000";
    expect("S2", &topic, &payload, &[point]);
}

#[test]
fn s3_shelly_topics_of_the_first_generation() {
    for (topic, payload, fields) in [
        ("ext_temperature/0", "47.69", "channel=0,device=shelly1-XXXXXX ext_temperature=47.69"),
        ("relay/0", "off", "channel=0,device=shelly1-XXXXXX relay=false"),
        ("relay/1/power", "12.5", "channel=1,device=shelly1-XXXXXX relay_power=12.5"),
        ("sensor/temperature", "20.5", "device=shelly1-XXXXXX sensor_temperature=20.5"),
        ("online", "true", "device=shelly1-XXXXXX online=true"),
    ] {
        let topic = format!("shellies/shelly1-XXXXXX/{topic}");
        expect("S3", &topic, payload.as_bytes(), &[&format!("shelly,{fields} @")]);
    }
    for topic in
        ["announce", "command", "shelly1-XXXXXX/announce", "shelly1-XXXXXX/relay/0/command"]
    {
        expect_nothing("S3", &format!("shellies/{topic}"), b"{\"id\":\"x\"}");
    }
}

#[test]
fn s4_shelly_a_full_status_is_a_point_for_each_component() {
    let (topic, payload) = shelly(2);
    let at = "1680962879620000000";
    let of = |component: &str, fields: &str| {
        format!("shelly,component={component},device=shellyplusht-b8d61a8b17cc {fields} {at}")
    };
    let points = [
        of("temperature:0", "tC=19.8,tF=67.6"),
        of("devicepower:0", "battery_V=0.43,battery_percent=0,external_present=true"),
        of("humidity:0", "rh=42.2"),
        of("cloud", "connected=false"),
        of("mqtt", "connected=true"),
        of(
            "sys",
            "mac=\"B8D61A8B17CC\",restart_required=false,uptime=3,ram_size=235300,ram_free=164244",
        ),
    ];
    expect("S4", &topic, &payload, &points.each_ref().map(String::as_str));
}

#[test]
fn s5_shelly_a_status_that_was_asked_for() {
    let file = "gen2_Shelly Plus 1PM_SNSW-001P16EU_20231219-133934-1.1.0-g34b5d4f.json";
    let payloads = payloads("shelly-status.json");
    let found = payloads.iter().find(|p| p["file"].as_str().unwrap().ends_with(file)).unwrap();
    let answer = serde_json::json!({
        "id": 1, "src": "shellyplus1pm-441793", "dst": "home", "result": found["status"],
    });
    let point = "shelly,component=switch:0,device=shellyplus1pm-441793 apower=0,current=0,\
        output=false,voltage=232.8,aenergy_total=110.046,temperature_tC=30.3,temperature_tF=86.6,\
        source=\"WS_in\" 1707326936000000000";
    expect_among("S5", "home/rpc", &bytes(&answer), &[point]);
    let switch = bytes(&found["status"]["switch:0"]);
    let point = point.replace("1707326936000000000", "@");
    expect("S5", "shellyplus1pm-441793/status/switch:0", &switch, &[&point]);
    let request = br#"{"id":1,"src":"home","method":"Shelly.GetStatus"}"#;
    expect_nothing("S5", "shellyplus1pm-441793/rpc", request);
    expect("not ours", "a/rpc", b"{\"t\":1}", &["mqtt,topic=a/rpc t=1 @"]);
    let event = br#"{"src":"shellyplusi4-1","method":"NotifyEvent","params":{"ts":1631266595.43,
        "events":[{"component":"input:0","id":0,"event":"single_push","ts":1631266595.43}]}}"#;
    let point =
        "shelly,component=input:0,device=shellyplusi4-1 event=\"single_push\" 1631266595430000000";
    expect("event", "shellyplusi4-1/events/rpc", event, &[point]);
}

#[test]
fn e1_to_e3_esphome() {
    let told = |topic: &str| {
        let payloads = payloads("esphome.json");
        bytes(&payloads.iter().find(|p| p["topic"] == topic).unwrap()["payload"])
    };
    for (row, topic, point) in [
        (
            "E1",
            "attic-powerwall/sensor/inverter0_power_demand/state",
            "esphome,component=sensor,device=attic-powerwall inverter0_power_demand=190 @",
        ),
        (
            "E2",
            "attic-powerwall/sensor/firstfloor_inverter_operation_mode/state",
            "esphome,component=sensor,device=attic-powerwall firstfloor_inverter_operation_mode=\"Normal\" @",
        ),
        (
            "E3",
            "attic-powerwall/switch/attic-powerwall_restart/state",
            "esphome,component=switch,device=attic-powerwall attic-powerwall_restart=false @",
        ),
        ("E3", "c3-debug/status", "esphome,device=c3-debug online=true @"),
    ] {
        expect(row, topic, &told(topic), &[point]);
    }
    let log = b"\x1b[0;36m[D][sensor:092]: 'Pressure': Sending state 3.3 V\x1b[0m";
    expect_nothing("E3", "c3-debug/debug", log);
    expect_nothing("commands", "c3-debug/switch/relay/command", b"ON");
    let discovery = "homeassistant/sensor/c3-debug-7b55e0/pressure_voltage/config";
    expect_nothing("discovery", discovery, &told(discovery));
    let text = "esphome,component=text_sensor,device=c3-debug version=\"12\" @";
    expect("text", "c3-debug/text_sensor/version/state", b"12", &[text]);
    let fan = "esphome,component=fan,device=c3-debug attic_speed=2 @";
    expect("part", "c3-debug/fan/attic/speed/state", b"2", &[fan]);
    expect("not ours", "kitchen/status", b"warm", &["mqtt,topic=kitchen/status value=\"warm\" @"]);
    expect("not ours", "kitchen/debug", b"7", &["mqtt,topic=kitchen/debug value=7 @"]);
}

fn stack(nth: usize) -> Vec<u8> {
    bytes(&payloads("the-things-stack.json")[nth]["payload"])
}

#[test]
fn n1_the_things_stack_an_uplink_that_nobody_decoded() {
    let point = "ttn,application=app1,device=dev1 f_port=15,frm_payload=\"VGVtcGVyYXR1cmUgPSAwLjA=\",\
        rssi=-35,snr=5 1548766954981000000";
    expect("N1", "v3/app1@ttn/devices/dev1/up", &stack(1), &[point]);
}

#[test]
fn n2_the_things_stack_a_stored_result_without_an_application() {
    let point = "ttn,device=dev1 occupied=true,type=\"parking status\" 1612466368681910909";
    expect("N2", "v3/app1@ttn/devices/dev1/up", &stack(3), &[point]);
}

#[test]
fn n3_the_things_stack_joins_and_downlinks_are_nothing() {
    expect_nothing("N3", "v3/app1@ttn/devices/dev1/join", &stack(0));
    expect_nothing("N3", "v3/app1@ttn/devices/dev1/down/ack", &stack(2));
    expect_nothing("N3", "v3/app1@ttn/devices/dev1/up", &stack(0));
}

#[test]
fn h1_home_assistant_states() {
    let payloads = payloads("home-assistant-discovery.json");
    let topic = "homeassistant/sensor/sensorBedroom/state";
    let found = payloads.iter().find(|p| p["topic"] == topic).unwrap();
    let point =
        "homeassistant,component=sensor,object=sensorBedroom temperature=23.2,humidity=43.7 @";
    expect("H1", topic, &bytes(&found["payload"]), &[point]);
    for (topic, payload, point) in [
        ("sensor/attic/state", "21.5", "component=sensor,object=attic state=21.5"),
        ("binary_sensor/door/state", "on", "component=binary_sensor,object=door state=true"),
        ("input_text/note/state", "12", "component=input_text,object=note state=\"12\""),
        (
            "climate/hall/current_temperature",
            "20.5",
            "component=climate,object=hall current_temperature=20.5",
        ),
        (
            "climate/hall/hvac_action",
            "\"idle\"",
            "component=climate,object=hall hvac_action=\"idle\"",
        ),
    ] {
        let topic = format!("homeassistant/{topic}");
        expect("stream", &topic, payload.as_bytes(), &[&format!("homeassistant,{point} @")]);
    }
    let gone = "homeassistant/sensor/attic/state";
    expect_nothing("stream", gone, b"unavailable");
}

#[test]
fn h2_home_assistant_discovery_is_nothing_to_store_and_describes_values() {
    let (mut seen, mut described) = (0, Vec::new());
    for payload in payloads("home-assistant-discovery.json") {
        let topic = payload["topic"].as_str().unwrap();
        if topic.ends_with("/config") {
            let payload = bytes(&payload["payload"]);
            expect_nothing("H2", topic, &payload);
            described.extend(explained(topic, &payload).notes);
            seen += 1;
        }
    }
    assert!(seen >= 5);
    for note in [
        "describes `homeassistant/sensor/sensorBedroom/state`: temperature: °C, temperature; Temperature",
        "describes `tasmota01/tele/SENSOR`: ENERGY.Yesterday: kWh, power; Tasmota ENERGY Yesterday",
        "describes `zigbee2mqtt/Temperatur Balkon`: linkquality: lqi, measurement; Temperatur Balkon, Linkquality",
    ] {
        assert!(described.iter().any(|found| found == note), "H2: {note} is not in {described:#?}");
    }
    assert_eq!(explained("homeassistant/sensor/a/config", b"").notes, [""; 0]);
    expect_nothing("birth", "homeassistant/status", b"online");
    expect_nothing("unit", "homeassistant/sensor/attic/unit_of_measurement", b"\"C\"");
}

#[test]
fn d1_unmatched_topics_keep_apart() {
    expect("D1", "a/x/t", b"21.5", &["mqtt,topic=a/x/t value=21.5 @"]);
    let nested = br#"{"t":1,"s":{"u":"v"}}"#;
    expect("D1", "a/b", nested, &["mqtt,topic=a/b t=1,s_u=\"v\" @"]);
}

#[test]
fn d2_explicit_json_with_an_age() {
    let payload = br#"{"device":"d1","fields":{"t":21.5},"age_ms":1500}"#;
    let now = Timestamp::from_nanos(ARRIVAL);
    let format = tidegate::intake::Format::Json;
    let shown = explain::body(format, payload, &Limits::default(), now);
    assert_eq!(shown.problems, [""; 0]);
    let point = format!("readings,device=d1 t=21.5 {}", ARRIVAL - 1_500_000_000);
    assert_eq!(parsed(&shown.lines), parsed(&[point]));
}

/// Topics and payloads of every file.
fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for file in ["tasmota", "zigbee2mqtt", "shelly-mqtt", "esphome", "home-assistant-discovery"] {
        for payload in payloads(&format!("{file}.json")) {
            let topic = payload["topic"].as_str().unwrap().to_owned();
            all.push((topic, bytes(&payload["payload"])));
        }
    }
    for payload in payloads("the-things-stack.json") {
        all.push(("v3/app1@ttn/devices/dev1/up".to_owned(), bytes(&payload["payload"])));
    }
    for payload in payloads("shelly-status.json") {
        let answer = serde_json::json!({"id": 1, "src": "shelly-1", "result": payload["status"]});
        all.push(("home/rpc".to_owned(), bytes(&answer)));
    }
    for (topic, payload, _) in collectd::CASES {
        all.push((format!("collectd/box/{topic}"), payload.as_bytes().to_vec()));
    }
    all
}

#[test]
fn every_payload_becomes_points_or_nothing_and_says_whose_it_is() {
    let all = all();
    assert!(all.len() > 90, "{}", all.len());
    for (topic, payload) in &all {
        let shown = explained(topic, payload);
        assert_eq!(shown.problems, [""; 0], "{topic} {}", String::from_utf8_lossy(payload));
        assert!(shown.is_filtered || !shown.lines.is_empty());
        for reading in parsed(&shown.lines) {
            let says = |name: &str| ["device", "object", "topic"].contains(&name);
            assert!(reading.tags.iter().any(|(name, _)| says(name)), "{topic}: {reading:?}");
        }
    }
}
