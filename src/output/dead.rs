//! Dead letters: what could not be delivered, in append-only NDJSON files, synced before anything is
//! confirmed on their account.
//!
//! ```text
//!   {"time":"2026-11-22T10:00:00Z","output":"home","seq":7,"index":3,"readings":1,"reason":"type_conflict",
//!    "answer":"partial write: field type conflict: ...","line":"climate,device=d1 t=1i 1700000000000000000"}
//! ```
//!
//! One directory per output (`dead.ndjson`, rotated to `dead.ndjson.00000001` and so on), bounded by
//! bytes and by age: the oldest file goes first, and the readings in it are counted as expired. What
//! cannot be written is reported to the caller, who counts it as dropped; nothing waits for room.

mod letters;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

pub use self::letters::{Cursor, Letter, Page};
use crate::sink::rotate::LineFile;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Made if it is not there.
    pub dir: PathBuf,
    /// All files together.
    pub bytes_max: u64,
    /// A file goes when its youngest entry is older than this.
    pub age_max: Duration,
}

impl Settings {
    pub fn in_dir(dir: PathBuf) -> Self {
        Self { dir, bytes_max: 64 * 1024 * 1024, age_max: Duration::from_hours(30 * 24) }
    }
}

/// One thing that could not be delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When: RFC 3339. For what intake refused, the time of its arrival.
    pub time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Which frame of the journal, and which reading (or payload part) in it.
    pub seq: u64,
    pub index: u32,
    /// How many readings it stands for in the books; 0 for a field of a reading that went on.
    pub readings: u64,
    /// From a closed set.
    pub reason: String,
    /// In the words of whoever refused it.
    pub answer: String,
    /// Only this field was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// A payload that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
}

impl Entry {
    pub(super) fn with_payload(mut self, payload: &[u8]) -> Self {
        match std::str::from_utf8(payload) {
            Ok(text) => self.payload = Some(text.to_owned()),
            Err(_) => self.payload_base64 = Some(data_encoding::BASE64.encode(payload)),
        }
        self
    }
}

/// RFC 3339 of nanoseconds since the epoch.
pub(super) fn rfc3339(nanos: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanos))
        .map_or_else(|_| nanos.to_string(), |at| at.to_string())
}

pub(super) fn rfc3339_now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Readings whose dead letters were deleted meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Expired {
    pub readings: u64,
}

/// The dead letters of one output, or of intake. Clones write to the same files.
#[derive(Clone, Debug)]
pub struct DeadLetters(Arc<Mutex<Writer>>);

impl DeadLetters {
    /// Touches no disk yet.
    pub fn new(settings: Settings) -> Self {
        let lines = LineFile::new(settings.dir.join("dead.ndjson"), true);
        Self(Arc::new(Mutex::new(Writer { settings, lines })))
    }

    /// Appends all entries and syncs, or none. Not cancel safe in the sense that the entries may be
    /// there although nobody heard of it.
    pub async fn append(&self, entries: Vec<Entry>) -> io::Result<Expired> {
        self.off_reactor(move |writer| writer.append(&entries)).await
    }

    /// Deletes what is too old. To be called now and then.
    pub async fn expire(&self) -> io::Result<Expired> {
        self.off_reactor(|writer| writer.expire(SystemTime::now())).await
    }

    async fn off_reactor(
        &self,
        work: impl FnOnce(&mut Writer) -> io::Result<Expired> + Send + 'static,
    ) -> io::Result<Expired> {
        let writer = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut writer.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match done.await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(io::Error::other("the runtime is shutting down")),
            },
        }
    }
}

#[derive(Debug)]
struct Writer {
    settings: Settings,
    lines: LineFile,
}

impl Writer {
    fn append(&mut self, entries: &[Entry]) -> io::Result<Expired> {
        let mut bytes = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut bytes, entry)?;
            bytes.push(b'\n');
        }
        let expired = self.make_room(bytes.len() as u64)?;
        self.lines.append([&bytes[..]])?;
        Ok(expired)
    }

    /// Rotates a file that is full, and deletes the oldest until this many bytes fit.
    fn make_room(&mut self, bytes: u64) -> io::Result<Expired> {
        let bytes_max = self.settings.bytes_max;
        if bytes > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "more than all dead letters may take",
            ));
        }
        fs::create_dir_all(&self.settings.dir)?;
        let len = self.lines.end()?;
        if len > 0 && len + bytes > bytes_max / 8 {
            self.lines.rotate()?;
        }
        let mut expired = self.expire(SystemTime::now())?;
        let mut total = self.lines.end()? + bytes;
        let mut kept = Vec::new();
        for (_, path) in self.lines.rotated()? {
            let len = fs::metadata(&path)?.len();
            total += len;
            kept.push((path, len));
        }
        for (path, len) in kept {
            if total <= bytes_max {
                break;
            }
            expired.readings += delete(&path, "no room")?;
            total -= len;
        }
        Ok(expired)
    }

    fn expire(&mut self, now: SystemTime) -> io::Result<Expired> {
        let mut expired = Expired::default();
        let too_old = |path: &Path| -> io::Result<bool> {
            let age = now.duration_since(fs::metadata(path)?.modified()?).unwrap_or_default();
            Ok(age > self.settings.age_max)
        };
        let open = self.settings.dir.join("dead.ndjson");
        match too_old(&open) {
            Ok(true) => self.lines.rotate()?,
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(expired),
            Err(error) => return Err(error),
        }
        for (_, path) in self.lines.rotated()? {
            if too_old(&path)? {
                expired.readings += delete(&path, "too old")?;
            }
        }
        Ok(expired)
    }
}

