//! Do clients that nobody here wrote get their readings into databases that nobody here wrote?
//!
//! Every client sends the same two known readings under its own device name and waits for its
//! acknowledgements. They must be found with the right types and nanoseconds in InfluxDB 2 and 1, and their
//! numbers in VictoriaMetrics.

use std::{
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::support::{
    foreign,
    gateway::{Gateway, Setup},
    influx1::Influx1,
    influx2::{Influx2, Point},
    missing,
    mosquitto::{self, Mosquitto},
    program,
    victoria::Victoria,
    wait_for,
};

const LIMIT: Duration = Duration::from_mins(2);

/// What a device sent: JSON has no integers of its own, so a client that speaks only JSON leaves those out.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    Everything,
    OnlyJson,
}

struct World {
    gateway: Gateway,
    influx2: Influx2,
    influx1: Influx1,
    victoria: Victoria,
    time_ns: i64,
}

impl World {
    /// `None` where a database is not on this machine.
    fn start(tables: &str) -> Option<Self> {
        let (influx2, influx1) = (Influx2::start()?, Influx1::start()?);
        let victoria = Victoria::start()?;
        let outputs = [influx2.output("two"), influx1.output("one"), victoria.output("other")];
        let tables = format!("{}\n{tables}", outputs.concat());
        let gateway = Gateway::start(&Setup { tables: &tables, ..Setup::default() });
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time_ns = i64::try_from(now.as_secs()).unwrap() * 1_000_000_000 + 123_456_789;
        Some(Self { gateway, influx2, influx1, victoria, time_ns })
    }

    fn climate(&self, device: &str) -> String {
        format!(
            "{{\"measurement\":\"climate\",\"device\":\"{device}\",\
             \"fields\":{{\"t\":21.5,\"on\":true,\"mode\":\"auto\"}},\"ts\":{}}}",
            self.time_ns
        )
    }

    fn meter(&self, device: &str) -> String {
        format!("meter,device={device} count=-42i,total=7u,power=230.25 {}", self.time_ns)
    }

    /// With `mosquitto_pub` to `port`: 3.1, 3.1.1 and 5. The devices that could.
    fn mosquitto_pub(&self, port: u16) -> Vec<String> {
        let publish = |version: &str| {
            let device = format!("mosquitto-{version}");
            let topic = format!("clients/{device}");
            for (payload, qos) in [(self.climate(&device), "1"), (self.meter(&device), "2")] {
                let arguments =
                    ["-V", version, "-q", qos, "-i", &device, "-t", &topic, "-m", &payload];
                let output = mosquitto::publish(port, &arguments)?;
                assert!(output.status.success(), "{arguments:?}: {output:?}");
            }
            Some(device)
        };
        ["mqttv31", "mqttv311", "mqttv5"].into_iter().filter_map(publish).collect()
    }

    /// With paho-mqtt (Python) and mqtt.js (Node) to `port`.
    fn scripts(&self, port: u16) -> Vec<String> {
        let mut devices = Vec::new();
        for (script, name) in [("paho_client.py", "paho"), ("mqttjs_client.js", "mqttjs")] {
            for version in ["3", "4", "5"] {
                let device = format!("{name}-{version}");
                let time_ns = self.time_ns.to_string();
                if foreign::run(script, &[&port.to_string(), version, &device, &time_ns]) {
                    devices.push(device);
                }
            }
        }
        devices
    }

    /// With the script over HTTP or WebSocket.
    fn over_http(&self, script: &str, device: &str) -> bool {
        foreign::run(
            script,
            &[&self.gateway.http_port.to_string(), device, &self.time_ns.to_string()],
        )
    }

    fn assert_found(&self, device: &str, sent: Sent) {
        self.assert_in_influx2(device, sent);
        self.assert_in_influx1(device, sent);
        self.assert_in_victoria(device, sent);
    }

