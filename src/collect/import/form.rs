//! What a file is written in: as it is said, or as its name and its first bytes tell; and how one
//! piece of it becomes readings.
//!
//! The decoders are those that devices' payloads meet. Only a table (CSV) is known to files alone.

use std::{path::Path, sync::Arc};

use proto::timestamp::Zone;
use proto::{Context, Mapping, Precision, csv, line};

use crate::intake::decode::{self, Named};
use crate::intake::pieces::Pieces;
use crate::intake::{self, Gather, Outcome};

/// A JSON document is held whole.
pub(super) const DOCUMENT_BYTES_MAX: usize = 8 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Line protocol.
    Line,
    /// A JSON object a line.
    Ndjson,
    /// One JSON document: an object, or an array of them.
    Json,
    Csv,
}

/// What is said of the files. All of it together says what their bytes mean, so an import goes on
/// only under the same settings.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `None`: told by the name or the first bytes.
    pub format: Option<Format>,
    /// Of readings that name none.
    pub measurement: Option<String>,
    /// Added to every reading.
    pub tags: Vec<(String, String)>,
    /// Of times that are numbers.
    pub precision: Option<Precision>,
    /// What times without offset mean, by its name.
    pub zone: Option<(String, Arc<dyn Zone>)>,
    /// What the columns of a table are.
    pub table: csv::Layout,
}

impl Settings {
    /// The same for the same settings, whatever release asks.
    pub(super) fn identity(&self) -> String {
        let Self { format, measurement, tags, precision, zone, table } = self;
        let csv::Layout { delimiter, time, measurement: column, tags: columns, fields } = table;
        let zone = zone.as_ref().map(|(name, _)| name);
        format!(
            "{format:?} {measurement:?} {tags:?} {precision:?} {zone:?} \
             {delimiter} {time:?} {column:?} {columns:?} {fields:?}"
        )
    }
}

/// How one file is read.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) format: Format,
    settings: Arc<Settings>,
    mapping: Option<Mapping>,
    /// Of a table.
    columns: Option<csv::Columns>,
    delimiter: u8,
    /// Where the first reading may stand: bytes and lines.
    pub(super) begin: (u64, u64),
}

impl Form {
    /// `head`: the beginning of the file, at least its first line if there is one.
    pub(super) fn of(settings: &Arc<Settings>, name: &Path, head: &[u8]) -> Result<Self, String> {
        let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
        let mark = head.len() - text.len();
        let format = settings.format.or_else(|| by_name(name));
        let delimiter = delimiter(name, settings.table.delimiter);
        let format = format.or_else(|| by_head(text, delimiter));
        let format = format.ok_or("what it is written in cannot be told: say it with --format")?;
        let columns = match format {
            Format::Csv => Some(columns(settings, text, delimiter)?),
            Format::Line | Format::Ndjson | Format::Json => None,
        };
        let header = columns.as_ref().map_or((0, 0), csv::Columns::header);
        let zone = settings.zone.as_ref().map(|(_, zone)| Arc::clone(zone));
        Ok(Self {
            format,
            settings: Arc::clone(settings),
            mapping: zone.map(|zone| Mapping { zone: Some(zone), ..Mapping::default() }),
            columns,
            delimiter,
            begin: ((mark + header.0) as u64, u64::from(header.1)),
        })
    }

    pub(super) fn pieces(&self) -> Pieces {
        match self.format {
            Format::Line => Pieces::of_line_protocol(),
            Format::Csv => Pieces::of_csv(self.delimiter),
            Format::Ndjson | Format::Json => Pieces::of_ndjson(),
        }
    }

    /// What became of a piece, and how many of its readings carry no time.
    pub(super) fn decode(&self, gather: &mut Gather, path: &str, bytes: &[u8]) -> (Outcome, u64) {
        let Settings { measurement, tags, precision, .. } = &*self.settings;
        let tags = tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let measurement = measurement.as_deref();
        let mut unstamped = 0;
        let outcome = gather.by(path, bytes, tags, |context, out, bad| {
            let context = &Context {
                precision: *precision,
                mapping: self.mapping.as_ref(),
                measurement: measurement.unwrap_or(context.measurement),
                ..*context
            };
            let named = Named { measurement, field: None };
            match (&self.columns, self.format) {
                (Some(columns), _) => csv::decode(bytes, columns, context, out, bad),
                (None, Format::Line) => {
                    decode::decode(intake::Format::Line, bytes, context, named, out, bad);
                }
                (None, _) => {
                    decode::decode(intake::Format::Json, bytes, context, named, out, bad);
                }
            }
            unstamped = out.unstamped() as u64;
        });
        (outcome, unstamped)
    }
}

