//! The inside of a gateway, in this process: a journal whose disk a test holds in its hands, intake before
//! it, and the HTTP port. What arrived is read back through a `Reader`.

use std::{mem, sync::Arc, time::Duration};

use journal::{
    Fates, Frame, Journal, Options, OutputId, Reader, RejectedRef, Start,
    testing::{Control, HeldDisk},
};
use proto::{Time, frame};
use tempfile::TempDir;
use tidegate::{
    intake::{self, Intake, route::Routes, stamp::SettableClock},
    listen::{accept, http},
};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Nothing here takes so long, however busy the machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the clock says, always: 2023-11-14T22:13:20Z.
pub const NOW: i64 = 1_700_000_000_000_000_000;

pub struct Inside {
    pub port: u16,
    pub disk: Arc<Control>,
    pub stats: Arc<http::Stats>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    journal: Journal,
    reader: Reader,
    rejects: Reader,
    lines: Vec<String>,
    refused: Vec<Refused>,
    #[expect(dead_code, reason = "removes the directory when it drops")]
    dir: TempDir,
}

/// What a test decides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub http: http::Limits,
    pub ports: accept::Limits,
    /// Bytes of the whole journal and of a segment; `None`: as much as anyone wants.
    pub journal: Option<(u64, u64)>,
    /// Between intake and the writer.
    pub queue_bytes_max: Option<usize>,
}

/// A reading that was refused, as the dead letters will have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub source: String,
    pub path: String,
    pub kind: String,
    pub reason: String,
    pub bytes: String,
}

impl Inside {
    pub async fn start(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (disk, control) = HeldDisk::new(dir.path());
        let mut options = Options::new(dir.path());
        if let Some((bytes_max, segment_bytes)) = settings.journal {
            options.bytes_max = bytes_max;
            options.segment_bytes = Some(segment_bytes);
        } else {
            options.segment_bytes = Some(1024 * 1024);
        }
        options.queue_bytes_max = settings.queue_bytes_max.unwrap_or(options.queue_bytes_max);
        let (journal, appender, _) = journal::open_with(disk, &options).unwrap();
        let reader = journal.reader(&OutputId::new("test").unwrap(), Start::Oldest).unwrap();
        let rejects = journal.rejects().unwrap();
        let intake = Intake::new(
            appender,
            Routes::compile(Vec::new()).unwrap(),
            intake::Limits::default(),
            Vec::new(),
            Arc::new(SettableClock::at(NOW)),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stats, shutdown) = (Arc::new(http::Stats::default()), CancellationToken::new());
        let house = http::House {
            metrics: Arc::new(|| "# TYPE tidegate_up gauge\ntidegate_up 1\n# EOF\n".to_owned()),
            ready: Arc::new(|| Ok(())),
        };
        #[expect(clippy::disallowed_methods, reason = "the test waits for it in `stop`")]
        let serving = tokio::spawn(http::serve(
            listener,
            intake,
            settings.ports,
            settings.http,
            house,
            Arc::clone(&stats),
            shutdown.clone(),
        ));
        Self {
            port,
            disk: control,
            stats,
            shutdown,
            serving,
            journal,
            reader,
            rejects,
            lines: Vec::new(),
            refused: Vec::new(),
            dir,
        }
    }

    /// What has become durable since the last call, as line protocol; what we stamped has a `*` behind it.
    pub async fn lines(&mut self) -> Vec<String> {
        self.catch_up().await;
        mem::take(&mut self.lines)
    }

    /// The same, once there is something.
    pub async fn some_lines(&mut self) -> Vec<String> {
        let began = Instant::now();
        loop {
            let lines = self.lines().await;
            if !lines.is_empty() {
                return lines;
            }
            assert!(began.elapsed() < PATIENCE, "nothing became durable");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// What was refused since the last call.
    pub async fn refused(&mut self) -> Vec<Refused> {
        self.catch_up().await;
        mem::take(&mut self.refused)
    }

    /// Both readers have to go on: what one of them has not passed is not freed.
    async fn catch_up(&mut self) {
        while let Some(lease) = next(&mut self.reader).await {
            self.lines.extend(lines_of(&lease.frame));
            let confirmed = u64::from(lease.frame.readings);
            lease.receipt.confirm(&Fates { confirmed, ..Fates::default() });
        }
        while let Some(lease) = next(&mut self.rejects).await {
            self.refused.extend(lease.frame.rejected().map(|entry| Refused::of(&entry.unwrap())));
            let dead = u64::from(lease.frame.readings);
            lease.receipt.confirm(&Fates { dead, ..Fates::default() });
        }
    }

    /// Blocks until the disk is asked to sync, and does not.
    pub async fn wait_until_held(&self) {
        let disk = Arc::clone(&self.disk);
        let held = tokio::task::spawn_blocking(move || disk.wait_until_held(PATIENCE));
        assert!(held.await.unwrap(), "nothing was to be synced");
    }

    /// Asks the port to stop; what is under way may finish.
    pub fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Stops in order, and gives back what became durable and was not looked at.
    pub async fn stop(mut self) -> Vec<String> {
        self.shutdown.cancel();
        timeout(PATIENCE, &mut self.serving).await.expect("the port did not stop").unwrap();
        let lines = self.lines().await;
        let Self { journal, reader, rejects, .. } = self;
        drop((reader, rejects));
        tokio::task::spawn_blocking(|| journal.close()).await.unwrap();
        lines
    }
}

fn lines_of(frame: &Frame) -> Vec<String> {
    let mut lines = Vec::new();
    for submission in frame.submissions() {
        let mut cursor = frame::Cursor::new(submission.unwrap().bytes);
        while let Some(reading) = cursor.next() {
            let reading = reading.unwrap();
            let mut line = Vec::new();
            proto::line::write(&reading, &mut line).unwrap();
            let stamped = if matches!(reading.time, Time::Stamped(_)) { "*" } else { "" };
            lines.push(format!("{}{stamped}", String::from_utf8(line).unwrap().trim_end()));
        }
    }
    lines
}

impl Refused {
    fn of(entry: &RejectedRef<'_>) -> Self {
        Self {
            source: entry.source.to_owned(),
            path: entry.topic.to_owned(),
            kind: entry.kind.to_owned(),
            reason: entry.reason.to_owned(),
            bytes: String::from_utf8_lossy(entry.bytes).into_owned(),
        }
    }
}

/// The next frame, if there is one. A reader passes over frames of the other kind without a word, so it
/// has to be asked again whether it is at the head.
async fn next(reader: &mut Reader) -> Option<journal::Lease> {
    let began = Instant::now();
    while !reader.at_head() {
        assert!(began.elapsed() < PATIENCE, "a frame that should be there is not");
        if let Ok(lease) = timeout(Duration::from_millis(50), reader.next()).await {
            return lease;
        }
    }
    None
}
