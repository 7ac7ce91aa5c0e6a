//! Does the trouble of one output stay its own?

use std::time::Duration;

use simulator::faulty::{Answer, Behaviour, Config, Faulty};

use super::support::{
    gateway::{Gateway, Setup},
    http::post,
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