fn columns(settings: &Settings, text: &[u8], delimiter: u8) -> Result<csv::Columns, String> {
    let layout = csv::Layout { delimiter, ..settings.table.clone() };
    let columns = csv::Columns::of(text, &layout).map_err(|error| error.to_string())?;
    if settings.measurement.is_none() && settings.table.measurement.is_none() {
        let text = "a table says no measurement: say it with --measurement NAME, or in which \
                    column it stands with --measurement-column COLUMN";
        return Err(text.to_owned());
    }
    Ok(columns)
}

/// Without a `.gz` at the end, which says nothing.
fn extension(name: &Path) -> Option<String> {
    let name = name.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    Some(name.rsplit_once('.')?.1.to_owned())
}

fn delimiter(name: &Path, said: u8) -> u8 {
    if said == b',' && extension(name).as_deref() == Some("tsv") { b'\t' } else { said }
}

/// `.json` may be a document or lines of them.
fn by_name(name: &Path) -> Option<Format> {
    match extension(name)?.as_str() {
        "lp" | "line" | "influx" => Some(Format::Line),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "csv" | "tsv" => Some(Format::Csv),
        _ => None,
    }
}

fn by_head(text: &[u8], delimiter: u8) -> Option<Format> {
    // As `influx_inspect export` begins.
    if text.starts_with(b"# DDL") || line::looks_like(text) {
        return Some(Format::Line);
    }
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.into_iter().find(|line| !line.is_empty())?;
    match first.first()? {
        b'{' if first.ends_with(b"}") => Some(Format::Ndjson),
        b'{' | b'[' => Some(Format::Json),
        _ if first.contains(&delimiter) => Some(Format::Csv),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str, head: &str) -> Result<Form, String> {
        let settings = Settings { measurement: Some("m".into()), ..Settings::default() };
        Form::of(&Arc::new(settings), Path::new(name), head.as_bytes())
    }

    fn told(name: &str, head: &str) -> Option<Format> {
        form(name, head).ok().map(|form| form.format)
    }

    #[test]
    fn a_format_is_told_by_the_name_and_else_by_the_first_bytes() {
        for (name, head, expected) in [
            ("a.lp", "", Some(Format::Line)),
            ("a.LINE.gz", "{", Some(Format::Line)),
            ("a.jsonl", "", Some(Format::Ndjson)),
            ("a.csv", "time,v\n", Some(Format::Csv)),
            ("a.txt", "# a comment\n\nm,a=b v=1 1\n", Some(Format::Line)),
            ("export", "# DDL\nCREATE DATABASE x WITH NAME autogen\n", Some(Format::Line)),
            ("-", "{\"t\":1}\n{", Some(Format::Ndjson)),
            ("a.json", "{\"t\":1}", Some(Format::Ndjson)),
            ("a.json", "{\n", Some(Format::Json)),
            ("a.json", " [{\"t\":1}]", Some(Format::Json)),
            ("-", "\u{feff}time,v\n1,2\n", Some(Format::Csv)),
            ("-", "time of day\n", None),
            ("-", "", None),
        ] {
            assert_eq!(told(name, head), expected, "{name} {head:?}");
        }
    }

    #[test]
    fn a_header_and_a_byte_order_mark_are_passed_over() {
        assert_eq!(form("-", "\u{feff}time,v\n1,2\n").unwrap().begin, (10, 1));
        assert_eq!(form("a.tsv", "time\tv\n1\t2\n").unwrap().begin, (7, 1));
        assert_eq!(form("-", "m v=1\n").unwrap().begin, (0, 0));
    }

    #[test]
    fn a_table_has_to_be_told_its_measurement() {
        let said = Form::of(&Arc::default(), Path::new("a.csv"), b"time,v\n").unwrap_err();
        assert!(said.contains("--measurement-column"), "{said}");
    }

    #[test]
    fn other_settings_are_another_import() {
        let one = Settings::default();
        let other = Settings { precision: Some(Precision::Seconds), ..Settings::default() };
        assert_eq!(one.identity(), Settings::default().identity());
        assert_ne!(one.identity(), other.identity());
    }
}
