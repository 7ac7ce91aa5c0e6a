//! `tidegate watch`: what arrives is shown, and the gateway never waits for who looks.

use rustix::process::Signal;

use super::{PATIENCE, gateway_with, tidegate};
use crate::support::{gateway::Gateway, http::post, process::Process, wait_for};

pub fn watch(gateway: &Gateway, arguments: &[&str]) -> Process {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_remove("TIDEGATE_CONFIG").arg("watch").args(arguments);
    command.arg("-c").arg(gateway.config_file());
    let log = gateway.dir().join(format!("watched{}", arguments.len()));
    Process::spawn("tidegate watch", command, &log)
}

fn write(gateway: &Gateway, lines: &str) {
    let answer = post(gateway.http_port, "/write", &[], lines.as_bytes()).unwrap();
    assert!(answer.status == 204 || answer.status == 400, "{answer:?}");
}

/// Writes until the watcher has said it: it may not have begun to watch yet.
fn seen(gateway: &Gateway, watcher: &Process, lines: &str, words: &str) {
    wait_for(words, PATIENCE, || {
        write(gateway, lines);
        let log = watcher.log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    });
}

#[test]
fn shows_points_and_refusals_and_stops_after_so_many() {
    let gateway = gateway_with(0);
    let mut all = watch(&gateway, &[]);
    seen(&gateway, &all, "m,device=a v=1 7\n", "# http /write\nm,device=a v=1.0 7\n");
    seen(&gateway, &all, "m,device=a v=\n", "# refused: reading 0: ");
    all.check_alive();
    drop(all);

    let mut refused = watch(&gateway, &["/write", "--refused", "--count", "2"]);
    wait_for("the end after two refusals", PATIENCE, || {
        write(&gateway, "m,device=b v=1 7\nm,device=b v=\n");
        write(&gateway, "m,device=c v=1 7\n");
        let log = refused.log();
        if log.matches("# refused: ").count() >= 2 { Ok(()) } else { Err(log) }
    });
    assert_eq!(refused.ended(PATIENCE).code(), Some(0));
    assert!(!refused.log().contains("device=c"), "{}", refused.log());
}

#[test]
fn a_filter_that_makes_no_sense_and_no_gateway_are_told() {
    let gateway = gateway_with(0);
    let config = gateway.config_file();
    let said = tidegate(["watch", "a/#/b", "-c", config.to_str().unwrap()]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("nothing may come after"), "{said:?}");

    let said = tidegate(["watch", "other/#", "--for", "1s", "-c", config.to_str().unwrap()]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");

    let nobody = gateway.dir().join("nobody");
    let said = tidegate(["watch", "--socket", nobody.to_str().unwrap()]);
    assert_eq!(said.code, 75, "{said:?}");
    assert!(said.err.contains("no gateway answers on"), "{said:?}");
}

#[test]
fn a_terminal_that_stands_still_holds_up_neither_writers_nor_the_end() {
    let mut gateway = gateway_with(0);
    let mut watcher = watch(&gateway, &[]);
    seen(&gateway, &watcher, "m,device=a v=1 1\n", "# http /write\n");
    watcher.signal(Signal::STOP);
    // More than the socket and the queue hold.
    let lines = "measurement,device=a value=1 1700000000000000000\n".repeat(200);
    for _ in 0..400 {
        write(&gateway, &lines);
    }
    watcher.signal(Signal::CONT);
    wait_for("what was not shown", PATIENCE, || {
        let log = watcher.log();
        let is_told = log.contains(" payloads not shown\n");
        if is_told { Ok(()) } else { Err(format!("{} bytes", log.len())) }
    });
    watcher.signal(Signal::STOP);
    for _ in 0..400 {
        write(&gateway, &lines);
    }
    assert_eq!(gateway.terminate(PATIENCE).code(), Some(0));
    watcher.signal(Signal::CONT);
    assert_eq!(watcher.ended(PATIENCE).code(), Some(75));
    assert!(watcher.log().contains("the gateway has ended"), "no word of the end");
}
