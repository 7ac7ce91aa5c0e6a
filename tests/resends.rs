//! Is what a device sends again after a lost acknowledgement one point, although the gateway stamps
//! its time?
//!
//! The real binary, killed at random moments and right between sync and acknowledgement; devices that
//! send again what was not acknowledged, as their protocol has it; payloads without a time, so that
//! every message stored twice would be two points.

mod devices;

use std::{collections::BTreeMap, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use crate::support::{
    books,
    rig::{OUTPUT, Rig, is_long},
    show, wait_for,
};
use devices::{Http, Mqtt, Stream};

const PATIENCE: Duration = Duration::from_mins(2);

/// How often each value of each device is in the database.
fn counts(rig: &Rig) -> BTreeMap<String, BTreeMap<u32, usize>> {
    let mut counts: BTreeMap<String, BTreeMap<u32, usize>> = BTreeMap::new();
    for row in rig.database.rows().into_iter().filter(|row| row.measurement == "resent") {
        let [(_, value)] = &row.fields[..] else { panic!("{row:?}") };
        let text = format!("{value:?}");
        let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
        let value = digits.parse::<f64>().unwrap_or_else(|e| panic!("{e}: {text}"));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small whole numbers"
        )]
        let value = value as u32;
        *counts.entry(row.device).or_default().entry(value).or_default() += 1;
    }
    counts
}

/// Every message of every device is there, once, in the database and in the books.
fn assert_once(rig: &Rig, devices: usize, messages: u32) {
    rig.delivered();
    let status = books::balanced(&rig.gateway);
    let journaled = devices as u64 * u64::from(messages);
    assert_eq!(status.books.journaled, journaled, "{:?}", status.books);
    assert_eq!(books::of(&status, OUTPUT).confirmed, journaled, "{status:#?}");
    let counts = counts(rig);
    assert_eq!(counts.len(), devices);
    for (device, values) in counts {
        let missing: Vec<u32> = (0..messages).filter(|value| !values.contains_key(value)).collect();
        let twice: Vec<_> = values.iter().filter(|(_, times)| **times != 1).collect();
        assert!(
            missing.is_empty() && twice.is_empty(),
            "{device}: LOST {missing:?}, TWICE {twice:?}"
        );
    }
}

/// Waits until so many readings are durable.
fn journaled(rig: &Rig, readings: u64) {
    wait_for("the journal", PATIENCE, || match rig.gateway.status().books.journaled {
        now if now >= readings => Ok(()),
        now => Err(format!("{now} of {readings} readings")),
    });
}

