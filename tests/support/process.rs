//! A child process with its output in a file: killed by its id on drop, its last words shown when a test fails.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::wait_for;

/// The kernel counts CPU time for /proc in these on every platform.
const TICKS_PER_SECOND: u64 = 100;

#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What the kernel counts for a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    pub rss_bytes: u64,
    /// The most it ever was.
    pub rss_bytes_max: u64,
    pub cpu: Duration,
    pub threads: u64,
}

impl Process {
    /// Starts `command`; stdout and stderr go to `log`, after what is there already.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {command:?}: {e}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// `Err` with its last words if it has ended; what a readiness probe asks first.
    pub fn check_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{} ended ({status}):\n{}", self.name, self.last_words());
        }
    }

    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits at most `limit` for the end.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(limit)
    }

    /// Waits at most `limit` for the end.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(&what, limit, || {
            self.child
                .try_wait()
                .unwrap()
                .ok_or_else(|| format!("it still runs:\n{}", last_lines(&self.log)))
        })
    }

    /// Memory and CPU time now.
    pub fn usage(&self) -> Usage {
        self.usage_if_alive().unwrap_or_else(|| panic!("{} has ended", self.name))
    }

    /// The same of one that may have ended meanwhile.
    pub fn usage_if_alive(&self) -> Option<Usage> {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(proc.join("status")).unwrap();
        // What has ended and was not waited for has no memory, and lines for none.
        let line = |key: &str| -> Option<u64> {
            let rest = status.lines().find_map(|l| l.strip_prefix(key))?;
            Some(rest.split_whitespace().next().unwrap().parse().unwrap())
        };
        let (rss_kib, rss_kib_max) = (line("VmRSS:")?, line("VmHWM:")?);
        let stat = fs::read_to_string(proc.join("stat")).unwrap();
        // The name in parentheses may hold spaces: count from behind it. utime and stime are fields 14 and 15.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Some(Usage {
            rss_bytes: rss_kib * 1024,
            rss_bytes_max: rss_kib_max * 1024,
            cpu: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
            threads: line("Threads:").unwrap(),
        })
    }

    /// What it has read since its start, by whatever call: files, sockets, pipes.
    pub fn bytes_read(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
        read.parse().unwrap()
    }

    fn last_words(&self) -> String {
        last_lines(&self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            println!("--- last words of {}\n{}", self.name, self.last_words());
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
