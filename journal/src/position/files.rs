//! The two files of a position, as they are found.
//!
//! Promises: a file that cannot be read, or has no valid record, is damaged, never an error of the start.

use std::{io, sync::Arc};

use tracing::warn;

use super::record::{self, Parsed, Record};
use crate::OutputId;
use crate::disk::{self, Disk, File};
use crate::options::PAGE;

/// A position's name on the disk.
pub(crate) fn name(id: &str, slot: u64) -> String {
    format!("pos-{id}.{slot}")
}

pub(crate) fn id_of(name: &str) -> Option<OutputId> {
    let (id, slot) = name.strip_prefix("pos-")?.rsplit_once('.')?;
    if slot == "0" || slot == "1" { OutputId::new(id) } else { None }
}

/// Of the newest valid record, of whatever release and journal; 0 if there is none.
pub(crate) fn newest_generation(disk: &dyn Disk, id: &str) -> io::Result<u64> {
    let slots = [read_slot(disk, id, 0)?, read_slot(disk, id, 1)?];
    let generations = slots.iter().flatten().map(|read| match &read.parsed {
        Parsed::Valid(record) => record.generation,
        Parsed::Newer { generation, .. } => *generation,
        Parsed::Damaged => 0,
    });
    Ok(generations.max().unwrap_or(0))
}

/// Reads one of an output's two files; `None` if it is not there. One that cannot be read, or has
/// no valid record, is damaged. Fails only if no file may be opened.
pub(crate) fn read_slot(disk: &dyn Disk, id: &str, slot: u64) -> io::Result<Option<Read>> {
    let name = name(id, slot);
    let file = match disk.open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if disk::is_out_of_files(&error) => return Err(error),
        Err(error) => {
            warn!(name, %error, "position cannot be opened");
            return Ok(Some(Read { parsed: Parsed::Damaged, file: None, bytes: PAGE }));
        }
    };
    let bytes = file.len().unwrap_or(PAGE);
    let parsed = match read_record(&*file, bytes) {
        Ok(content) => Record::parse(&content),
        Err(error) => {
            warn!(name, %error, "position cannot be read");
            Parsed::Damaged
        }
    };
    Ok(Some(Read { parsed, file: Some(file), bytes }))
}

/// The first page, and what the record says it has beyond.
fn read_record(file: &dyn File, bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(bytes.min(PAGE)).unwrap_or(0)];
    disk::read_exact_at(file, &mut content, 0)?;
    let len = record::len_of(&content).min(bytes).min(RECORD_BYTES_MAX);
    if len > PAGE {
        content.resize(usize::try_from(len).unwrap_or(0), 0);
        disk::read_exact_at(file, &mut content, 0)?;
    }
    Ok(content)
}

/// One of a position's two files.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) parsed: Parsed,
    pub(crate) file: Option<Arc<dyn File>>,
    pub(crate) bytes: u64,
}

/// No record is larger; one that says so is damaged.
const RECORD_BYTES_MAX: u64 = 64 * 1024 * 1024;
