//! `tidegate watch [FILTER]`: what becomes of payloads, while they arrive at the running gateway.
//!
//! What it prints is line protocol; all else stands behind `#`, a comment there. On a terminal
//! refusals are red, and control characters, which come from devices, are made visible. The gateway
//! never waits: what comes too fast is counted, and said. What discovery says of a topic's values stands
//! under its first point, and again when it has changed.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::gateway::At;
use super::{Ending, complain};
use crate::intake::described;
use crate::intake::watch::Seen;

/// Topics of which it is remembered what was shown of them.
const DESCRIBED_MAX: usize = 4_096;

const RED: &str = "\x1b[31m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these topics, for example `tele/+/SENSOR`, or `/v1/#` for paths of HTTP and WebSocket.
    filter: Option<String>,
    #[command(flatten)]
    at: At,
    /// Only payloads of which something was refused.
    #[arg(long)]
    refused: bool,
    /// Print the JSON documents as they come, one a line.
    #[arg(long)]
    json: bool,
    /// Stop after so many payloads.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop after so long, for example `30s`.
    #[arg(long = "for", value_name = "TIME", value_parser = crate::config::duration)]
    time: Option<Duration>,
}

pub fn execute(arguments: &Arguments) -> anyhow::Result<Ending> {
    let wanted = json!({ "filter": arguments.filter, "refused": arguments.refused });
    let opened =
        arguments.at.gateway().and_then(|gateway| gateway.open(&format!("watch {wanted}")));
    let stream = match opened {
        Ok(stream) => stream,
        Err(ending) => return Ok(ending),
    };
    let mut lines = Lines::new(stream, arguments.time);
    let mut out = io::stdout().lock();
    let paint = Paint::of(&out);
    let mut described = DescribedBefore::default();
    let mut left = arguments.count;
    while left != Some(0) {
        let line = match lines.next()? {
            Line::Whole(line) => line,
            Line::TimeIsUp => break,
            Line::End => {
                complain("the gateway has ended");
                return Ok(Ending::TryAgain);
            }
        };
        let mut told: Told = serde_json::from_slice(line)?;
        if let Told::Error { error } = &told {
            complain(error);
            return Ok(Ending::Failed);
        }
        left = left.map(|left| left - u64::from(matches!(told, Told::Seen(_))));
        let written = if arguments.json {
            out.write_all(line)
        } else {
            described.leave_news(&mut told);
            paint.print(&mut out, &told)
        };
        match written.and_then(|()| out.flush()) {
            // Whoever read has seen enough: `tidegate watch | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            written => written?,
        }
    }
    Ok(Ending::Ok)
}

/// One line of the gateway's.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Told {
    Error { error: String },
    Missed { missed: u64 },
    Seen(Seen),
}

/// What was shown of topics' values.
#[derive(Default)]
struct DescribedBefore(HashMap<String, Vec<described::Told>>);

impl DescribedBefore {
    /// Takes away what was shown under an earlier point of the same topic.
    fn leave_news(&mut self, told: &mut Told) {
        let Told::Seen(seen) = told else { return };
        if seen.described.is_empty() {
            return;
        }
        if self.0.get(&seen.topic) == Some(&seen.described) {
            seen.described.clear();
            return;
        }
        if self.0.len() >= DESCRIBED_MAX {
            self.0.clear();
        }
        self.0.insert(seen.topic.clone(), seen.described.clone());
    }
}

/// Lines as they come, until time is up.
struct Lines {
    stream: BufReader<UnixStream>,
    until: Option<Instant>,
    line: Vec<u8>,
}

enum Line<'a> {
    Whole(&'a [u8]),
    TimeIsUp,
    End,
}

impl Lines {
    fn new(stream: UnixStream, time: Option<Duration>) -> Self {
        let until = time.and_then(|time| Instant::now().checked_add(time));
        Self { stream: BufReader::new(stream), until, line: Vec::new() }
    }

