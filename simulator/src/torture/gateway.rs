//! The gateway as a process of its own: started, killed at once, stopped, asked to end. It never
//! outlives this one.
//!
//! It leads a process group, so that Ctrl-C on the terminal is not its business, and a script that
//! stands for it is killed with all that it started. Dropping this kills the group. Should this process
//! be killed itself, the kernel kills the gateway: `Launch::before` names what asks for that
//! (`tidegate-sim` does, see its `torture-child`), for it must be asked for between fork and exec.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use super::Error;

/// A gateway that does not listen by then would not start.
pub(super) const START_MAX: Duration = Duration::from_mins(1);
/// For the kernel to take back what a killed process held.
const GONE_MAX: Duration = Duration::from_secs(30);
/// For what a script had started to be gone as well.
const GROUP_GONE_MAX: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LAST_WORDS_BYTES: u64 = 4 * 1024;
const LAST_WORDS_LINES: usize = 12;

/// How it is started.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// A program and arguments that run what follows them.
    pub(super) before: Vec<OsString>,
    pub(super) gateway: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) config: PathBuf,
}

#[derive(Debug)]
pub(super) struct Gateway {
    launch: Launch,
    child: Option<Child>,
    started: Instant,
    /// What earlier processes had written to the disk.
    written: u64,
}

impl Gateway {
    pub(super) fn new(launch: Launch) -> Self {
        Self { launch, child: None, started: Instant::now(), written: 0 }
    }

    pub(super) fn start(&mut self) -> Result<(), Error> {
        let Launch { before, gateway, dir, config } = &self.launch;
        let mut words = before.iter().cloned().chain([gateway.clone().into_os_string()]);
        let program = words.next().unwrap_or_default();
        let log = File::options().create(true).append(true).open(self.log());
        let spawned = log.and_then(|log| {
            Command::new(&program)
                .args(words)
                .args(["run", "-c"])
                .arg(config)
                .current_dir(dir)
                .env("RUNTIME_DIRECTORY", dir)
                .env_remove("NOTIFY_SOCKET")
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .process_group(0)
                .spawn()
        });
        self.started = Instant::now();
        self.child = Some(spawned.map_err(|error| {
            Error::Gateway(format!("cannot start {}: {error}", gateway.display()))
        })?);
        Ok(())
    }

    /// Waits until it takes connections on every one of these: how long after its start that was.
    pub(super) async fn listening(&mut self, on: &[SocketAddr]) -> Result<Duration, Error> {
        for address in on {
            while TcpStream::connect(address).await.is_err() {
                self.check()?;
                if self.started.elapsed() > START_MAX {
                    let words = format!("it does not listen on {address} after {START_MAX:?}");
                    return Err(Error::Gateway(self.with_last_words(&words)));
                }
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(self.started.elapsed())
    }

    /// An error if it has ended, which nobody asked it to do.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose();
        match ended.map_err(|error| Error::Gateway(error.to_string()))?.flatten() {
            None => Ok(()),
            Some(status) if status.code() == Some(64) => {
                let words = "the gateway refuses the configuration";
                Err(Error::Config(self.with_last_words(words)))
            }
            Some(status) => {
                Err(Error::Gateway(self.with_last_words(&format!("it ended by itself: {status}"))))
            }
        }
    }

    /// Ends only with an error, once it has ended. Cancel safe.
    pub(super) async fn ended(&mut self) -> Error {
        loop {
            if let Err(error) = self.check() {
                return error;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Error> {
        let Some(group) = self.group() else { return Ok(()) };
        kill_process_group(group, signal)
            .map_err(|error| Error::Gateway(format!("cannot send it {signal:?}: {error}")))
    }

    /// SIGKILL, and waits until it is gone.
    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        self.check()?;
        self.count_written();
        self.signal(Signal::KILL)?;
        let group = self.group();
        if self.wait(GONE_MAX).await?.is_none() {
            return Err(Error::Gateway(format!("it is not gone {GONE_MAX:?} after SIGKILL")));
        }
        // The other members, if it is a script, were killed with it; who is left is on its way out.
        let killed = Instant::now();
        while group.is_some_and(|group| test_kill_process_group(group).is_ok())
            && killed.elapsed() < GROUP_GONE_MAX
        {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// SIGTERM; `None` if it did not end by then.
    pub(super) async fn terminate(&mut self, most: Duration) -> Result<Option<ExitStatus>, Error> {
        self.check()?;
        self.count_written();
        self.signal(Signal::TERM)?;
        self.wait(most).await
    }

    async fn wait(&mut self, most: Duration) -> Result<Option<ExitStatus>, Error> {
        let began = Instant::now();
        let Some(child) = &mut self.child else { return Ok(None) };
        while began.elapsed() < most {
            let ended = child.try_wait().map_err(|error| Error::Gateway(error.to_string()))?;
            if ended.is_some() {
                self.child = None;
                return Ok(ended);
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(None)
    }

    fn group(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.as_ref()?.id()).ok()?)
    }

    /// Bytes that all processes so far have sent to the disk, as the kernel counts them.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    fn count_written(&mut self) {
        let Some(child) = &self.child else { return };
        let counts = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap_or_default();
        let bytes = counts.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        self.written += bytes.and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0);
    }

    pub(super) fn log(&self) -> PathBuf {
        self.launch.dir.join("log")
    }

    fn with_last_words(&self, words: &str) -> String {
        let last = last_words(&self.log()).unwrap_or_else(|error| error.to_string());
        format!("{words}; the end of its log:\n{last}")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(group) = self.group()
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::debug!(%error, "the gateway is gone already");
        }
        if let Some(child) = &mut self.child {
            drop(child.wait());
        }
    }
}

fn last_words(log: &Path) -> io::Result<String> {
    let mut log = File::open(log)?;
    let from = log.metadata()?.len().saturating_sub(LAST_WORDS_BYTES);
    log.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    log.take(LAST_WORDS_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LAST_WORDS_LINES)..).unwrap_or_default();
    let last: Vec<_> = last.iter().map(|line| format!("    {line}")).collect();
    Ok(last.join("\n"))
}
