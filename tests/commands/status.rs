//! `tidegate status`: one screen, one document, or nobody there.

use std::{fs, time::Duration};

use simulator::faulty::{Answer, Behaviour};

use super::{PATIENCE, Said, gateway_with, tidegate};
use crate::support::{
    gateway::Gateway,
    rig::{OUTPUT, Rig, mqtt, websocket},
    wait_for,
};

fn status(gateway: &Gateway, more: &[&str]) -> Said {
    let config = gateway.config_file();
    let arguments = ["status", "-c", config.to_str().unwrap()];
    tidegate(arguments.iter().chain(more))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_inputs_journal_and_outputs_with_their_last_error() {
    let rig = Rig::start("").await;
    let period = Duration::from_millis(20);
    let fleet = rig.fleet(vec![mqtt("m", 3, period), websocket("w", 2, period)]);
    let watch = fleet.watch();
    wait_for("the fleet", PATIENCE, || match watch.look() {
        seen if seen.connected == 5 && seen.acknowledged > 50 => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    let said = status(&rig.gateway, &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
    for words in [
        concat!("tidegate ", env!("CARGO_PKG_VERSION"), ", up "),
        &format!("input    mqtt           127.0.0.1:{}", rig.gateway.mqtt_port),
        &format!("input    http           127.0.0.1:{}", rig.gateway.http_port),
        "3 connected\n",
        "\njournal  ",
        &format!("\noutput   {OUTPUT}             {}", rig.database.url()),
        "running, lag ",
        "\nbooks    received ",
        ": journaled ",
    ] {
        assert!(said.out.contains(words), "no `{words}` in\n{}", said.out);
    }
    assert!(!said.out.contains("last error"), "{}", said.out);

    let refused = Behaviour { answer: Answer::Status { code: 401 }, ..Behaviour::default() };
    rig.behave(refused).await;
    wait_for("the alarm", PATIENCE, || {
        let said = status(&rig.gateway, &[]);
        let is_told = said.out.contains("\n         last error: ")
            && said.out.contains("401")
            && said.out.contains(&format!("\nALARM    output {OUTPUT} delivers nothing"));
        if is_told { Ok(()) } else { Err(said.out) }
    });
    rig.behave(Behaviour::default()).await;
    fleet.stop_and_drain(PATIENCE).await.unwrap();
}

#[test]
fn as_json_is_one_document_for_scripts() {
    let gateway = gateway_with(3);
    let said = status(&gateway, &["--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["books"]["journaled"], 3);
    assert_eq!(document["inputs"][0]["name"], "mqtt");
    assert!(document["journal"]["bytes_max"].as_u64().unwrap() > 0);
    let outputs = document["outputs"].as_array().unwrap();
    assert!(outputs.iter().any(|output| output["id"] == "files"), "{document}");
}

#[test]
fn without_a_gateway_says_so_and_to_try_again() {
    let mut gateway = gateway_with(0);
    gateway.kill(); // Its socket stays behind.
    let socket = gateway.dir().join("control.sock");
    for gone in [false, true] {
        let said = status(&gateway, &[]);
        assert_eq!((said.code, said.out.as_str()), (75, ""), "{said:?}");
        let words = format!("no gateway answers on {}: ", socket.display());
        assert!(said.err.starts_with(&words), "{}", said.err);
        if !gone {
            fs::remove_file(&socket).unwrap();
        }
    }
}
