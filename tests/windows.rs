//! Are windows whole, whatever happens to the gateway while they are open?

mod hour;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proto::Value;
use tokio::time::Instant;

use crate::support::{
    gateway::Setup,
    http::post,
    rig::{OUTPUT, Rig, is_long},
    show, wait_for,
};

const DEVICES: usize = 5;
/// Between two readings of a device, in event time: much faster than the clock.
const STEP: i64 = 100_000_000;
const SECOND: i64 = 1_000_000_000;
const PATIENCE: Duration = Duration::from_mins(2);

const TABLES: &str = "[output.dedup]\n[[output.window]]\nmeasurement = \"climate\"\nevery = \"1s\"\n\
                      lateness = \"15s\"\nfunctions = [\"count\", \"sum\"]\n";

fn nanos_ago(past: Duration) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.checked_sub(past).unwrap().as_nanos()).unwrap()
}

/// The `n`th reading of every device.
fn lines(base: i64, n: i64) -> String {
    let mut lines = String::new();
    for device in 0..DEVICES {
        let at = base + n * STEP;
        writeln!(lines, "climate,device=d{device} v={n} {at}").unwrap();
    }
    lines
}

/// By device and window: count and sum.
type Windows = BTreeMap<(String, i64), (i64, f64)>;

fn expected(base: i64, sent: i64) -> Windows {
    let mut windows = Windows::new();
    for n in 0..sent {
        for device in 0..DEVICES {
            let start = (base + n * STEP).div_euclid(SECOND) * SECOND;
            let window = windows.entry((format!("d{device}"), start)).or_default();
            window.0 += 1;
            window.1 += f64::from(i32::try_from(n).unwrap());
        }
    }
    windows
}

fn stored(rig: &Rig) -> Windows {
    let rows = rig.database.rows().into_iter().filter(|row| row.measurement == "climate");
    let window = |row: simulator::verify::Row| {
        let field = |name: &str| {
            let found = row.fields.iter().find(|(field, _)| field == name);
            found.unwrap_or_else(|| panic!("no {name} in {row:?}")).1.clone()
        };
        let (Value::Signed(count), Value::Float(sum)) = (field("v_count"), field("v_sum")) else {
            panic!("{row:?}")
        };
        ((row.device.clone(), row.time), (count, sum))
    };
    rows.map(window).collect()
}

