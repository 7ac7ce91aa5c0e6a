//! Line protocol into files, rotated by size (`rotate.rs` says how they are named and repaired).
//!
//! With `sync` a batch counts as stored after `fdatasync`. A full or failing disk is `Busy`. `files_max` files
//! are kept, the open one included: beyond that the oldest is deleted, which is loss that the
//! operator chose; 0 keeps all.

use std::{
    fs, io,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use proto::ReadingRef;
use tracing::info;

use crate::sink::rotate::LineFile;
use crate::sink::{Answer, Body, Fault, LostField, Refusal, Sink, Written, time_ns};

#[derive(Clone, Debug)]
pub struct Settings {
    /// The open file; rotated ones get a number behind it.
    pub path: PathBuf,
    /// A file that has reached this is rotated before the next batch.
    pub file_bytes_max: u64,
    /// Files kept, the open one included; 0: all. Older ones are deleted.
    pub files_max: u32,
    /// `fdatasync` before a batch counts as stored.
    pub sync: bool,
}

/// Clones write to the same file.
#[derive(Clone, Debug)]
pub struct Files(Arc<Mutex<Writer>>);

#[derive(Debug)]
struct Writer {
    lines: LineFile,
    file_bytes_max: u64,
    files_max: u32,
}

impl Files {
    /// Opens nothing yet: a disk that is missing or full at start is waited for.
    pub fn new(settings: Settings) -> Self {
        let Settings { path, file_bytes_max, files_max, sync } = settings;
        let lines = LineFile::new(path, sync);
        Self(Arc::new(Mutex::new(Writer { lines, file_bytes_max, files_max })))
    }

    async fn off_reactor(
        &self,
        work: impl FnOnce(&mut Writer) -> io::Result<()> + Send + 'static,
    ) -> Answer {
        let writer = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            work(&mut writer.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match done.await {
            Ok(Ok(())) => Answer::Stored,
            Ok(Err(error)) => answer_for(&error),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Answer::Unknown("the runtime is shutting down".into()),
            },
        }
    }
}

impl Sink for Files {
    fn encode(
        &self,
        reading: &ReadingRef<'_>,
        body: &mut Body,
        _: &mut Vec<LostField>,
    ) -> Result<(), Refusal> {
        proto::line::write(reading, &mut body.bytes)
            .map_err(|reason| Refusal::new(Fault::Value, reason.text))?;
        body.end_line(time_ns(reading));
        Ok(())
    }

    async fn write(&self, body: &Arc<Body>, lines: &[Range<u32>]) -> Written {
        let bytes = body.len_of(lines) as u64;
        let (body, lines) = (Arc::clone(body), lines.to_vec());
        let answer = self.off_reactor(move |writer| writer.append(&body, &lines)).await;
        Written { answer, status: None, bytes }
    }

    async fn probe(&self) -> Written {
        self.off_reactor(|writer| writer.lines.end().map(drop)).await.into()
    }
}

impl Writer {
    fn append(&mut self, body: &Body, lines: &[Range<u32>]) -> io::Result<()> {
        if self.lines.end()? >= self.file_bytes_max {
            self.lines.rotate()?;
            self.delete_oldest()?;
        }
        self.lines.append(lines.iter().map(|range| body.slice(range)))
    }

    fn delete_oldest(&self) -> io::Result<()> {
        let Some(rotated_max) = self.files_max.checked_sub(1) else { return Ok(()) };
        let rotated = self.lines.rotated()?;
        let surplus = rotated.len().saturating_sub(rotated_max as usize);
        for (_, oldest) in rotated.iter().take(surplus) {
            fs::remove_file(oldest)?;
            info!(path = %oldest.display(), "deleted the oldest file, as files_max says");
        }
        Ok(())
    }
}

fn answer_for(error: &io::Error) -> Answer {
    use io::ErrorKind as Kind;
    let text: Arc<str> = error.to_string().into();
    match error.kind() {
        Kind::NotFound
        | Kind::PermissionDenied
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::ReadOnlyFilesystem
        | Kind::InvalidInput => Answer::Misconfigured(text),
        // A full or failing disk: never the fault of a line.
        _ => Answer::Busy { retry_after: None, text },
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lines are given as ranges")]
mod tests {
    use super::*;

    fn files(dir: &tempfile::TempDir, file_bytes_max: u64, files_max: u32) -> Files {
        let path = dir.path().join("readings.lp");
        Files::new(Settings { path, file_bytes_max, files_max, sync: true })
    }

    fn body(lines: &[&str]) -> Arc<Body> {
        let mut body = Body::default();
        for line in lines {
            body.bytes.extend_from_slice(line.as_bytes());
            body.bytes.push(b'\n');
            body.end_line(0);
        }
        Arc::new(body)
    }

    #[tokio::test]
    async fn writes_the_lines_asked_for_and_rotates() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir, 8, 0);
        let body = body(&["a 1", "b 2", "c 3", "d 4"]);
        for lines in [vec![0..1, 2..4], vec![1..2]] {
            assert_eq!(files.write(&body, &lines).await.answer, Answer::Stored);
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("readings.lp.00000001"), "a 1\nc 3\nd 4\n");
        assert_eq!(read("readings.lp"), "b 2\n");
    }

    #[tokio::test]
    async fn keeps_as_many_files_as_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir, 1, 3);
        for n in 0..6 {
            let body = body(&[&format!("line {n}")]);
            assert_eq!(files.write(&body, &[0..1]).await.answer, Answer::Stored);
        }
        let mut kept: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        kept.sort_unstable();
        assert_eq!(kept, ["line 3\n", "line 4\n", "line 5\n"]);
    }

    #[tokio::test]
    async fn a_missing_directory_is_our_configuration_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not yet/readings.lp");
        let files = Files::new(Settings { path, file_bytes_max: 1, files_max: 0, sync: false });
        assert!(matches!(files.probe().await.answer, Answer::Misconfigured(_)));
        fs::create_dir(dir.path().join("not yet")).unwrap();
        assert_eq!(files.probe().await.answer, Answer::Stored);
    }

    #[tokio::test]
    async fn a_full_disk_is_busy_and_leaves_whole_lines() {
        // `/dev/full` takes opens and refuses every write.
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("readings.lp")).unwrap();
        let files = files(&dir, 1024, 0);
        let answer = files.write(&body(&["a 1"]), &[0..1]).await.answer;
        assert!(matches!(answer, Answer::Busy { retry_after: None, .. }), "{answer:?}");
    }
}
