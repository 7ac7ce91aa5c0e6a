//! An hour of readings, some late, some twice, some with times that cannot be, and a `kill -9` in the
//! middle: every value in the database against a count that knows nothing of windows but their rule.
//!
//! Late means late for certain, or in time for certain: by minutes, so that no machine is so slow that a
//! window closes by silence before the reading comes.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    time::Duration,
};

use proto::Value;

use super::{PATIENCE, SECOND, nanos_ago};
use crate::support::{http::post, rig::Rig, show, wait_for};

const DEVICES: usize = 10;
const HOUR: i64 = 3_600;
const EVERY: i64 = 10 * SECOND;
const LATENESS: i64 = 300 * SECOND;
const TABLES: &str = "[output.dedup]\n[[output.window]]\nmeasurement = \"climate\"\nevery = \"10s\"\n\
                      lateness = \"5m\"\n\
                      functions = [\"count\", \"sum\", \"mean\", \"min\", \"max\", \"first\", \"last\"]\n";

#[derive(Clone, Copy, Debug)]
struct Sent {
    device: usize,
    at: i64,
    value: f64,
}

/// What there must be: by device, time and field.
type Fields = BTreeMap<(String, i64, String), f64>;

/// In the order in which they are sent: one a second of each device, and what goes wrong with them.
fn traffic(base: i64) -> Vec<Sent> {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut all = Vec::new();
    let mut withheld: Vec<(i64, Sent)> = Vec::new();
    for second in 0..HOUR {
        let due = withheld.extract_if(.., |(until, _)| *until <= second);
        all.extend(due.map(|(_, sent)| sent).collect::<Vec<_>>());
        for device in 0..DEVICES {
            let value = f64::from(rng.i32(-1000..1000)) / 4.0;
            let at = base + second * SECOND + rng.i64(0..SECOND);
            let sent = Sent { device, at, value };
            match rng.u32(0..1000) {
                // In time, though out of order.
                0..25 => withheld.push((second + rng.i64(1..60), sent)),
                // Too late.
                25..50 => withheld.push((second + rng.i64(360..600), sent)),
                50..70 => all.extend([sent, sent]),
                70..75 => all.push(Sent { at: at + 400 * 86_400 * SECOND, ..sent }),
                75..80 => all.push(Sent { at: at - 400 * 86_400 * SECOND, ..sent }),
                _ => all.push(sent),
            }
        }
    }
    all.extend(withheld.into_iter().map(|(_, sent)| sent));
    // What closes every window but its own.
    let end = base + (HOUR + 400) * SECOND;
    all.extend((0..DEVICES).map(|device| Sent { device, at: end, value: 0.0 }));
    all
}

/// Readings that are late, or ahead of their time, as they are; of the others windows.
fn naive(traffic: &[Sent], now: i64) -> Fields {
    let mut seen = std::collections::HashSet::new();
    let mut watermarks: HashMap<usize, i64> = HashMap::new();
    let mut windows: BTreeMap<(usize, i64), Vec<(i64, f64)>> = BTreeMap::new();
    let mut fields = Fields::new();
    for sent in traffic.iter().filter(|it| seen.insert((it.device, it.at))) {
        let start = sent.at.div_euclid(EVERY) * EVERY;
        let watermark = watermarks.entry(sent.device).or_insert(i64::MIN);
        if sent.at > now || start + EVERY + LATENESS <= *watermark {
            fields.insert((format!("d{}", sent.device), sent.at, "v".to_owned()), sent.value);
            continue;
        }
        *watermark = sent.at.max(*watermark);
        windows.entry((sent.device, start)).or_default().push((sent.at, sent.value));
    }
    windows.retain(|(device, start), _| start + EVERY + LATENESS <= watermarks[device]);
    for ((device, start), mut values) in windows {
        values.sort_by_key(|(at, _)| *at);
        let only = || values.iter().map(|(_, value)| *value);
        let count = f64::from(u32::try_from(values.len()).unwrap());
        let sum: f64 = only().sum();
        for (function, value) in [
            ("count", count),
            ("sum", sum),
            ("mean", sum / count),
            ("min", only().fold(f64::INFINITY, f64::min)),
            ("max", only().fold(f64::NEG_INFINITY, f64::max)),
            ("first", values[0].1),
            ("last", values[values.len() - 1].1),
        ] {
            fields.insert((format!("d{device}"), start, format!("v_{function}")), value);
        }
    }
    fields
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few")]
fn stored(rig: &Rig) -> Fields {
    let mut found = Fields::new();
    for row in rig.database.rows().into_iter().filter(|row| row.measurement == "climate") {
        for (field, value) in row.fields {
            let value = match value {
                Value::Float(value) => value,
                Value::Signed(count) => count as f64,
                other => panic!("{other:?}"),
            };
            found.insert((row.device.clone(), row.time, field), value);
        }
    }
    found
}

/// A mean may be added up in another order.
fn assert_same(found: &Fields, wanted: &Fields) {
    for (key, wanted) in wanted {
        let found = found.get(key).unwrap_or_else(|| panic!("{key:?} is not there"));
        assert!(
            (found - wanted).abs() <= 1e-9 * wanted.abs().max(1.0),
            "{key:?}: {found}, not {wanted}"
        );
    }
    let surplus: Vec<_> = found.keys().filter(|key| !wanted.contains_key(*key)).take(5).collect();
    assert!(surplus.is_empty(), "not sent: {surplus:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hour_of_all_sorts_of_readings_becomes_what_a_naive_count_says() {
    let mut rig = Rig::with_output("", TABLES).await;
    let base = nanos_ago(Duration::from_hours(3));
    let traffic = traffic(base);
    let bodies: Vec<String> = traffic
        .chunks(500)
        .map(|chunk| {
            let mut body = String::new();
            for Sent { device, at, value } in chunk {
                writeln!(body, "climate,device=d{device} v={value:?} {at}").unwrap();
            }
            body
        })
        .collect();
    let port = rig.gateway.http_port;
    for (n, body) in bodies.iter().enumerate() {
        if n == bodies.len() / 2 {
            // Once windows were emitted, and while others are open.
            wait_for("windows", PATIENCE, || match stored(&rig).len() {
                0 => Err("none yet".to_owned()),
                _ => Ok(()),
            });
            rig.gateway.kill();
            rig.gateway.run();
        }
        let answer = post(port, "/write", &[], body.as_bytes()).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    rig.delivered();
    let wanted = naive(&traffic, nanos_ago(Duration::ZERO));
    wait_for("the last windows", PATIENCE, || match stored(&rig).len() {
        found if found >= wanted.len() => Ok(()),
        found => Err(format!("{found} of {}: {:?}", wanted.len(), rig.gateway.status().outputs)),
    });
    rig.delivered();
    assert_same(&stored(&rig), &wanted);
    let raw = wanted.keys().filter(|(_, _, field)| field == "v").count();
    let windows = wanted.keys().filter(|(_, _, field)| field == "v_count").count();
    assert!(raw > 500 && windows > 3_000, "{raw} as they are, {windows} windows");
    let output = &rig.gateway.status().outputs[0];
    assert!(output.filtered > 300, "what came twice: {output:?}");
    assert_eq!((output.confirmed, output.dead, output.dropped), (raw as u64, 0, 0), "{output:?}");
    show(&format!("{} readings, {windows} windows, {raw} as they are", traffic.len()));
}
