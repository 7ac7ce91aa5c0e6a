//! Dead letters read back, and which of them were replayed.
//!
//! ```text
//!   dead.ndjson.00000001  dead.ndjson.00000002  dead.ndjson      oldest first, a letter a line
//!   replayed                                                     the ids of letters that were stored
//!                                                                after all, a line each
//! ```
//!
//! An id is made of the letter itself, so that one that was written before there were ids has one.
//! It is marked once the other end has stored it, and the mark is synced before anybody hears of it;
//! a crash in between makes the next replay offer the same point again. Marks go with their letters.
//!
//! Everything here blocks: call it off the reactor.

use std::{
    collections::HashSet,
    fmt,
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    str::FromStr,
    sync::PoisonError,
};

use serde::Serialize;

use super::{DeadLetters, Entry};
use crate::sink::rotate::{LineFile, sync_dir};

const MARKS: &str = "replayed";

/// An entry as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Letter {
    pub id: String,
    pub replayed: bool,
    #[serde(flatten)]
    pub entry: Entry,
}

/// Where to go on reading: the number of a file, and a byte in it. It stays right when the open file
/// is rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    file: u64,
    offset: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once(':').and_then(|(file, offset)| {
            Some(Self { file: file.parse().ok()?, offset: offset.parse().ok()? })
        });
        parsed.ok_or("no place in the dead letters")
    }
}

/// Some letters, and where the next ones are; `None`: there are no more.
#[derive(Debug)]
pub struct Page {
    pub letters: Vec<Letter>,
    pub next: Option<Cursor>,
}

impl DeadLetters {
    /// The first letters from there on that are wanted, `count` of them at most.
    pub fn page(
        &self,
        from: Cursor,
        count: usize,
        wanted: impl Fn(&Letter) -> bool,
    ) -> io::Result<Page> {
        let mut letters = Vec::new();
        let mut next = None;
        self.visit(from, |after, letter| {
            if wanted(&letter) {
                letters.push(letter);
            }
            if letters.len() < count {
                return ControlFlow::Continue(());
            }
            next = Some(after);
            ControlFlow::Break(())
        })?;
        Ok(Page { letters, next })
    }

    /// The youngest letters, oldest of them first, and how many there are in all.
    pub fn newest(&self, count: usize) -> io::Result<(Vec<Letter>, u64)> {
        let mut newest = std::collections::VecDeque::new();
        let mut total = 0;
        self.visit(Cursor::default(), |_, letter| {
            total += 1;
            newest.push_back(letter);
            if newest.len() > count {
                newest.pop_front();
            }
            ControlFlow::Continue(())
        })?;
        Ok((newest.into(), total))
    }

    /// These were stored: they are not offered again.
    pub fn mark(&self, ids: impl IntoIterator<Item = String>) -> io::Result<()> {
        let text: String = ids.into_iter().flat_map(|id| [id, "\n".to_owned()]).collect();
        if text.is_empty() {
            return Ok(());
        }
        let writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        LineFile::new(writer.settings.dir.join(MARKS), true).append([text.as_bytes()])
    }

