//! Does every reading arrive, whatever breaks in between?

use std::num::NonZeroU16;

use super::{stub::Faults, *};
use crate::{
    ledger::Totals,
    verify::{Allowed, compare},
};

const DEADLINE: Duration = Duration::from_mins(1);

/// Readings that are all due already, so that nothing waits for a clock.
fn backlog(gateway: Gateway, group: Group) -> FleetConfig {
    FleetConfig {
        gateway,
        groups: vec![group],
        seed: 11,
        start: Some(Timestamp::from_nanos(wall_ns() - 3_600_000_000_000)),
        ledger: None,
    }
}

fn group(link: Link) -> Group {
    Group {
        readings_max: Some(120),
        period: Duration::from_millis(100),
        retry_first: Duration::from_millis(5),
        retry_max: Duration::from_millis(50),
        ..Group::new("t", 4, link)
    }
}

/// Four devices with 120 readings each, all of which must be stored and acknowledged.
async fn deliver(faults: Faults, group: Group) {
    let breaks = faults.break_every > 0;
    let open = faults.open().await;
    let mut config = backlog(open.gateway.clone(), group);
    let dir = tempfile::tempdir().unwrap();
    config.ledger = Some(dir.path().join("ledger"));
    let fleet = Fleet::start(&config).unwrap();
    let watch = fleet.watch();
    let ledger = fleet.finished(DEADLINE).await.unwrap();

    assert_eq!(ledger.totals(), Totals { sent: 480, acknowledged: 480, refused: 0 });
    let verdict = compare(&ledger, open.stub.rows(), &Allowed::default());
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.stored, 480);
    let summary = watch.look();
    assert_eq!((summary.sent, summary.acknowledged, summary.connected), (480, 480, 0));
    if breaks {
        assert!(summary.failures > 0 && summary.resent > 0, "{summary:?}");
        assert!(open.stub.taken() > 480, "some were taken twice");
    }
    let loaded = Ledger::load(&dir.path().join("ledger")).unwrap();
    assert_eq!(loaded.totals(), ledger.totals());
}

fn breaking() -> Faults {
    Faults { break_every: 37, ..Faults::default() }
}

#[tokio::test]
async fn mqtt_3_1_1_at_qos_1_loses_nothing_when_connections_break() {
    deliver(breaking(), group(Link::Mqtt(Mqtt::new(Version::V4, 1)))).await;
}

#[tokio::test]
async fn mqtt_5_at_qos_1_loses_nothing_and_keeps_to_the_receive_maximum() {
    deliver(breaking(), group(Link::Mqtt(Mqtt::new(Version::V5, 1)))).await;
}

#[tokio::test]
async fn mqtt_at_qos_2_loses_nothing_when_connections_break() {
    for version in [Version::V4, Version::V5] {
        deliver(breaking(), group(Link::Mqtt(Mqtt::new(version, 2)))).await;
    }
}

#[tokio::test]
async fn a_window_of_one_reading_is_enough() {
    let mut link = Mqtt::new(Version::V4, 1);
    link.inflight_max = NonZeroU16::MIN;
    deliver(Faults::default(), group(Link::Mqtt(link))).await;
}

#[tokio::test]
async fn line_protocol_goes_through_mqtt_as_well() {
    let link = Link::Mqtt(Mqtt::new(Version::V4, 1));
    deliver(breaking(), Group { encoding: Encoding::Line, ..group(link) }).await;
}

#[tokio::test]
async fn the_websocket_loses_nothing_when_connections_break_or_answers_are_not_now() {
    deliver(breaking(), group(Link::WebSocket)).await;
    let deferring = Faults { defer_every: 100, ..Faults::default() };
    deliver(deferring, group(Link::WebSocket)).await;
}

#[tokio::test]
async fn http_loses_nothing_when_connections_break_or_answers_are_not_now() {
    let few = Http { batch_max: NonZeroUsize::new(7).unwrap() };
    deliver(Faults { break_every: 9, ..Faults::default() }, group(Link::Http(few.clone()))).await;
    let deferring = Faults { defer_every: 5, ..Faults::default() };
    let lines = Group { encoding: Encoding::Line, ..group(Link::Http(few)) };
    deliver(deferring, lines).await;
}

#[tokio::test]
async fn a_device_that_leaves_at_random_comes_back_and_delivers() {
    for link in [Link::Mqtt(Mqtt::new(Version::V4, 1)), Link::WebSocket] {
        let leaving = Group {
            leave_every: Some(Duration::from_millis(60)),
            period: Duration::from_millis(5),
            ..group(link)
        };
        let open = Faults::default().open().await;
        let mut config = backlog(open.gateway.clone(), leaving);
        config.start = None; // Live: 120 readings in 600 ms.
        let fleet = Fleet::start(&config).unwrap();
        let watch = fleet.watch();
        let ledger = fleet.finished(DEADLINE).await.unwrap();
        assert!(compare(&ledger, open.stub.rows(), &Allowed::default()).is_clean());
        assert_eq!(ledger.totals().acknowledged, 480);
        let summary = watch.look();
        assert!(summary.connects > 4 && summary.failures == 0, "{summary:?}");
    }
}

