//! Does what common firmware sends arrive in a database as its owner would look for it, from a real
//! broker and from our own port alike?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{
    reference,
    support::{
        gateway::{Gateway, Setup},
        influx1::{Influx1, Row},
        mosquitto::{self, Mosquitto},
        wait_for,
    },
};

const DELIVERY_MAX: Duration = Duration::from_mins(1);

/// A message of a device called `DEV`, the statement that finds its point, and all that it holds beside
/// its device; and its time, where the device tells one.
struct Case {
    topic: &'static str,
    payload: Vec<u8>,
    find: &'static str,
    holds: &'static [(&'static str, &'static str)],
}

fn payload(file: &str, topic: &str, nth: usize) -> Vec<u8> {
    let payloads = reference::payloads(file);
    let of_topic = payloads.iter().filter(|payload| payload["topic"] == topic);
    reference::bytes(&of_topic.into_iter().nth(nth).unwrap()["payload"])
}

fn cases() -> Vec<Case> {
    let shelly = "shellypro4pm-f008d1d8b8b8/events/rpc";
    let esphome = "attic-powerwall/sensor/inverter0_power_demand/state";
    vec![
        Case {
            topic: "tele/DEV/SENSOR",
            payload: payload("tasmota.json", "tele/demo-sensor/SENSOR", 0),
            find: "SELECT * FROM tasmota WHERE device = 'DEV'",
            holds: &[("time", "1624799024000000000"), ("Switch1", "false"), ("Switch2", "true")],
        },
        Case {
            topic: "zigbee2mqtt/DEV",
            payload: payload("zigbee2mqtt.json", "zigbee2mqtt/Sleeping Room Temperature 01", 0),
            find: "SELECT * FROM zigbee2mqtt WHERE device = 'DEV'",
            holds: &[
                ("temperature", "16.66"),
                ("humidity", "43.03"),
                ("battery", "100"),
                ("voltage", "3005"),
                ("linkquality", "42"),
            ],
        },
        Case {
            topic: "DEV/events/rpc",
            payload: payload("shelly-mqtt.json", shelly, 0),
            find: "SELECT * FROM shelly WHERE device = 'DEV'",
            holds: &[
                ("time", "1631186545040000000"),
                ("component", "\"switch:0\""),
                ("output", "true"),
                ("source", "\"button\""),
            ],
        },
        Case {
            topic: "DEV/sensor/inverter0_power_demand/state",
            payload: payload("esphome.json", esphome, 0),
            find: "SELECT * FROM esphome WHERE device = 'DEV'",
            holds: &[("component", "\"sensor\""), ("inverter0_power_demand", "190")],
        },
        Case {
            topic: "v3/app1@ttn/devices/DEV/up",
            payload: reference::bytes(&reference::payloads("the-things-stack.json")[1]["payload"]),
            find: "SELECT * FROM ttn WHERE device = 'DEV'",
            holds: &[
                ("time", "1548766954981000000"),
                ("application", "\"app1\""),
                ("f_port", "15"),
                ("frm_payload", "\"VGVtcGVyYXR1cmUgPSAwLjA=\""),
                ("rssi", "-35"),
                ("snr", "5"),
            ],
        },
    ]
}

/// Acknowledged before it returns. False where there is no client.
fn publish(port: u16, case: &Case, device: &str) -> bool {
    let topic = case.topic.replace("DEV", device);
    let payload = String::from_utf8(case.payload.clone()).unwrap();
    let arguments = ["-V", "mqttv311", "-q", "1", "-t", topic.as_str(), "-m", payload.as_str()];
    let Some(output) = mosquitto::publish(port, &arguments) else { return false };
    assert!(output.status.success(), "{topic}: {output:?}");
    true
}

/// No column is missing, wrong, or there without having been sent.
fn holds_just_that(row: &Row, case: &Case, device: &str) {
    let mut found = row.clone();
    found.retain(|_, value| !value.is_null());
    let time = found["time"].as_i64().unwrap();
    if case.holds.iter().all(|(column, _)| *column != "time") {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let age = i64::try_from(now).unwrap() - time;
        assert!((0..600_000_000_000).contains(&age), "{}: stamped {age} ns ago", case.topic);
        found.remove("time");
    }
    let mut wanted = Row::from_iter([("device".to_owned(), Value::from(device))]);
    for (column, value) in case.holds {
        wanted.insert((*column).to_owned(), serde_json::from_str(value).unwrap());
    }
    assert_eq!(found, wanted, "{}", case.topic);
}

#[test]
fn five_firmwares_arrive_from_a_broker_and_from_our_own_port() {
    let (Some(database), Some(broker)) = (Influx1::start(), Mosquitto::start()) else { return };
    let tables = format!(
        "[[broker]]\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"#\"]\n{}[output.limits]\n\
         batch_age_max = \"50ms\"\n",
        broker.port,
        database.output("db")
    );
    let gateway = Gateway::start(&Setup { journal: "", tables: &tables });
    broker.wait_subscribed("#");
    for case in cases() {
        for (port, device) in [(gateway.mqtt_port, "direct"), (broker.port, "by broker")] {
            if !publish(port, &case, device) {
                return;
            }
            let statement = case.find.replace("DEV", device);
            let rows = wait_for(&statement, DELIVERY_MAX, || match database.rows(&statement) {
                rows if rows.is_empty() => Err("no row".to_owned()),
                rows => Ok(rows),
            });
            assert_eq!(rows.len(), 1, "{statement}: {rows:?}");
            holds_just_that(&rows[0], &case, device);
        }
    }
    assert_eq!(gateway.count("tidegate_readings_refused_total", &[]), 0, "{}", gateway.log());
}
