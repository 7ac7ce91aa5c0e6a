//! What does a user see who types a subcommand: its words, its streams, its exit code?

mod check;
mod dead;
mod described;
mod frame;
mod import;
mod journal;
mod status;
mod watch;

use std::{ffi::OsStr, fs, path::PathBuf, time::Duration};

use assert_cmd::Command;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{
    gateway::{Gateway, Setup},
    http::post,
    process::Process,
    wait_for,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a subcommand said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn tidegate<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Said {
    tidegate_reading(arguments, b"")
}

/// With so much on standard input.
fn tidegate_reading<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>, input: &[u8]) -> Said {
    tidegate_within(PATIENCE, arguments, input)
}

/// It is killed if it takes longer.
fn tidegate_within<S: AsRef<OsStr>>(
    limit: Duration,
    arguments: impl IntoIterator<Item = S>,
    input: &[u8],
) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_remove("TIDEGATE_CONFIG").args(arguments).timeout(limit);
    let output = command.write_stdin(input).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code().expect("not ended by a signal"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// A directory with a file of that content.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

/// A gateway that writes to a file, with so many readings in its journal, each in a group of its own.
fn gateway_with(readings: u32) -> Gateway {
    let tables = "[[output]]\nid = \"files\"\ntype = \"file\"\npath = \"out/out.lp\"\n";
    let mut gateway = Gateway::prepare(&Setup { journal: "", tables });
    fs::create_dir(gateway.dir().join("out")).unwrap();
    gateway.run();
    for n in 0..readings {
        let line = format!("m,device=a v={n} {n}");
        let answer = post(gateway.http_port, "/write", &[], line.as_bytes()).unwrap();
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    gateway
}

#[test]
fn a_demo_ends_balanced_and_keeps_what_it_is_told_to_keep() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    let arguments = ["demo", "--for", "3s", "--dir", kept.to_str().unwrap()];
    let said = tidegate(arguments);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("\nLOST       0\nPHANTOM    0\nWRONG      0\n"), "{}", said.out);
    assert!(said.out.contains("\nbalanced: "), "{}", said.out);
    let lines = fs::read_to_string(kept.join("readings/demo.lp")).unwrap();
    let stored = format!("\nstored {}  missing 0\n", lines.lines().count());
    assert!(said.out.contains(&stored), "no `{stored}` in {}", said.out);
}

/// Ctrl-C is how the README says that a demo ends.
#[test]
fn a_demo_that_is_interrupted_ends_balanced() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env_remove("TIDEGATE_CONFIG").arg("demo").arg("--dir").arg(dir.path().join("kept"));
    let mut demo = Process::spawn("tidegate demo", command, &dir.path().join("log"));
    wait_for("readings in the demo's files", PATIENCE, || {
        demo.check_alive();
        let lines = fs::read_to_string(dir.path().join("kept/readings/demo.lp"));
        if lines.is_ok_and(|lines| lines.lines().count() > 20) { Ok(()) } else { Err(demo.log()) }
    });
    demo.signal(Signal::INT);
    let status = demo.ended(PATIENCE);
    let said = demo.log();
    assert_eq!(status.code(), Some(0), "{status}\n{said}");
    for words in
        ["stopping: SIGINT\n", "\nLOST       0\nPHANTOM    0\nWRONG      0\n", "\nbalanced: "]
    {
        assert!(said.contains(words), "no `{words}` in\n{said}");
    }
}

#[test]
fn what_is_typed_wrong_is_a_usage_error() {
    let wrong: [&[&str]; 7] = [
        &[],
        &["frobnicate"],
        &["run", "--nope"],
        &["check", "--topic", "a"],
        &["demo", "--for", "soon"],
        &["demo", "--devices", "1"],
        &["journal", "verify"],
    ];
    for arguments in wrong {
        let said = tidegate(arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}: {said:?}");
        assert!(said.err.contains("--help"), "{arguments:?}: {said:?}");
    }
    for asked in ["--help", "--version"] {
        let said = tidegate([asked]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        assert!(said.out.to_lowercase().contains("tidegate"), "{said:?}");
    }
}

#[test]
fn what_may_pass_ends_with_try_again() {
    let gateway = gateway_with(0);
    let config = gateway.config_file();
    let second = tidegate(["run", "-c", config.to_str().unwrap()]);
    assert_eq!(second.code, 75, "{second:?}");
    let journal = gateway.dir().join("journal");
    let words = format!("another process holds {}", journal.display());
    assert!(second.err.contains(&words), "{}", second.err);

    let text = fs::read_to_string(&config).unwrap();
    let elsewhere = text.replace("/journal\"", "/journal-2\"");
    let (_dir, other) = file("other.toml", elsewhere.replace("control.sock", "other.sock"));
    let third = tidegate(["run", "-c", other.to_str().unwrap()]);
    assert_eq!(third.code, 75, "{third:?}");
    let words = format!("cannot listen on 127.0.0.1:{}", gateway.mqtt_port);
    assert!(third.err.contains(&words), "{}", third.err);
}
