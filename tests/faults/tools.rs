//! Programs of the machine that make faults, and whether they are here.

use std::process::{Command, Stdio};

use crate::support::{missing, program};

/// Calls by which the journal changes its disk.
pub const DISK_CALLS: &str =
    "pwrite64,fdatasync,fsync,fallocate,ftruncate,rename,renameat,renameat2,unlink,unlinkat";

/// Whether the program of this Debian package is here; said loudly if not.
pub fn has(name: &str, package: &str) -> bool {
    let is_here = program(name).is_some();
    if !is_here {
        missing(name, &format!("Debian package {package}"));
    }
    is_here
}

/// Whether `strace` is here and may trace.
pub fn has_strace() -> bool {
    if !has("strace", "strace") {
        return false;
    }
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "true"]).stdin(Stdio::null()).stderr(Stdio::null());
    let may_trace = command.status().unwrap().success();
    if !may_trace {
        missing("ptrace", "this kernel or container does not let strace trace");
    }
    may_trace
}

/// Runs a program to its end, which must be a good one; what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
