//! Through the door into a real journal, and hostile payloads.

use std::{sync::Arc, time::Duration};

use journal::{Journal, Mark, Options, OutputId, Start, testing};
use proto::{Kind, ReadingRef, Time, TimeLimits, ValueRef, WhenBeyond, frame};
use tokio::time::timeout;

use super::route::Rule;
use super::stamp::SettableClock;
use super::*;

mod recalled;

const NOW: i64 = 1_700_000_000_000_000_000;
/// Generous: these tests wait for a real disk.
const SOON: Duration = Duration::from_secs(30);

/// `measurement,tags fields time`, a star after what the gateway stamped.
pub(super) fn show(reading: &ReadingRef<'_>) -> String {
    let tags = reading.tags.iter().map(|(name, value)| format!(",{name}={value}"));
    let tags = tags.collect::<Vec<_>>().concat();
    let fields = reading.fields.iter().map(|(name, value)| match value {
        ValueRef::Float(value) => format!("{name}={value}"),
        ValueRef::Signed(value) => format!("{name}={value}i"),
        ValueRef::Unsigned(value) => format!("{name}={value}u"),
        ValueRef::Boolean(value) => format!("{name}={value}"),
        ValueRef::Text(value) => format!("{name}={value:?}"),
    });
    let fields = fields.collect::<Vec<_>>().join(",");
    let time = match reading.time {
        Time::At(at) => at.nanos().to_string(),
        Time::Stamped(at) => format!("{}*", at.nanos()),
        other => panic!("{other:?} in the journal"),
    };
    format!("{}{tags} {fields} {time}", reading.measurement)
}

/// A door with a journal behind it, on a disk whose syncs can be held.
struct House {
    intake: Intake,
    journal: Journal,
    disk: Arc<testing::Control>,
    _dir: tempfile::TempDir,
}

fn house(limits: Limits) -> House {
    let drop_rule = Rule { topic: "cmnd/#".into(), drop: true, ..Rule::default() };
    house_with(limits, Routes::compile(vec![drop_rule]).unwrap())
}

fn house_with(limits: Limits, routes: Routes) -> House {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        bytes_max: 16 << 20,
        free_bytes_min: 0,
        sync_wait: Duration::from_millis(1),
        ..Options::new(dir.path())
    };
    let (held, disk) = testing::HeldDisk::new(dir.path());
    let (journal, appender, _) = journal::open_with(held, &options).unwrap();
    let clock = Arc::new(SettableClock::at(NOW));
    let intake = Intake::new(appender, routes, limits, Vec::new(), clock);
    House { intake, journal, disk, _dir: dir }
}

impl House {
    fn gather(&self) -> Gather {
        self.intake.gather(&Source::from("mqtt"))
    }

    /// Submits one message and waits until it is durable.
    async fn keep(&self, topic: &str, payload: &[u8]) {
        let mut mark = Mark::new();
        let mut gather = self.gather();
        gather.message(topic, payload);
        self.intake.submit(gather.seal(mark.ticket())).await.unwrap();
        timeout(SOON, mark.moved()).await.unwrap().unwrap();
    }

    /// The first readings in the journal, one a line.
    async fn journaled(&self, count: usize) -> Vec<String> {
        let mut reader =
            self.journal.reader(&OutputId::new("all").unwrap(), Start::Oldest).unwrap();
        let (mut lines, mut leases) = (Vec::new(), Vec::new());
        while lines.len() < count {
            let lease = timeout(SOON, reader.next()).await.unwrap().unwrap();
            for submission in lease.frame.submissions() {
                let mut cursor = frame::Cursor::new(submission.unwrap().bytes);
                while let Some(reading) = cursor.next() {
                    lines.push(show(&reading.unwrap()));
                }
            }
            leases.push(lease); // Dropped, it would come again.
        }
        lines
    }
}

