//! The control socket: subcommands talk to the running gateway over it.
//!
//! ```text
//!  client: one line, a command, `\n`          server: one JSON document, then the end of the stream
//!                                             `watch`: a document a line, until one of both ends it
//! ```
//!
//! A Unix socket with mode 0600: whoever may open it may ask. Bounded in connections, in the length
//! of a command and in time. Leaves out what a command means: `answer` decides.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::{JoinError, spawn_blocking},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, error};

use crate::intake::watch::{Told, Watch};

const CONNECTIONS_MAX: usize = 16;
const COMMAND_BYTES_MAX: u64 = 4096;
const EXCHANGE_MAX: Duration = Duration::from_secs(5);
/// For an answer that has to wait for an output.
const ANSWER_MAX: Duration = Duration::from_mins(1);
/// For who watches, but does not read: a terminal that somebody stopped.
const STALLED_MAX: Duration = Duration::from_mins(10);
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// What a command is answered with.
#[derive(Debug)]
pub enum Reply {
    /// One JSON document.
    Document(String),
    Watch(Watch),
}

/// Answers one command.
pub type Answer = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

/// A bound control socket; the file goes when this drops.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Binds `path`. A socket left behind by a killed process is replaced: the journal's lock, which
    /// the caller holds by now, already proves that no other gateway serves this directory.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until `shutdown`, then lets open exchanges end (each has a deadline).
    pub async fn serve(self, answer: Answer, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let exchanges = TaskTracker::new();
        while let Some(accepted) = shutdown.run_until_cancelled(self.accept(&slots)).await {
            let (stream, slot) = accepted;
            let (answer, shutdown) = (Arc::clone(&answer), shutdown.clone());
            exchanges.spawn(async move {
                let _slot = slot;
                if let Err(error) = exchange(stream, &answer, &shutdown).await {
                    debug!(%error, "control exchange failed");
                }
            });
        }
        exchanges.close();
        exchanges.wait().await;
    }

    /// Cancel safe: a dropped permit goes back by itself.
    async fn accept(
        &self,
        slots: &Arc<Semaphore>,
    ) -> (UnixStream, tokio::sync::OwnedSemaphorePermit) {
        let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, slot),
                Err(error) => {
                    debug!(%error, "control accept failed");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            debug!(%error, path = %self.path.display(), "control socket was gone already");
        }
    }
}

/// Each step has its deadline.
async fn exchange(
    mut stream: UnixStream,
    answer: &Answer,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut command = String::new();
    let mut read = BufReader::new(read.take(COMMAND_BYTES_MAX));
    timeout(EXCHANGE_MAX, read.read_line(&mut command)).await??;
    let answer = Arc::clone(answer);
    // An answer may take a look at the disk.
    let answer = spawn_blocking(move || answer(command.trim()));
    match timeout(ANSWER_MAX, answer).await?.unwrap_or_else(|fault| told(&fault)) {
        Reply::Document(text) => {
            timeout(EXCHANGE_MAX, write.write_all(text.as_bytes())).await??;
            write.shutdown().await
        }
        Reply::Watch(mut watch) => {
            let follow = follow(&mut watch, &mut read, &mut write);
            shutdown.run_until_cancelled(follow).await.unwrap_or(Ok(()))
        }
    }
}

/// Tells until the one who watches is gone.
async fn follow(
    watch: &mut Watch,
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut nothing = [0; 16];
    let mut line = Vec::new();
    loop {
        let told = tokio::select! {
            told = watch.next() => told,
            // The other end has nothing to say: this is its end.
            _ = read.read(&mut nothing) => None,
        };
        line.clear();
        match told {
            Some(Told::Seen(seen)) => serde_json::to_writer(&mut line, &seen)?,
            Some(Told::Missed(missed)) => {
                serde_json::to_writer(&mut line, &json!({ "missed": missed }))?;
            }
            None => return Ok(()),
        }
        line.push(b'\n');
        timeout(STALLED_MAX, write.write_all(&line)).await??;
    }
}

/// A fault of ours in the one answer: nothing else has suffered, and whoever asked is told.
fn told(fault: &JoinError) -> Reply {
    error!(%fault, "a command on the control socket could not be answered");
    let words = format!("a fault in the gateway, see its log: {fault}");
    Reply::Document(json!({ "error": words }).to_string())
}

/// Asks the gateway behind `path` one command: its JSON answer. Blocking, for subcommands; some answers
/// take as long as a database takes.
pub fn ask(path: &Path, command: &str) -> io::Result<String> {
    use std::io::Read as _;
    let mut stream = open(path, command)?;
    stream.set_read_timeout(Some(ANSWER_MAX + EXCHANGE_MAX))?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// Sends one command; the answer is to be read.
pub fn open(path: &Path, command: &str) -> io::Result<std::os::unix::net::UnixStream> {
    use std::io::Write as _;
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    stream.set_write_timeout(Some(EXCHANGE_MAX))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn answers_a_command_and_leaves_no_file_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/control.sock");
        let control = Control::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let shutdown = CancellationToken::new();
        let answer: Answer =
            Arc::new(|command| Reply::Document(format!("{{\"asked\":\"{command}\"}}")));
        let mut served = tokio::task::JoinSet::new();
        served.spawn(control.serve(answer, shutdown.clone()));

        let asked = path.clone();
        let reply = tokio::task::spawn_blocking(move || ask(&asked, "status")).await.unwrap();
        assert_eq!(reply.unwrap(), "{\"asked\":\"status\"}");

        shutdown.cancel();
        served.join_all().await;
        assert!(!path.try_exists().unwrap());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_answer_that_panics_is_an_error_for_whoever_asked_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let control = Control::bind(&path).unwrap();
        let shutdown = CancellationToken::new();
        let answer: Answer = Arc::new(|command| {
            assert_ne!(command, "boom", "as was asked for");
            Reply::Document("{}".to_owned())
        });
        let mut served = tokio::task::JoinSet::new();
        served.spawn(control.serve(answer, shutdown.clone()));
        for (command, expected) in
            [("boom", "{\"error\":\"a fault in the gateway"), ("status", "{}")]
        {
            let asked = path.clone();
            let reply = tokio::task::spawn_blocking(move || ask(&asked, command)).await.unwrap();
            let reply = reply.unwrap();
            assert!(reply.starts_with(expected), "{command}: {reply}");
        }
        shutdown.cancel();
        served.join_all().await;
    }

    #[tokio::test]
    async fn replaces_the_socket_of_a_killed_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let killed = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(killed); // The file stays, as after SIGKILL.
        assert!(path.try_exists().unwrap());
        Control::bind(&path).unwrap();
    }
}