    fn next(&mut self) -> io::Result<Line<'_>> {
        self.line.clear();
        loop {
            if let Some(until) = self.until {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(Line::TimeIsUp);
                }
                self.stream.get_ref().set_read_timeout(Some(left))?;
            }
            // What was read before the time was up stays in `line`.
            match self.stream.read_until(b'\n', &mut self.line) {
                Ok(0) => return Ok(Line::End),
                Ok(_) => return Ok(Line::Whole(&self.line)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Line::End);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// How a terminal is written to; a file gets the text alone.
struct Paint {
    is_terminal: bool,
    is_coloured: bool,
}

impl Paint {
    /// <https://no-color.org>
    fn of(out: &impl IsTerminal) -> Self {
        let is_terminal = out.is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_terminal, is_coloured: is_terminal && !no_colour }
    }

    fn print(&self, out: &mut impl Write, told: &Told) -> io::Result<()> {
        let seen = match told {
            Told::Seen(seen) => seen,
            Told::Missed { missed } => {
                return self.comment(out, RED, &format!("{missed} payloads not shown"));
            }
            Told::Error { .. } => return Ok(()),
        };
        let Seen { source, topic, rule, .. } = seen;
        let rule = if rule.is_empty() { String::new() } else { format!(": {rule}") };
        self.comment(out, DIM, &format!("{source} {topic}{rule}"))?;
        for line in &seen.lines {
            if self.is_terminal {
                writeln!(out, "{}", visible(line))?;
            } else {
                writeln!(out, "{line}")?;
            }
        }
        for described in &seen.described {
            self.comment(out, DIM, &described.to_string())?;
        }
        for refused in &seen.refused {
            self.comment(out, RED, &format!("refused: {refused}"))?;
        }
        if seen.more > 0 {
            self.comment(out, DIM, &format!("and {} more", seen.more))?;
        }
        if seen.held > 0 {
            let text = format!("{} metrics wait for the birth that explains them", seen.held);
            self.comment(out, DIM, &text)?;
        }
        if seen.filtered {
            self.comment(out, DIM, "filtered: acknowledged, counted, not stored")?;
        }
        Ok(())
    }

    fn comment(&self, out: &mut impl Write, colour: &str, text: &str) -> io::Result<()> {
        let text = visible(text);
        if self.is_coloured {
            writeln!(out, "{colour}# {text}{RESET}")
        } else {
            writeln!(out, "# {text}")
        }
    }
}

/// Without what would move a terminal's cursor, or end a comment.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(paint: &Paint, told: &str) -> String {
        let mut out = Vec::new();
        paint.print(&mut out, &serde_json::from_str(told).unwrap()).unwrap();
        String::from_utf8(out).unwrap()
    }

    const FILE: Paint = Paint { is_terminal: false, is_coloured: false };
    const TERMINAL: Paint = Paint { is_terminal: true, is_coloured: true };

    fn seen(topic: &str, line: &str, refused: &str) -> String {
        let seen = Seen {
            source: "mqtt".into(),
            topic: topic.into(),
            rule: "no rule".into(),
            lines: vec![line.into()],
            refused: vec![refused.into()],
            more: 2,
            ..Seen::default()
        };
        serde_json::to_string(&seen).unwrap()
    }

    #[test]
    fn a_file_gets_line_protocol_and_comments() {
        let told = printed(&FILE, &seen("a/b", "m v=\"x\ty\" 1", "reading 0: why"));
        assert_eq!(
            told,
            "# mqtt a/b: no rule\nm v=\"x\ty\" 1\n# refused: reading 0: why\n# and 2 more\n"
        );
        assert_eq!(printed(&FILE, "{\"missed\":3}"), "# 3 payloads not shown\n");
    }

    #[test]
    fn a_terminal_gets_red_refusals_and_no_control_characters_of_a_device() {
        let told = printed(&TERMINAL, &seen("a\x1b[2J", "m v=\"\x1b]0;x\x07\" 1", "no\nway"));
        assert!(told.contains("# mqtt a\\u{1b}[2J: no rule"), "{told:?}");
        assert!(told.contains("m v=\"\\u{1b}]0;x\\u{7}\" 1\n"), "{told:?}");
        assert!(told.contains(&format!("{RED}# refused: no\\nway{RESET}\n")), "{told:?}");
    }

    /// Of the topic `a`, from a gateway that says so.
    fn described(unit: &str) -> Told {
        let described = format!("[{{\"value\":\"t\",\"unit\":\"{unit}\"}}]");
        let text = seen("a", "m t=1 1", "x").replace("\"more\":2", "\"more\":0");
        let text = text.replace(",\"held\":0", &format!(",\"held\":0,\"described\":{described}"));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_known_of_values_stands_under_the_first_point_and_again_when_it_changed() {
        let mut before = DescribedBefore::default();
        let mut shown = |mut told: Told| {
            before.leave_news(&mut told);
            let mut out = Vec::new();
            FILE.print(&mut out, &told).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(shown(described("°C")).contains("\nm t=1 1\n# t: °C\n"));
        assert!(!shown(described("°C")).contains("°C"));
        assert!(shown(described("a\\nb")).contains("\n# t: a\\nb\n"));
        // An older gateway says nothing of it.
        assert!(!shown(serde_json::from_str(&seen("a", "m t=1 1", "x")).unwrap()).contains("# t"));
    }

    #[test]
    fn a_topic_with_a_line_break_stays_a_comment() {
        assert_eq!(
            printed(&FILE, &seen("a\nm v=1", "m v=2", "x")).lines().next(),
            Some("# mqtt a\\nm v=1: no rule")
        );
    }
}