#[tokio::test]
async fn what_is_submitted_becomes_durable_with_its_refusals_and_counts() {
    let house = house(Limits::default());
    let mut mark = Mark::new();
    let mut gather = house.gather();
    gather.message("a/x/t", b"21.5");
    gather.message("a/b", b"{\"t\":1,\"s\":{\"u\":\"v\"}}");
    gather.message("a/b", b"{\"t\":");
    gather.message("cmnd/x", b"ON");
    gather.message("a/b", b"unavailable");
    house.intake.dropped(2);
    house.intake.submit(gather.seal(mark.ticket())).await.unwrap();
    let kept = timeout(SOON, mark.moved()).await.unwrap().unwrap();
    assert_eq!(kept.0, 1);

    assert_eq!(
        house.journaled(2).await,
        [
            format!("mqtt,topic=a/x/t value=21.5 {NOW}*"),
            format!("mqtt,topic=a/b t=1,s_u=\"v\" {}*", NOW + 1),
        ]
    );
    let mut rejects = house.journal.rejects().unwrap();
    let lease = timeout(SOON, rejects.next()).await.unwrap().unwrap();
    let rejected: Vec<_> = lease.frame.rejected().map(Result::unwrap).collect();
    assert_eq!(rejected.len(), 1);
    assert_eq!((rejected[0].source, rejected[0].topic), ("mqtt", "a/b"));
    assert_eq!((rejected[0].kind, rejected[0].bytes), ("undecodable", &b"{\"t\":"[..]));

    let books = house.journal.status().books;
    assert_eq!((books.journaled, books.refused, books.rejected), (2, 1, 1));
    assert_eq!((books.filtered, books.dropped), (2, 2));
    let mqtt = house.intake.stats().source(SourceKind::Mqtt);
    let booked = books.journaled + books.refused + books.filtered + books.dropped;
    assert_eq!(mqtt.received.get(), booked, "the books balance");
}

/// Not sealed, not submitted, submitted and given up: each time the sender was told nothing.
#[tokio::test]
async fn what_never_reaches_the_journal_is_returned_and_the_books_balance() {
    let house = house(Limits { budget_bytes: 400, ..Limits::default() });
    let gather = || {
        let mut gather = house.gather();
        gather.message("a/b", b"1");
        gather.message("a/b", b"2");
        gather.message("a/b", b"{\"t\":");
        gather.message("cmnd/x", b"ON");
        gather
    };
    house.disk.hold();
    house.intake.submit(gather().seal(Ticket::nobody())).await.unwrap();
    drop(gather());
    drop(gather().seal(Ticket::nobody()));
    let given_up = house.intake.submit(gather().seal(Ticket::nobody()));
    assert!(timeout(Duration::from_millis(20), given_up).await.is_err(), "there is no budget");
    house.disk.release();
    house.keep("a/b", b"3").await;

    let mqtt = house.intake.stats().source(SourceKind::Mqtt);
    assert_eq!((mqtt.returned.get(), mqtt.refused_total()), (9, 1));
    let books = house.journal.status().books;
    assert_eq!((books.journaled, books.refused, books.filtered), (3, 1, 4));
    let booked = books.journaled + books.refused + books.filtered + mqtt.returned.get();
    assert_eq!(mqtt.received.get(), booked);
}

#[tokio::test]
async fn counts_without_readings_reach_the_books_in_the_end() {
    let house = house(Limits::default());
    house.gather().message("cmnd/x", b"ON");
    house.intake.dropped(3);
    house.intake.settle_counts().await.unwrap();
    house.keep("x", b"1").await; // What comes later is durable later.
    let books = house.journal.status().books;
    assert_eq!((books.filtered, books.dropped, books.journaled), (1, 3, 1));
    house.intake.settle_counts().await.unwrap();
    assert!(house.intake.shared.carried.is_empty());
}

