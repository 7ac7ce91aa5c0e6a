//! An operator's configuration, rewritten so that a gateway that runs by it can do no harm.
//!
//! ```text
//!  CONFIG --toml--> Original --derive(Places)--> text for a gateway of our own, and what was changed
//! ```
//! Replaced: every place (ports, directories, sockets, databases, secrets). Left out: what leads to
//! others (`[[broker]]`), what simulated devices do not speak (TLS, users). Shortened: waits that no
//! run of minutes could sit out. Everything else stays as it is typed, also keys that nobody here
//! knows, so that limits, policies and batches are the operator's own. A place under a key that is not
//! known here is refused, not passed on.

mod guard;
mod house;
mod listen;
mod output;
mod quantity;
#[cfg(test)]
mod tests;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

pub(super) use house::CONTROL;
pub(super) use output::{Destination, Output, SECRET};

/// Why no configuration for a run can be made of this file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// What an operator has.
#[derive(Debug)]
pub(super) struct Original {
    root: Table,
    /// Where its relative paths count from.
    dir: PathBuf,
}

/// What takes the place of the operator's own.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) dir: PathBuf,
    pub(super) mqtt: SocketAddr,
    pub(super) http: SocketAddr,
    /// A URL for each output of type `influxdb`, in their order.
    pub(super) databases: Vec<String>,
    /// Bytes free where `dir` is.
    pub(super) room: u64,
}

#[derive(Debug)]
pub(super) struct Derived {
    pub(super) text: String,
    pub(super) outputs: Vec<Output>,
    pub(super) mqtt: Option<Listener>,
    pub(super) http: Option<Listener>,
    /// What differs from the original other than by its place, for people.
    pub(super) remarks: Vec<String>,
}

/// A port that the simulated devices connect to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) connections_max: u32,
}

impl Original {
    pub(super) fn load(path: &Path) -> Result<Self, Unreadable> {
        let named = |error: &dyn std::fmt::Display| {
            Unreadable(format!("{}: {}", path.display(), error.to_string().trim_end()))
        };
        let path = std::path::absolute(path).map_err(|error| named(&error))?;
        let text = fs::read_to_string(&path).map_err(|error| named(&error))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("/"))).map_err(|error| named(&error))
    }

    fn parse(text: &str, dir: &Path) -> Result<Self, Unreadable> {
        let root = text.parse::<Table>().map_err(|error| Unreadable(error.to_string()))?;
        Ok(Self { root, dir: dir.to_owned() })
    }

    pub(super) fn journal_dir(&self) -> PathBuf {
        let journal = self.root.get("journal").and_then(Value::as_table);
        let dir = journal.and_then(|journal| journal.get("dir")).and_then(Value::as_str);
        self.dir.join(dir.unwrap_or(house::JOURNAL_DIR))
    }

    /// How many databases it delivers to.
    pub(super) fn databases(&self) -> usize {
        let outputs = self.root.get("output").and_then(Value::as_array);
        let kind = |output: &Value| output.get("type").and_then(Value::as_str) == Some("influxdb");
        outputs.map_or(0, |outputs| outputs.iter().filter(|output| kind(output)).count())
    }

    pub(super) fn derive(&self, places: &Places) -> Result<Derived, Unreadable> {
        let mut root = self.root.clone();
        let mut remarks = Vec::new();
        let (mqtt, http) = listen::replace(&mut root, places, &mut remarks)?;
        house::replace(&mut root, places, &mut remarks)?;
        let outputs = output::replace(&mut root, places, &mut remarks)?;
        guard::check(&root, places)?;
        Ok(Derived { text: root.to_string(), outputs, mqtt, http, remarks })
    }
}

/// The table of that name, made if it is not there.
fn table<'t>(parent: &'t mut Table, name: &str) -> Result<&'t mut Table, Unreadable> {
    let found = parent.entry(name).or_insert_with(|| Value::Table(Table::new()));
    found.as_table_mut().ok_or_else(|| Unreadable(format!("`{name}` is not a table")))
}

/// The `[[name]]` there are.
fn tables<'t>(parent: &'t mut Table, name: &str) -> Result<Vec<&'t mut Table>, Unreadable> {
    let wrong = || Unreadable(format!("`{name}` is not a list of tables: write [[{name}]]"));
    let Some(found) = parent.get_mut(name) else { return Ok(Vec::new()) };
    let found = found.as_array_mut().ok_or_else(wrong)?;
    found.iter_mut().map(|one| one.as_table_mut().ok_or_else(wrong)).collect()
}

fn set(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}

fn text(path: &Path) -> Result<String, Unreadable> {
    let text = path.to_str();
    text.map(str::to_owned).ok_or_else(|| Unreadable(format!("{} is not UTF-8", path.display())))
}
