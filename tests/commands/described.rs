//! `tidegate watch` and `status`: what devices say of their values is shown beside them, whichever way
//! it came.

use std::{fs, time::Duration};

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::time::timeout;

use super::{PATIENCE, Said, gateway_with, tidegate, watch::watch};
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

/// `tidegate status --described`.
fn listed(gateway: &Gateway, more: &[&str]) -> Said {
    let config = gateway.config_file();
    let arguments = ["status", "-c", config.to_str().unwrap(), "--described"];
    tidegate(arguments.iter().chain(more))
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

    let shown = format!("{STATE}  (mqtt)\n    temperature: °C, temperature; Temperature\n");
    for filter in [&[] as &[&str], &["homeassistant/#"]] {
        let said = listed(&gateway, filter);
        assert_eq!((said.code, said.out.as_str()), (0, shown.as_str()), "{said:?}");
    }
    let said = listed(&gateway, &["zigbee2mqtt/#"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    let said = listed(&gateway, &["a/#/b"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    let said = listed(&gateway, &["--json"]);
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["total"], 1);
    assert_eq!(document["descriptions"][0]["topic"], STATE);
    assert_eq!(document["descriptions"][0]["unit"], "°C");

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

/// Each has a topic of its own and texts as long as they may be: 9 MB, if somebody kept them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_descriptions_take_no_more_room_than_they_may() {
    let gateway = gateway_with(0);
    let mut device = Device::connect(gateway.mqtt_port);
    let text = "y".repeat(256);
    let said = |n: u32, text: &str| {
        let words = format!(r#""name":"{text}","dev_cla":"{text}","dev":{{"name":"{text}"}}"#);
        let topic = format!("homeassistant/sensor/{n}/config");
        (topic, format!(r#"{{"stat_t":"state/{n}",{words}}}"#))
    };
    // What the connection and the journal need is there before.
    for n in 0..500 {
        device.publish("elsewhere", said(n, &text).1.as_bytes()).await;
    }
    let rss_before = gateway.usage().rss_bytes;
    for n in 0..10_000 {
        let (topic, payload) = said(n, &text);
        device.publish(&topic, payload.as_bytes()).await;
    }
    // Counts of what was filtered ride with the next reading.
    device.publish(STATE, &example(STATE)).await;
    let (status, rss) = (gateway.status(), gateway.usage().rss_bytes);
    let (held, refused) = (status.descriptions.held, status.descriptions.refused);
    assert_eq!(u64::try_from(held).unwrap() + refused, 10_000);
    assert!(held > 1_000 && held < 2_000, "{held}");
    assert!(rss <= rss_before + 5 * 1024 * 1024, "RSS {rss}, before {rss_before}");
    assert_eq!((status.books.filtered, status.books.refused), (10_000, 0));
    let said = listed(&gateway, &[]);
    assert_eq!(i64::try_from(said.out.matches("; ").count()).unwrap(), held);
    assert_eq!(said.code, 0);
}