#[tokio::test]
async fn at_qos_0_everything_is_sent_and_nothing_acknowledged() {
    let open = Faults::default().open().await;
    let config = backlog(open.gateway.clone(), group(Link::Mqtt(Mqtt::new(Version::V4, 0))));
    let ledger = Fleet::start(&config).unwrap().finished(DEADLINE).await.unwrap();
    assert_eq!(ledger.totals(), Totals { sent: 480, acknowledged: 0, refused: 0 });
    // DISCONNECT came after them on each connection, so all of them are there.
    let verdict = compare(&ledger, open.stub.rows(), &Allowed::default());
    assert!(verdict.is_clean(), "{verdict}");
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_sent_again_and_not_acknowledged() {
    let links = [
        Link::Mqtt(Mqtt::new(Version::V5, 1)),
        Link::Mqtt(Mqtt::new(Version::V5, 2)),
        Link::WebSocket,
        Link::Http(Http { batch_max: NonZeroUsize::MIN }),
    ];
    for link in links {
        let refusing = Faults { refuse: Some("\"seq\":17,".to_owned()), ..Faults::default() };
        let open = refusing.open().await;
        let config = backlog(open.gateway.clone(), group(link.clone()));
        let ledger = Fleet::start(&config).unwrap().finished(DEADLINE).await.unwrap();
        let expected = Totals { sent: 480, acknowledged: 476, refused: 4 };
        assert_eq!(ledger.totals(), expected, "{link:?}");
        assert!(ledger.marks(2).refused.contains(17));
        let verdict = compare(&ledger, open.stub.rows(), &Allowed::default());
        assert!(verdict.is_clean(), "{link:?}: {verdict}");
    }
}

#[tokio::test]
async fn a_gateway_that_comes_back_on_other_ports_is_found_there() {
    let first = Faults::default().open().await;
    let gateway = first.gateway.clone();
    let link = Link::Mqtt(Mqtt::new(Version::V4, 1));
    let endless = Group { readings_max: None, period: Duration::from_millis(10), ..group(link) };
    let mut config = backlog(gateway.clone(), endless);
    config.start = None;
    let fleet = Fleet::start(&config).unwrap();
    let watch = fleet.watch();
    let until = async |count: u64| {
        while watch.look().acknowledged < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, until(100)).await.unwrap();

    let stub = Arc::clone(&first.stub);
    drop(first); // Listeners and connections with it.
    let second = Faults::default().open().await;
    let (host, port) = second.gateway.mqtt();
    gateway.move_to(&format!("{host}:{port}"), "127.0.0.1:1");
    let so_far = watch.look().acknowledged;
    tokio::time::timeout(DEADLINE, until(so_far + 100)).await.unwrap();

    let ledger = fleet.stop_and_drain(DEADLINE).await.unwrap();
    let totals = ledger.totals();
    assert_eq!(totals.sent, totals.acknowledged, "drained");
    let mut rows = stub.rows();
    rows.extend(second.stub.rows());
    rows.sort_by(|a, b| (&a.device, a.time).cmp(&(&b.device, b.time)));
    rows.dedup();
    let verdict = compare(&ledger, rows, &Allowed::default());
    assert!(verdict.is_clean(), "{verdict}");
}

#[tokio::test]
async fn a_killed_fleet_hands_over_a_true_ledger() {
    // A port on which nothing is acknowledged: everything breaks.
    let open = Faults { break_every: 1, ..Faults::default() }.open().await;
    let link = Link::Mqtt(Mqtt::new(Version::V4, 1));
    let fleet = Fleet::start(&backlog(open.gateway.clone(), group(link))).unwrap();
    let watch = fleet.watch();
    let sent = async {
        while watch.look().failures < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, sent).await.unwrap();
    let ledger = fleet.kill().await;
    let totals = ledger.totals();
    assert!(totals.sent > 0 && totals.acknowledged == 0, "{totals:?}");
    let verdict = compare(&ledger, open.stub.rows(), &Allowed::default());
    assert_eq!((verdict.phantom, verdict.lost), (0, 0), "{verdict}");
}

#[tokio::test]
async fn groups_that_make_no_sense_are_refused() {
    let link = || Link::WebSocket;
    let wrong = [
        Group { encoding: Encoding::Line, ..Group::new("a", 1, link()) },
        Group { jitter: 1.0, ..Group::new("a", 1, link()) },
        Group { jitter: f64::NAN, ..Group::new("a", 1, link()) },
        Group { period: Duration::ZERO, ..Group::new("a", 1, link()) },
        Group::new("a b", 1, link()),
        Group::new("", 1, link()),
        Group::new("a", 1, Link::Mqtt(Mqtt::new(Version::V4, 3))),
    ];
    for group in wrong {
        let gateway = Gateway::new("127.0.0.1:1", "127.0.0.1:1");
        let error = Fleet::start(&backlog(gateway, group)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }
}
