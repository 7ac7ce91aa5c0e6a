//! Does a process that crashes by itself leave a trace, and one that is killed none?

use std::{fs, time::Duration};

use rustix::process::Signal;

use crate::support::gateway::{Gateway, Setup};

const PATIENCE: Duration = Duration::from_secs(30);

const FILE: &str = "[[output]]\nid = \"files\"\ntype = \"file\"\npath = \"out.lp\"\n";

fn ended_by(gateway: &mut Gateway, signal: Signal) -> u64 {
    gateway.process().signal(signal);
    assert!(!gateway.ended(PATIENCE).success());
    trace(gateway)
}

fn trace(gateway: &Gateway) -> u64 {
    fs::metadata(gateway.dir().join("journal/CRASHED")).unwrap().len()
}

#[test]
fn an_abort_leaves_its_trace_until_the_next_start_and_a_kill_none() {
    let mut gateway = Gateway::start(&Setup { journal: "", tables: FILE });
    assert_eq!(ended_by(&mut gateway, Signal::KILL), 0);
    gateway.run();
    assert_eq!(ended_by(&mut gateway, Signal::ABORT), 1);
    gateway.run();
    assert_eq!(trace(&gateway), 0);
    assert!(gateway.terminate(PATIENCE).success());
    assert_eq!(trace(&gateway), 0);
}
