//! Do the metrics say what DESIGN promises, in words that Prometheus takes?

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use simulator::{
    faulty::{Answer, Behaviour},
    fleet::{Group, Http, Link},
};

use crate::support::{
    gateway::Setup,
    http::{get, post},
    missing,
    mosquitto::{self, Mosquitto},
    program,
    rig::{OUTPUT, RULE, Rig, mqtt, websocket},
    wait_for,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Every name of section 11, with labels that a series of it has once every stage has worked.
const PROMISED: [&str; 18] = [
    "tidegate_readings_received_total{source=\"mqtt\"}",
    "tidegate_readings_received_total{source=\"broker\"}",
    "tidegate_readings_refused_total{source=\"http\",reason=\"undecodable\"}",
    "tidegate_output_readings_total{output=\"db\",fate=\"confirmed\"}",
    "tidegate_output_pending_readings{output=\"db\"}",
    "tidegate_journal_bytes",
    "tidegate_journal_seconds_to_full",
    "tidegate_output_lag_seconds{output=\"db\"}",
    "tidegate_output_state{output=\"db\",state=\"running\"}",
    "tidegate_journal_sync_duration_seconds_bucket{le=\"+Inf\"}",
    "tidegate_ack_latency_seconds_bucket{le=\"+Inf\",listener=\"mqtt\"}",
    "tidegate_ack_latency_seconds_count{listener=\"http\"}",
    "tidegate_ack_latency_seconds_count{listener=\"ws\"}",
    "tidegate_request_duration_seconds_count{output=\"db\",code=\"204\"}",
    "tidegate_request_duration_seconds_count{output=\"db\",code=\"503\"}",
    "tidegate_connections{listener=\"mqtt\"}",
    "tidegate_connections{listener=\"http\"}",
    "tidegate_alarm{name=\"journal_full\"}",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promised_metric_is_there_and_promtool_has_nothing_to_say() {
    let Some(broker) = Mosquitto::start() else { return };
    let rig = everything_has_worked(&broker).await;
    let accept = [("accept", "application/openmetrics-text")];
    let openmetrics = get(rig.gateway.http_port, "/metrics", &accept).unwrap().expect_success();
    let classic = get(rig.gateway.http_port, "/metrics", &[]).unwrap().expect_success();
    assert!(openmetrics.ends_with("\n# EOF\n"), "{openmetrics}");
    for page in [&openmetrics, &classic] {
        for promised in PROMISED {
            let found = page.lines().any(|line| line.strip_prefix(promised).is_some_and(is_value));
            assert!(found, "no {promised} in\n{page}");
        }
        assert!(!page.contains("tidegate_tidegate"), "{page}");
    }
    for (metric, labels) in [
        ("tidegate_ack_latency_seconds_count", "listener=\"mqtt\""),
        ("tidegate_ack_latency_seconds_count", "listener=\"http\""),
        ("tidegate_ack_latency_seconds_count", "listener=\"ws\""),
        ("tidegate_request_duration_seconds_count", "code=\"503\""),
        ("tidegate_readings_received_total", "source=\"broker\""),
        ("tidegate_readings_refused_total", "source=\"http\""),
    ] {
        assert!(rig.gateway.metric(metric, &[labels]) > 0.0, "{metric} {labels}\n{classic}");
    }
    assert_promtool_is_content(&classic);
}

fn is_value(rest: &str) -> bool {
    rest.strip_prefix(' ').is_some_and(|value| value.parse::<f64>().is_ok())
}

/// MQTT, WebSocket, HTTP and a broker have brought readings, one was refused, and the database has been
/// away for a while.
async fn everything_has_worked(broker: &Mosquitto) -> Rig {
    let mut rig = Rig::start("").await;
    let collector = format!(
        "{RULE}[[broker]]\nurl = \"mqtt://127.0.0.1:{}\"\ntopics = [\"tele/#\"]\n{}",
        broker.port,
        rig.output_table()
    );
    rig.gateway.terminate(PATIENCE);
    rig.gateway.configure(&Setup { journal: "", tables: &collector });
    rig.gateway.run();
    broker.wait_subscribed("tele/#");
    mosquitto::publish(broker.port, &["-q", "1", "-t", "tele/a", "-m", "{\"v\":1}"]).unwrap();

    rig.behave(Behaviour {
        answer: Answer::Busy { retry_after_s: None },
        requests: Some(2),
        ..Behaviour::default()
    })
    .await;
    let period = Duration::from_millis(50);
    let http = Group { period, ..Group::new("h", 2, Link::Http(Http::default())) };
    let fleet = rig.fleet(vec![mqtt("m", 2, period), websocket("w", 2, period), http]);
    let refused = post(rig.gateway.http_port, "/v1/readings", &[], b"{\"device\":").unwrap();
    assert_eq!(refused.status, 400, "{refused:?}");
    let watch = fleet.watch();
    wait_for("readings of everybody", PATIENCE, || {
        let acknowledged = watch.look().acknowledged;
        if acknowledged > 60 { Ok(()) } else { Err(format!("{acknowledged} acknowledged")) }
    });
    fleet.stop_and_drain(PATIENCE).await.unwrap();
    rig.delivered();
    assert_eq!(rig.gateway.pending(OUTPUT), 0);
    rig
}

fn assert_promtool_is_content(page: &str) {
    let Some(promtool) = program("promtool") else {
        missing("promtool", "apt-get install prometheus");
        return;
    };
    let mut promtool = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && words.is_empty(), "{}: {words}\n{page}", said.status);
}