#[tokio::test]
async fn the_budget_is_held_until_durable_and_a_wait_given_up_breaks_the_mark() {
    let limits = Limits { budget_bytes: 100_000, ..Limits::default() };
    let house = house(limits);
    let long = format!("\"{}\"", "x".repeat(50_000));
    house.disk.hold();
    let mut first = Mark::new();
    let mut gather = house.gather();
    gather.message("x", long.as_bytes());
    house.intake.submit(gather.seal(first.ticket())).await.unwrap();
    assert!(house.intake.shared.budget.free() < 50_000);

    let mut second = Mark::new();
    let mut gather = house.gather();
    gather.message("cmnd/x", b"ON");
    gather.message("x", long.as_bytes());
    let gathered = gather.seal(second.ticket());
    house.intake.dropped(5);
    // One poll is enough to see that it waits; then it is given up.
    let waits = futures_util::FutureExt::now_or_never(house.intake.submit(gathered));
    assert!(waits.is_none());
    assert!(timeout(SOON, second.moved()).await.unwrap().is_err(), "the mark is broken");
    assert!(first.kept().is_ok_and(|kept| kept.0 == 0), "nothing is durable yet");

    house.disk.release();
    timeout(SOON, first.moved()).await.unwrap().unwrap();
    house.keep("x", b"1").await;
    assert_eq!(house.journal.status().books.dropped, 5, "counts ride with another submission");
    let all_free = async {
        while house.intake.shared.budget.free() < 100_000 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, all_free).await.unwrap();
}

/// Refused for its time: not in the journal, but in the dead letters with its reason, and counted as
/// refused and as beyond. What is kept or stamped is counted as beyond only.
#[tokio::test]
async fn what_is_refused_for_its_time_lies_in_the_dead_letters_and_is_counted() {
    let limits = |past, future| TimeLimits {
        past_max: Duration::from_hours(1),
        past,
        future_max: Duration::from_mins(1),
        future,
    };
    let (keep, stamp, reject) = (WhenBeyond::Keep, WhenBeyond::Stamp, WhenBeyond::Reject);
    let rule = |topic: &str, times| Rule { topic: topic.into(), times, ..Rule::default() };
    let rules = vec![
        rule("kept/#", Some(limits(keep, keep))),
        rule("stamped/#", Some(limits(stamp, stamp))),
        rule("past/#", Some(limits(reject, keep))),
        rule("all/#", None),
    ];
    let house = house_with(
        Limits { times: limits(reject, reject), ..Limits::default() },
        Routes::compile(rules).unwrap(),
    );
    let hour = 3_600_000_000_000;
    let (long_ago, ahead) = (NOW - hour - 1, NOW + hour / 60 + 1);
    let line = |at: i64| format!("m v=1 {at}").into_bytes();
    let json = |at: i64| format!("{{\"v\":1,\"ts\":{at}}}").into_bytes();

    let mut mark = Mark::new();
    let mut gather = house.gather();
    for (topic, payload, readings, refused) in [
        ("all/a", line(long_ago), 0, 1),
        ("all/b", json(ahead), 0, 1),
        ("past/c", line(long_ago), 0, 1),
        ("past/d", line(ahead), 1, 0),
        ("kept/e", json(long_ago), 1, 0),
        ("stamped/f", line(ahead), 1, 0),
        // On the limit it is not beyond.
        ("all/g", [line(NOW - hour), b"\n".to_vec(), line(NOW + hour / 60)].concat(), 2, 0),
        // One of several.
        ("all/h", [line(NOW), b"\n".to_vec(), line(ahead)].concat(), 1, 1),
    ] {
        let outcome = gather.message(topic, &payload);
        assert_eq!((outcome.readings, outcome.refused), (readings, refused), "{topic}");
    }
    house.intake.submit(gather.seal(mark.ticket())).await.unwrap();
    timeout(SOON, mark.moved()).await.unwrap().unwrap();

    let mut rejects = house.journal.rejects().unwrap();
    let lease = timeout(SOON, rejects.next()).await.unwrap().unwrap();
    let letters = lease.frame.rejected().map(Result::unwrap);
    let letters: Vec<_> = letters
        .map(|it| format!("{} {}: {} <- {:?}", it.topic, it.kind, it.reason, text(it.bytes)))
        .collect();
    let (back, on) = ("its time is 60 min back, more than `past_max`", "more than `future_max`");
    assert_eq!(
        letters,
        [
            format!("all/a past: {back} <- \"m v=1 {long_ago}\""),
            format!("all/b future: its time is 60 s ahead, {on} <- {:?}", text(&json(ahead))),
            format!("past/c past: {back} <- \"m v=1 {long_ago}\""),
            format!("all/h future: its time is 60 s ahead, {on} <- \"m v=1 {ahead}\""),
        ]
    );

    let mqtt = house.intake.stats().source(SourceKind::Mqtt);
    assert_eq!((mqtt.refused(Kind::Past).get(), mqtt.refused(Kind::Future).get()), (2, 2));
    assert_eq!((mqtt.past.get(), mqtt.future.get()), (3, 4), "kept and stamped ones too");
    let books = house.journal.status().books;
    assert_eq!((books.journaled, books.refused, books.rejected), (6, 4, 4));
    assert_eq!(mqtt.received.get(), books.journaled + books.refused);
    let lines = house.journaled(6).await;
    let stamped: Vec<_> = lines.iter().filter(|line| line.ends_with('*')).collect();
    assert_eq!(stamped, [&format!("m v=1 {NOW}*")]);
    let at = |at: i64| lines.iter().filter(|line| line.ends_with(&format!(" {at}"))).count();
    assert_eq!((at(long_ago), at(ahead)), (1, 1), "those that were to be kept: {lines:?}");
}