/// Returns how many readings were in it that were not replayed.
fn delete(path: &Path, why: &'static str) -> io::Result<u64> {
    let readings = letters::delete(path)?;
    info!(path = %path.display(), readings, why, "deleted dead letters");
    Ok(readings)
}

/// Appends, or says in the log that it could not; tells whether the letters are there.
pub(super) async fn append_or_warn(
    letters: Option<&DeadLetters>,
    entries: Vec<Entry>,
    expired: impl FnOnce(Expired),
) -> bool {
    let Some(letters) = letters else { return false };
    let readings: u64 = entries.iter().map(|entry| entry.readings).sum();
    match letters.append(entries).await {
        Ok(gone) => {
            expired(gone);
            true
        }
        Err(error) => {
            warn!(%error, readings, "dead letters could not be written, the readings are dropped");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u32) -> Entry {
        Entry {
            time: rfc3339(1_700_000_000_000_000_000),
            output: Some("home".to_owned()),
            seq: 7,
            index,
            readings: 2,
            reason: "malformed".to_owned(),
            answer: "unable to parse".to_owned(),
            line: Some("a b=1 1".to_owned()),
            ..Entry::default()
        }
    }

    fn letters(dir: &tempfile::TempDir, bytes_max: u64) -> DeadLetters {
        let settings = Settings::in_dir(dir.path().join("home"));
        DeadLetters::new(Settings { bytes_max, ..settings })
    }

    fn all(dir: &tempfile::TempDir) -> Vec<Entry> {
        let mut files: Vec<_> = fs::read_dir(dir.path().join("home"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort_unstable();
        let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn an_entry_is_one_line_of_json_that_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let letters = letters(&dir, 1 << 20);
        let text = entry(0);
        let odd = Entry { line: None, ..entry(1) }.with_payload(b"\xff\x00");
        let expired = letters.append(vec![text.clone(), odd.clone()]).await.unwrap();
        assert_eq!(expired, Expired::default());
        assert_eq!(text.time, "2023-11-14T22:13:20Z");
        assert_eq!(odd.payload_base64.as_deref(), Some("/wA="));
        assert_eq!(all(&dir), [text, odd]);
    }

    #[tokio::test]
    async fn the_oldest_go_for_room_and_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let letters = letters(&dir, 4096);
        let mut expired = 0;
        for index in 0..200 {
            expired += letters.append(vec![entry(index)]).await.unwrap().readings;
        }
        let mut kept: Vec<_> = all(&dir).iter().map(|entry| entry.index).collect();
        kept.sort_unstable();
        let bytes: u64 = fs::read_dir(dir.path().join("home"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= 4096, "{bytes}");
        assert_eq!(kept, (200 - u32::try_from(kept.len()).unwrap()..200).collect::<Vec<_>>());
        assert_eq!(expired, 2 * (200 - kept.len() as u64));
    }

    #[tokio::test]
    async fn the_old_go_for_their_age() {
        let dir = tempfile::tempdir().unwrap();
        let letters = letters(&dir, 1 << 20);
        let _none = letters.append(vec![entry(0), entry(1)]).await.unwrap();
        assert_eq!(letters.expire().await.unwrap().readings, 0);
        let file = fs::File::options().append(true).open(dir.path().join("home/dead.ndjson"));
        let long_ago = SystemTime::now() - Duration::from_hours(31 * 24);
        file.unwrap().set_modified(long_ago).unwrap();
        assert_eq!(letters.expire().await.unwrap().readings, 4);
        assert_eq!(all(&dir), []);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_an_error_and_not_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        assert!(letters(&dir, 10).append(vec![entry(0)]).await.is_err());
        fs::write(dir.path().join("home"), "a file is in the way").unwrap();
        assert!(letters(&dir, 4096).append(vec![entry(0)]).await.is_err());
    }
}
