//! The tables that concern the gateway as a whole: tags, limits, journal, dead letters, log,
//! runtime, control.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use journal::{Options, WhenFull};
use tracing_subscriber::filter::Targets;

use super::rule;
use super::table::Table;
use crate::intake;
use crate::intake::clock::{judge::Believe, keeper};
use crate::intake::resends;
use crate::intake::route::{tag_name_problem, tag_value_problem};
use crate::intake::sparkplug;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY: Duration = Duration::from_hours(24);

/// The journal takes at least four segments of 4 MiB.
const JOURNAL_BYTES_MIN: u64 = 16 * MIB;
const JOURNAL_BYTES_DEFAULT: u64 = 4 * GIB;

#[derive(Clone, Debug)]
pub struct Journal {
    /// `bytes_max` in it is a placeholder: `options` gives the journal what it opens with.
    options: Options,
    /// `None`: the smaller of 4 GiB and a fifth of what is free.
    bytes_max: Option<u64>,
}

impl Journal {
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// Whatever is configured: for a source that can wait, so that it costs nobody a reading.
    pub fn block_when_full(&mut self) {
        self.options.when_full = WhenFull::Block;
    }

    /// `free`: bytes free on the journal's file system; `held`: what the journal has there already,
    /// which never gives way only because others took what was free.
    pub fn options(&self, free: u64, held: u64) -> Options {
        let fifth = free.saturating_add(held) / 5;
        let default = JOURNAL_BYTES_DEFAULT.min(fifth).max(JOURNAL_BYTES_MIN).max(held);
        let bytes_max = self.bytes_max.unwrap_or(default);
        Options { bytes_max, ..self.options.clone() }
    }
}

/// Where refused readings and lines go, each with its reason.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// A folder in it for each output, and `intake`.
    pub dir: PathBuf,
    /// Of each folder.
    pub bytes_max: u64,
    pub age_max: Duration,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// As typed: `info` or `info,tidegate::listen=debug`.
    pub filter: Targets,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Coloured on a terminal.
    Text,
    Json,
}

#[derive(Clone, Copy, Debug)]
pub struct Runtime {
    /// `None`: as many as there are cores.
    pub worker_threads: Option<NonZeroUsize>,
    /// How long a stop may take to deliver what is in flight.
    pub grace: Duration,
}

#[derive(Clone, Debug)]
pub struct Control {
    /// The Unix socket that the subcommands talk to.
    pub socket: PathBuf,
}

pub(super) fn resends(table: Table<'_>) -> resends::Limits {
    let mut limits = resends::Limits::default();
    table.count("messages_max", 1..=4096, &mut limits.messages_max);
    table.count("senders_max", 1..=1_000_000, &mut limits.senders_max);
    table.count("requests_max", 1..=1_000_000, &mut limits.requests_max);
    table.duration("age_max", Duration::from_secs(1)..=7 * DAY, &mut limits.age_max);
    table.bytes("tail_bytes_max", 0..=GIB, &mut limits.tail_bytes_max);
    table.done();
    limits
}

pub(super) fn sparkplug(table: Table<'_>) -> sparkplug::Limits {
    let mut limits = sparkplug::Limits::default();
    table.flag("rebirth", &mut limits.rebirth);
    let second = Duration::from_secs(1);
    table.duration("rebirth_every", second..=DAY, &mut limits.rebirth_every);
    table.count("nodes_max", 1..=1_000_000, &mut limits.nodes_max);
    table.bytes("births_bytes_max", 64 * KIB..=GIB, &mut limits.births_bytes_max);
    table.duration("hold_max", Duration::ZERO..=DAY, &mut limits.hold_max);
    table.bytes("held_bytes_max", 64 * KIB..=256 * MIB, &mut limits.held_bytes_max);
    table.done();
    limits
}

pub(super) fn clock(table: Table<'_>) -> keeper::Limits {
    let mut limits = keeper::Limits::default();
    let words = [("auto", Believe::Auto), ("always", Believe::Always)];
    limits.believe = table.choice("believe", &words).unwrap_or_default();
    table.duration("clock_wait", Duration::ZERO..=30 * DAY, &mut limits.clock_wait);
    table.done();
    limits
}

