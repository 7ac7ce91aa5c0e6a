//! Does `tidegate-sim torture` prove what it says, on an operator's own configuration; does it find a
//! gateway that loses; does it leave anything behind?

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{START_MAX, missing, process::Process, rig::is_long, wait_for};

const GATEWAY: &str = env!("CARGO_BIN_EXE_tidegate");
/// Rounds, and then twice the time that the tool gives the last acknowledgements and deliveries.
const RUN_MAX: Duration = Duration::from_mins(8);

/// A run of the tool, and the directory that it works in.
struct Torture {
    process: Process,
    home: TempDir,
}

impl Torture {
    /// With `torture --dir` of its own; `None`: there is no such binary here.
    fn start(arguments: &[&str]) -> Option<Self> {
        let binary = Path::new(GATEWAY).with_file_name("tidegate-sim");
        if !binary.is_file() {
            missing("tidegate-sim", "cargo build --workspace --all-features");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("disk");
        fs::create_dir(&dir).unwrap();
        let mut command = Command::new(binary);
        command.arg("torture").args(arguments).arg("--dir").arg(&dir);
        if !arguments.contains(&"--gateway") {
            command.args(["--gateway", GATEWAY]);
        }
        let process = Process::spawn("torture", command, &home.path().join("said"));
        Some(Self { process, home })
    }

    fn disk(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    fn said(&self) -> String {
        self.process.log()
    }

    fn says(&mut self, words: &str) {
        wait_for(words, START_MAX, || {
            if self.said().contains(words) {
                return Ok(());
            }
            self.process.check_alive();
            Err(self.said())
        });
    }

    /// Its exit code and all that it said.
    fn ended(&mut self) -> (Option<i32>, String) {
        let status = self.process.ended(RUN_MAX);
        (status.code(), self.said())
    }

    /// Processes that work in its directory.
    fn gateways(&self) -> Vec<String> {
        let dir = self.disk().to_str().unwrap().to_owned();
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        // What ends meanwhile has no command line; what was killed and not yet reaped, an empty one.
        let lines = processes.map(|process| fs::read(process.join("cmdline")).unwrap_or_default());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        lines.filter(|line| line.contains(&dir) && line.contains(" run -c ")).collect()
    }

    /// Between a kill and the next start there is none.
    fn has_a_gateway(&self) {
        wait_for("a gateway", START_MAX, || match self.gateways().len() {
            1 => Ok(()),
            count => Err(format!("{count} of them")),
        });
    }

    fn has_left_nothing(&self) {
        wait_for("the end of every gateway", Duration::from_secs(30), || {
            let gateways = self.gateways();
            if gateways.is_empty() { Ok(()) } else { Err(format!("{gateways:?}")) }
        });
        let left: Vec<_> = fs::read_dir(self.disk()).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// The number before or behind a word of the verdict.
fn number(said: &str, before: &str, behind: &str) -> u64 {
    let found = said.lines().find_map(|line| {
        let (_, rest) = line.split_once(before)?;
        rest.trim_start().split_once(behind).map(|(number, _)| number.trim().parse().unwrap())
    });
    found.unwrap_or_else(|| panic!("no `{before}` in {said}"))
}

fn is_proof(mut torture: Torture, kills_min: u64) {
    let (code, said) = torture.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("\nclean\n"), "{said}");
    assert!(number(&said, " s: ", " kills") >= kills_min, "{said}");
    assert!(number(&said, "  acknowledged ", "  refused") > 100, "{said}");
    torture.has_left_nothing();
}

fn shipped(name: &str) -> String {
    format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A configuration in a directory of its own.
fn config(text: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidegate.toml");
    fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap().to_owned();
    (dir, name)
}

#[test]
fn the_shipped_configuration_loses_nothing() {
    let config = shipped("tidegate.toml");
    let until = if is_long() { ["--for", "2m"] } else { ["--kills", "2"] };
    let arguments = [&["--against", &config][..], &until].concat();
    let Some(torture) = Torture::start(&arguments) else { return };
    is_proof(torture, 2);
}

#[test]
fn the_configuration_for_a_raspberry_pi_loses_nothing() {
    let arguments = ["--against", &shipped("pi.toml"), "--kills", "3"];
    let Some(torture) = Torture::start(&arguments) else { return };
    is_proof(torture, 3);
}

#[test]
fn every_kind_of_output_is_tried_and_has_a_verdict_of_its_own() {
    let output = |id: &str, rest: &str| {
        format!(
            "[[output]]\nid = \"{id}\"\ntype = \"influxdb\"\nurl = \"http://db.example\"\n{rest}\n"
        )
    };
    let text = [
        "[mqtt]\n[tags]\nsite = \"here\"\n[journal]\nwhen_full = \"drop-oldest\"\n".to_owned(),
        output("one", "database = \"d\"\nusername = \"u\"\npassword = { env = \"NOT_SET\" }"),
        output(
            "three",
            "version = \"v3\"\ndatabase = \"d\"\ntoken = { file = \"nowhere\" }\ngzip = false",
        ),
        "[[output]]\nid = \"files\"\ntype = \"file\"\npath = \"/nowhere/out.lp\"\n".to_owned(),
        "[[broker]]\nurl = \"mqtt://broker.example\"\ntopics = [\"#\"]\n".to_owned(),
    ];
    let (_dir, file) = config(&text.concat());
    let Some(mut torture) = Torture::start(&["--against", &file, "--kills", "2"]) else { return };
    let (code, said) = torture.ended();
    assert_eq!(code, Some(0), "{said}");
    for output in ["one", "three", "files"] {
        assert!(said.contains(&format!("\noutput {output}\n    sent ")), "{said}");
    }
    assert!(said.contains("[[broker]]: 1 left out"), "{said}");
    torture.has_left_nothing();
}

#[test]
fn a_gateway_that_loses_what_it_acknowledged_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let liar = dir.path().join("liar");
    // `liar run -c FILE`: it forgets what it acknowledged whenever it starts.
    let script =
        format!("#!/bin/sh\nrm -rf \"$(dirname \"$3\")/journal\"\nexec {GATEWAY} \"$@\"\n");
    fs::write(&liar, script).unwrap();
    fs::set_permissions(&liar, fs::Permissions::from_mode(0o755)).unwrap();
    let (pi, liar) = (shipped("pi.toml"), liar.to_str().unwrap());
    let arguments = ["--against", &pi, "--gateway", liar, "--kills", "4"];
    let Some(mut torture) = Torture::start(&arguments) else { return };
    let (code, said) = torture.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("readings are LOST: acknowledged, not delivered"), "{said}");
    assert!(said.contains(": acknowledged, not stored"), "no reading is named: {said}");
    assert!(said.ends_with("NOT CLEAN\n"), "{said}");
    let kept = said.lines().find_map(|line| line.strip_prefix("kept: ")).unwrap();
    assert!(Path::new(kept).join("ledger").is_file(), "{said}");
}

#[test]
fn a_gateway_that_does_not_start_is_told_with_its_last_words() {
    let (_dir, file) = config("[mqtt]\ncolour = \"red\"\n");
    let Some(mut torture) = Torture::start(&["--against", &file]) else { return };
    let (code, said) = torture.ended();
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("unknown key `colour`"), "{said}");
    torture.has_left_nothing();

    let arguments = ["--against", &shipped("pi.toml"), "--gateway", "/bin/false"];
    let Some(mut torture) = Torture::start(&arguments) else { return };
    let (code, said) = torture.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it ended by itself: exit status: 1"), "{said}");
}

#[test]
fn ctrl_c_ends_the_rounds_with_a_verdict_and_leaves_nothing_behind() {
    let arguments = ["--against", &shipped("pi.toml"), "--for", "1h"];
    let Some(mut torture) = Torture::start(&arguments) else { return };
    // The second fault kills, should the first be the standstill.
    torture.says("\nround   2 ");
    torture.has_a_gateway();
    torture.process.signal(Signal::INT);
    is_proof(torture, 1);
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_leaves_nothing_behind() {
    let arguments = ["--against", &shipped("pi.toml"), "--for", "1h"];
    let Some(mut torture) = Torture::start(&arguments) else { return };
    torture.says("\nround   1 ");
    torture.process.signal(Signal::INT);
    torture.says("once more ends at once");
    torture.process.signal(Signal::INT);
    torture.ended();
    torture.has_left_nothing();
}

#[test]
fn a_tool_that_is_killed_takes_its_gateway_with_it() {
    let arguments = ["--against", &shipped("pi.toml"), "--for", "1h"];
    let Some(mut torture) = Torture::start(&arguments) else { return };
    torture.says("\nround   1 ");
    torture.has_a_gateway();
    torture.process.kill();
    wait_for("the end of the gateway", Duration::from_secs(30), || {
        let gateways = torture.gateways();
        if gateways.is_empty() { Ok(()) } else { Err(format!("{gateways:?}")) }
    });
}
