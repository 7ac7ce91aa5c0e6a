//! The one door, from payloads to what the journal is handed.

use std::sync::Arc;

use journal::Appender;
use proto::{Kind, Reading, Reason, Time, Value, frame};

use super::*;
use crate::intake::Format;
use crate::intake::Limits;
use crate::intake::budget::Budget;
use crate::intake::decode;
use crate::intake::route::{Routes, Rule};
use crate::intake::stamp::{Clock, SettableClock};
use crate::intake::tests::show;

const NOW: i64 = 1_700_000_000_000_000_000;

struct Door {
    intake: Intake,
    clock: Arc<SettableClock>,
}

fn door(rules: Vec<Rule>, site_tags: &[(&str, &str)], limits: Limits) -> Door {
    let clock = Arc::new(SettableClock::at(NOW));
    let site_tags = site_tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let intake = Intake::new(
        closed_appender(),
        Routes::compile(rules).unwrap(),
        limits,
        site_tags,
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    Door { intake, clock }
}

/// These tests look at what is gathered; none appends.
fn closed_appender() -> Appender {
    let dir = tempfile::tempdir().unwrap();
    let options = journal::Options { bytes_max: 1 << 24, ..journal::Options::new(dir.path()) };
    let (_, appender, _) = journal::open(&options).unwrap();
    appender
}

fn open_door() -> Door {
    door(Vec::new(), &[], Limits::default())
}

impl Door {
    fn gather(&self) -> Gather {
        self.intake.gather(&Source::from("mqtt"))
    }
}

/// What the journal would keep, one reading a line.
fn shown(gathered: &Gathered) -> Vec<String> {
    let mut lines = Vec::new();
    for submission in gathered.first.iter().chain([&gathered.last]) {
        let mut cursor = frame::Cursor::new(&submission.bytes);
        let before = lines.len();
        while let Some(reading) = cursor.next() {
            lines.push(show(&reading.unwrap()));
        }
        assert_eq!(lines.len() - before, submission.readings as usize);
        assert!(submission.bytes.len() <= 1024 * 1024);
    }
    lines
}

fn a_frame(readings: &[(&str, f64, Time)]) -> Vec<u8> {
    let readings: Vec<_> = readings
        .iter()
        .map(|&(device, value, time)| Reading {
            measurement: "m".into(),
            tags: vec![("device".into(), device.into())],
            fields: vec![("t".into(), Value::Float(value))],
            time,
        })
        .collect();
    let mut bytes = Vec::new();
    frame::encode(&readings, &mut bytes);
    bytes
}

fn one(device: &str, value: f64) -> Vec<u8> {
    a_frame(&[(device, value, Time::Unknown)])
}

#[test]
fn payloads_of_one_read_are_one_submission_with_rising_stamps() {
    let door = open_door();
    let mut gather = door.gather();
    assert!(gather.is_empty() && gather.bytes() == 0);
    let given = Timestamp::from_nanos(5);
    let two = a_frame(&[
        ("a", 1.0, Time::Unknown),
        ("b", 2.0, Time::Unknown),
        ("a", 3.0, Time::Unknown),
        ("a", 4.0, Time::At(given)),
    ]);
    assert_eq!(gather.message("x", &two).readings, 4);
    door.clock.set(NOW - 1_000); // Going back must not make two payloads share a stamp.
    assert_eq!(gather.message("x", &one("a", 5.0)).readings, 1);
    let gathered = gather.seal(Ticket::nobody());
    assert_eq!(
        shown(&gathered),
        [
            format!("m,device=a,topic=x t=1 {NOW}*"),
            format!("m,device=b,topic=x t=2 {NOW}*"),
            format!("m,device=a,topic=x t=3 {}*", NOW + 1),
            "m,device=a,topic=x t=4 5".to_owned(),
            format!("m,device=a,topic=x t=5 {}*", NOW + 2),
        ]
    );
    assert_eq!((gathered.last.arrival_ns, gathered.last.clock_epoch), (NOW, 1));
    let later = door.gather();
    assert_eq!(later.seal(Ticket::nobody()).last.arrival_ns, NOW - 1_000);
}

#[test]
fn a_gather_owns_no_buffer_until_the_first_reading() {
    let door = open_door();
    let mut gather = door.gather();
    assert!(gather.message("$SYS/uptime", b"12").filtered);
    let gathered = gather.seal(Ticket::nobody());
    assert_eq!(gathered.last.bytes.capacity(), 0);
    assert_eq!(gathered.last.rejected.capacity(), 0);
}

#[test]
fn tags_of_the_site_go_everywhere_and_tags_of_the_route_win() {
    let rule = Rule {
        topic: "hall/{room}".into(),
        tags: vec![("site".into(), "annex".into())],
        ..Rule::default()
    };
    let door = door(vec![rule], &[("site", "main"), ("land", "nl")], Limits::default());
    let mut gather = door.gather();
    gather.message("hall/3", &one("a", 1.0));
    gather.message("x", &one("b", 2.0));
    let bytes = one("c", 3.0);
    let body = Body {
        bytes: &bytes,
        format: Format::Frame,
        precision: None,
        device: Some("d"),
        device_required: true,
        path: "/v1/readings",
    };
    assert_eq!(gather.body(&body).readings, 1);
    assert_eq!(
        shown(&gather.seal(Ticket::nobody())),
        [
            format!("m,device=a,land=nl,room=3,site=annex t=1 {NOW}*"),
            format!("m,device=b,land=nl,site=main,topic=x t=2 {}*", NOW + 1),
            format!("m,device=d,land=nl,site=main t=3 {}*", NOW + 2),
        ]
    );
}

#[test]
fn a_decoder_that_panics_costs_one_payload() {
    let door = open_door();
    let mut gather = door.gather();
    gather.message("x", &one("a", 1.0));
    let Gather { origin, content } = &mut gather;
    let outcome = content.take(origin, ("x", None), b"poison", |out, bad| {
        decode::guarded(out, bad, |out, bad| {
            _ = origin.meaning().message("x", &one("b", 2.0), origin.arrival.at, out, bad);
            assert_eq!(out.count(), 1);
            panic!("a fault in a decoder, on purpose");
        });
        0
    });
    assert_eq!((outcome.readings, outcome.refused), (0, 1));
    gather.message("x", &one("c", 3.0));
    let gathered = gather.seal(Ticket::nobody());
    assert_eq!(
        shown(&gathered),
        [format!("m,device=a,topic=x t=1 {NOW}*"), format!("m,device=c,topic=x t=3 {}*", NOW + 1),]
    );
    let [rejected] = gathered.last.rejected.as_slice() else { panic!("one rejection") };
    assert_eq!((rejected.kind, rejected.bytes.as_slice()), ("internal", &b"poison"[..]));
    let mqtt = door.intake.stats().source(SourceKind::Mqtt);
    assert_eq!(mqtt.refused(Kind::Internal).get(), 0, "not before the journal has it");
    gathered.unsent.arrived();
    assert_eq!(mqtt.refused(Kind::Internal).get(), 1);
    assert_eq!(mqtt.received.get(), 3);
}

#[test]
fn what_is_refused_travels_with_the_rest_and_is_counted_to_the_reading() {
    let door = open_door();
    let mut gather = door.gather();
    let mut cut = one("a", 1.0);
    cut.pop();
    let outcome = gather.message("x/y", &cut);
    assert_eq!((outcome.readings, outcome.refused, outcome.filtered), (0, 1, false));
    assert_eq!(gather.rejects().readings(), 1);
    assert!(!gather.is_empty());
    gather.message("x/y", &one("a", 1.0));
    assert!(gather.rejects().is_empty(), "speaks of the last payload");
    let gathered = gather.seal(Ticket::nobody());
    assert_eq!(gathered.last.counts, Counts { refused: 1, ..Counts::default() });
    let [rejected] = gathered.last.rejected.as_slice() else { panic!("one rejection") };
    assert_eq!((rejected.topic.as_str(), rejected.index, rejected.readings), ("x/y", 0, 1));
    assert!(!rejected.bytes.is_empty() && cut.ends_with(&rejected.bytes), "the part that is cut");
    assert!(rejected.reason.contains("too early"), "{}", rejected.reason);
}

/// However many and however large, refusals stay within their bound and none is forgotten.
#[test]
fn refusals_are_bounded_in_entries_and_bytes_but_not_in_the_books() {
    let door = open_door();
    for (payload, times) in [(vec![0xC1; 20], 3_000_u64), (vec![0xC1; 40_000], 40)] {
        let mut gather = door.gather();
        for _ in 0..times {
            gather.message(&"t".repeat(5_000), &payload);
        }
        let gathered = gather.seal(Ticket::nobody());
        let rejected = &gathered.last.rejected;
        assert!(rejected.len() <= 129, "{} entries", rejected.len());
        let bytes: usize =
            rejected.iter().map(|r| r.topic.len() + r.reason.len() + r.bytes.len()).sum();
        assert!(bytes < 300 * 1024, "{bytes} bytes");
        assert!(rejected.iter().all(|r| r.topic.len() <= 1024 && r.bytes.len() <= 16 * 1024));
        assert_eq!(rejected.iter().map(|r| r.readings).sum::<u64>(), times);
        assert_eq!(gathered.last.counts.refused, times);
    }
}

#[test]
fn fields_and_unlisted_readings_are_counted_once() {
    let door = open_door();
    let mut gather = door.gather();
    let Gather { origin, content } = &mut gather;
    content.take(origin, ("x", None), b"payload", |out, bad| {
        out.begin();
        bad.field(0, "t", Reason::new(Kind::Value, "not a finite number"));
        for index in 0..250 {
            bad.reading(index, 0..3, Reason::new(Kind::NoFields, "nothing in it"));
        }
        0
    });
    let Gathered { last, unsent, .. } = gather.seal(Ticket::nobody());
    unsent.arrived();
    let rejected = last.rejected;
    assert_eq!(rejected.iter().map(|r| r.readings).sum::<u64>(), 250);
    assert_eq!(rejected[0].reason, "field \"t\": not a finite number");
    assert_eq!((rejected[0].readings, rejected[0].bytes.as_slice()), (0, &b"payload"[..]));
    assert_eq!(rejected[1].bytes, b"pay");
    let mqtt = door.intake.stats().source(SourceKind::Mqtt);
    assert_eq!(mqtt.refused(Kind::NoFields).get(), 250);
    assert_eq!(mqtt.fields_refused.get(), 1);
}

#[test]
fn what_an_endpoint_refuses_by_itself_is_in_the_books_too() {
    let door = open_door();
    let mut gather = door.intake.gather(&Source::from("http"));
    let outcome = gather.refuse("/write", b"x=1,x=1", Reason::new(Kind::Limit, "line too long"));
    assert_eq!((outcome.readings, outcome.refused), (0, 1));
    let last = gather.seal(Ticket::nobody()).last;
    assert_eq!(last.counts.refused, 1);
    let [entry] = &last.rejected[..] else { panic!("{:?}", last.rejected) };
    assert_eq!((entry.topic.as_str(), entry.reason.as_str()), ("/write", "line too long"));
    assert_eq!(entry.bytes, b"x=1,x=1");
}

#[test]
fn a_payload_larger_than_a_submission_is_cut_between_readings() {
    let door = open_door();
    let long = "x".repeat(30_000);
    let many: Vec<_> = (0..120)
        .map(|n| Reading {
            measurement: "m".into(),
            tags: vec![("n".into(), n.to_string())],
            fields: vec![("text".into(), Value::Text(long.clone()))],
            time: Time::Unknown,
        })
        .collect();
    let mut bytes = Vec::new();
    frame::encode(&many, &mut bytes);
    let mut gather = door.gather();
    gather.message("x", &one("first", 1.0));
    assert!(!gather.is_large());
    assert_eq!(gather.message("x", &bytes).readings, 120);
    assert!(gather.is_large());
    let gathered = gather.seal(Ticket::nobody());
    assert!(gathered.first.len() >= 3, "{} parts before the last", gathered.first.len());
    let lines = shown(&gathered);
    assert_eq!(lines.len(), 121);
    assert!(lines[120].starts_with("m,n=119,topic=x text="));
    let total: usize =
        gathered.first.iter().chain([&gathered.last]).map(|part| part.bytes.len()).sum();
    assert_eq!(gathered.bytes, total);
}

#[test]
fn what_is_filtered_rides_with_the_next_submission() {
    let drop_rule = Rule { topic: "cmnd/#".into(), drop: true, ..Rule::default() };
    let door = door(vec![drop_rule], &[], Limits::default());
    let mut gather = door.gather();
    assert!(gather.message("cmnd/x/POWER", b"ON").filtered);
    assert!(gather.message("x", b"").filtered, "how a retained message is deleted");
    assert!(gather.is_empty(), "nobody needs to wait for a filtered message");
    drop(gather);
    door.intake.dropped(4);
    let riding = door.intake.shared.carried.take();
    assert_eq!(riding.counts(), Counts { filtered: 2, dropped: 4, ..Counts::default() });
    drop(riding); // The submission they rode in was not taken.
    assert!(!door.intake.shared.carried.is_empty());
    door.intake.shared.carried.take().arrived();
    assert!(door.intake.shared.carried.is_empty());

    let mut gather = door.gather();
    gather.message("cmnd/x/POWER", b"ON");
    gather.message("x", &one("a", 1.0));
    let sealed = gather.seal(Ticket::nobody());
    assert_eq!(sealed.last.counts.filtered, 1);
    assert!(door.intake.shared.carried.is_empty(), "it is in the submission already");
    drop(sealed); // Not submitted: it waits for another.
    assert!(!door.intake.shared.carried.is_empty());

    let mqtt = door.intake.stats().source(SourceKind::Mqtt);
    assert_eq!((mqtt.filtered.get(), mqtt.dropped.get(), mqtt.received.get()), (3, 4, 8));
}

#[tokio::test(start_paused = true)]
async fn the_budget_makes_submissions_wait_and_gives_back_what_is_dropped() {
    let budget = Budget::new(1_000);
    let first = budget.take(900).await.unwrap();
    let wait = std::time::Duration::from_mins(1);
    assert!(tokio::time::timeout(wait, budget.take(200)).await.is_err());
    assert_eq!(budget.free(), 100, "a wait given up holds nothing");
    drop(first);
    let all = budget.take(usize::MAX).await.unwrap();
    assert_eq!(budget.free(), 0, "what is larger than the budget takes all of it");
    drop(all);
    assert_eq!(budget.free(), 1_000);
}

#[test]
fn a_share_of_the_budget_leaves_room_for_others() {
    assert_eq!(open_door().intake.share_bytes(), 4 * 1024 * 1024);
}
