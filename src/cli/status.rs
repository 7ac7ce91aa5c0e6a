//! `tidegate status`: the running gateway on one screen; `--described`: what its devices say of their values.

use std::fmt::Write as _;

use serde_json::json;

use super::gateway::{At, Gateway};
use super::watch::visible;
use super::{Ending, say};
use crate::app::status::{Clock, Descriptions, Journal, Output, Sparkplug, Status};
use crate::intake::described::list::Page;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    at: At,
    /// Print the JSON document as it came.
    #[arg(long)]
    json: bool,
    /// Show what discovery says of values, by their topics, instead; only of these topics if there is
    /// a filter, for example `zigbee2mqtt/#`.
    #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "#")]
    described: Option<String>,
}

pub fn execute(arguments: &Arguments) -> anyhow::Result<Ending> {
    let gateway = match arguments.at.gateway() {
        Ok(gateway) => gateway,
        Err(ending) => return Ok(ending),
    };
    if let Some(filter) = &arguments.described {
        return describe(&gateway, filter, arguments.json);
    }
    let reply = match gateway.ask_text("status") {
        Ok(reply) => reply,
        Err(ending) => return Ok(ending),
    };
    if arguments.json {
        say(&reply);
    } else {
        say(&screen(&serde_json::from_str(&reply)?));
    }
    Ok(Ending::Ok)
}

/// All pages, a topic with the source of what is said of it and its values below. As JSON: a page a line.
fn describe(gateway: &Gateway, filter: &str, as_json: bool) -> anyhow::Result<Ending> {
    let mut from = Some(0);
    let mut heading = String::new();
    while let Some(at) = from {
        let asked = json!({ "filter": filter, "from": at });
        let reply = match gateway.ask_text(&format!("described {asked}")) {
            Ok(reply) => reply,
            Err(ending) => return Ok(ending),
        };
        let page: Page = serde_json::from_str(&reply)?;
        if as_json {
            say(&reply);
        }
        for listed in page.descriptions.iter().filter(|_| !as_json) {
            let of = visible(&format!("{}  ({})", listed.topic, listed.source));
            if of != heading {
                say(&of);
                heading = of;
            }
            say(&format!("    {}", visible(&listed.told.to_string())));
        }
        // Always further, whatever the answer: this has an end.
        from = page.next.filter(|next| *next > at);
    }
    Ok(Ending::Ok)
}

/// The screen: inputs, journal, outputs, books, clock, alarms.
pub fn screen(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        writeln!(text, "{words}").expect("writing to a string cannot fail");
    };
    line(format_args!("tidegate {}, up {}", status.version, duration(status.uptime_seconds)));
    for input in &status.inputs {
        line(format_args!(
            "input    {:<14} {:<24} {} connected",
            input.name, input.address, input.connections
        ));
    }
    line(format_args!("{}", journal_line(&status.journal)));
    for output in &status.outputs {
        line(format_args!("{}", output_line(output)));
        if let Some(error) = &output.last_error {
            line(format_args!("         last error: {error}"));
        }
    }
    let books = &status.books;
    line(format_args!(
        "books    received {}: journaled {}  refused {}  filtered {}  duplicate {}  dropped {}",
        books.received,
        books.journaled,
        books.refused,
        books.filtered,
        books.duplicate,
        books.dropped
    ));
    if status.sparkplug.nodes > 0 {
        line(format_args!("{}", sparkplug_line(&status.sparkplug)));
    }
    let Descriptions { held, refused } = status.descriptions;
    if held > 0 || refused > 0 {
        line(format_args!("values   {held} described, {refused} descriptions not taken"));
    }
    line(format_args!("{}", clock_line(&status.clock)));
    for alarm in &status.alarms {
        line(format_args!("ALARM    {alarm}"));
    }
    text.truncate(text.trim_end().len());
    text
}

fn sparkplug_line(sparkplug: &Sparkplug) -> String {
    format!(
        "nodes    {} of Sparkplug, {} births, asked {}, not reachable {}, waiting {}, given up {}",
        sparkplug.nodes,
        sparkplug.births,
        sparkplug.rebirths_asked,
        sparkplug.rebirths_unasked,
        sparkplug.messages_waiting,
        sparkplug.messages_given_up
    )
}

fn clock_line(clock: &Clock) -> String {
    let state = match (clock.believed, clock.wait_left_seconds) {
        (true, _) => "believed".to_owned(),
        (false, Some(left)) => format!("NOT BELIEVED, readings wait {} more", duration(left)),
        (false, None) => "NOT BELIEVED, readings leave tagged clock=unsure".to_owned(),
    };
    let steps = clock.steps_forward + clock.steps_backward;
    if steps == 0 {
        format!("clock    {state}")
    } else {
        format!("clock    {state}, set {steps} times")
    }
}

pub(super) fn journal_line(journal: &Journal) -> String {
    format!(
        "journal  {} of {}{}, durable up to {}, {} syncs  ({})",
        bytes(journal.bytes),
        bytes(journal.bytes_max),
        match journal.seconds_to_full {
            _ if journal.degraded => ", ITS DISK FAILS".to_owned(),
            _ if journal.full => ", FULL".to_owned(),
            Some(seconds) => format!(", full in {}", duration(seconds)),
            None => String::new(),
        },
        journal.durable_seq,
        journal.syncs,
        journal.dir
    )
}

fn output_line(output: &Output) -> String {
    format!(
        "output   {:<14} {:<24} {}, lag {:.1} s, pending {}, confirmed {}, dead {}, dropped {}, quarantined {}",
        output.id,
        output.target,
        output.state,
        output.lag_seconds,
        output.pending,
        output.confirmed,
        output.dead,
        output.dropped,
        output.quarantined
    )
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => format!("{m} min {} s", seconds % 60),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

/// Bytes in the largest binary unit that leaves a whole part.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = count;
    let mut rest = 0;
    let mut unit = 0;
    while scaled >= 1024 && unit + 1 < UNITS.len() {
        rest = scaled % 1024;
        scaled /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 {
        format!("{scaled} {name}")
    } else {
        format!("{scaled}.{} {name}", rest * 10 / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_the_largest_that_fit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(4 << 30), "4.0 GiB");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(3_700), "1 h 1 min");
    }

    #[test]
    fn the_screen_shows_every_output_and_alarm() {
        let status = Status {
            outputs: vec![Output {
                id: "home".into(),
                state: "backing off".into(),
                last_error: Some("503 Service Unavailable".into()),
                ..Output::default()
            }],
            alarms: vec!["output home: not delivering".into()],
            descriptions: Descriptions { held: 3, refused: 1 },
            ..Status::default()
        };
        let screen = screen(&status);
        assert!(screen.contains("home") && screen.contains("backing off"), "{screen}");
        assert!(screen.contains("last error: 503"), "{screen}");
        assert!(screen.contains("ALARM    output home"), "{screen}");
        assert!(screen.contains("values   3 described, 1 descriptions not taken"), "{screen}");
    }
}
