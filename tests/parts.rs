//! Do the real parts that the other tests lean on start, answer and come back as we think they do?

use std::time::Duration;

use super::support::{
    http::{get, post},
    influx1::Influx1,
    influx2::Influx2,
    mosquitto::{self, Mosquitto},
    victoria::Victoria,
};

const LINES: &[u8] = b"climate,device=d1 t=21.5,on=true,mode=\"auto\" 1790000000123456789\n\
                       meter,device=d1 count=-42i 1790000000123456789\n";

#[test]
fn influxdb_1_keeps_types_and_nanoseconds_over_a_kill() {
    let Some(mut database) = Influx1::start() else { return };
    let path = format!("/write?db={}&precision=ns", database.database);
    post(database.port, &path, &[], LINES).unwrap().expect_success();
    database.kill();
    database.run();

    let rows = database.rows("SELECT * FROM climate WHERE device = 'd1'");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["time"], 1_790_000_000_123_456_789_i64);
    assert_eq!(rows[0]["t"], 21.5);
    assert_eq!(database.field_types("climate")["on"], "boolean");
    assert_eq!(database.field_types("meter")["count"], "integer");
    database.wait_count("meter", "count", 1, Duration::from_secs(5));
}

#[test]
fn influxdb_2_keeps_types_and_nanoseconds_over_a_kill() {
    let Some(mut database) = Influx2::start() else { return };
    let path = format!("/api/v2/write?org={}&bucket={}", database.org, database.bucket);
    let token = format!("Token {}", database.token);
    let lines = [LINES, b"meter,device=d1 total=7u 1790000000123456789\n"].concat();
    post(database.port, &path, &[("Authorization", &token)], &lines).unwrap().expect_success();
    database.kill();
    database.run();

    let points = database.points("climate", "d1");
    let found: Vec<_> =
        points.iter().map(|p| (p.field.as_str(), p.datatype.as_str(), p.value.as_str())).collect();
    assert_eq!(
        found,
        [("mode", "string", "auto"), ("on", "boolean", "true"), ("t", "double", "21.5")]
    );
    assert!(points.iter().all(|p| p.time == "2026-09-21T14:13:20.123456789Z"), "{points:?}");
    let meter = database.points("meter", "d1");
    assert_eq!((meter[0].field.as_str(), meter[0].datatype.as_str()), ("count", "long"));
    assert_eq!((meter[1].field.as_str(), meter[1].datatype.as_str()), ("total", "unsignedLong"));
    database.wait_count("meter", "count", 1, Duration::from_secs(5));

    let answer = database.influxql("SELECT t FROM climate").expect_success();
    assert!(answer.contains("1790000000123456789"), "{answer}");
}

#[test]
fn victoria_metrics_keeps_numbers_to_the_millisecond() {
    let Some(database) = Victoria::start() else { return };
    post(database.port, "/write?db=any", &[], LINES).unwrap().expect_success();
    let series = database.series("d1");
    let climate = series.iter().find(|s| s.name == "climate_t").unwrap();
    assert_eq!((climate.values[0], climate.times_ms[0]), (21.5, 1_790_000_000_123));
}

#[test]
fn mosquitto_keeps_a_session_over_a_restart() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let subscribe = ["-t", "a/#", "-q", "1", "-c", "-i", "keeper", "-E"];
    if mosquitto::subscribe(broker.port, &subscribe).is_none() {
        return;
    }
    let publish = ["-t", "a/b", "-q", "1", "-m", "kept"];
    assert!(mosquitto::publish(broker.port, &publish).unwrap().status.success());
    broker.stop();
    broker.run();
    let fetch = ["-t", "a/#", "-q", "1", "-c", "-i", "keeper", "-C", "1", "-W", "10"];
    let output = mosquitto::subscribe(broker.port, &fetch).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "kept\n", "{}", broker.log());
}

#[test]
fn the_small_http_client_tells_a_refusal_from_an_answer() {
    let nobody = super::support::port::free();
    assert!(get(nobody, "/", &[]).unwrap_err().contains("refused"));
}
