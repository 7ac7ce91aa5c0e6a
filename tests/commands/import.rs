//! `tidegate import`: is what stands in a file in the database afterwards, once, whatever happens in
//! between; and does it say so?

mod formats;
mod interrupted;
mod outputs;

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use simulator::{faulty::Faulty, verify::Row};

use super::{Said, tidegate_within};
use crate::support::{process::Process, rig::Rig};

/// Long enough for any import here on a busy machine.
const IMPORT_MAX: Duration = Duration::from_mins(2);

/// `tidegate import ... -c CONFIG`, to its end.
fn import<S: AsRef<OsStr>>(rig: &Rig, arguments: &[S]) -> Said {
    import_reading(rig, arguments, b"")
}

fn import_reading<S: AsRef<OsStr>>(rig: &Rig, arguments: &[S], input: &[u8]) -> Said {
    let config = rig.gateway.config_file();
    let ours = [OsStr::new("import"), OsStr::new("-c"), config.as_os_str()];
    let theirs = arguments.iter().map(AsRef::as_ref);
    tidegate_within(IMPORT_MAX, ours.into_iter().chain(theirs), input)
}

/// The same, not waited for.
fn spawn(rig: &Rig, arguments: &[&str]) -> Process {
    let mut command = rig.gateway.command();
    command.arg("import").arg("-c").arg(rig.gateway.config_file()).args(arguments);
    Process::spawn("tidegate import", command, &rig.gateway.dir().join("log"))
}

/// A file in the rig's directory.
fn write(rig: &Rig, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = rig.gateway.dir().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `m,device=d v=N N`, for each of so many.
fn numbered(readings: i64) -> String {
    let mut lines = String::new();
    for n in 1..=readings {
        writeln!(lines, "m,device=d v={n} {n}").unwrap();
    }
    lines
}

/// What the database holds of the gateway's readings.
fn rows(database: &Faulty) -> Vec<Row> {
    let is_probe = |row: &Row| row.measurement == "tidegate_probe";
    let mut rows: Vec<Row> = database.rows().into_iter().filter(|row| !is_probe(row)).collect();
    rows.sort_by(|a, b| (&a.measurement, a.time).cmp(&(&b.measurement, b.time)));
    rows
}

/// Exactly the readings of `numbered` are there, each once.
fn expect_numbered(database: &Faulty, readings: i64) {
    let rows = rows(database);
    let times: Vec<i64> = rows.iter().map(|row| row.time).collect();
    assert_eq!(times, (1..=readings).collect::<Vec<_>>());
    for row in &rows {
        assert_eq!(
            row.fields[0].1.borrow().as_f64().map(|v| format!("{v}")),
            Some(row.time.to_string())
        );
    }
    assert_eq!(database.stats().malformed, 0);
    assert_eq!(database.changes(), []);
}

/// A number of what was said: `before 120 after`.
fn number(said: &str, before: &str, after: &str) -> i64 {
    let found = said.split(before).nth(1).and_then(|rest| rest.split(after).next());
    let found = found.and_then(|number| number.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no number between `{before}` and `{after}` in\n{said}"))
}
