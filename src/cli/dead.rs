//! `tidegate dead list|show|replay`: what was refused, and once more to the output that refused it.
//!
//! Everything goes through the running gateway: it alone knows its outputs, and it alone writes to
//! the letters' files.

use clap::Subcommand;
use serde_json::Value;

use super::gateway::{At, Gateway};
use super::{Ending, complain, say};

/// Refused letters that a replay names one by one.
const NAMED_MAX: usize = 20;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// A line for each letter, the youngest last.
    List {
        #[command(flatten)]
        at: At,
        /// Only those of this output; `intake` is what the gateway itself refused.
        #[arg(long, value_name = "ID")]
        output: Option<String>,
        /// How many of each.
        #[arg(long, value_name = "N", default_value_t = 50)]
        count: usize,
    },
    /// All that is known of one letter, as JSON.
    Show {
        /// As `list` names it.
        id: String,
        #[command(flatten)]
        at: At,
    },
    /// Offer letters once more, each to its own output and with its own time.
    Replay {
        /// Only this letter; otherwise all that were not replayed yet.
        #[arg(conflicts_with = "output")]
        id: Option<String>,
        #[command(flatten)]
        at: At,
        /// Only those of this output.
        #[arg(long, value_name = "ID")]
        output: Option<String>,
    },
}

pub fn execute(command: &Command) -> Ending {
    let (Command::List { at, .. } | Command::Show { at, .. } | Command::Replay { at, .. }) =
        command;
    let done = at.gateway().and_then(|gateway| match command {
        Command::List { output, count, .. } => list(&gateway, output.as_deref(), *count),
        Command::Show { id, .. } => show(&gateway, id),
        Command::Replay { id: Some(id), .. } => {
            let mut sum = Sum::default();
            gateway.ask(&format!("dead replay {id}")).map(|reply| {
                sum.add(&reply);
                sum.told()
            })
        }
        Command::Replay { id: None, output, .. } => replay(&gateway, output.as_deref()),
    });
    done.unwrap_or_else(|ending| ending)
}

/// The folders that are asked for.
fn folders(gateway: &Gateway, only: Option<&str>, replays: bool) -> Result<Vec<String>, Ending> {
    if let Some(only) = only {
        return Ok(vec![only.to_owned()]);
    }
    let reply = gateway.ask("dead folders")?;
    let folders = reply.get("folders").and_then(Value::as_array).into_iter().flatten();
    let wanted = folders.filter(|folder| !replays || folder.get("replays") == Some(&true.into()));
    Ok(wanted.map(|folder| text(folder, "id").to_owned()).collect())
}

fn list(gateway: &Gateway, only: Option<&str>, count: usize) -> Result<Ending, Ending> {
    for folder in folders(gateway, only, false)? {
        let reply = gateway.ask(&format!("dead list {folder} {count}"))?;
        let letters: Vec<&Value> =
            reply.get("letters").and_then(Value::as_array).into_iter().flatten().collect();
        let total = reply.get("total").and_then(Value::as_u64).unwrap_or_default();
        if total > letters.len() as u64 {
            say(&format!("{folder}: the youngest {} of {total}", letters.len()));
        }
        for letter in letters {
            say(&line(&folder, letter));
        }
    }
    Ok(Ending::Ok)
}

fn line(folder: &str, letter: &Value) -> String {
    let replayed = letter.get("replayed") == Some(&true.into());
    let field = letter.get("field").and_then(Value::as_str);
    let what = field.map_or_else(String::new, |field| format!(" (field {field})"));
    format!(
        "{:<22} {} {folder:<12} {}{what}{}: {}",
        text(letter, "id"),
        text(letter, "time"),
        text(letter, "reason"),
        if replayed { ", replayed" } else { "" },
        text(letter, "answer").lines().next().unwrap_or_default(),
    )
}

fn show(gateway: &Gateway, id: &str) -> Result<Ending, Ending> {
    let reply = gateway.ask(&format!("dead show {id}"))?;
    let letter = reply.get("letter").unwrap_or(&Value::Null);
    say(&serde_json::to_string_pretty(letter).unwrap_or_default());
    Ok(Ending::Ok)
}

fn replay(gateway: &Gateway, only: Option<&str>) -> Result<Ending, Ending> {
    let mut sum = Sum::default();
    for folder in folders(gateway, only, true)? {
        let mut from = Some("0:0".to_owned());
        while let Some(cursor) = from {
            let reply = gateway.ask(&format!("dead replay {folder} {cursor}"))?;
            sum.add(&reply);
            from = reply.get("next").and_then(Value::as_str).map(str::to_owned);
        }
    }
    Ok(sum.told())
}

/// What became of replayed letters.
#[derive(Default)]
struct Sum {
    replayed: u64,
    refused: usize,
}

impl Sum {
    fn add(&mut self, reply: &Value) {
        self.replayed += reply.get("replayed").and_then(Value::as_u64).unwrap_or_default();
        for refused in reply.get("refused").and_then(Value::as_array).into_iter().flatten() {
            self.refused += 1;
            if self.refused <= NAMED_MAX {
                complain(&format!("{}: {}", text(refused, "id"), text(refused, "why")));
            }
        }
    }

    /// Failed, if any was refused again.
    fn told(&self) -> Ending {
        say(&format!("replayed {}  refused again {}", self.replayed, self.refused));
        if self.refused == 0 { Ending::Ok } else { Ending::Failed }
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
