//! Does what common firmware sends arrive in a database as its owner would look for it, from a real
//! broker and from our own port alike?

use std::{ops::RangeInclusive, time::Duration};

use serde_json::Value;
use tidegate::intake::stamp::{Clock as _, SystemClock};

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

/// A message of a device called `DEV`, its measurement, and its point: every tag but `device`, every
/// field, and the time if the device sent one.
struct Case {
    topic: &'static str,
    payload: Vec<u8>,
    measurement: &'static str,
    time: Option<i64>,
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
            measurement: "tasmota",
            time: Some(1_624_799_024_000_000_000),
            holds: &[("Switch1", "false"), ("Switch2", "true")],
        },
        Case {
            topic: "zigbee2mqtt/DEV",
            payload: payload("zigbee2mqtt.json", "zigbee2mqtt/Sleeping Room Temperature 01", 0),
            measurement: "zigbee2mqtt",
            time: None,
            holds: &[
                ("battery", "100"),
                ("humidity", "43.03"),
                ("linkquality", "42"),
                ("temperature", "16.66"),
                ("voltage", "3005"),
            ],
        },
        Case {
            topic: "DEV/events/rpc",
            payload: payload("shelly-mqtt.json", shelly, 0),
            measurement: "shelly",
            time: Some(1_631_186_545_040_000_000),
            holds: &[("component", "\"switch:0\""), ("output", "true"), ("source", "\"button\"")],
        },
        Case {
            topic: "DEV/sensor/inverter0_power_demand/state",
            payload: payload("esphome.json", esphome, 0),
            measurement: "esphome",
            time: None,
            holds: &[("component", "\"sensor\""), ("inverter0_power_demand", "190")],
        },
        Case {
            topic: "v3/app1@ttn/devices/DEV/up",
            payload: reference::bytes(&reference::payloads("the-things-stack.json")[1]["payload"]),
            measurement: "ttn",
            time: Some(1_548_766_954_981_000_000),
            holds: &[
                ("application", "\"app1\""),
                ("f_port", "15"),
                // As it came: nothing has decoded it.
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

fn now() -> i64 {
    SystemClock.now().nanos()
}

impl Case {
    /// Every column of the row and no other; what carries no time has that of its arrival.
    fn is(&self, row: &Row, device: &str, arrived: RangeInclusive<i64>) {
        let mut wanted = Row::from([("device".to_owned(), Value::from(device))]);
        for (column, value) in self.holds {
            wanted.insert((*column).to_owned(), serde_json::from_str(value).unwrap());
        }
        let at = row["time"].as_i64().unwrap();
        let is_right = self.time.map_or_else(|| arrived.contains(&at), |time| time == at);
        assert!(is_right, "{at}, not {:?} or in {arrived:?}: {row:?}", self.time);
        wanted.insert("time".to_owned(), Value::from(at));
        assert_eq!(*row, wanted, "{} of {device}", self.measurement);
    }
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
            let before = now();
            if !publish(port, &case, device) {
                return;
            }
            let statement = format!("SELECT * FROM {} WHERE device = '{device}'", case.measurement);
            let rows = wait_for(&statement, DELIVERY_MAX, || match database.rows(&statement) {
                rows if rows.is_empty() => Err("no row".to_owned()),
                rows => Ok(rows),
            });
            assert_eq!(rows.len(), 1, "{statement}: {rows:?}");
            case.is(&rows[0], device, before..=now());
        }
    }
    assert_eq!(gateway.count("tidegate_readings_refused_total", &[]), 0, "{}", gateway.log());
}