/// Nothing is lost by a time that says too little; that it was not taken is counted.
#[tokio::test]
async fn a_time_that_is_not_trusted_is_the_arrivals_and_counted() {
    let house = house(Limits::default());
    let mut mark = Mark::new();
    let mut gather = house.gather();
    let local = br#"{"v":1,"time":"2023-11-14T22:13:20"}"#;
    let both = br#"[{"v":1,"ts":"soon"},{"v":2,"ts":1700000000}]"#;
    gather.message("a/b", local);
    gather.message("a/c", both);
    house.intake.submit(gather.seal(mark.ticket())).await.unwrap();
    timeout(SOON, mark.moved()).await.unwrap().unwrap();
    let lines = house.journaled(3).await;
    let stamped = lines.iter().filter(|line| line.ends_with('*')).count();
    let mqtt = house.intake.stats().source(SourceKind::Mqtt);
    assert_eq!((stamped, mqtt.untrusted.get()), (2, 2), "{lines:?}");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The largest submission that a gather can seal is one that the journal takes.
#[tokio::test]
async fn the_journal_takes_whatever_a_gather_seals() {
    let house = house(Limits::default());
    let mut mark = Mark::new();
    let mut gather = house.gather();
    let long = "x".repeat(32_000);
    for n in 0..100 {
        gather.message(&format!("{}/{n}", "t".repeat(900)), long.as_bytes());
        for _ in 0..10 {
            gather.message(&"bad".repeat(400), &[0xFF; 3_000]);
        }
    }
    let gathered = gather.seal(mark.ticket());
    assert!(gathered.bytes > 3 << 20);
    timeout(SOON, house.intake.submit(gathered)).await.unwrap().unwrap();
    timeout(SOON, mark.moved()).await.unwrap().unwrap();
    let books = house.journal.status().books;
    assert_eq!((books.journaled, books.refused, books.rejected), (100, 1_000, 1_000));
}

/// Each is refused with its reason and costs nothing that came with it; memory stays near the
/// payload's own size.
#[test]
fn json_bombs_cost_only_themselves() {
    let deep = "[".repeat(100_000);
    let deep_objects = "{\"a\":".repeat(50_000);
    let keys: String = (0..200_000).map(|n| format!("\"k{n}\":1,")).collect::<Vec<_>>().concat();
    let many_keys = format!("{{{keys}\"z\":1}}");
    let long_name = format!("{{\"{}\":1}}", "n".repeat(100_000));
    let nested_names = format!("{}1{}", "{\"aaaaaaaaaaaaaaaa\":".repeat(30), "}".repeat(30));
    let large_text = format!("{{\"t\":\"{}\"}}", "x".repeat(200_000));
    let endless_number = format!("{{\"t\":{}}}", "9".repeat(100_000));
    let many_bad = format!("[{}1]", "{},".repeat(50_000));
    let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _in_runtime = rt.enter();
    let house = house(Limits::default());
    for (name, bomb, kind) in [
        ("deep arrays", &deep, Kind::Limit),
        ("deep objects", &deep_objects, Kind::Limit),
        ("many keys", &many_keys, Kind::Limit),
        ("a long name", &long_name, Kind::Limit),
        ("a long name by nesting", &nested_names, Kind::Limit),
        ("a large text", &large_text, Kind::Limit),
        ("a number beyond floats", &"{\"t\":1e999}".to_owned(), Kind::Value),
        ("a number without end", &endless_number, Kind::Value),
        ("fifty thousand bad elements", &many_bad, Kind::NoFields),
    ] {
        let mut gather = house.gather();
        gather.message("x", b"1");
        let outcome = gather.message("bomb", bomb.as_bytes());
        assert_eq!(outcome.readings, 0, "{name}");
        assert!(outcome.refused > 0, "{name}: {outcome:?}");
        let kinds: Vec<_> = gather.rejects().listed().iter().map(|r| r.reason.kind).collect();
        assert_eq!(kinds[0], kind, "{name}: {:?}", gather.rejects().listed()[0]);
        gather.message("x", b"2");
        assert!(gather.bytes() < 300 * 1024, "{name}: {} bytes gathered", gather.bytes());
        let gathered = gather.seal(Ticket::nobody());
        assert_eq!(gathered.last.readings, 2, "{name}");
        let sum: u64 = gathered.last.rejected.iter().map(|rejected| rejected.readings).sum();
        assert_eq!(sum, outcome.refused, "{name}");
    }
}

/// REFERENCE D2: the explicit form on HTTP, and what is told when nothing says who sent it.
#[test]
fn a_body_names_its_device_or_is_refused() {
    let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _in_runtime = rt.enter();
    let house = house(Limits::default());
    let body = |bytes: &'static str, device| Body {
        bytes: bytes.as_bytes(),
        format: Format::Json,
        precision: None,
        device,
        device_required: true,
        path: "/v1/readings",
    };
    let mut gather = house.intake.gather(&Source::from("http"));
    let explicit = r#"{"device":"d1","fields":{"t":21.5},"age_ms":1500}"#;
    assert_eq!(gather.body(&body(explicit, None)).readings, 1);
    assert_eq!(gather.body(&body(r#"{"t":1}"#, Some("d2"))).readings, 1);
    assert_eq!(gather.body(&body(r#"{"t":1}"#, None)).refused, 1);
    assert_eq!(gather.rejects().listed()[0].reason.kind, Kind::NoDevice);
    assert_eq!(gather.body(&body(r#"{"t":1}"#, Some(""))).refused, 1);
    let gathered = gather.seal(Ticket::nobody());
    let mut cursor = frame::Cursor::new(&gathered.last.bytes);
    let mut lines = Vec::new();
    while let Some(reading) = cursor.next() {
        lines.push(show(&reading.unwrap()));
    }
    let earlier = NOW - 1_500_000_000;
    assert_eq!(
        lines,
        [format!("readings,device=d1 t=21.5 {earlier}*"), format!("readings,device=d2 t=1 {NOW}*")]
    );
}
