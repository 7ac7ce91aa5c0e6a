//! Which of the lines that were sent a complaint means.
//!
//! A line is named (`Answer::Bad`, or `Answer::Amend` for one field of it) only if the answer accounts
//! for it: its text is quoted, its number is told, or the lines that fit the description are as many
//! as were dropped. Otherwise the lines that fit are suspects, and the output narrows it down.

use std::{collections::HashMap, ops::Range};

use super::answer::{Complaint, Conflict, Told, is_too_old};
use super::{amend, scan, text};
use crate::sink::{Amendment, Answer, Body, Fault, Refusal};

/// Bytes of an answer that are quoted in a dead letter.
const QUOTE_MAX: usize = 512;
const UNABLE: &str = "unable to parse '";

pub(super) fn find(complaint: Complaint, body: &Body, lines: &[Range<u32>]) -> Answer {
    match complaint {
        Complaint::Unparsable { text } => unparsable(&text, body, lines),
        Complaint::Conflict { conflict, dropped, text } => {
            conflicting(&conflict, dropped, &text, body, lines)
        }
        Complaint::TooOld { dropped: Some(count), text } => {
            settle(oldest(count, body, lines), Some(count), lines, Fault::BeyondRetention, &text)
        }
        // Split by time: the older half first.
        Complaint::TooOld { dropped: None, text } => {
            let half = u64::from(sent(lines) / 2);
            suspect(oldest(half, body, lines), Fault::BeyondRetention, &text)
        }
        Complaint::Partial { dropped, text } => {
            settle(hinted(&text, lines), dropped, lines, Fault::Refused, &text)
        }
        Complaint::Named { told, text } => named(told, &text, body, lines),
        Complaint::Vague { text } => suspect(hinted(&text, lines), Fault::Malformed, &text),
    }
}

/// A conflict costs one field of the lines that have it, if it is certain which they are.
fn conflicting(
    conflict: &Conflict,
    dropped: Option<u64>,
    text: &str,
    body: &Body,
    lines: &[Range<u32>],
) -> Answer {
    let refusal = Refusal::new(Fault::TypeConflict, text::cut(text, QUOTE_MAX));
    let changes: Vec<(u32, Amendment)> = lines
        .iter()
        .cloned()
        .flatten()
        .filter_map(|line| Some((line, amend::line(body.line(line), conflict, &refusal)?)))
        .collect();
    let fits = changes.len() as u64;
    if fits > 0 && (dropped == Some(fits) || sent(lines) == 1) {
        return Answer::Amend { changes, bad: Vec::new() };
    }
    if sent(lines) == 1 {
        return bad(lines.iter().cloned().flatten(), Fault::TypeConflict, text);
    }
    suspect(changes.into_iter().map(|(line, _)| line).collect(), Fault::TypeConflict, text)
}

/// Lines told by their number. One that does not begin as told is not the one that was meant.
fn named(told: Vec<Told>, text: &str, body: &Body, lines: &[Range<u32>]) -> Answer {
    let (mut changes, mut bad) = (Vec::new(), Vec::new());
    for Told { number, begins, text, conflict } in told {
        let Some(line) = nth(u64::from(number), lines) else { continue };
        let bytes = body.line(line);
        if !scan::begins_alike(bytes, begins.as_bytes()) {
            continue;
        }
        let fault = match &conflict {
            Some(_) => Fault::TypeConflict,
            None if is_too_old(&text) => Fault::BeyondRetention,
            None if text.contains("exceed") => Fault::Refused,
            None => Fault::Malformed,
        };
        let refusal = Refusal::new(fault, text::cut(&text, QUOTE_MAX));
        match conflict.and_then(|conflict| amend::line(bytes, &conflict, &refusal)) {
            Some(change) => changes.push((line, change)),
            None => bad.push((line, refusal)),
        }
    }
    match (changes.is_empty(), bad.is_empty()) {
        (true, true) => suspect(Vec::new(), Fault::Malformed, text),
        (true, false) => Answer::Bad(bad),
        (false, _) => Answer::Amend { changes, bad },
    }
}

/// The lines whose numbers stand in the text: `line 7`. There may be other numbers in it.
fn hinted(text: &str, lines: &[Range<u32>]) -> Vec<u32> {
    let number = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let mut found: Vec<u32> =
        text.split("line ").skip(1).filter_map(number).filter_map(|n| nth(n, lines)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The `number`th line that was sent, from 1.
fn nth(number: u64, lines: &[Range<u32>]) -> Option<u32> {
    let at = usize::try_from(number.checked_sub(1)?).ok()?;
    lines.iter().cloned().flatten().nth(at)
}

fn sent(lines: &[Range<u32>]) -> u32 {
    lines.iter().map(|range| range.end - range.start).sum()
}

/// Lines that fit the description, against the number that was dropped.
fn settle(
    fits: Vec<u32>,
    dropped: Option<u64>,
    lines: &[Range<u32>],
    fault: Fault,
    text: &str,
) -> Answer {
    if dropped == Some(u64::from(sent(lines))) {
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

/// The oldest lines, `count` of them; more if several are of that age.
fn oldest(count: u64, body: &Body, lines: &[Range<u32>]) -> Vec<u32> {
    let mut by_age: Vec<(i64, u32)> =
        lines.iter().cloned().flatten().map(|line| (body.time_of(line), line)).collect();
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
