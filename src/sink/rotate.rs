//! A file of whole lines that is appended to and rotated by size: what the `file` sink and the dead
//! letters are made of. Blocks; call it off the reactor.
//!
//! ```text
//!   readings.lp              the open file; whole lines only, each append at once
//!   readings.lp.00000007     rotated: larger numbers are younger
//!   readings.lp.00000006
//! ```
//!
//! A write that fails is cut off again; a torn last line (power cut) is cut off when the file is
//! opened. A file whose sync failed is never synced again: it is rotated away, and what was not
//! acknowledged goes into a new one. Nothing is deleted here.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tracing::warn;

#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    /// `fdatasync` before an append returns, and the directory after a file was made.
    sync: bool,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Whole lines; what lies behind was not acknowledged.
    len: u64,
}

impl LineFile {
    /// Opens nothing yet: a disk that is missing or full at start is waited for.
    pub fn new(path: PathBuf, sync: bool) -> Self {
        Self { path, sync, open: None }
    }

    /// Opens the file if it is not open, cuts off a torn last line, and tells how long it is.
    pub fn end(&mut self) -> io::Result<u64> {
        self.open().map(|open| open.len)
    }

    /// Appends whole lines. On error none of them counts.
    pub fn append<'a>(&mut self, lines: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let sync = self.sync;
        let open = self.open()?;
        let mut len = open.len;
        for bytes in lines {
            if let Err(error) = open.file.write_all(bytes) {
                self.cut_back();
                return Err(error);
            }
            len += bytes.len() as u64;
        }
        if sync && let Err(error) = open.file.sync_data() {
            // The kernel may have dropped the pages and call them clean: never sync them again.
            if let Err(error) = self.rotate() {
                warn!(%error, "could not rotate a file whose sync failed");
            }
            return Err(error);
        }
        open.len = len;
        Ok(())
    }

    /// Gives the open file its number; the next append makes a new one.
    pub fn rotate(&mut self) -> io::Result<()> {
        self.open = None;
        let number = self.rotated()?.last().map_or(1, |(number, _)| number + 1);
        fs::rename(&self.path, numbered(&self.path, number))?;
        if self.sync {
            sync_dir(&self.path)?;
        }
        Ok(())
    }

    /// The rotated files, oldest first.
    pub fn rotated(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut prefix: OsString = self.path.file_name().unwrap_or(OsStr::new("")).to_owned();
        prefix.push(".");
        let mut found = Vec::new();
        for entry in fs::read_dir(directory(&self.path))? {
            let entry = entry?;
            let name = entry.file_name();
            let digits = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
                found.push((number, entry.path()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn open(&mut self) -> io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) if self.is_in_place(&open.file) => open,
            _ => self.open_anew()?,
        };
        Ok(self.open.insert(open))
    }

    /// Somebody may have moved or deleted the file: what is written then would be found nowhere.
    fn is_in_place(&self, file: &File) -> bool {
        let (Ok(opened), Ok(named)) = (file.metadata(), fs::metadata(&self.path)) else {
            return false;
        };
        (opened.dev(), opened.ino()) == (named.dev(), named.ino())
    }

    fn open_anew(&self) -> io::Result<Open> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        let len = end_of_last_line(&mut file)?;
        let torn = file.metadata()?.len() - len;
        if torn > 0 {
            warn!(path = %self.path.display(), bytes = torn, "cut off a torn last line");
            file.set_len(len)?;
        }
        if self.sync {
            sync_dir(&self.path)?;
        }
        Ok(Open { file, len })
    }

    /// Takes back half a write. If even that fails the next `open` finds the torn line.
    fn cut_back(&mut self) {
        if let Some(open) = &self.open
            && let Err(error) = open.file.set_len(open.len)
        {
            warn!(%error, "could not cut off a failed write, opening the file anew");
            self.open = None;
        }
    }
}

/// Up to and including the last newline.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = file.metadata()?.len();
    let mut tail = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(start))?;
        tail.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut tail)?;
        if let Some(at) = tail.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The directory that this file lies in.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:08}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &tempfile::TempDir) -> LineFile {
        LineFile::new(dir.path().join("a.lp"), true)
    }

    #[test]
    fn a_torn_last_line_is_cut_off_however_long_it_is() {
        let dir = tempfile::tempdir().unwrap();
        for torn in [1, 63 * 1024, 64 * 1024, 200 * 1024] {
            let mut bytes = b"one 1\ntwo 2\n".to_vec();
            bytes.extend(std::iter::repeat_n(b'x', torn));
            fs::write(dir.path().join("a.lp"), bytes).unwrap();
            file(&dir).append([&b"three 3\n"[..]]).unwrap();
            let kept = fs::read_to_string(dir.path().join("a.lp")).unwrap();
            assert_eq!(kept, "one 1\ntwo 2\nthree 3\n");
        }
        fs::write(dir.path().join("a.lp"), "nothing whole").unwrap();
        assert_eq!(file(&dir).end().unwrap(), 0);
    }

    #[test]
    fn rotated_files_are_numbered_upwards() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = file(&dir);
        for n in 0..12 {
            lines.append([format!("line {n}\n").as_bytes()]).unwrap();
            lines.rotate().unwrap();
        }
        fs::write(dir.path().join("a.lp.bak"), "not ours").unwrap();
        let rotated = lines.rotated().unwrap();
        assert_eq!(
            rotated.iter().map(|(n, _)| *n).collect::<Vec<_>>(),
            (1..=12).collect::<Vec<_>>()
        );
        assert_eq!(fs::read_to_string(&rotated[11].1).unwrap(), "line 11\n");
        assert_eq!(lines.end().unwrap(), 0);
    }

    #[test]
    fn a_file_that_somebody_moved_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = file(&dir);
        lines.append([&b"a 1\n"[..]]).unwrap();
        fs::rename(dir.path().join("a.lp"), dir.path().join("taken")).unwrap();
        lines.append([&b"b 2\n"[..]]).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a.lp")).unwrap(), "b 2\n");
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = LineFile::new(dir.path().join("later/a.lp"), true);
        assert_eq!(lines.append([&b"a 1\n"[..]]).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir(dir.path().join("later")).unwrap();
        lines.append([&b"a 1\n"[..]]).unwrap();
        assert_eq!(lines.end().unwrap(), 4);
    }
}
