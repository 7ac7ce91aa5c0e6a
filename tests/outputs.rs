//! Does the trouble of one output stay its own, and does what is set up wrongly cost no reading?

use std::time::Duration;

use simulator::faulty::{Answer, Behaviour, Config, Faulty};

use super::support::{
    books::{self, Sent},
    gateway::{Gateway, Setup},
    http::post,
    rig::{OUTPUT, RULE, Rig, http, more_acknowledged, mqtt, websocket},
    wait_for,
};

const PATIENCE: Duration = Duration::from_mins(1);

async fn database() -> Faulty {
    Faulty::start("127.0.0.1:0".parse().unwrap(), Config::default()).await.unwrap()
}

fn output(id: &str, database: &Faulty) -> String {
    format!(
        "[[output]]\nid = \"{id}\"\ntype = \"influxdb\"\nurl = \"{}\"\ndatabase = \"iot\"\n\
         [output.limits]\nbatch_age_max = \"20ms\"\nprobe_every = \"20ms\"\n",
        database.url()
    )
}

/// Points that came from outside.
fn points(database: &Faulty) -> usize {
    database.rows().iter().filter(|row| row.measurement == "m").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_is_refused_for_200_probes_does_not_concern_the_other() {
    let (good, refusing) = (database().await, database().await);
    let unauthorized = Behaviour { answer: Answer::Status { code: 401 }, ..Behaviour::default() };
    refusing.set(unauthorized).await.unwrap();
    let tables = format!("{}{}", output("good", &good), output("refused", &refusing));
    let gateway = Gateway::start(&Setup { journal: "", tables: &tables });
    let mut sent = 0;
    while refusing.stats().requests < 200 {
        let lines: Vec<_> = (0..20).map(|n| format!("m,device=d{n} v={sent} {sent}\n")).collect();
        let answer = post(gateway.http_port, "/write", &[], lines.concat().as_bytes()).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
        sent += 20;
        wait_for("the good one", PATIENCE, || match gateway.pending("good") {
            0 => Ok(()),
            pending => Err(format!("{pending} pending")),
        });
    }
    let status = gateway.status();
    let of = |id: &str| status.outputs.iter().find(|output| output.id == id).unwrap();
    let (well, ill) = (of("good"), of("refused"));
    assert_eq!((well.confirmed, well.dead, well.last_error.as_ref()), (sent, 0, None));
    assert_eq!((ill.confirmed, ill.pending, ill.dead, ill.dropped), (0, sent, 0, 0));
    assert!(["misconfigured", "probing"].contains(&ill.state.as_str()), "{ill:?}");
    assert!(ill.last_error.as_ref().unwrap().contains("401"), "{ill:?}");
    assert_eq!(status.alarms.len(), 1, "{:?}", status.alarms);

    refusing.set(Behaviour::default()).await.unwrap();
    wait_for("the other one", PATIENCE, || match gateway.pending("refused") {
        0 => Ok(()),
        pending => Err(format!("{pending} pending")),
    });
    let sent = usize::try_from(sent).unwrap();
    assert_eq!((points(&good), points(&refusing)), (sent, sent));
}

/// Waits until the alarm is up, and is sure that nothing was given up for it.
fn is_stuck_and_gives_nothing_up(gateway: &Gateway, wrong: &str) {
    let words = format!("output {OUTPUT} delivers nothing: ");
    wait_for("the alarm", PATIENCE, || {
        let status = gateway.status();
        let is_up = status.alarms.iter().any(|alarm| alarm.starts_with(&words));
        if is_up { Ok(()) } else { Err(format!("{wrong}: {status:#?}")) }
    });
    let status = gateway.status();
    let output = books::of(&status, OUTPUT);
    assert_eq!([output.dead, output.dropped, output.quarantined], [0; 3], "{wrong}: {output:?}");
    assert!(output.pending > 0, "{wrong}: {output:?}");
    let letters = gateway.dir().join("dead-letters").join(OUTPUT).join("dead.ndjson");
    let letters = std::fs::read_to_string(letters).unwrap_or_default();
    assert_eq!(letters, "", "{wrong}");
}

/// A database that reads our times as seconds; a portal, a proxy that has another page there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_precision_or_a_proxys_page_costs_nothing_across_kills_and_all_arrives_later() {
    let mut rig = Rig::with_output("", "probe_every = \"20ms\"\n").await;
    let period = Duration::from_millis(50);
    let fleet =
        rig.fleet(vec![mqtt("m", 10, period), websocket("w", 10, period), http("h", 5, period)]);
    let watch = fleet.watch();
    let page = |code| Behaviour { answer: Answer::Page { code }, ..Behaviour::default() };
    let unit = Behaviour { unit: Some("s".to_owned()), ..Behaviour::default() };
    for (wrong, goes_by_itself) in [
        (unit.clone(), false),
        (page(200), true),
        (page(400), false),
        (page(404), true),
        (unit, true),
    ] {
        rig.behave(wrong.clone()).await;
        more_acknowledged(&watch, 100);
        is_stuck_and_gives_nothing_up(&rig.gateway, &format!("{wrong:?}"));
        rig.gateway.kill();
        rig.gateway.run();
        more_acknowledged(&watch, 100);
        is_stuck_and_gives_nothing_up(&rig.gateway, &format!("{wrong:?}, after a kill"));
        let confirmed = || books::of(&rig.gateway.status(), OUTPUT).confirmed;
        let before = confirmed();
        let requests = goes_by_itself.then_some(3);
        let then =
            if goes_by_itself { Behaviour { requests, ..wrong } } else { Behaviour::default() };
        rig.behave(then).await;
        wait_for("delivery", PATIENCE, || match confirmed() {
            now if now > before => Ok(()),
            now => Err(format!("{now} confirmed")),
        });
    }
    let ledger = fleet.stop_and_drain(PATIENCE).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    rig.books_are_right(Sent::by(&ledger, &watch));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_was_not_the_databases_costs_nothing_once_it_is_put_right() {
    let portal = database().await;
    let page = Behaviour { answer: Answer::Page { code: 200 }, ..Behaviour::default() };
    portal.set(page).await.unwrap();
    let mut rig = Rig::prepare("", "probe_every = \"20ms\"\n").await;
    let right = rig.output_table();
    let wrong = right.replace(&rig.database.url(), &portal.url());
    rig.gateway.configure(&Setup { journal: "", tables: &format!("{RULE}{wrong}") });
    rig.gateway.run();
    let fleet = rig.fleet(vec![mqtt("m", 20, Duration::from_millis(50))]);
    let watch = fleet.watch();
    more_acknowledged(&watch, 300);
    is_stuck_and_gives_nothing_up(&rig.gateway, "a portal");
    assert!(rig.gateway.terminate(PATIENCE).success());
    rig.gateway.configure(&Setup { journal: "", tables: &format!("{RULE}{right}") });
    rig.gateway.run();
    let ledger = fleet.stop_and_drain(PATIENCE).await.unwrap();
    rig.delivered();
    let verdict = rig.verdict(&ledger);
    assert!(verdict.is_clean() && verdict.acknowledged == verdict.sent, "{verdict}");
    rig.books_are_right(Sent::by(&ledger, &watch));
    assert_eq!((portal.points(), rig.gateway.status().alarms.len()), (0, 0));
}
