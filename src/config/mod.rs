//! Configuration: text as typed, then what was meant.
//!
//! ```text
//!  text --toml--> tables with spans --listen, broker, rule, output, house--> Config
//!                        `-- what does not fit, what nobody knows --> ConfigErrors, each with line and column
//! ```
//!
//! `parse` is the only function that returns a `Config`: whoever holds one need not check again.
//! Every stage owns its limits and their defaults; here they only get the keys that change them.
//! Left out: whether directories can be written and databases answer; that is for the start and
//! for `tidegate check --connect`.

mod broker;
mod house;
mod listen;
mod mapping;
mod nearest;
mod output;
mod place;
mod presets;
mod rule;
mod secret;
mod steps;
mod table;
#[cfg(test)]
mod tests;
mod units;
mod value;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use self::place::Problems;
use self::table::{Desk, Table};
use crate::collect::broker as broker_stage;
use crate::intake;
use crate::intake::clock::keeper;
use crate::intake::resends;
use crate::intake::route::Routes;
use crate::intake::sparkplug;

pub use self::house::{Control, DeadLetters, Journal, Log, LogFormat, Runtime};
pub use self::listen::{Http, Mqtt};
pub use self::output::{Destination, Output};
pub use self::place::{ConfigErrors, Place, Problem};
pub use self::units::duration;

/// All that an operator decides, checked.
#[derive(Debug)]
pub struct Config {
    /// `[tags]`, added to every reading.
    pub tags: Vec<(String, String)>,
    /// `None`: no `[mqtt]`, no MQTT port.
    pub mqtt: Option<Mqtt>,
    pub http: Option<Http>,
    pub brokers: Vec<broker_stage::Settings>,
    pub routes: Routes,
    /// `[limits]`.
    pub intake: intake::Limits,
    pub journal: Journal,
    pub clock: keeper::Limits,
    pub resends: resends::Limits,
    pub sparkplug: sparkplug::Limits,
    /// At least one; ids are unique.
    pub outputs: Vec<Output>,
    pub dead_letters: DeadLetters,
    pub log: Log,
    pub runtime: Runtime,
    pub control: Control,
}

/// What a configuration refers to outside its text.
pub struct Surroundings<'s> {
    /// Where relative paths count from: the directory of the config file.
    pub dir: PathBuf,
    pub hostname: String,
    /// Environment variables and small files, for secrets.
    pub env: &'s dyn Fn(&str) -> Option<String>,
    pub read: &'s dyn Fn(&Path) -> io::Result<String>,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("dir", &self.dir)
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads and checks a file, its secrets included.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let file_name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigErrors::whole_file(&file_name, error.to_string()))?;
        let around = Surroundings {
            dir: path.parent().unwrap_or(Path::new("")).to_owned(),
            hostname: hostname(),
            env: &|name| std::env::var(name).ok(),
            read: &|path| fs::read_to_string(path),
        };
        Self::parse(&file_name, &text, &around)
    }

    /// Checks a text and reports every problem in it.
    pub fn parse(
        file_name: &str,
        text: &str,
        around: &Surroundings<'_>,
    ) -> Result<Self, ConfigErrors> {
        let (document, syntax_errors) = DeTable::parse_recoverable(text);
        let desk = Desk { problems: Problems::new(text), around };
        for error in syntax_errors {
            desk.problems.syntax(error.span(), error.message().to_owned());
        }
        let config = read(Table::root(&desk, document.get_ref()));
        match desk.problems.into_errors(file_name) {
            Some(errors) => Err(errors),
            None => Ok(config),
        }
    }
}

/// Where there was a problem, something else stands; nobody sees it then.
fn read(root: Table<'_>) -> Config {
    let intake = house::limits(root.table("limits"));
    let config = Config {
        tags: house::tags(&root.table("tags")),
        mqtt: listen::mqtt(root.table("mqtt")),
        http: listen::http(root.table("http")),
        brokers: broker::brokers(root.tables("broker")),
        routes: rule::routes(
            root.tables("rule"),
            intake.times,
            &presets::presets(root.table("presets")),
        ),
        intake,
        journal: house::journal(root.table("journal")),
        clock: house::clock(root.table("clock")),
        resends: house::resends(root.table("resends")),
        sparkplug: house::sparkplug(root.table("sparkplug")),
        outputs: output::outputs(root.tables("output")),
        dead_letters: house::dead_letters(root.table("dead_letters")),
        log: house::log(root.table("log")),
        runtime: house::runtime(root.table("runtime")),
        control: house::control(root.table("control")),
    };
    check_together(&config, &root);
    root.done();
    config
}

/// What only shows when the tables are seen side by side.
fn check_together(config: &Config, root: &Table<'_>) {
    if !["mqtt", "http", "broker"].into_iter().any(|source| root.has(source)) {
        let advice = "nothing comes in: add `[mqtt]` or `[http]` (ports that devices connect to) or \
                      `[[broker]]` (an MQTT broker to subscribe to)";
        root.nowhere(advice);
    }
    if !root.has("output") {
        root.nowhere(
            "no output: add `[[output]]` with an `id`, `type = \"influxdb\"`, `url`, `org`, \
             `bucket` and `token`, or `type = \"file\"` and a `path`",
        );
    }
    // What nobody waits for is written when the journal's queue presses. A budget used up before
    // that would make everybody wait for `sync_wait`.
    let queue = config.journal.options(0, 0).queue_bytes_max;
    if config.intake.budget_bytes < queue.saturating_mul(2) {
        let text =
            format!("`budget_bytes` must be at least twice `queue_bytes_max` ({queue} bytes)");
        root.table("limits").wrong("budget_bytes", text);
    }
    if let (Some(mqtt), Some(http)) = (&config.mqtt, &config.http)
        && listen::collide(mqtt.listen, http.listen)
    {
        let text = format!("[mqtt] and [http] cannot both listen on port {}", http.listen.port());
        root.table("http").wrong("listen", text);
    }
}

fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
