//! A real mosquitto: anonymous, unlimited queues (by default it drops silently at 1,000), its sessions on
//! disk so that it can be restarted.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use tempfile::TempDir;

use super::{START_MAX, missing, port, process::Process, program, wait_for};

#[derive(Debug)]
pub struct Mosquitto {
    pub port: u16,
    binary: PathBuf,
    dir: TempDir,
    process: Option<Process>,
}

impl Mosquitto {
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// With more lines for its configuration file.
    pub fn start_with(config: &str) -> Option<Self> {
        let Some(binary) = program("mosquitto") else {
            missing("mosquitto", "apt-get install mosquitto");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let port = port::free();
        let mut broker = Self { port, binary, dir, process: None };
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nuser root\n\
             persistence true\npersistence_location {}/\n\
             log_type error\nlog_type warning\nlog_type notice\nlog_type subscribe\n{config}\n",
            broker.dir.path().display()
        );
        fs::write(broker.config(), text).unwrap();
        broker.run();
        Some(broker)
    }

    /// SIGTERM: sessions and their queues are written to disk. Nothing listens until `run`.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate(Duration::from_secs(20));
        }
    }

    /// Starts it (again) on the same port and directory; returns when it takes connections.
    pub fn run(&mut self) {
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg(self.config());
        let mut process = Process::spawn("mosquitto", command, &self.dir.path().join("log"));
        wait_for("mosquitto", START_MAX, || {
            process.check_alive();
            TcpStream::connect(("127.0.0.1", self.port)).map_err(|e| e.to_string())
        });
        self.process = Some(process);
    }

    /// Its sessions and queues are gone, as if its disk were. While it is stopped.
    pub fn forget(&self) {
        fs::remove_file(self.dir.path().join("mosquitto.db")).unwrap();
    }

    /// Waits until somebody has subscribed to `filter` at QoS 1.
    pub fn wait_subscribed(&self, filter: &str) {
        let line = format!(" 1 {filter}\n");
        wait_for(&format!("a subscription to {filter}"), START_MAX, || {
            let log = self.log();
            if log.contains(&line) { Ok(()) } else { Err(log) }
        });
    }

    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("mosquitto.conf")
    }
}

/// Runs `mosquitto_pub` against `port`. `None` where it is not on this machine.
pub fn publish(port: u16, arguments: &[&str]) -> Option<Output> {
    client("mosquitto_pub", port, arguments)
}

/// Runs `mosquitto_sub` against `port`. `None` where it is not on this machine.
pub fn subscribe(port: u16, arguments: &[&str]) -> Option<Output> {
    client("mosquitto_sub", port, arguments)
}

/// Runs `mosquitto_pub -l`: a message a line of `lines`, acknowledged before it ends at QoS 1.
pub fn publish_lines(port: u16, arguments: &[&str], lines: &Path) -> Option<Output> {
    let binary = find("mosquitto_pub")?;
    let mut command = Command::new(binary);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-l"]).args(arguments);
    Some(command.stdin(fs::File::open(lines).unwrap()).output().unwrap())
}

fn client(name: &str, port: u16, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(find(name)?);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    Some(command.output().unwrap())
}

fn find(name: &str) -> Option<PathBuf> {
    let found = program(name);
    if found.is_none() {
        missing(name, "apt-get install mosquitto-clients");
    }
    found
}