    fn assert_in_influx2(&self, device: &str, sent: Sent) {
        let expected = match sent {
            Sent::Everything => &[
                ("count", "long", "-42"),
                ("power", "double", "230.25"),
                ("total", "unsignedLong", "7"),
            ][..],
            Sent::OnlyJson => &[("power", "double", "230.25")][..],
        };
        let of = |measurement: &str, count: usize| {
            wait_for(&format!("{measurement} of {device} in InfluxDB 2"), LIMIT, || {
                let points = self.influx2.points(measurement, device);
                if points.len() >= count { Ok(points) } else { Err(format!("{points:?}")) }
            })
        };
        let (climate, meter) = (of("climate", 3), of("meter", expected.len()));
        let plain = |points: &[Point]| {
            let plain = |p: &Point| (p.field.clone(), p.datatype.clone(), p.value.clone());
            points.iter().map(plain).collect::<Vec<_>>()
        };
        let owned = |list: &[(&str, &str, &str)]| {
            list.iter().map(|(a, b, c)| ((*a).into(), (*b).into(), (*c).into())).collect::<Vec<_>>()
        };
        let expected_climate =
            [("mode", "string", "auto"), ("on", "boolean", "true"), ("t", "double", "21.5")];
        assert_eq!(plain(&climate), owned(&expected_climate), "{device}");
        assert_eq!(plain(&meter), owned(expected), "{device}");
        for point in climate.iter().chain(&meter) {
            let time: jiff::Timestamp = point.time.parse().unwrap();
            assert_eq!(time.as_nanosecond(), i128::from(self.time_ns), "{device}: {point:?}");
            // No rule matches the topic, so the topic is a tag.
            let known = point.tags.keys().all(|name| name == "device" || name == "topic");
            assert!(known, "{point:?}");
        }
    }

    fn assert_in_influx1(&self, device: &str, sent: Sent) {
        let row = |measurement: &str| {
            wait_for(&format!("{measurement} of {device} in InfluxDB 1"), LIMIT, || {
                let select = format!("SELECT * FROM {measurement} WHERE device = '{device}'");
                let rows = self.influx1.rows(&select);
                assert!(rows.len() < 2, "{rows:?}");
                rows.into_iter().next().ok_or_else(|| "not there".to_owned())
            })
        };
        let climate = row("climate");
        assert_eq!(climate["time"], json!(self.time_ns), "{device}");
        assert_eq!((&climate["t"], &climate["on"]), (&json!(21.5), &json!(true)), "{device}");
        assert_eq!(climate["mode"], json!("auto"), "{device}");
        let meter = row("meter");
        assert_eq!(meter["time"], json!(self.time_ns), "{device}");
        assert_eq!(meter["power"], json!(230.25), "{device}");
        if sent == Sent::Everything {
            assert_eq!((&meter["count"], &meter["total"]), (&json!(-42), &json!(7)), "{device}");
        }
    }

    fn assert_in_victoria(&self, device: &str, sent: Sent) {
        let names: &[(&str, f64)] = match sent {
            Sent::Everything => &[
                ("climate_t", 21.5),
                ("meter_count", -42.0),
                ("meter_power", 230.25),
                ("meter_total", 7.0),
            ],
            Sent::OnlyJson => &[("climate_t", 21.5), ("meter_power", 230.25)],
        };
        for (name, value) in names {
            let found = wait_for(&format!("{name} of {device} in VictoriaMetrics"), LIMIT, || {
                let series = self.victoria.series(device);
                let one = series.iter().find(|s| s.name == *name).cloned();
                one.ok_or_else(|| format!("{series:?}"))
            });
            assert_eq!(found.values, [*value], "{device} {name}");
            assert_eq!(found.times_ms, [self.time_ns / 1_000_000], "{device} {name}");
        }
    }

    /// Types of the fields as the strict database knows them, over all devices.
    fn assert_types_in_influx1(&self) {
        let climate = self.influx1.field_types("climate");
        let types = ["t", "on", "mode"].map(|field| climate[field].as_str());
        assert_eq!(types, ["float", "boolean", "string"]);
        let meter = self.influx1.field_types("meter");
        let types = ["count", "total", "power"].map(|field| meter[field].as_str());
        assert_eq!(types, ["integer", "integer", "float"], "1.x has no unsigned");
    }
}

#[test]
fn mqtt_clients_put_readings_into_three_databases() {
    let Some(world) = World::start("") else { return };
    let mut devices = world.mosquitto_pub(world.gateway.mqtt_port);
    devices.extend(world.scripts(world.gateway.mqtt_port));
    for device in &devices {
        world.assert_found(device, Sent::Everything);
    }
    world.assert_types_in_influx1();
}