pub(super) fn tags(table: &Table<'_>) -> Vec<(String, String)> {
    let tags = table.pairs();
    for (name, value) in &tags {
        if let Some(problem) = tag_name_problem(name).or_else(|| tag_value_problem(value)) {
            table.wrong(name, problem);
        }
    }
    tags
}

pub(super) fn limits(table: Table<'_>) -> intake::Limits {
    let mut limits = intake::Limits::default();
    let reading = &mut limits.reading;
    // A submission of the journal has room for any reading that is allowed.
    table.bytes("reading_bytes_max", KIB..=512 * KIB, &mut reading.reading_bytes_max);
    table.count("tags_max", 1..=1_024, &mut reading.tags_max);
    table.count("fields_max", 1..=16_384, &mut reading.fields_max);
    table.bytes("name_bytes_max", 16..=4 * KIB, &mut reading.name_bytes_max);
    table.bytes("tag_value_bytes_max", 16..=64 * KIB, &mut reading.tag_value_bytes_max);
    rule::time_limits(&table, &mut limits.times);
    // Decoders go down one call a level.
    table.count("json_depth_max", 1..=128, &mut limits.json_depth_max);
    table.count("json_keys_max", 1..=100_000, &mut limits.json_keys_max);
    table.bytes("budget_bytes", 4 * MIB..=4 * GIB, &mut limits.budget_bytes);
    table.bytes("rejected_bytes_max", 64..=128 * KIB, &mut limits.rejected_bytes_max);
    table.done();
    limits
}

pub(super) fn journal(table: Table<'_>) -> Journal {
    let mut options = Options::new("/var/lib/tidegate/journal");
    table.path("dir", &mut options.dir);
    table.bytes("free_bytes_min", 0..=1024 * GIB, &mut options.free_bytes_min);
    table.duration("sync_wait", Duration::ZERO..=DAY, &mut options.sync_wait);
    table.bytes("queue_bytes_max", 2 * MIB..=GIB, &mut options.queue_bytes_max);
    table.bytes("tail_bytes_max", 0..=GIB, &mut options.tail_bytes_max);
    let words = [("block", WhenFull::Block), ("drop-oldest", WhenFull::DropOldest)];
    if let Some(when_full) = table.choice("when_full", &words) {
        options.when_full = when_full;
    }
    let bytes_max = table.opt_bytes("bytes_max", JOURNAL_BYTES_MIN..=1024 * GIB);
    table.done();
    Journal { options, bytes_max }
}

pub(super) fn dead_letters(table: Table<'_>) -> DeadLetters {
    let mut dead_letters = DeadLetters {
        dir: PathBuf::from("/var/lib/tidegate/dead-letters"),
        bytes_max: 256 * MIB,
        age_max: 30 * DAY,
    };
    table.path("dir", &mut dead_letters.dir);
    table.bytes("bytes_max", MIB..=1024 * GIB, &mut dead_letters.bytes_max);
    table.duration("age_max", DAY / 24..=3_650 * DAY, &mut dead_letters.age_max);
    table.done();
    dead_letters
}

pub(super) fn log(table: Table<'_>) -> Log {
    let filter = table.read("filter", |value| {
        let typed = value.as_str().unwrap_or_default();
        let advice = "write for example \"info\" or \"info,tidegate::listen=debug\"";
        typed.parse::<Targets>().map_err(|error| format!("`{typed}`: {error}; {advice}"))
    });
    let format = table.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    table.done();
    Log {
        filter: filter.unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO)),
        format: format.unwrap_or(LogFormat::Text),
    }
}

pub(super) fn runtime(table: Table<'_>) -> Runtime {
    let worker_threads = table.opt_count("worker_threads", 1..=512_usize);
    let mut grace = Duration::from_secs(10);
    table.duration("grace", Duration::ZERO..=DAY, &mut grace);
    table.done();
    Runtime { worker_threads: worker_threads.and_then(NonZeroUsize::new), grace }
}

pub(super) fn control(table: Table<'_>) -> Control {
    let mut control = Control { socket: PathBuf::from("/run/tidegate/control.sock") };
    table.path("socket", &mut control.socket);
    table.done();
    control
}
