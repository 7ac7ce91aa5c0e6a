//! What do devices see while the journal is full, and afterwards?

use std::time::Duration;

use tidegate::listen::mqtt;
use tidegate::listen::mqtt::packet::Qos;
use tidegate::listen::mqtt::session::Refusal;

use super::rig::*;

const KIB: u64 = 1024;

/// A journal of four small segments.
async fn small() -> Gateway {
    let full_wait = Duration::from_millis(200);
    let limits = mqtt::Limits { full_wait, ..mqtt::Limits::default() };
    let (journal_bytes_max, segment_bytes) = (256 * KIB, Some(64 * KIB));
    Gateway::with(Setup { limits, journal_bytes_max, segment_bytes, ..Setup::default() }).await
}

/// Hardly compressible.
fn noise(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let text: String = (0..8000).map(|_| random.alphanumeric()).collect();
    format!("{{\"text\":\"{text}\"}}").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_withholds_answers_turns_clients_away_and_then_takes_everything() {
    let mut gateway = small().await;
    gateway.ignore_rejects();
    let mut client = gateway.client(CONNECT_311).await;
    // Until no answer comes any more.
    let mut published = 0_u16;
    loop {
        published += 1;
        client.send(&publish(0x32, published, "garden/t", &noise(published.into()))).await;
        let answer = tokio::time::timeout(Duration::from_secs(2), client.packet()).await;
        match answer {
            Ok(puback) => assert_eq!(puback[2..], published.to_be_bytes()),
            Err(_) => break,
        }
        assert!(published < 200, "it never fills");
    }
    client.is_ponged().await;
    client.send(&publish(0x30, 0, "garden/zero", b"1")).await;
    client.is_ponged().await;
    assert_eq!(gateway.stats.dropped.get(), 1, "QoS 0 is given up and counted");

    for (connect, code) in [
        (&b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d2"[..], 3),
        (b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02d3", 0x88),
    ] {
        let mut refused = gateway.open().await;
        refused.send(connect).await;
        let told = refused.rest().await;
        assert_eq!((told[0], told[3]), (0x20, code));
    }
    while gateway.stats.refusals(Refusal::Full) < 2 {
        tokio::task::yield_now().await;
    }

    // Room: what waited is stored, acknowledged and read.
    let readings = gateway.readings(published.into()).await;
    assert_eq!(client.packet().await[2..], published.to_be_bytes());
    assert_eq!(readings.len(), usize::from(published));
    assert_eq!(gateway.stats.publishes(Qos::AtLeastOnce), u64::from(published));
    let let_in = async {
        loop {
            let mut again = gateway.open().await;
            again.send(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d2").await;
            if again.packet().await[3] == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, let_in).await.expect("clients are let in again");
}
