//! How far each file was imported, on the disk.
//!
//! ```text
//! <journal>/IMPORTS
//!   {"version":1,"imports":[{"file":"/data/a.lp","settings":"...","bytes":1048576,"lines":20164,
//!     "hash":"9f86d081884c7d65","is_skipping":false,"counts":"20160 4"}, ...]}     the youngest last
//! ```
//! It lies with the journal because it speaks of what lies there: who deletes the one deletes the
//! other, and the hashes are keyed by the journal. Written whole, beside the old one, synced and
//! renamed over it, and only when what it says is durable. It may lag behind: the journal's own notes
//! know better for as long as they are remembered (`intake::resends`). One that cannot be read, or that
//! another release wrote, is as good as none, and is kept beside the new one as `IMPORTS.unread`.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::intake::resends::Stored;

const NAME: &str = "IMPORTS";
const VERSION: u32 = 1;
/// The elder ones go.
const ENTRIES_MAX: usize = 1_000;
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Positions {
    dir: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    file: String,
    settings: String,
    bytes: u64,
    lines: u64,
    hash: String,
    is_skipping: bool,
    counts: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    version: u32,
    imports: Vec<Entry>,
}

impl Positions {
    /// Of the journal in `dir`, whose lock the caller holds. Blocks on the disk.
    pub(super) fn open(dir: &Path) -> Self {
        let path = dir.join(NAME);
        let entries = read(&path).unwrap_or_else(|error| {
            let kept = dir.join(format!("{NAME}.unread"));
            let kept = fs::rename(&path, &kept).map(|()| kept);
            let file = path.display();
            warn!(%file, %error, ?kept, "how far files were imported cannot be read");
            Vec::new()
        });
        Self { dir: dir.to_owned(), entries }
    }

    pub(super) fn find(&self, file: &str, settings: &str) -> Option<Stored> {
        let found = self.entries.iter().find(|it| it.file == file && it.settings == settings)?;
        Some(Stored {
            from: found.bytes,
            upto: found.bytes,
            hash: u64::from_str_radix(&found.hash, 16).ok()?,
            lines: found.lines,
            is_skipping: found.is_skipping,
            answer: found.counts.clone().into(),
            ..Stored::default()
        })
    }

    pub(super) fn put(&mut self, file: &str, settings: &str, stored: &Stored) {
        self.entries.retain(|it| it.file != file || it.settings != settings);
        let excess = (self.entries.len() + 1).saturating_sub(ENTRIES_MAX);
        self.entries.drain(..excess);
        self.entries.push(Entry {
            file: file.to_owned(),
            settings: settings.to_owned(),
            bytes: stored.from,
            lines: stored.lines,
            hash: format!("{:016x}", stored.hash),
            is_skipping: stored.is_skipping,
            counts: String::from_utf8_lossy(&stored.answer).into_owned(),
        });
    }

    /// Durable when it returns. Blocks on the disk.
    pub(super) fn write(&self) -> io::Result<()> {
        let document = Document { version: VERSION, imports: self.entries.clone() };
        let new = self.dir.join(format!("{NAME}.new"));
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&document)?)?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(NAME))?;
        File::open(&self.dir)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Vec<Entry>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
        Ok(found) if found.len() > FILE_BYTES_MAX => return Err(io::Error::other("too large")),
        Ok(_) => {}
    }
    let document: Document = serde_json::from_slice(&fs::read(path)?)?;
    if document.version == VERSION {
        Ok(document.imports)
    } else {
        Err(io::Error::other(format!("version {} is of another release", document.version)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bytes: u64) -> Stored {
        let hash = bytes.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let counts = format!("{bytes} 1");
        let (from, upto, answer) = (bytes, bytes, counts.into());
        Stored { from, upto, hash, lines: bytes / 7, answer, ..Stored::default() }
    }

    #[test]
    fn what_was_put_is_there_after_a_start_and_the_eldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut positions = Positions::open(dir.path());
        for n in 0..=ENTRIES_MAX as u64 {
            positions.put(&format!("/f{n}"), "s", &stored(n));
        }
        positions.put("/f7", "s", &stored(70));
        positions.put("/f7", "t", &stored(8));
        positions.write().unwrap();
        let again = Positions::open(dir.path());
        assert_eq!(again.entries.len(), ENTRIES_MAX);
        assert_eq!(again.find("/f7", "s"), Some(stored(70)));
        assert_eq!(again.find("/f7", "t"), Some(stored(8)));
        assert_eq!(again.find("/f0", "s"), None);
        assert_eq!(again.find("/f7", "u"), None);
    }

    #[test]
    fn one_that_cannot_be_read_is_as_good_as_none_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{", "{\"version\":2,\"imports\":[]}"] {
            fs::write(dir.path().join(NAME), text).unwrap();
            let mut positions = Positions::open(dir.path());
            assert_eq!(positions.find("/f", "s"), None);
            positions.put("/f", "s", &stored(5));
            positions.write().unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("IMPORTS.unread")).unwrap(), text);
        }
    }
}
