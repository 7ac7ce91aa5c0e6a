//! `tidegate check`: every problem of the configuration at its place; or what becomes of one payload.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{ConfigFile, Ending, complain, say};
use crate::intake::{
    Limits,
    explain::{self, Explained},
    presets::Preset,
    route::Routes,
    stamp::{Clock as _, SystemClock},
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Show what a payload on this topic becomes, instead.
    #[arg(long, requires = "payload")]
    topic: Option<String>,
    /// The payload as text, or `@FILE`.
    #[arg(long, requires = "topic")]
    payload: Option<String>,
}

pub fn execute(arguments: &Arguments) -> anyhow::Result<Ending> {
    match (&arguments.topic, &arguments.payload) {
        (Some(topic), Some(payload)) => check_payload(&arguments.config.path, topic, payload),
        _ => Ok(check_config(&arguments.config.path)),
    }
}

fn check_config(path: &std::path::Path) -> Ending {
    match super::run::load(path) {
        Ok(_) => {
            say(&format!("{}: ok", path.display()));
            Ending::Ok
        }
        Err(ending) => ending,
    }
}

/// Without a configuration the defaults answer: no rules, no tags, every preset.
fn check_payload(path: &std::path::Path, topic: &str, payload: &str) -> anyhow::Result<Ending> {
    let payload = match payload.strip_prefix('@') {
        Some(file) => fs::read(PathBuf::from(file)).with_context(|| file.to_owned())?,
        None => payload.as_bytes().to_vec(),
    };
    let now = SystemClock.now();
    let shown = if path.try_exists()? {
        match super::run::load(path) {
            Ok(config) => explain::message(
                &config.routes,
                &config.tags,
                &config.intake,
                (topic, &payload),
                now,
            ),
            Err(ending) => return Ok(ending),
        }
    } else {
        let routes = Routes::with_presets(Vec::new(), Preset::ALL).unwrap_or_default();
        explain::message(&routes, &[], &Limits::default(), (topic, &payload), now)
    };
    Ok(show(&shown))
}

/// Prints the points, then what was refused.
pub fn show(shown: &Explained) -> Ending {
    if !shown.rule.is_empty() {
        say(&format!("# {}", shown.rule));
    }
    for line in &shown.lines {
        say(line);
    }
    for note in &shown.notes {
        say(&format!("# {note}"));
    }
    if shown.is_filtered {
        say("# filtered: acknowledged, counted, not stored");
    }
    for problem in &shown.problems {
        complain(&format!("refused: {problem}"));
    }
    if shown.problems.is_empty() { Ending::Ok } else { Ending::Failed }
}
