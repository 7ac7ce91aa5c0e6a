//! `tidegate dead`: what was refused is found, shown, and offered once more, once.

use simulator::faulty::{Behaviour, Config, Faulty};

use super::{PATIENCE, Said, tidegate};
use crate::support::{
    gateway::{Gateway, Setup},
    http::post,
    wait_for,
};

fn dead(gateway: &Gateway, words: &[&str]) -> Said {
    let config = gateway.config_file();
    let arguments = [&["dead"], words, &["-c", config.to_str().unwrap()]].concat();
    tidegate(arguments)
}

/// The first word of each line: ids.
fn ids(said: &Said) -> Vec<String> {
    let word = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    said.out.lines().map(word).collect()
}

fn times(database: &Faulty) -> Vec<i64> {
    let of_device = |row: &simulator::verify::Row| row.device == "bad";
    let mut times: Vec<_> =
        database.rows().into_iter().filter(of_device).map(|row| row.time).collect();
    times.sort_unstable();
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_offered_once_more_and_only_once_across_a_crash() {
    let database = Faulty::start("127.0.0.1:0".parse().unwrap(), Config::default()).await.unwrap();
    let strict = Behaviour { malformed_if: Some("device=bad ".to_owned()), ..Behaviour::default() };
    database.set(strict).await.unwrap();
    let tables = format!(
        "[[output]]\nid = \"home\"\ntype = \"influxdb\"\nurl = \"{}\"\ndatabase = \"iot\"\n\
         [output.limits]\nbatch_age_max = \"20ms\"\n",
        database.url()
    );
    let mut gateway = Gateway::start(&Setup { journal: "", tables: &tables });
    let lines = b"m,device=good v=1 1\nm,device=bad v=2 2\nm,device=bad v=3 3\n";
    assert_eq!(post(gateway.http_port, "/write", &[], lines).unwrap().status, 204);
    assert_eq!(post(gateway.http_port, "/write", &[], b"no line\n").unwrap().status, 400);
    let listed = wait_for("the dead letters", PATIENCE, || match dead(&gateway, &["list"]) {
        said if said.out.lines().count() == 3 => Ok(said),
        said => Err(format!("{said:?}")),
    });
    assert!(listed.out.contains("malformed: unable to parse"), "{}", listed.out);
    let of_home = ids(&dead(&gateway, &["list", "--output", "home"]));
    assert_eq!(of_home.len(), 2);
    let shown = dead(&gateway, &["show", &of_home[0]]);
    assert!(shown.out.contains("\"line\": \"m,device=bad v=2.0 2\""), "{shown:?}");

    let again = dead(&gateway, &["replay"]);
    assert_eq!((again.code, again.out.as_str()), (1, "replayed 0  refused again 2\n"), "{again:?}");
    assert!(again.err.contains(&of_home[1]), "{again:?}");
    database.set(Behaviour::default()).await.unwrap();
    let one = dead(&gateway, &["replay", &of_home[0]]);
    assert_eq!((one.code, one.out.as_str()), (0, "replayed 1  refused again 0\n"), "{one:?}");
    assert_eq!(times(&database), [2]);
    wait_for("the position on the disk", PATIENCE, || match gateway.confirmed_on_disk("home") {
        1 => Ok(()),
        confirmed => Err(format!("{confirmed} confirmed")),
    });
    gateway.kill();
    gateway.run();
    let rest = dead(&gateway, &["replay", "--output", "home"]);
    assert_eq!((rest.code, rest.out.as_str()), (0, "replayed 1  refused again 0\n"), "{rest:?}");
    assert_eq!((times(&database), database.changes()), (vec![2, 3], vec![]));
    let none = dead(&gateway, &["replay"]);
    assert_eq!((none.code, none.out.as_str()), (0, "replayed 0  refused again 0\n"), "{none:?}");
    assert!(dead(&gateway, &["list"]).out.contains("malformed, replayed"));
    let status = gateway.status();
    let home = status.outputs.iter().find(|output| output.id == "home").unwrap();
    assert_eq!((home.confirmed, home.dead), (1, 2), "the books have counted them once");

    let of_intake = ids(&dead(&gateway, &["list", "--output", "intake"]));
    for (words, told) in [
        (["replay", of_intake[0].as_str()], "belongs to no output"),
        (["replay", of_home[0].as_str()], "was replayed already"),
        (["show", "1-2-3"], "no dead letter has the id"),
    ] {
        let said = dead(&gateway, &words);
        assert!(said.code == 1 && said.err.contains(told), "{said:?}");
    }
    gateway.kill();
    assert_eq!(dead(&gateway, &["list"]).code, 75);
}
