//! The gateway itself: the real binary with a generated configuration, that can be killed and started again
//! on the same directory and ports.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    START_MAX,
    http::get,
    port,
    process::{Process, Usage},
    wait_for,
};

/// The one of the test's own build profile, or the one that `TIDEGATE_BINARY` names: a release build.
fn binary() -> PathBuf {
    let ours = || PathBuf::from(env!("CARGO_BIN_EXE_tidegate"));
    let named = env::var_os("TIDEGATE_BINARY").map(PathBuf::from);
    named.map_or_else(ours, |path| path.canonicalize().unwrap())
}

#[derive(Debug)]
pub struct Gateway {
    pub mqtt_port: u16,
    pub http_port: u16,
    dir: TempDir,
    process: Option<Process>,
    /// How often it was started.
    lives: u32,
}

/// What a test decides; everything else is the documented default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup<'a> {
    /// Further lines of `[journal]`; the first may be a `dir` of its own.
    pub journal: &'a str,
    /// Further tables: `[[output]]`, `[[broker]]`, `[[rule]]`.
    pub tables: &'a str,
}

impl Gateway {
    /// Running, with MQTT and HTTP on ports of its own.
    pub fn start(setup: &Setup<'_>) -> Self {
        let mut gateway = Self::prepare(setup);
        gateway.run();
        gateway
    }

    /// The directory and the configuration; `run` starts it.
    pub fn prepare(setup: &Setup<'_>) -> Self {
        let gateway = Self {
            mqtt_port: port::free(),
            http_port: port::free(),
            dir: tempfile::tempdir().unwrap(),
            process: None,
            lives: 0,
        };
        gateway.configure(setup);
        gateway
    }

    /// Writes the configuration anew; read at the next `run`.
    pub fn configure(&self, setup: &Setup<'_>) {
        let dir = self.dir().display();
        let place = if setup.journal.starts_with("dir = ") {
            String::new()
        } else {
            format!("dir = \"{dir}/journal\"\n")
        };
        let text = format!(
            "[mqtt]\nlisten = \"127.0.0.1:{}\"\n[http]\nlisten = \"127.0.0.1:{}\"\n\
             [dead_letters]\ndir = \"{dir}/dead-letters\"\n[control]\nsocket = \"{dir}/control.sock\"\n\
             [journal]\n{place}{}\n{}\n",
            self.mqtt_port, self.http_port, setup.journal, setup.tables
        );
        fs::write(self.config_file(), text).unwrap();
    }

    /// Starts it (again); returns when it is able to take readings.
    pub fn run(&mut self) {
        self.run_with(&[]);
    }

    /// The same, with more in its environment.
    pub fn run_with(&mut self, environment: &[(&str, &str)]) {
        let mut command = self.run_command(&[]);
        command.envs(environment.iter().copied());
        self.launch(command);
        self.answers("/readyz");
    }

    /// What runs it, behind another program and its arguments (`strace ...`).
    pub fn run_command(&self, wrapper: &[&str]) -> Command {
        let mut command = match wrapper {
            [] => self.command(),
            [program, arguments @ ..] => {
                let mut command = self.at_home(Command::new(program));
                command.args(arguments).arg(binary());
                command
            }
        };
        command.args(["run", "-c"]).arg(self.config_file());
        command
    }

    /// Starts it by such a command, and does not wait.
    pub fn launch(&mut self, command: Command) {
        self.process = Some(Process::spawn("tidegate", command, &self.dir().join("log")));
        self.lives += 1;
    }

    /// Waits until it answers there with success: `/readyz` when it is able to take readings,
    /// `/healthz` when it lives.
    pub fn answers(&mut self, path: &str) {
        let process = self.process.as_mut().expect("the gateway runs");
        wait_for("the gateway", START_MAX, || {
            process.check_alive();
            get(self.http_port, path, &[]).and_then(|a| {
                if a.status == 200 { Ok(()) } else { Err(format!("{} {}", a.head, a.body)) }
            })
        });
    }

    /// SIGKILL: nothing gets to say good-bye.
    pub fn kill(&mut self) {
        self.process.take().expect("the gateway runs").kill();
    }

    /// SIGTERM, and its exit status.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.process.take().expect("the gateway runs").terminate(limit)
    }

    /// Waits until it has ended by itself, and how.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        self.process.take().expect("the gateway runs").ended(limit)
    }

    /// The process that runs is the only one that ever ran on this directory by this harness.
    pub fn is_first_life(&self) -> bool {
        self.lives == 1
    }

    /// What the running gateway says of itself on its control socket.
    pub fn status(&self) -> tidegate::app::status::Status {
        let reply =
            tidegate::app::control::ask(&self.dir().join("control.sock"), "status").unwrap();
        serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{error}: {reply}"))
    }

    /// Readings that an output has not done with.
    pub fn pending(&self, output: &str) -> u64 {
        let status = self.status();
        let found = status.outputs.iter().find(|found| found.id == output);
        found.unwrap_or_else(|| panic!("no output {output} in {status:?}")).pending
    }

    /// Readings of an output that its position on the disk knows to be confirmed, by the newer of its two
    /// records; the head of `journal/src/position/record.rs` has the bytes.
    pub fn confirmed_on_disk(&self, output: &str) -> u64 {
        let number = |record: &[u8], at: usize| -> u64 {
            let bytes = record.get(at..at + 8).map(|bytes| bytes.try_into().unwrap());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let records = ["0", "1"].map(|slot| {
            let path = self.dir().join(format!("journal/pos-{output}.{slot}"));
            let record = fs::read(path).unwrap_or_default();
            (number(&record, 16), number(&record, 80))
        });
        records.into_iter().max().unwrap().1
    }

    /// A subcommand of the same binary, in the same environment.
    pub fn command(&self) -> Command {
        self.at_home(Command::new(binary()))
    }

    fn at_home(&self, mut command: Command) -> Command {
        command.env("RUNTIME_DIRECTORY", self.dir()).current_dir(self.dir());
        command
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the gateway runs")
    }

    pub fn usage(&self) -> Usage {
        self.process().usage()
    }

    /// Everything logged in this directory, earlier runs included.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }

    /// The sum of a metric over all label sets whose text contains each of `labels`; 0 if there is none.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let body = get(self.http_port, "/metrics", &[]).unwrap().expect_success();
        let of_name =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        body.lines()
            .filter(of_name)
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// The same of a counter, which is a whole number.
    pub fn count(&self, name: &str, labels: &[&str]) -> u64 {
        format!("{:.0}", self.metric(name, labels)).parse().unwrap()
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir().join("tidegate.toml")
    }
}
