//! Which of the lines that were sent a complaint means.
//!
//! A line is named (`Answer::Bad`) only if the answer accounts for it: its text is quoted, or the
//! lines that fit the description are as many as were dropped. Otherwise the lines that fit are
//! suspects, and the output narrows it down.

use std::{collections::HashMap, ops::Range};

use super::answer::{Complaint, Conflict};
use super::{scan, text};
use crate::sink::{Answer, Body, Fault, Refusal};

/// Bytes of an answer that are quoted in a dead letter.
const QUOTE_MAX: usize = 512;
const UNABLE: &str = "unable to parse '";

pub(super) fn find(complaint: Complaint, body: &Body, lines: &[Range<u32>]) -> Answer {
    match complaint {
        Complaint::Unparsable { text } => unparsable(&text, body, lines),
        Complaint::Conflict { conflict, dropped, text } => {
            let fits = of_type(&conflict, body, lines);
            settle(fits, dropped, lines, Fault::TypeConflict, &text)
        }
        Complaint::TooOld { dropped, text } => {
            let oldest = dropped.map(|count| oldest(count, body, lines)).unwrap_or_default();
            settle(oldest, dropped, lines, Fault::BeyondRetention, &text)
        }
        Complaint::Partial { dropped, text } => {
            settle(Vec::new(), dropped, lines, Fault::Refused, &text)
        }
        Complaint::Vague { text } => suspect(Vec::new(), Fault::Malformed, &text),
    }
}

/// Lines that fit the description, against the number that was dropped.
fn settle(
    fits: Vec<u32>,
    dropped: Option<u64>,
    lines: &[Range<u32>],
    fault: Fault,
    text: &str,
) -> Answer {
    let sent: u64 = lines.iter().map(|range| u64::from(range.end - range.start)).sum();
    if dropped == Some(sent) {
        return bad(lines.iter().cloned().flatten(), fault, text);
    }
    if !fits.is_empty() && dropped == Some(fits.len() as u64) {
        return bad(fits, fault, text);
    }
    suspect(fits, fault, text)
}

fn bad(lines: impl IntoIterator<Item = u32>, fault: Fault, text: &str) -> Answer {
    let refusal = Refusal::new(fault, text::cut(text, QUOTE_MAX));
    Answer::Bad(lines.into_iter().map(|line| (line, refusal.clone())).collect())
}

fn suspect(among: Vec<u32>, fault: Fault, text: &str) -> Answer {
    Answer::Suspect { refusal: Refusal::new(fault, text::cut(text, QUOTE_MAX)), among }
}

/// `unable to parse '<line>': <reason>`, a newline between two of them. A line may hold any of these
/// characters itself (a text field may hold newlines), so each is looked up among the lines sent.
fn unparsable(text: &str, body: &Body, lines: &[Range<u32>]) -> Answer {
    let sent: HashMap<&[u8], u32> = lines
        .iter()
        .cloned()
        .flatten()
        .map(|line| (body.line(line).trim_ascii_end(), line))
        .collect();
    let mut named = Vec::new();
    let mut rest = text;
    while let Some((_, quoted)) = rest.split_once(UNABLE) {
        rest = quoted;
        let Some((line, quote, reason)) = first_quoted(quoted, &sent) else { continue };
        rest = reason; // What the quoted line says itself is no quote.
        let reason = reason.split("\nunable to parse '").next().unwrap_or_default();
        let reason = reason.rsplit_once(" dropped=").map_or(reason, |(reason, _)| reason);
        let quote = text::cut(quote, QUOTE_MAX);
        let told = format!("{UNABLE}{quote}': {}", text::cut(reason, QUOTE_MAX));
        named.push((line, Refusal::new(Fault::Malformed, told)));
    }
    if named.is_empty() { suspect(Vec::new(), Fault::Malformed, text) } else { Answer::Bad(named) }
}

/// The line that this text begins with, and what follows its closing quote.
fn first_quoted<'t>(text: &'t str, sent: &HashMap<&[u8], u32>) -> Option<(u32, &'t str, &'t str)> {
    text.match_indices("': ").find_map(|(end, _)| {
        let line = text.get(..end)?;
        Some((*sent.get(line.as_bytes())?, line, text.get(end + 3..)?))
    })
}

/// The lines of that measurement that carry that field with that type.
fn of_type(conflict: &Conflict, body: &Body, lines: &[Range<u32>]) -> Vec<u32> {
    lines
        .iter()
        .cloned()
        .flatten()
        .filter(|line| {
            let Some(parts) = scan::line(body.line(*line)) else { return false };
            scan::is_name(parts.measurement, &conflict.measurement)
                && parts.fields().any(|(name, kind)| {
                    kind == conflict.found && scan::is_name(name, &conflict.field)
                })
        })
        .collect()
}

/// The oldest lines, `count` of them; more if several are of that age.
fn oldest(count: u64, body: &Body, lines: &[Range<u32>]) -> Vec<u32> {
    let mut by_age: Vec<(i64, u32)> = lines
        .iter()
        .cloned()
        .flatten()
        .filter_map(|line| Some((scan::timestamp(body.line(line))?, line)))
        .collect();
    by_age.sort_unstable();
    let Some(last) =
        usize::try_from(count).ok().and_then(|count| by_age.get(count.checked_sub(1)?))
    else {
        return Vec::new();
    };
    let youngest = last.0;
    let mut oldest: Vec<u32> =
        by_age.iter().take_while(|(age, _)| *age <= youngest).map(|(_, line)| *line).collect();
    oldest.sort_unstable();
    oldest
}

#[cfg(test)]
mod tests;
