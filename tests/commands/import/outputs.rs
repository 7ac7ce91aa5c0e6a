//! An import whose output takes nothing, or whose journal belongs to somebody else.

use std::fmt::Write as _;

use proto::Value;
use simulator::faulty::{Answer, Behaviour};
use tidegate::app::control;
use tidegate::app::status::Status;

use super::{IMPORT_MAX, expect_numbered, import, numbered, rows, spawn, text, write};
use crate::support::rig::{OUTPUT, Rig};
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_output_takes_in_time_is_in_the_journal_and_arrives_later() {
    let mut rig = Rig::prepare("\n[runtime]\ngrace = \"1s\"\n", "").await;
    rig.behave(Behaviour { answer: Answer::Refuse, ..Behaviour::default() }).await;
    let file = write(&rig, "a.lp", numbered(2_000));
    let said = import(&rig, &["--wait", "500ms", text(&file)]);
    assert_eq!(said.code, 75, "{said:?}");
    assert!(said.out.contains("a.lp: 2000 taken, 0 refused\n"), "{said:?}");
    assert!(said.out.contains("output db: confirmed 0  pending 2000\n"), "{said:?}");
    assert!(
        said.err.contains("it is in the journal, and a gateway that runs delivers it"),
        "{said:?}"
    );

    rig.behave(Behaviour::default()).await;
    rig.gateway.run();
    rig.delivered();
    expect_numbered(&rig.database, 2_000);
    assert_eq!(rig.gateway.pending(OUTPUT), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_limit_it_waits_for_the_database_and_exits_when_it_has_everything() {
    let rig = Rig::prepare("", "backoff_max = \"500ms\"").await;
    let busy = Behaviour { answer: Answer::Status { code: 500 }, ..Behaviour::default() };
    rig.behave(busy).await;
    let file = write(&rig, "a.lp", numbered(2_000));
    let mut process = spawn(&rig, &[text(&file)]);
    wait_for("requests that fail", IMPORT_MAX, || {
        process.check_alive();
        let requests = rig.database.stats().requests;
        if requests >= 4 { Ok(()) } else { Err(format!("{requests} requests")) }
    });
    rig.behave(Behaviour::default()).await;
    let status = process.ended(IMPORT_MAX);
    assert_eq!(status.code(), Some(0), "{}", process.log());
    expect_numbered(&rig.database, 2_000);
}

/// More than the journal takes: the file waits, and memory does not grow with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_makes_it_wait_and_drops_nothing() {
    const READINGS: u64 = 60_000;
    let journal = "bytes_max = \"16MiB\"\nfree_bytes_min = \"1MiB\"\nwhen_full = \"drop-oldest\"\n";
    let rig = Rig::prepare(journal, "backoff_max = \"500ms\"").await;
    rig.behave(Behaviour { answer: Answer::Refuse, ..Behaviour::default() }).await;
    // Some 60 MB of what hardly compresses.
    let mut random = 1_u64;
    let mut lines = String::new();
    for n in 1..=READINGS {
        write!(lines, "m,device=d v={n},x=\"").unwrap();
        for _ in 0..60 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            write!(lines, "{random:016x}").unwrap();
        }
        writeln!(lines, "\" {n}").unwrap();
    }
    let file = write(&rig, "a.lp", lines);
    let mut process = spawn(&rig, &[text(&file)]);
    wait_for("a full journal", IMPORT_MAX, || {
        process.check_alive();
        let socket = rig.gateway.dir().join("control.sock");
        let reply = control::ask(&socket, "status").map_err(|e| e.to_string())?;
        let status: Status = serde_json::from_str(&reply).unwrap();
        if status.journal.full { Ok(()) } else { Err(format!("{:?}", status.journal)) }
    });
    rig.behave(Behaviour::default()).await;
    // It ends when everything is delivered: the last look at it was the one before.
    let mut rss = process.usage().rss_bytes_max;
    wait_for("delivery of all or almost", IMPORT_MAX, || {
        let points = rig.database.points() as u64;
        let Some(usage) = process.usage_if_alive() else { return Ok(()) };
        rss = usage.rss_bytes_max;
        if points >= READINGS { Ok(()) } else { Err(format!("{points} points")) }
    });
    assert!(rss < 128 << 20, "{} MiB", rss >> 20);
    let status = process.ended(IMPORT_MAX);
    assert_eq!(status.code(), Some(0), "{}", process.log());
    // Beside them may lie the point of a probe: it was refused for a while.
    assert_eq!(rows(&rig.database).len() as u64, READINGS);
    assert!(!process.log().contains("dropped"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_is_a_failure_that_is_counted() {
    let rig = Rig::prepare("", "").await;
    let strict = Behaviour { malformed_if: Some("v=7.0 ".to_owned()), ..Behaviour::default() };
    rig.behave(strict).await;
    let file = write(&rig, "a.lp", numbered(100));
    let said = import(&rig, &[&file]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("output db: confirmed 99  pending 0  dead 1\n"), "{said:?}");
    assert_eq!(rows(&rig.database).len(), 99);
}

/// Whole windows are delivered; the last one stays in the output's state, and closes by silence when a
/// gateway runs. None is made of a part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_readings_becomes_windows_and_the_last_one_waits_for_a_gateway() {
    const SECOND: i64 = 1_000_000_000;
    const MAY_2025: i64 = 1_746_057_600 * SECOND;
    let window =
        "[[output.window]]\nevery = \"10s\"\nlateness = \"2s\"\nfunctions = [\"count\", \"max\"]\n";
    let mut rig = Rig::prepare("", window).await;
    let mut lines = String::new();
    for n in 0..3_600 {
        writeln!(lines, "m,device=d v={n} {}", MAY_2025 + n * SECOND).unwrap();
    }
    let file = write(&rig, "a.lp", lines);
    let said = import(&rig, &[&file]);
    assert_eq!(said.code, 0, "{said:?}");
    let windows = |rig: &Rig| -> Vec<(i64, Vec<(String, Value)>)> {
        rows(&rig.database).into_iter().map(|row| (row.time, row.fields)).collect()
    };
    let expected = |n: i64| {
        let last = 10.0_f64.mul_add(f64::from(i32::try_from(n).unwrap()), 9.0);
        let fields = [("v_count", Value::Signed(10)), ("v_max", Value::Float(last))];
        let fields = fields.map(|(name, value)| (name.to_owned(), value)).to_vec();
        (MAY_2025 + n * 10 * SECOND, fields)
    };
    assert_eq!(windows(&rig), (0..359).map(expected).collect::<Vec<_>>());

    rig.gateway.run();
    wait_for("the last window", IMPORT_MAX, || match windows(&rig).len() {
        360 => Ok(()),
        found => Err(format!("{found} windows")),
    });
    assert_eq!(windows(&rig), (0..360).map(expected).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_gateway_runs_on_the_journal_it_says_what_to_do() {
    let rig = Rig::start("").await;
    let file = write(&rig, "a.lp", numbered(10));
    let said = import(&rig, &[&file]);
    assert_eq!((said.code, said.out.as_str()), (75, ""), "{said:?}");
    let journal = rig.gateway.dir().join("journal");
    assert!(said.err.contains(&format!("another process holds {}", journal.display())), "{said:?}");
    let advice = format!("--data-binary @FILE 'http://127.0.0.1:{}/write'", rig.gateway.http_port);
    assert!(said.err.contains(&advice), "{said:?}");
    assert_eq!(rows(&rig.database), []);
}
