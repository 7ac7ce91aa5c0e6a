//! Clients that nobody here wrote: the scripts of `tests/clients`, run with what `./check` installed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{cache, missing, program};

/// Runs `tests/clients/<script>` to its end and fails with its words if it fails. `false`: not here.
pub fn run(script: &str, arguments: &[&str]) -> bool {
    let Some(mut command) = interpreter(script) else { return false };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let output = command.arg(file).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{script} {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

fn interpreter(script: &str) -> Option<Command> {
    let language = Path::new(script).extension().unwrap();
    if language == "py" { python() } else { node() }
}

fn python() -> Option<Command> {
    let home = installed("python", "PyPI clients")?;
    Some(Command::new(home.join("bin/python")))
}

fn node() -> Option<Command> {
    let home = installed("node", "npm clients")?;
    let Some(binary) = program("node") else {
        missing("node", "install Node.js 20 or later");
        return None;
    };
    let mut command = Command::new(binary);
    command.env("NODE_PATH", home.join("node_modules"));
    Some(command)
}

fn installed(name: &str, what: &str) -> Option<PathBuf> {
    let home = cache().join("clients").join(name);
    if home.join(".stamp").is_file() {
        return Some(home);
    }
    missing(what, "./check installs them");
    None
}