    fn visit(
        &self,
        from: Cursor,
        mut each: impl FnMut(Cursor, Letter) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let (dir, files) = self.files()?;
        let marks = marks(&dir)?;
        for (number, path) in files.into_iter().filter(|(number, _)| *number >= from.file) {
            let mut file = match File::open(&path) {
                Ok(file) => file,
                // Expired meanwhile, or none was written yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut offset = if number == from.file { from.offset } else { 0 };
            file.seek(SeekFrom::Start(offset))?;
            let mut lines = BufReader::new(file);
            let mut line = Vec::new();
            loop {
                line.clear();
                offset += lines.read_until(b'\n', &mut line)? as u64;
                if line.last() != Some(&b'\n') {
                    break; // The end, or a line that is still being written.
                }
                let Some(letter) = letter(&line, &marks) else { continue };
                if each(Cursor { file: number, offset }, letter).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The directory and its files, oldest first; the open one has the number that it will get.
    fn files(&self) -> io::Result<(PathBuf, Vec<(u64, PathBuf)>)> {
        let writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = writer.settings.dir.clone();
        let mut files = match writer.lines.rotated() {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let next = files.last().map_or(1, |(number, _)| number + 1);
        files.push((next, dir.join("dead.ndjson")));
        Ok((dir, files))
    }
}

/// Deletes a file of letters and their marks. Returns how many readings it held that were not
/// replayed.
pub(super) fn delete(path: &Path) -> io::Result<u64> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut marks = marks(dir)?;
    let (bytes, marked) = (fs::read(path)?, marks.len());
    let mut readings = 0;
    for letter in bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|l| letter(l, &marks)) {
        if !letter.replayed {
            readings += letter.entry.readings;
        }
    }
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if let Some(letter) = letter(line, &marks) {
            marks.remove(&letter.id);
        }
    }
    fs::remove_file(path)?;
    if marks.len() < marked {
        rewrite(dir, &marks)?;
    }
    Ok(readings)
}

/// The marks of letters that are there, whole or not at all.
fn rewrite(dir: &Path, marks: &HashSet<String>) -> io::Result<()> {
    let new = dir.join("replayed.new");
    let mut file = File::create(&new)?;
    for id in marks {
        writeln!(file, "{id}")?;
    }
    file.sync_all()?;
    fs::rename(&new, dir.join(MARKS))?;
    sync_dir(&new)
}

fn marks(dir: &Path) -> io::Result<HashSet<String>> {
    match fs::read_to_string(dir.join(MARKS)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashSet::new()),
        Err(error) => Err(error),
    }
}

fn letter(line: &[u8], marks: &HashSet<String>) -> Option<Letter> {
    let entry: Entry = serde_json::from_slice(line).ok()?;
    let id = format!("{}-{}-{:08x}", entry.seq, entry.index, fold(line.trim_ascii_end()));
    Some(Letter { replayed: marks.contains(&id), id, entry })
}

/// FNV-1a, 32 bits: tells apart what has the same place in the journal, such as two fields.
fn fold(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Settings;
    use super::*;

    fn entry(index: u32) -> Entry {
        let line = Some(format!("m,device=a v=1 {index}"));
        Entry { seq: 7, index, readings: 1, line, ..Entry::default() }
    }

    fn letters(dir: &tempfile::TempDir, bytes_max: u64) -> DeadLetters {
        DeadLetters::new(Settings { bytes_max, ..Settings::in_dir(dir.path().join("home")) })
    }

    fn indexes(letters: &[Letter]) -> Vec<u32> {
        letters.iter().map(|letter| letter.entry.index).collect()
    }

    #[tokio::test]
    async fn pages_go_on_where_the_last_one_ended_across_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let letters = letters(&dir, 1 << 20);
        assert_eq!(letters.page(Cursor::default(), 10, |_| true).unwrap().letters, []);
        let _none = letters.append((0..5).map(entry).collect()).await.unwrap();
        let page = letters.page(Cursor::default(), 3, |_| true).unwrap();
        assert_eq!(indexes(&page.letters), [0, 1, 2]);
        letters.0.lock().unwrap().lines.rotate().unwrap();
        let _none = letters.append((5..7).map(entry).collect()).await.unwrap();
        let cursor: Cursor = page.next.unwrap().to_string().parse().unwrap();
        let page = letters.page(cursor, 10, |_| true).unwrap();
        assert_eq!((indexes(&page.letters), page.next), (vec![3, 4, 5, 6], None));
        let (newest, total) = letters.newest(2).unwrap();
        assert_eq!((indexes(&newest), total), (vec![5, 6], 7));
        for odd in ["", "7", ":", "a:1", "-1:0"] {
            assert!(odd.parse::<Cursor>().is_err(), "{odd}");
        }
    }

    #[tokio::test]
    async fn a_mark_survives_and_goes_with_its_letter() {
        let dir = tempfile::tempdir().unwrap();
        let all = letters(&dir, 1 << 20);
        let _none = all.append((0..4).map(entry).collect()).await.unwrap();
        let ids = all.newest(4).unwrap().0.into_iter().map(|letter| letter.id);
        all.mark(ids.take(3)).unwrap();
        let again = letters(&dir, 1 << 20);
        let left = again.page(Cursor::default(), 9, |letter| !letter.replayed).unwrap();
        assert_eq!(indexes(&left.letters), [3]);
        again.0.lock().unwrap().lines.rotate().unwrap();
        let file = dir.path().join("home/dead.ndjson.00000001");
        let long_ago = std::time::SystemTime::now() - Duration::from_hours(31 * 24);
        File::options().append(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        let _none = again.append(vec![entry(9)]).await.unwrap();
        let expired = again.expire().await.unwrap();
        assert!(!file.try_exists().unwrap());
        assert_eq!(expired.readings, 0, "what an append expired it has counted already");
        assert_eq!(fs::read_to_string(dir.path().join("home/replayed")).unwrap(), "");
    }

    #[tokio::test]
    async fn a_torn_letter_is_none_yet() {
        let dir = tempfile::tempdir().unwrap();
        let all = letters(&dir, 1 << 20);
        let _none = all.append(vec![entry(0)]).await.unwrap();
        let mut file =
            File::options().append(true).open(dir.path().join("home/dead.ndjson")).unwrap();
        file.write_all(b"not json\n{\"time\":\"\",\"seq\":1").unwrap();
        assert_eq!(indexes(&all.newest(9).unwrap().0), [0]);
    }
}
