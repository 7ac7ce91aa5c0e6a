//! Does a gateway with a large backlog on its disk take readings at once, in little memory, and deliver
//! all of it beside what goes on coming, restarts included?
//!
//! The database holds each point against the ledgers as it comes and keeps none. What is speed is
//! asserted in the long form only (2 GiB), whichever binary it runs: that of the tests' build profile, or a
//! release build by `TIDEGATE_BINARY`. The short form prints it.
//!
//! ```text
//! fill, stop | start: database silent | a third, then late | SIGTERM | a third, then late | SIGKILL | rest
//! ```
//! "Late": batches are stored and never answered, so that each restart finds a full set in flight.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proto::Timestamp;
use simulator::{
    faulty::{Answer, Audited, Behaviour},
    fleet::Fleet,
    ledger::Ledger,
    payload::{Encoding, encode},
    signals::{Clock, Device, Kind},
    verify::Verdict,
    watch::Summary,
};
use tokio::time::Instant;

use crate::support::{
    books,
    gateway::Setup,
    http::post,
    rig::{OUTPUT, RULE, Rig, is_long, mqtt},
    show, wait_for,
};

const RSS_MAX: u64 = 60_000_000;
/// Of opening: the unsealed end of one segment, the end that tells of resends; and what is fetched for
/// the first batches.
const READ_AT_START_MAX: u64 = (64 + 16 + 32) << 20;
const LINES_MAX: u64 = 5_000;
/// Readings of four batches that nobody answered for, and of the frame (64 KiB) that the first of them
/// begins in the middle of.
const IN_FLIGHT_MAX: u64 = 4 * LINES_MAX + FRAME_MAX;
const FRAME_MAX: u64 = 4_000;
/// Devices that fill the journal, each in a thread of its own.
const FILLERS: usize = 2;
const POST_LINES: u64 = 2_000;
/// A position that moved is on the disk after a second.
const POSITION_EVERY: Duration = Duration::from_millis(1_500);
/// For any single step on a busy machine.
const STEP_MAX: Duration = Duration::from_mins(4);

struct Form {
    backlog_bytes: u64,
    bytes_max: &'static str,
    live_devices: u32,
    /// Of each of them.
    live_period: Duration,
}

impl Form {
    fn of_this_run() -> Self {
        if is_long() {
            let live_period = Duration::from_millis(25);
            Self { backlog_bytes: 2 << 30, bytes_max: "4GiB", live_devices: 250, live_period }
        } else {
            let live_period = Duration::from_millis(50);
            Self { backlog_bytes: 200 << 20, bytes_max: "512MiB", live_devices: 50, live_period }
        }
    }