#[test]
fn http_and_websocket_clients_put_readings_into_three_databases() {
    let Some(world) = World::start("") else { return };
    if world.over_http("influxdb_client_writes.py", "influxdb-client") {
        world.assert_found("influxdb-client", Sent::Everything);
    }
    for (script, device) in [("websockets_client.py", "websockets"), ("ws_client.js", "ws")] {
        if world.over_http(script, device) {
            world.assert_found(device, Sent::OnlyJson);
        }
    }
    for device in curl(&world) {
        world.assert_found(&device, Sent::Everything);
    }
}

#[test]
fn a_real_broker_and_the_collector_bring_them_too() {
    let Some(broker) = Mosquitto::start() else { return };
    let table = format!(
        "[[broker]]\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"clients/#\"]\n",
        broker.port
    );
    let Some(world) = World::start(&table) else { return };
    broker.wait_subscribed("clients/#");
    let mut devices = world.mosquitto_pub(broker.port);
    devices.extend(world.scripts(broker.port));
    for device in &devices {
        world.assert_found(device, Sent::Everything);
    }
}

/// The gateway is killed while a backlog comes in from the broker: nothing is missing afterwards.
#[test]
fn a_gateway_killed_in_the_middle_of_a_brokers_backlog_loses_nothing() {
    let Some(broker) = Mosquitto::start() else { return };
    let Some(influx1) = Influx1::start() else { return };
    let tables = format!(
        "{}[[broker]]\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"tele/#\"]\n",
        influx1.output("one"),
        broker.port
    );
    let mut gateway = Gateway::start(&Setup { tables: &tables, ..Setup::default() });
    broker.wait_subscribed("tele/#");
    gateway.kill();
    let lines: Vec<String> = (0..10_000)
        .map(|v| format!("backlog,device=d{} v={v}i {}", v % 10, 1_790_000_000_000_000_000_i64 + v))
        .collect();
    let file = gateway.dir().join("lines");
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    let publish = ["-q", "1", "-t", "tele/backlog"];
    assert!(mosquitto::publish_lines(broker.port, &publish, &file).unwrap().status.success());

    for round in 1..=4 {
        gateway.run();
        influx1.wait_count("backlog", "v", round * 500, LIMIT);
        gateway.kill();
    }
    gateway.run();
    influx1.wait_count("backlog", "v", 10_000, LIMIT);
    assert_eq!(influx1.count("backlog", "v"), 10_000);
    assert!(gateway.terminate(LIMIT).success(), "{}", gateway.log());
}

/// One device for each endpoint. curl fails by itself unless it is answered 2xx.
fn curl(world: &World) -> Vec<String> {
    let Some(binary) = program("curl") else {
        missing("curl", "apt-get install curl");
        return Vec::new();
    };
    let post = |path: &str, headers: &[&str], body: &str| {
        let url = format!("http://127.0.0.1:{}{path}", world.gateway.http_port);
        let mut command = Command::new(&binary);
        command.args(["--fail-with-body", "--silent", "--show-error", "--max-time", "30"]);
        for header in headers {
            command.args(["-H", header]);
        }
        let output = command.args(["--data-binary", body, &url]).output().unwrap();
        assert!(output.status.success(), "{path}: {output:?}");
    };
    let lines = |device: &str| {
        let climate =
            format!("climate,device={device} t=21.5,on=true,mode=\"auto\" {}", world.time_ns);
        format!("{climate}\n{}\n", world.meter(device))
    };
    post("/write?db=any&precision=ns", &[], &lines("curl-v1"));
    let token = ["Authorization: Token any"];
    post("/api/v2/write?org=any&bucket=any&precision=ns", &token, &lines("curl-v2"));
    let json = ["Content-Type: application/json"];
    post("/v1/readings", &json, &world.climate("curl-json"));
    post("/write?db=any", &[], &world.meter("curl-json"));
    let both: Value = serde_json::from_str(&world.climate("curl-array")).unwrap();
    post("/v1/readings", &json, &json!([both]).to_string());
    post("/write?db=any", &[], &world.meter("curl-array"));
    ["curl-v1", "curl-v2", "curl-json", "curl-array"].map(str::to_owned).to_vec()
}
