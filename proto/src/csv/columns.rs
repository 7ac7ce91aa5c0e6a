//! What the columns of a table mean: the header's names, and what whoever has the table says of them.

use super::rows::Rows;

/// What is said of a table's columns, by their names in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub delimiter: u8,
    pub time: TimeColumn,
    /// Whose cells are the measurement; `None`: it is said elsewhere.
    pub measurement: Option<String>,
    pub tags: Vec<String>,
    /// The only fields; empty: every other column is one.
    pub fields: Vec<String>,
}

/// Where the time stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TimeColumn {
    /// In the first column called `time`, `timestamp`, `ts`, `_time` or `datetime`, in any case.
    #[default]
    Usual,
    Named(String),
    /// Nowhere: rows are stamped as they arrive.
    Nowhere,
}

const USUAL: [&str; 5] = ["time", "timestamp", "ts", "_time", "datetime"];

impl Default for Layout {
    fn default() -> Self {
        Self {
            delimiter: b',',
            time: TimeColumn::Usual,
            measurement: None,
            tags: Vec::new(),
            fields: Vec::new(),
        }
    }
}

/// The columns of one table, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    delimiter: u8,
    roles: Vec<(Role, String)>,
    /// Where the header ends: bytes and lines.
    header: (usize, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Time,
    Measurement,
    Tag,
    Field,
    /// Not wanted, or without a name.
    Nothing,
}

/// Why a table cannot be read at all. Said to a person, who can say more of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("there is no header")]
    Empty,
    #[error("the header cannot be read: {0}")]
    Broken(&'static str),
    #[error("the header has `{0}` twice")]
    Twice(String),
    #[error("no column is called `{name}`; there are {known}")]
    Unknown { name: String, known: String },
    #[error("no column is the time; there are {known}")]
    NoTime { known: String },
    #[error("no column is left for a field")]
    NoField,
    #[error(
        "this is annotated CSV, tables of Flux one after another: \
         have the database write line protocol (influxd inspect export-lp), or one plain table"
    )]
    Annotated,
}

impl Columns {
    /// Reads the header, with which `table` begins.
    pub fn of(table: &[u8], layout: &Layout) -> Result<Self, HeaderError> {
        if ["#datatype", "#group", "#default"].iter().any(|it| table.starts_with(it.as_bytes())) {
            return Err(HeaderError::Annotated);
        }
        let mut rows = Rows::new(table, layout.delimiter);
        let row = rows.next().ok_or(HeaderError::Empty)?;
        let cells = row.cells.map_err(|fault| HeaderError::Broken(fault.text()))?;
        let names: Vec<String> = cells.iter().map(|cell| cell.trim().to_owned()).collect();
        let columns = Self {
            delimiter: layout.delimiter,
            roles: roles(&names, layout)?.into_iter().zip(names).collect(),
            header: rows.passed(),
        };
        let has_field = columns.roles.iter().any(|(role, _)| *role == Role::Field);
        if has_field { Ok(columns) } else { Err(HeaderError::NoField) }
    }

    /// Bytes of the header, and lines.
    pub fn header(&self) -> (usize, u32) {
        self.header
    }

    /// Whether rows say when.
    pub fn has_time(&self) -> bool {
        self.roles.iter().any(|(role, _)| *role == Role::Time)
    }

    pub(super) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    pub(super) fn len(&self) -> usize {
        self.roles.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Role, &str)> {
        self.roles.iter().map(|(role, name)| (*role, name.as_str()))
    }
}

fn roles(names: &[String], layout: &Layout) -> Result<Vec<Role>, HeaderError> {
    for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if names.iter().skip(at + 1).any(|later| later == name) {
            return Err(HeaderError::Twice(name.clone()));
        }
    }
    let rest = if layout.fields.is_empty() { Role::Field } else { Role::Nothing };
    let rest = |name: &String| if name.is_empty() { Role::Nothing } else { rest };
    let mut roles: Vec<Role> = names.iter().map(rest).collect();
    let mut give = |name: &str, role: Role| {
        let at = names.iter().position(|one| one == name && !name.is_empty());
        let unknown = || HeaderError::Unknown { name: name.to_owned(), known: known(names) };
        let place = at.and_then(|at| roles.get_mut(at)).ok_or_else(unknown)?;
        *place = role;
        Ok(())
    };
    for name in &layout.fields {
        give(name, Role::Field)?;
    }
    for name in &layout.tags {
        give(name, Role::Tag)?;
    }
    if let Some(name) = &layout.measurement {
        give(name, Role::Measurement)?;
    }
    match &layout.time {
        TimeColumn::Nowhere => {}
        TimeColumn::Named(name) => give(name, Role::Time)?,
        TimeColumn::Usual => {
            let is_usual = |name: &&String| USUAL.iter().any(|it| it.eq_ignore_ascii_case(name));
            let found = names.iter().find(is_usual);
            give(found.ok_or_else(|| HeaderError::NoTime { known: known(names) })?, Role::Time)?;
        }
    }
    Ok(roles)
}

/// Bounded: a file that is no table may have anything for a header.
fn known(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{}`", crate::names::short(name)));
    let mut shown = shown.collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        shown.push_str(", ...");
    }
    shown
}