fn duplicates(rig: &Rig) -> u64 {
    rig.gateway.status().books.duplicate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_mqtt_message_whose_acknowledgement_was_lost_is_one_point() {
    const MESSAGES: u32 = 20;
    for qos in [1, 2] {
        let mut rig = Rig::start("").await;
        let mut device = Mqtt::new(&format!("d{qos}"), qos, MESSAGES, 20);
        // Sent and stored, the answers never read: as if the network had been cut.
        device.send_and_hang_up(rig.gateway.mqtt_port).await;
        journaled(&rig, u64::from(MESSAGES));
        // Half of them again, and not heard either.
        device.resend_and_hang_up(rig.gateway.mqtt_port, 10).await;
        rig.gateway.kill();
        rig.gateway.run();
        // All again, after a restart, and after another one.
        device.resend_and_hang_up(rig.gateway.mqtt_port, 20).await;
        rig.gateway.kill();
        rig.gateway.run();
        timeout(PATIENCE, device.run(rig.gateway.mqtt_port)).await.unwrap();
        assert_once(&rig, 1, MESSAGES);
        assert!(duplicates(&rig) >= u64::from(MESSAGES), "{}", duplicates(&rig));
        let received = rig.gateway.metric("tidegate_readings_duplicate_total", &["mqtt"]);
        assert!(received >= f64::from(MESSAGES), "{received}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_acknowledgements_were_lost_goes_on_where_it_was() {
    const MESSAGES: u32 = 30;
    let mut rig = Rig::start("").await;
    let mut device = Stream::new("w1", MESSAGES, 20, Duration::ZERO);
    device.send_and_hang_up(rig.gateway.http_port).await;
    journaled(&rig, 20);
    device.send_and_hang_up(rig.gateway.http_port).await;
    rig.gateway.kill();
    rig.gateway.run();
    device.send_and_hang_up(rig.gateway.http_port).await;
    rig.gateway.kill();
    rig.gateway.run();
    timeout(PATIENCE, device.run(rig.gateway.http_port)).await.unwrap();
    assert_once(&rig, 1, MESSAGES);
    assert!(duplicates(&rig) >= 20, "{}", duplicates(&rig));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_request_whose_answer_was_lost_is_stored_once() {
    const MESSAGES: u32 = 40;
    let mut rig = Rig::start("").await;
    let mut device = Http::new("h1", MESSAGES, MESSAGES);
    device.send_and_hang_up(rig.gateway.http_port, 100).await;
    journaled(&rig, u64::from(MESSAGES));
    rig.gateway.kill();
    rig.gateway.run();
    device.send_and_hang_up(rig.gateway.http_port, 100).await;
    // What was recalled was noted again, or a second start would know nothing.
    rig.gateway.kill();
    rig.gateway.run();
    timeout(PATIENCE, device.run(rig.gateway.http_port)).await.unwrap();
    assert_once(&rig, 1, MESSAGES);
    assert!(duplicates(&rig) >= u64::from(MESSAGES), "{}", duplicates(&rig));
    let received = rig.gateway.metric("tidegate_readings_duplicate_total", &["http"]);
    assert!(received >= f64::from(MESSAGES), "{received}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_body_that_was_cut_off_in_the_middle_goes_on_from_there() {
    const MESSAGES: u32 = 200;
    let mut rig = Rig::start("").await;
    let mut device = Http::new("h1", MESSAGES, MESSAGES).padded(8 * 1024);
    device.send_and_hang_up(rig.gateway.http_port, 45).await;
    journaled(&rig, 20);
    device.send_and_hang_up(rig.gateway.http_port, 80).await;
    rig.gateway.kill();
    rig.gateway.run();
    let stored = rig.gateway.status().books.journaled;
    assert!((20..u64::from(MESSAGES)).contains(&stored), "{stored}");
    timeout(PATIENCE, device.run(rig.gateway.http_port)).await.unwrap();
    assert_once(&rig, 1, MESSAGES);
    assert!(duplicates(&rig) >= 20, "{}", duplicates(&rig));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_at_random_moments_makes_no_point_twice() {
    let rounds = if is_long() { 100 } else { 12 };
    let messages = rounds * 60;
    let mut rig = Rig::start("").await;
    let mut devices = JoinSet::new();
    for n in 0..8_u8 {
        let device = Mqtt::new(&format!("d{n}"), 1 + n % 2, messages, 1 + usize::from(n));
        let device = device.paced(Duration::from_millis(5));
        // With most messages stored and their answers unread at any moment: whenever the kill comes,
        // on a quiet machine too, some are sent again although they were stored.
        let device = if n < 4 { device } else { device.reading_late() };
        devices.spawn(device.run(rig.gateway.mqtt_port));
    }
    for n in 0..4_u8 {
        let pace = Duration::from_millis(5);
        let device = Stream::new(&format!("w{n}"), messages, 1 + 3 * u64::from(n), pace);
        devices.spawn(device.run(rig.gateway.http_port));
    }
    for n in 0..4_u8 {
        let device = Http::new(&format!("h{n}"), messages, 10 + 20 * u32::from(n));
        // A body of half a megabyte is cut into pieces.
        let device = if n == 3 { device.padded(8 * 1024) } else { device };
        devices.spawn(device.reading_late(Duration::from_millis(40)).run(rig.gateway.http_port));
    }
    let count = devices.len();
    for round in 0..rounds {
        let moment = Duration::from_millis(200 + u64::from(round) * 7919 % 300);
        tokio::time::sleep(moment).await;
        rig.gateway.kill();
        rig.gateway.run();
    }
    while let Some(done) = timeout(PATIENCE, devices.join_next()).await.expect("devices end") {
        done.unwrap();
    }
    assert_once(&rig, count, messages);
    show(&format!("{} messages were sent again although they were stored", duplicates(&rig)));
    assert!(duplicates(&rig) > 0, "nothing was ever sent again: this proves nothing");
}
