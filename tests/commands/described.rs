//! `tidegate watch` and `status`: what devices say of their values is shown beside them, whichever way
//! it came.

use std::{fs, time::Duration};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::time::timeout;

use super::{PATIENCE, gateway_with, watch::watch};
use crate::{
    reference::{bytes, payloads},
    support::{
        gateway::{Gateway, Setup},
        mosquitto::Mosquitto,
        wait_for,
    },
};

const CONFIG: &str = "homeassistant/sensor/sensorBedroomT/config";
const STATE: &str = "homeassistant/sensor/sensorBedroom/state";
const SHOWN: &str = "\n# temperature: °C, temperature; Temperature\n";

/// The example of that topic in Home Assistant's documentation.
fn example(topic: &str) -> Vec<u8> {
    let payloads = payloads("home-assistant-discovery.json");
    bytes(&payloads.iter().find(|payload| payload["topic"] == topic).unwrap()["payload"])
}

struct Device {
    client: AsyncClient,
    events: EventLoop,
}

impl Device {
    fn connect(port: u16) -> Self {
        let (client, events) = AsyncClient::new(MqttOptions::new("bedroom", "127.0.0.1", port), 16);
        Self { client, events }
    }

    /// Returns when it is acknowledged.
    async fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.client.publish(topic, QoS::AtLeastOnce, true, payload).await.unwrap();
        let acknowledged = async {
            while !matches!(self.events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))) {
            }
        };
        timeout(PATIENCE, acknowledged).await.expect("an acknowledgement");
    }

    /// Publishes states until somebody who watches has seen these words.
    async fn shows(&mut self, gateway: &Gateway, arguments: &[&str], words: &str) {
        let watcher = watch(gateway, arguments);
        let seen = async {
            while !watcher.log().contains(words) {
                self.publish(STATE, &example(STATE)).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let seen = timeout(PATIENCE, seen).await;
        seen.unwrap_or_else(|_| panic!("no `{words}` in {}", watcher.log()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_says_of_its_values_is_shown_until_it_is_taken_back() {
    let gateway = gateway_with(0);
    let mut device = Device::connect(gateway.mqtt_port);
    device.publish(CONFIG, &example(CONFIG)).await;
    device.publish("homeassistant/sensor/odd/config", b"no JSON").await;
    device.shows(&gateway, &[], SHOWN).await;
    let json = r#""described":[{"value":"temperature","unit":"°C","device_class":"temperature""#;
    device.shows(&gateway, &["--json"], json).await;

    let status = gateway.status();
    assert_eq!((status.descriptions.held, status.descriptions.refused), (1, 1));
    assert_eq!((status.books.filtered, status.books.refused), (2, 0), "{status:?}");
    assert_eq!(gateway.count("tidegate_descriptions", &[]), 1);
    assert_eq!(gateway.count("tidegate_descriptions_refused_total", &[]), 1);

    device.publish(CONFIG, b"").await;
    assert_eq!(gateway.status().descriptions.held, 0);
    assert_eq!(gateway.status().books.refused, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_has_kept_of_it_is_shown_too_and_a_preset_that_is_off_takes_nothing() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut device = Device::connect(broker.port);
    device.publish(CONFIG, &example(CONFIG)).await;

    let tables = |presets: &str, client: &str| {
        format!(
            "{presets}[[broker]]\nid = \"home\"\nurl = \"mqtt://127.0.0.1:{}\"\nretained = true\n\
             client_id = \"{client}\"\ntopics = [\"homeassistant/#\"]\n\
             [[output]]\nid = \"files\"\ntype = \"file\"\npath = \"out/out.lp\"\n",
            broker.port
        )
    };
    let mut gateway = Gateway::prepare(&Setup { journal: "", tables: &tables("", "first") });
    fs::create_dir(gateway.dir().join("out")).unwrap();
    gateway.run();
    wait_for("what the broker has kept", PATIENCE, || {
        let held = gateway.status().descriptions.held;
        if held == 1 { Ok(()) } else { Err(format!("{held} descriptions")) }
    });
    device.shows(&gateway, &[], SHOWN).await;

    gateway.terminate(PATIENCE);
    let tables = tables("[presets]\noff = [\"home-assistant\"]\n", "second");
    gateway.configure(&Setup { journal: "", tables: &tables });
    gateway.run();
    device
        .shows(&gateway, &["--count", "2"], "mqtt,topic=homeassistant/sensor/sensorBedroom")
        .await;
    let status = gateway.status();
    assert_eq!((status.descriptions.held, status.descriptions.refused), (0, 0));
}
