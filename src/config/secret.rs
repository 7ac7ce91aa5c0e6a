//! Secrets: in a file or in the environment, never in the config itself.

use std::path::PathBuf;

use secrecy::SecretString;
use toml::de::DeValue;

use super::table::Table;

/// A secret that was there when the config was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) value: SecretString,
    pub(super) place: Place,
}

/// Where a secret can be read again.
#[derive(Debug)]
pub(super) enum Place {
    File(PathBuf),
    Variable(String),
}

/// `key = { file = "..." }` or `key = { env = "..." }`.
pub(super) fn secret(table: &Table<'_>, key: &'static str) -> Option<Found> {
    let value = table.value(key)?;
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        let text = format!(
            "a secret does not belong into this file; write `{key} = {{ file = \"...\" }}` with the \
             name of a file that holds it, or `{key} = {{ env = \"...\" }}` with a variable's"
        );
        table.problem(value, text);
        return None;
    }
    let inner = table.table(key);
    let (file, variable) = (inner.opt_path("file"), inner.opt_text("env"));
    let found = match (file, variable) {
        (Some(path), None) => from_file(&inner, path),
        (None, Some(name)) => from_environment(&inner, &name),
        (None, None) if inner.has("file") || inner.has("env") => None,
        _ => {
            table.problem(value, format!("`{key}` needs either `file` or `env`"));
            None
        }
    };
    inner.done();
    found
}

fn from_file(table: &Table<'_>, path: PathBuf) -> Option<Found> {
    let problem = match (table.around().read)(&path) {
        Ok(text) if !text.trim().is_empty() => {
            return Some(Found { value: text.trim().into(), place: Place::File(path) });
        }
        Ok(_) => "it is empty".to_owned(),
        Err(error) => error.to_string(),
    };
    table.wrong("file", format!("cannot take the secret from {}: {problem}", path.display()));
    None
}

fn from_environment(table: &Table<'_>, name: &str) -> Option<Found> {
    let value = (table.around().env)(name).filter(|value| !value.trim().is_empty());
    if value.is_none() {
        table.wrong("env", format!("the environment variable `{name}` is not set, or empty"));
    }
    let place = Place::Variable(name.to_owned());
    value.map(|value| Found { value: value.trim().into(), place })
}
