//! Do clients that are not ours get along with it? (More of them, other languages too: `foreign`.)

use rumqttc::mqttbytes::QoS;
use tokio::time::timeout;

use super::rig::*;

const MESSAGES: u16 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rumqttc_3_1_1_publishes_at_every_qos() {
    let mut gateway = Gateway::start().await;
    let mut options = rumqttc::MqttOptions::new("rumqttc", "127.0.0.1", gateway.addr.port());
    options.set_inflight(50).set_credentials("user", "password");
    options.set_last_will(rumqttc::LastWill::new("will", "gone", QoS::AtLeastOnce, true));
    let (client, mut events) = rumqttc::AsyncClient::new(options, 10);
    let sending = async {
        for at in 0..MESSAGES {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(at % 3)];
            client.publish("garden/t", qos, at % 2 == 0, at.to_string()).await.unwrap();
        }
    };
    let acknowledged = async {
        let (mut acks, mut completed) = (0, 0);
        while acks < MESSAGES / 3 || completed < MESSAGES / 3 {
            use rumqttc::{Event, Packet};
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::PubAck(_)) => acks += 1,
                Event::Incoming(Packet::PubComp(_)) => completed += 1,
                _ => {}
            }
        }
        (acks, completed)
    };
    let both = async { tokio::join!(sending, acknowledged).1 };
    let counts = timeout(PATIENCE, both).await.expect("every answer");
    assert_eq!(counts, (MESSAGES / 3, MESSAGES / 3));
    assert_all_there(&mut gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rumqttc_5_publishes_at_every_qos() {
    use rumqttc::v5::mqttbytes::QoS;
    let mut gateway = Gateway::start().await;
    let port = gateway.addr.port();
    let mut options = rumqttc::v5::MqttOptions::new("rumqttc", "127.0.0.1", port);
    options.set_session_expiry_interval(Some(3600));
    let (client, mut events) = rumqttc::v5::AsyncClient::new(options, 10);
    let sending = async {
        for at in 0..MESSAGES {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(at % 3)];
            client.publish("garden/t", qos, false, at.to_string()).await.unwrap();
        }
    };
    let acknowledged = async {
        let (mut acks, mut completed) = (0, 0);
        while acks < MESSAGES / 3 || completed < MESSAGES / 3 {
            use rumqttc::v5::{Event, mqttbytes::v5::Packet};
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::PubAck(_)) => acks += 1,
                Event::Incoming(Packet::PubComp(_)) => completed += 1,
                Event::Incoming(Packet::ConnAck(connack)) => {
                    let granted = connack.properties.unwrap();
                    assert_eq!(granted.receive_max, Some(1024));
                    assert_eq!(granted.session_expiry_interval, Some(0));
                    assert!(!connack.session_present);
                }
                _ => {}
            }
        }
        (acks, completed)
    };
    let both = async { tokio::join!(sending, acknowledged).1 };
    let counts = timeout(PATIENCE, both).await.expect("every answer");
    assert_eq!(counts, (MESSAGES / 3, MESSAGES / 3));
    assert_all_there(&mut gateway).await;
}

/// In the order in which they were sent: one connection, one order.
async fn assert_all_there(gateway: &mut Gateway) {
    let readings = gateway.readings(MESSAGES.into()).await;
    let expected: Vec<_> =
        (0..MESSAGES).map(|at| format!("garden/t value=Float({:?})", f64::from(at))).collect();
    assert_eq!(readings, expected);
}
