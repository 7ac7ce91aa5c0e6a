//! Is what matches told, what has no room counted, and nobody held up?

use proto::{Kind, Limits, Readings, Reason, Timestamp};

use super::*;
use crate::intake::Format;
use crate::intake::decode::{Named, decode};

/// A plain value on that topic.
fn show(watchers: &Watchers, topic: &str, payload: &str) {
    let mut readings = Readings::new(Limits::default());
    let mut rejects = Rejects::default();
    let routes = Routes::default();
    let context = proto::Context {
        times: None,
        measurement: "m",
        tags: &[],
        field: "value",
        precision: None,
        arrival: Timestamp::from_nanos(7),
        device_required: false,
        depth_max: 8,
        keys_max: 8,
        mapping: None,
    };
    let named = Named::default();
    decode(Format::Auto, payload.as_bytes(), &context, named, &mut readings, &mut rejects);
    readings.stamp(Timestamp::from_nanos(7));
    watchers.saw(&Payload {
        source: "mqtt",
        topic,
        bytes: payload.as_bytes(),
        routes: Some(&routes),
        readings: readings.bytes(),
        rejects: &rejects,
        held: 0,
        described: &Described::default(),
    });
}

fn only(filter: &str) -> Wanted {
    Wanted { filter: Some(filter.to_owned()), refused: false }
}

async fn next(watch: &mut Watch) -> Seen {
    match watch.next().await {
        Some(Told::Seen(seen)) => seen,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_what_its_filter_takes_and_nothing_else() {
    let watchers = Watchers::default();
    assert!(!watchers.is_watched());
    let mut watch = watchers.watch(&only("a/+/t")).unwrap();
    assert!(watchers.is_watched());
    for topic in ["a/x/t", "a/x/u", "b/x/t", "a/y/t"] {
        show(&watchers, topic, "21.5");
    }
    let seen = next(&mut watch).await;
    assert_eq!((seen.topic.as_str(), seen.lines), ("a/x/t", vec!["m value=21.5 7".to_owned()]));
    assert_eq!(next(&mut watch).await.topic, "a/y/t");
    drop(watchers);
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn refusals_can_be_watched_alone_and_come_with_their_reason() {
    let watchers = Watchers::default();
    let mut watch = watchers.watch(&Wanted { refused: true, filter: None }).unwrap();
    show(&watchers, "a", "1");
    show(&watchers, "b", "{\"t\":");
    let seen = next(&mut watch).await;
    assert_eq!((seen.topic.as_str(), seen.lines.len(), seen.refused.len()), ("b", 0, 1));
    assert!(!seen.filtered);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_is_told_how_much_it_missed_and_holds_nothing_up() {
    let watchers = Watchers::default();
    let mut watch = watchers.watch(&Wanted::default()).unwrap();
    for _ in 0..WAITING_MAX + 44 {
        show(&watchers, "a", "1");
    }
    for _ in 0..WAITING_MAX {
        next(&mut watch).await;
    }
    assert_eq!(watch.next().await, Some(Told::Missed(44)));
    show(&watchers, "a", "2");
    assert_eq!(next(&mut watch).await.lines, ["m value=2.0 7"]);
}

#[tokio::test(start_paused = true)]
async fn more_than_anybody_reads_in_a_second_is_counted_and_the_next_second_begins_anew() {
    let watchers = Watchers::default();
    let mut watch = watchers.watch(&Wanted::default()).unwrap();
    for _ in 0..SECOND_MAX {
        show(&watchers, "a", "1");
        next(&mut watch).await;
    }
    show(&watchers, "a", "1");
    assert_eq!(watch.next().await, Some(Told::Missed(1)));
    tokio::time::advance(Duration::from_secs(1)).await;
    show(&watchers, "a", "1");
    next(&mut watch).await;
}

#[tokio::test(start_paused = true)]
async fn one_payload_is_told_up_to_a_bound() {
    let watchers = Watchers::default();
    let mut watch = watchers.watch(&Wanted::default()).unwrap();
    show(&watchers, "a", &"measurement,n=1 v=1 123456789\n".repeat(2_000));
    let seen = next(&mut watch).await;
    assert_eq!(seen.lines.len() as u64 + seen.more, 2_000);
    assert!(seen.lines.iter().map(String::len).sum::<usize>() <= TOLD_BYTES_MAX);
    assert!(seen.more > 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_makes_room_and_a_bad_filter_is_refused_with_its_reason() {
    let watchers = Watchers::default();
    let mut all: Vec<Watch> =
        (0..WATCHERS_MAX).map(|_| watchers.watch(&Wanted::default()).unwrap()).collect();
    assert!(watchers.watch(&Wanted::default()).is_err());
    all.pop();
    all.push(watchers.watch(&Wanted::default()).unwrap());
    assert!(watchers.watch(&only("a/#/b")).unwrap_err().contains('#'));
    all.clear();
    show(&watchers, "a", "1");
    assert!(!watchers.is_watched());
}

#[test]
fn what_discovery_says_is_told_beside_points_and_only_there() {
    let described = Described::default();
    let config = br#"{"stat_t":"a/b","unit_of_meas":"V"}"#;
    described.hear(&journal::Source::from("mqtt"), "x/config", config);
    let mut readings = Readings::new(Limits::default());
    let mut rejects = Rejects::default();
    let context = proto::Context::bare(Timestamp::from_nanos(7));
    proto::line::decode(b"m value=21.5 7", &context, &mut readings, &mut rejects);
    let payload = Payload {
        source: "mqtt",
        topic: "a/b",
        bytes: b"m value=21.5 7",
        routes: Some(&Routes::default()),
        readings: readings.bytes(),
        rejects: &rejects,
        held: 0,
        described: &described,
    };
    let shown = |payload: &Payload<'_>| -> Vec<String> {
        told(payload).described.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown(&payload), ["value: V"]);
    assert_eq!(shown(&Payload { topic: "a/c", ..payload }), [""; 0]);
    assert_eq!(shown(&Payload { readings: &[], topic: "a/b", ..payload }), [""; 0]);
    // The path of an endpoint is no topic.
    assert_eq!(shown(&Payload { routes: None, ..payload }), [""; 0]);
}

#[test]
fn an_empty_payload_is_told_as_filtered() {
    let rejects = Rejects::default();
    let payload = Payload {
        source: "mqtt",
        topic: "a",
        bytes: b"",
        routes: None,
        readings: &[],
        rejects: &rejects,
        held: 0,
        described: &Described::default(),
    };
    assert!(told(&payload).filtered);
    assert!(!told(&Payload { held: 1, ..payload }).filtered);
    let mut rejects = Rejects::default();
    rejects.reading(0, 0..0, Reason::new(Kind::Internal, "why"));
    let payload = Payload { rejects: &rejects, ..payload };
    assert!(!told(&payload).filtered);
}
