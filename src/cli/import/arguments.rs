//! What can be said of the files, as it is typed; and what that means.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use proto::{Precision, csv};

use crate::cli::ConfigFile;
use crate::collect::import::{Format, Settings, Source};
use crate::intake::route::zone;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(super) config: ConfigFile,
    /// Files, plain or gzip; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What they are written in; otherwise told by the name or the first bytes of each.
    #[arg(long, value_enum)]
    format: Option<Written>,
    /// The measurement of readings that name none; a table needs it, or `--measurement-column`.
    #[arg(long, value_name = "NAME")]
    measurement: Option<String>,
    /// Added to every reading; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
    add_tag: Vec<(String, String)>,
    /// The unit of times that are numbers. (default: ns in line protocol, else by magnitude)
    #[arg(long, value_enum)]
    precision: Option<Unit>,
    /// What times without offset mean, for example Europe/Berlin or UTC; otherwise they are refused
    /// in a table, and not trusted in JSON.
    #[arg(long, value_name = "NAME")]
    time_zone: Option<String>,
    /// Table: the column that is the time. (default: time, timestamp, ts, _time or datetime)
    #[arg(long, value_name = "COLUMN", conflicts_with = "no_time")]
    time: Option<String>,
    /// Table: no column is the time; rows are stamped as they come.
    #[arg(long)]
    no_time: bool,
    /// Table: a column that is a tag; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    tag: Vec<String>,
    /// Table: a column that is a field, and no other is; may be given several times.
    #[arg(long, value_name = "COLUMN")]
    field: Vec<String>,
    /// Table: the column that is the measurement.
    #[arg(long, value_name = "COLUMN")]
    measurement_column: Option<String>,
    /// Table: what stands between cells; `tab` is one.
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter, default_value = ",")]
    delimiter: u8,
    /// Readings a second at most.
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<NonZeroU32>,
    /// How long outputs are waited for that take nothing, for example `10m`; otherwise for as long as
    /// it takes.
    #[arg(long, value_name = "TIME", value_parser = crate::config::duration)]
    pub(super) wait: Option<Duration>,
    /// Begin every file at its beginning, whatever was imported before.
    #[arg(long)]
    pub(super) anew: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Written {
    /// Line protocol.
    Line,
    /// A JSON object a line.
    Ndjson,
    /// One JSON document.
    Json,
    /// A table with a header.
    Csv,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unit {
    S,
    Ms,
    Us,
    Ns,
}

impl Arguments {
    pub(super) fn checked(&self) -> Result<(Settings, Vec<Source>), String> {
        let zone = match &self.time_zone {
            None => None,
            Some(name) => {
                let unknown = || format!("--time-zone: there is no time zone `{name}`");
                Some((name.clone(), zone::named(name).ok_or_else(unknown)?))
            }
        };
        let table = csv::Layout {
            delimiter: self.delimiter,
            time: match &self.time {
                Some(name) => csv::TimeColumn::Named(name.clone()),
                None if self.no_time => csv::TimeColumn::Nowhere,
                None => csv::TimeColumn::Usual,
            },
            measurement: self.measurement_column.clone(),
            tags: self.tag.clone(),
            fields: self.field.clone(),
        };
        let settings = Settings {
            format: self.format.map(Written::meant),
            measurement: self.measurement.clone(),
            tags: self.add_tag.clone(),
            precision: self.precision.map(Unit::meant),
            zone,
            table,
        };
        Ok((settings, self.files.iter().map(|file| source(file)).collect()))
    }
}

fn source(file: &Path) -> Source {
    if file.as_os_str() == "-" { Source::Stdin } else { Source::File(file.to_owned()) }
}

impl Written {
    fn meant(self) -> Format {
        match self {
            Self::Line => Format::Line,
            Self::Ndjson => Format::Ndjson,
            Self::Json => Format::Json,
            Self::Csv => Format::Csv,
        }
    }
}

impl Unit {
    fn meant(self) -> Precision {
        match self {
            Self::S => Precision::Seconds,
            Self::Ms => Precision::Milliseconds,
            Self::Us => Precision::Microseconds,
            Self::Ns => Precision::Nanoseconds,
        }
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" | b"\t" => Ok(b'\t'),
        [byte @ (b' '..=b'~')] if !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(*byte),
        _ => Err("one character such as `,` or `;`, or `tab`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_one_character() {
        assert_eq!(delimiter(";"), Ok(b';'));
        assert_eq!(delimiter("tab"), Ok(b'\t'));
        for wrong in ["", ";;", "a", "\"", "é", "\n"] {
            assert!(delimiter(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_tag_has_a_name_and_a_value() {
        assert_eq!(tag("site=home=1"), Ok(("site".to_owned(), "home=1".to_owned())));
        for wrong in ["", "site", "=home", "site="] {
            assert!(tag(wrong).is_err(), "{wrong:?}");
        }
    }
}
