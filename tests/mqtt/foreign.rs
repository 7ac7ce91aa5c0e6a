//! Do clients in other languages get along with it, in each version they speak?

use tokio::task::spawn_blocking;

use super::rig::*;
use crate::support::{foreign, mosquitto};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_pub_publishes_in_every_version_at_every_qos() {
    let mut gateway = Gateway::start().await;
    let port = gateway.addr.port();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let arguments =
                ["-V", version, "-q", qos, "-t", "garden/t", "-m", "21.5", "-r", "-i", "sensor"];
            let run = move || mosquitto::publish(port, &arguments);
            let Some(output) = spawn_blocking(run).await.unwrap() else { return };
            assert!(output.status.success(), "{version} {qos}: {output:?}");
            let readings = gateway.readings(1).await;
            assert_eq!(readings, ["garden/t value=Float(21.5)"], "{version} {qos}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_sub_is_told_that_there_is_nothing_to_subscribe_to() {
    let gateway = Gateway::start().await;
    let port = gateway.addr.port();
    for version in ["mqttv311", "mqttv5"] {
        let run = move || mosquitto::subscribe(port, &["-V", version, "-t", "#", "-W", "5"]);
        let Some(output) = spawn_blocking(run).await.unwrap() else { return };
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("denied") || told.contains("rejected"), "{version}: {output:?}");
    }
}

/// A bridge says so in the protocol level of its CONNECT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mosquitto_bridge_forwards_to_it() {
    let mut gateway = Gateway::start().await;
    let port = gateway.addr.port();
    let bridge = format!(
        "connection gateway\naddress 127.0.0.1:{port}\ntopic garden/# out 1\nnotifications false\n"
    );
    let start = move || mosquitto::Mosquitto::start_with(&bridge);
    let Some(broker) = spawn_blocking(start).await.unwrap() else { return };
    let broker_port = broker.port;
    let publish =
        move || mosquitto::publish(broker_port, &["-q", "1", "-t", "garden/t", "-m", "7"]);
    if spawn_blocking(publish).await.unwrap().is_none() {
        return;
    }
    assert_eq!(gateway.readings(1).await, ["garden/t value=Float(7.0)"]);
    spawn_blocking(move || drop(broker)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_and_mqtt_js_publish_in_every_version() {
    let mut gateway = Gateway::start().await;
    let port = gateway.addr.port().to_string();
    for script in ["paho_client.py", "mqttjs_client.js"] {
        for version in ["3", "4", "5"] {
            let port = port.clone();
            let run = move || foreign::run(script, &[&port, version, "d1", "1790000000123456789"]);
            if !spawn_blocking(run).await.unwrap() {
                break;
            }
            let readings = gateway.readings(2).await;
            assert!(readings[0].starts_with("climate,device=d1"), "{readings:?}");
            assert!(readings[0].contains("t=Float(21.5)"), "{readings:?}");
            assert!(readings[1].contains("count=Signed(-42)"), "{readings:?}");
        }
    }
}