    fn live_per_s(&self) -> f64 {
        f64::from(self.live_devices) / self.live_period.as_secs_f64()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backlog_on_disk_is_delivered_beside_live_readings_and_across_restarts() {
    let form = Form::of_this_run();
    let mut rig = Rig::prepare("", "").await;
    let journal = format!("bytes_max = \"{}\"\n", form.bytes_max);
    let tables = format!("{RULE}[runtime]\ngrace = \"2s\"\n{}", rig.output_table());
    rig.gateway.configure(&Setup { journal: &journal, tables: &tables });

    let backlog = filled(&mut rig, &form).await;
    let readings = backlog.totals().acknowledged;
    started_before_it_is_read(&mut rig, &form, readings).await;

    let live = rig.fleet(vec![mqtt("live", form.live_devices, form.live_period)]);
    rig.database.audit(&live.ledger());
    let third = readings / 3 / LINES_MAX;
    drained_beside_live_readings(&rig, &form, &live, third).await;
    let by_sigterm = repeated_after_sigterm(&mut rig, third).await;
    let beyond = confirmed_beyond_the_position(&rig);
    assert_is_small(&rig, "before SIGKILL");
    rig.gateway.kill();

    rig.behave(Behaviour::default()).await;
    let killed = started(&mut rig);
    show(&format!("backlog: able to take readings {killed:.2?} after a SIGKILL"));
    let (by_sigkill, in_flow_max) = killed_in_flow(&mut rig, by_sigterm);
    let drained = live.stop_and_drain(STEP_MAX);
    drained.await.unwrap();
    wait_for("delivery of everything", 4 * STEP_MAX, || match rig.gateway.pending(OUTPUT) {
        0 => Ok(()),
        pending => Err(format!("{pending} readings pending")),
    });
    assert_is_small(&rig, "at the end");
    let verdicts = rig.database.verdicts();
    let [of_backlog, of_live] = verdicts.as_slice() else { panic!("{}", verdicts.len()) };
    all_arrived(of_backlog);
    all_arrived(of_live);
    let in_flow = of_backlog.duplicates - by_sigterm - by_sigkill;
    show(&format!(
        "backlog: sent again after SIGTERM {by_sigterm}, after SIGKILL {by_sigkill}, after one in full flow {in_flow} of \
         {in_flow_max}"
    ));
    assert!(in_flow <= in_flow_max, "{in_flow} readings sent again, {in_flow_max} at most");
    let again_max = IN_FLIGHT_MAX + beyond;
    assert!(by_sigkill <= again_max, "{by_sigkill} readings sent again after SIGKILL");
    assert_eq!(rig.database.stats().malformed, 0);
}

/// Fills the journal through the gateway while the database is away, and stops it: so that each
/// position is on the disk, and the next start reads for itself alone.
async fn filled(rig: &mut Rig, form: &Form) -> Ledger {
    rig.behave(Behaviour { answer: Answer::Refuse, ..Behaviour::default() }).await;
    rig.gateway.run();
    let devices = (0..FILLERS).map(recorder).collect();
    let backlog = Ledger::create(devices, None).unwrap();
    rig.database.audit(&backlog);
    let began = Instant::now();
    thread::scope(|scope| {
        for index in 0..FILLERS {
            let (backlog, rig) = (&backlog, &*rig);
            scope.spawn(move || fill(rig, backlog, index, form.backlog_bytes));
        }
    });
    let (readings, took) = (backlog.totals().acknowledged, began.elapsed());
    show(&format!(
        "backlog: {readings} readings in {} MiB of journal, in {took:.1?}",
        on_disk(rig) >> 20
    ));
    assert_is_small(rig, "while it was filled");
    let status = rig.gateway.terminate(STEP_MAX);
    assert!(status.success(), "{status}\n{}", rig.gateway.log());
    backlog
}

fn recorder(index: usize) -> Device {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = now.saturating_sub(Duration::from_hours(6));
    Device {
        name: format!("recorder-{index}"),
        kind: Kind::Recorder,
        seed: u64::try_from(index).unwrap(),
        start: Timestamp::from_nanos(i64::try_from(start.as_nanos()).unwrap()),
        period: Duration::from_millis(1),
        jitter: 0.0,
        clock: Clock::Nanoseconds,
    }
}

fn fill(rig: &Rig, ledger: &Ledger, index: usize, bytes: u64) {
    let device = ledger.device(index).unwrap();
    let mut body = Vec::new();
    let mut next = 0;
    while on_disk(rig) < bytes {
        let seqs: Vec<u64> = (next..next + POST_LINES).collect();
        next += POST_LINES;
        body.clear();
        encode(device, &seqs, Encoding::Line, &mut body);
        ledger.sent(index, &seqs).unwrap();
        let answer = post(rig.gateway.http_port, "/write?precision=ns", &[], &body).unwrap();
        assert_eq!(answer.status, 204, "{} {}", answer.head, answer.body);
        ledger.acknowledged(index, &seqs).unwrap();
    }
}

/// Written to the journal since the gateway's start.
fn on_disk(rig: &Rig) -> u64 {
    rig.gateway.count("tidegate_journal_written_bytes_total", &[])
}

/// With a database that takes requests and says nothing: whatever is read now is read for the start.
async fn started_before_it_is_read(rig: &mut Rig, form: &Form, readings: u64) {
    rig.behave(Behaviour { answer: Answer::Hang, ..Behaviour::default() }).await;
    let listening = started(rig);
    let (usage, read) = (rig.gateway.usage(), rig.gateway.process().bytes_read());
    show(&format!(
        "backlog: able to take readings {listening:.2?} after the start, {} MiB read, RSS {:.1} MB",
        read >> 20,
        megabytes(usage.rss_bytes_max)
    ));
    assert_eq!(rig.gateway.pending(OUTPUT), readings, "pending after the start");
    assert_eq!(rig.database.audited()[0], Audited::default());
    assert!(read <= READ_AT_START_MAX, "{read} bytes read");
    assert!(read < form.backlog_bytes / 2, "{read} bytes read of the backlog's");
    assert_is_small(rig, "after the start");
}

/// Until it is able to take readings.
fn started(rig: &mut Rig) -> Duration {
    let began = Instant::now();
    rig.gateway.run();
    let took = began.elapsed();
    assert!(!is_long() || took < Duration::from_secs(1), "able to take readings after {took:?}");
    took
}

/// A third of the backlog, as fast as it goes; then nothing is answered any more.
async fn drained_beside_live_readings(rig: &Rig, form: &Form, live: &Fleet, requests: u64) {
    let watch = live.watch();
    wait_for("the live devices", STEP_MAX, || {
        let now = watch.look();
        if now.connected == now.devices && now.acknowledged > now.devices {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    let before = rig.database.stats().requests;
    rig.behave(then_late(requests)).await;
    wait_for("the first readings", STEP_MAX, || match rig.database.audited()[0].readings {
        0 => Err("none".to_owned()),
        some => Ok(some),
    });
    let (began, from, taken) = (Instant::now(), rig.database.audited()[0], watch.look());
    late_ones_are_under_way(rig, before + requests);
    let (took, to) = (began.elapsed(), rig.database.audited()[0]);
    let per_s = |count: u64| f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64();
    let drained = per_s(to.readings - from.readings);
    let acknowledged = |summary: &Summary| summary.acknowledged;
    let live_now = per_s(acknowledged(&watch.look()) - acknowledged(&taken));
    show(&format!(
        "backlog: drained at {drained:.0}/s for {took:.1?} beside {live_now:.0}/s of {:.0}/s live ones, \
         RSS at most {:.1} MB",
        form.live_per_s(),
        megabytes(rig.gateway.usage().rss_bytes_max)
    ));
    assert_is_small(rig, "while it drains");
    assert_eq!(to.again, 0, "sent again without a restart");
    if is_long() {
        assert!(live_now >= 0.9 * form.live_per_s(), "{live_now:.0}/s live");
        assert!(drained >= 5.0 * form.live_per_s(), "drained at {drained:.0}/s");
    }
}

/// How many readings came again after a stop with a full set of batches in flight.
async fn repeated_after_sigterm(rig: &mut Rig, requests: u64) -> u64 {
    let beyond = confirmed_beyond_the_position(rig);
    let status = rig.gateway.terminate(STEP_MAX);
    assert!(status.success(), "{status}\n{}", rig.gateway.log());
    let before = rig.database.stats().requests;
    rig.behave(then_late(requests)).await;
    started(rig);
    assert!(rig.gateway.pending(OUTPUT) > 0, "the restart was not in the middle");
    late_ones_are_under_way(rig, before + requests);
    // What came again came first.
    let again = rig.database.audited()[0].again;
    assert!(again <= IN_FLIGHT_MAX + beyond, "{again} readings sent again after SIGTERM");
    again
}

/// Once more, while all is answered: how many came again after the kill before, and how many may after
/// this one. That is what came and is not in the position on the disk.
fn killed_in_flow(rig: &mut Rig, before: u64) -> (u64, u64) {
    let came = |rig: &Rig| rig.database.audited().iter().map(|one| one.readings).sum::<u64>();
    let from = came(rig);
    wait_for("a flow", STEP_MAX, || {
        let more = came(rig) - from;
        if more > 10 * LINES_MAX { Ok(()) } else { Err(format!("{more} came")) }
    });
    rig.gateway.kill();
    assert!(rig.database.audited()[0].readings > 0);
    let again = rig.database.audited()[0].again - before;
    let in_position = rig.gateway.confirmed_on_disk(OUTPUT);
    let at_most = came(rig) - in_position + FRAME_MAX;
    started(rig);
    (again, at_most)
}

fn then_late(requests: u64) -> Behaviour {
    let late = Behaviour { late_ms: 3_600_000, ..Behaviour::default() };
    Behaviour { requests: Some(requests), then: Some(Box::new(late)), ..Behaviour::default() }
}

fn late_ones_are_under_way(rig: &Rig, requests: u64) {
    wait_for("unanswered batches", 4 * STEP_MAX, || match rig.database.stats().requests {
        now if now > requests => Ok(()),
        now => Err(format!("{now} requests of {requests}")),
    });
}

/// Nothing is confirmed any more, and the record on the disk has not changed for longer than the keeper
/// lets a change lie. How many are confirmed and not in it: a batch that was answered before one that
/// was sent earlier is done, and beyond what the record's prefix can say.
fn confirmed_beyond_the_position(rig: &Rig) -> u64 {
    let mut same = ((0, 0), Instant::now());
    let beyond = wait_for("the position on the disk", STEP_MAX, || {
        let now = (
            books::of(&rig.gateway.status(), OUTPUT).confirmed,
            rig.gateway.confirmed_on_disk(OUTPUT),
        );
        if now != same.0 {
            same = (now, Instant::now());
        }
        let (confirmed, on_disk) = now;
        if same.1.elapsed() > POSITION_EVERY {
            Ok(confirmed - on_disk)
        } else {
            Err(format!("{on_disk} of {confirmed} confirmed ones"))
        }
    });
    assert!(beyond <= 3 * LINES_MAX, "{beyond} confirmed ones are not in the position");
    beyond
}

fn all_arrived(verdict: &Verdict) {
    println!("{verdict}");
    assert!(verdict.is_clean_but_for_duplicates(), "{verdict}");
    assert!(verdict.acknowledged == verdict.sent && verdict.sent > 0, "{verdict}");
}

fn assert_is_small(rig: &Rig, when: &str) {
    let most = rig.gateway.usage().rss_bytes_max;
    assert!(most < RSS_MAX, "{when}: RSS was {:.1} MB", megabytes(most));
}

fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1_000).unwrap()) / 1e3
}