/// Moments that differ; which ones they are does not matter.
fn moments() -> impl Iterator<Item = Duration> {
    let mut state: u64 = 11;
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(100 + (state >> 33) % 900)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_window_is_whole_after_sigkill_at_random_moments() {
    let rounds = if is_long() { 100 } else { 20 };
    let mut rig = Rig::with_output("", TABLES).await;
    let base = nanos_ago(Duration::from_hours(12));
    let port = rig.gateway.http_port;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    // What is not answered with 204 is sent again, so some of it comes twice.
    let sender = std::thread::spawn(move || {
        let mut sent = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let body = lines(base, sent);
            while !post(port, "/write", &[], body.as_bytes()).is_ok_and(|it| it.status == 204) {
                std::thread::sleep(Duration::from_millis(20));
            }
            sent += 1;
        }
        sent
    });
    for (round, moment) in (0..rounds).zip(moments()) {
        tokio::time::sleep(moment).await;
        rig.gateway.kill();
        rig.gateway.run();
        println!("round {round}: killed after {moment:?}, {} windows", stored(&rig).len());
    }
    stop.send(()).unwrap();
    let sent = sender.join().unwrap();
    let wanted = expected(base, sent);
    wait_for("the last windows", PATIENCE, || match (stored(&rig).len(), wanted.len()) {
        (found, wanted) if found >= wanted => Ok(()),
        (found, wanted) => Err(format!("{found} of {wanted}: {:?}", rig.gateway.status().outputs)),
    });
    rig.delivered();
    assert_eq!(stored(&rig), wanted);
    let status = rig.gateway.status();
    let output = &status.outputs[0];
    let readings = u64::try_from(sent).unwrap() * DEVICES as u64;
    assert_eq!(output.absorbed, readings, "{output:?}");
    assert_eq!(output.journaled, readings + output.filtered, "what came twice: {output:?}");
    assert_eq!((output.confirmed, output.dead, output.dropped, output.quarantined), (0, 0, 0, 0));
    show(&format!("{rounds} kills, {} windows of {readings} readings", wanted.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_devices_last_window_arrives_and_open_ones_survive_a_stop() {
    // Windows of `open` wait for an hour: whatever a restart takes, they are open.
    let tables = ["climate", "open"].map(|measurement| {
        let lateness = if measurement == "open" { "1h" } else { "2s" };
        format!(
            "[[output.window]]\nmeasurement = \"{measurement}\"\nevery = \"1s\"\n\
             lateness = \"{lateness}\"\nfunctions = [\"count\"]\n"
        )
    });
    let mut rig = Rig::with_output("", &tables.concat()).await;
    let write = |rig: &Rig, line: &str| {
        let answer = post(rig.gateway.http_port, "/write", &[], line.as_bytes()).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    };
    let begin = Instant::now();
    write(&rig, "climate,device=a v=1\n");
    wait_for("the window of a silent device", PATIENCE, || {
        let is_there = rig.database.rows().iter().any(|row| row.device == "a");
        is_there.then_some(()).ok_or_else(|| "nothing yet".to_owned())
    });
    let took = begin.elapsed();
    // The window, its lateness, a second; and what a loaded machine takes.
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_secs(4 + 15), "{took:?}");
    show(&format!("a silent device's window arrived after {took:?}"));

    let at = nanos_ago(Duration::from_hours(2)) / SECOND * SECOND;
    write(&rig, &format!("open,device=b v=1 {at}\nopen,device=b v=2 {}\n", at + 1));
    rig.delivered();
    assert!(rig.gateway.terminate(PATIENCE).success());
    rig.gateway.run();
    let closing = at + 3_602 * SECOND;
    write(&rig, &format!("open,device=b v=3 {}\nopen,device=b v=4 {closing}\n", at + 2));
    let count = |rig: &Rig| {
        let rows = rig.database.rows();
        let row = rows.into_iter().find(|row| row.device == "b" && row.time == at)?;
        Some(row.fields)
    };
    wait_for("the window that a stop left open", PATIENCE, || {
        count(&rig).map(|_| ()).ok_or_else(|| "nothing yet".to_owned())
    });
    assert_eq!(count(&rig).unwrap(), [("v_count".to_owned(), Value::Signed(3))]);
}

/// What an output remembered holds its position back until the next checkpoint. There must be one
/// when nothing is to be remembered any more, or the journal would keep everything from there on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outputs_position_moves_on_when_what_it_remembered_is_taken_out() {
    let mut rig = Rig::prepare("", "").await;
    let plain = rig.output_table();
    let mut at = nanos_ago(Duration::from_mins(5));
    for (step, tables) in [
        ("dedup", format!("{plain}[output.dedup]\n")),
        ("nothing", plain.clone()),
        ("windows", format!("{plain}[[output.window]]\nevery = \"1s\"\nfunctions = [\"count\"]\n")),
        ("select", format!("{plain}[output.select]\nmeasurement = \"climate\"\n")),
        ("nothing again", plain.clone()),
    ] {
        rig.gateway.configure(&Setup { journal: "", tables: &tables });
        rig.gateway.run();
        for _ in 0..20 {
            at += SECOND;
            let line = format!("climate,device=a v=1 {at}\n");
            let answer = post(rig.gateway.http_port, "/write", &[], line.as_bytes()).unwrap();
            assert_eq!(answer.status, 204, "{answer:?}");
        }
        rig.delivered();
        assert!(rig.gateway.terminate(PATIENCE).success());
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["journal", "status", "--offline"]).arg(rig.gateway.dir().join("journal"));
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let position = said.lines().find(|line| line.starts_with(&format!("position {OUTPUT} ")));
        let position = position.unwrap_or_else(|| panic!("{step}: no {OUTPUT} in {said}"));
        assert!(position.contains(", pending 0, "), "{step}: {position}");
    }
}
