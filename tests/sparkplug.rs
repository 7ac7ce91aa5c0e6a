//! Does a Sparkplug plant arrive under its right names, whatever is killed in between?
//!
//! The real gateway, a database that stands for InfluxDB, a node of the test's own; in between our port or
//! a real mosquitto.

use std::time::Duration;

use proto::{Value, sparkplug::rebirth_command};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use simulator::verify::Row;
use tokio::time::timeout;

use super::{
    reference::sparkplug::{DBIRTH, DDATA, NBIRTH, example},
    support::{
        gateway::{Gateway, Setup},
        mosquitto::Mosquitto,
        rig::{RULE, Rig},
        wait_for,
    },
};

const PATIENCE: Duration = Duration::from_secs(30);
const AT: i64 = 1_790_000_000_000_000_000;

/// A node, or whoever publishes for it.
struct Node {
    client: AsyncClient,
    events: EventLoop,
}

impl Node {
    fn connect(port: u16) -> Self {
        let mut options = MqttOptions::new("edge", "127.0.0.1", port);
        options.set_clean_session(true);
        let (client, events) = AsyncClient::new(options, 16);
        Self { client, events }
    }

    /// Returns when it is acknowledged.
    async fn publish(&mut self, at: usize) {
        let (topic, payload) = example(at);
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        let acknowledged = |packet: &Packet| matches!(packet, Packet::PubAck(_));
        self.wait("an acknowledgement", acknowledged).await;
    }

    /// As Sparkplug has it.
    async fn publish_unacknowledged(&mut self, at: usize) {
        let (topic, payload) = example(at);
        self.client.publish(topic, QoS::AtMostOnce, false, payload).await.unwrap();
    }

    async fn wait(&mut self, what: &str, is_it: impl Fn(&Packet) -> bool) -> Packet {
        let found = async {
            loop {
                match self.events.poll().await.unwrap() {
                    Event::Incoming(packet) if is_it(&packet) => return packet,
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{what} never came"))
    }
}

/// The device's value of a field at a time.
fn found(rows: &[Row], field: &str, time: i64) -> Option<Value> {
    let of_device = rows.iter().filter(|row| row.device == "Emulated Device" && row.time == time);
    let mut fields = of_device.flat_map(|row| &row.fields);
    fields.find(|(name, _)| name == field).map(|(_, value)| value.clone())
}

fn wait_value(rig: &Rig, field: &str, time: i64, value: &Value) {
    wait_for(&format!("{field} = {value:?}"), PATIENCE, || {
        match found(&rig.database.rows(), field, time) {
            Some(found) if found == *value => Ok(()),
            found => Err(format!("{found:?}\n{}", rig.gateway.log())),
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn births_survive_kill_9_and_data_by_alias_has_its_name() {
    let mut rig = Rig::start("").await;
    let mut node = Node::connect(rig.gateway.mqtt_port);
    node.publish(NBIRTH).await;
    node.publish(DBIRTH).await;
    rig.gateway.kill();
    rig.gateway.run();

    let mut node = Node::connect(rig.gateway.mqtt_port);
    node.publish(DDATA).await;
    wait_value(&rig, "input/temperature", AT, &Value::Float(21.75));
    wait_value(&rig, "u8", AT + 1_000_000, &Value::Signed(200));
    wait_value(&rig, "i8", AT + 5_000_000, &Value::Signed(-8));
    let status = rig.gateway.status();
    assert_eq!((status.sparkplug.nodes, status.sparkplug.metrics_unresolved), (1, 0));
    assert_eq!(status.books.refused, 0, "{}", rig.gateway.log());
}

/// Acknowledged, so on the disk: it outlives the process, and arrives when the births come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_birth_survives_kill_9() {
    let mut rig = Rig::start("").await;
    let mut node = Node::connect(rig.gateway.mqtt_port);
    node.publish(DDATA).await;
    let status = rig.gateway.status();
    assert_eq!((status.sparkplug.messages_waiting, status.sparkplug.rebirths_unasked), (1, 1));
    rig.gateway.kill();
    rig.gateway.run();

    let mut node = Node::connect(rig.gateway.mqtt_port);
    node.publish(NBIRTH).await;
    node.publish(DBIRTH).await;
    wait_value(&rig, "input/temperature", AT, &Value::Float(21.75));
    wait_for("nothing that waits", PATIENCE, || {
        let waiting = rig.gateway.status().sparkplug.messages_waiting;
        if waiting == 0 { Ok(()) } else { Err(waiting.to_string()) }
    });
    assert_eq!(rig.gateway.status().books.refused, 0, "{}", rig.gateway.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_alias_asks_the_node_through_its_broker_and_the_data_arrives() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut rig = Rig::prepare("", "").await;
    let tables = format!(
        "{RULE}[[broker]]\nid = \"plant\"\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"spBv1.0/#\"]\n{}",
        broker.port,
        rig.output_table()
    );
    rig.gateway.configure(&Setup { journal: "", tables: &tables });
    rig.gateway.run();
    broker.wait_subscribed("spBv1.0/#");

    let mut node = Node::connect(broker.port);
    node.client.subscribe("spBv1.0/+/NCMD/+", QoS::AtLeastOnce).await.unwrap();
    node.wait("a subscription", |packet| matches!(packet, Packet::SubAck(_))).await;
    node.publish_unacknowledged(DDATA).await;
    let is_command = |packet: &Packet| matches!(packet, Packet::Publish(_));
    let Packet::Publish(command) = node.wait("a command", is_command).await else { unreachable!() };
    assert_eq!(command.topic, "spBv1.0/Sparkplug B Devices/NCMD/Python Edge Node 1");
    assert!(!command.retain && command.payload.len() == rebirth_command(1 << 40).len());

    node.publish_unacknowledged(NBIRTH).await;
    node.publish(DBIRTH).await;
    wait_value(&rig, "input/temperature", AT, &Value::Float(21.75));
    let status = rig.gateway.status();
    assert_eq!((status.sparkplug.rebirths_asked, status.sparkplug.births), (1, 2));
    assert_eq!(status.books.refused, 0, "{}", rig.gateway.log());
    counts_are_told(&rig.gateway);
}

fn counts_are_told(gateway: &Gateway) {
    for (name, value) in
        [("births", 2), ("rebirths_asked", 1), ("messages_held", 1), ("messages_resolved", 1)]
    {
        let name = format!("tidegate_sparkplug_{name}_total");
        wait_for(&name, PATIENCE, || match gateway.count(&name, &[]) {
            found if found == value => Ok(()),
            found => Err(found.to_string()),
        });
    }
    let config = gateway.config_file();
    let screen = gateway.command().arg("status").arg("-c").arg(config).output().unwrap();
    let screen = String::from_utf8_lossy(&screen.stdout).into_owned();
    assert!(screen.contains("1 of Sparkplug, 2 births, asked 1"), "{screen}");
}
