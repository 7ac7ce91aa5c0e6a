//! Line protocol in: the grammar of influxd 1.x, strict where it is lax, and `u` besides.
//!
//! A broken line costs itself only, and where it ends is decided so that no text of it can pass for
//! another line: a quoted text that is properly closed is skipped whole, whatever lines it holds.
//! One that is not costs no more than the line on which it begins. A value that is a number but
//! cannot be kept (`NaN`, `1e999`, an integer out of range) costs its field.

use std::mem;

use crate::{
    Context, Limits, Place, Readings, Reason, Rejects, ValueRef,
    line::parse::{Line, Value},
    offer::{Offers, Parts},
    scratch::reuse,
};

/// Decodes a whole body; a broken line costs itself only. `Rejects` carries its line and bytes.
pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    let mut offers = Offers::new(context, out, bad);
    let mut line = Line::new(payload, context.precision, offers.limits());
    while let Some(place) = line.begin() {
        let start = place.span.start;
        match line.parse() {
            Ok(end) => offer(&line, Place { span: start..end, ..place }, &mut offers),
            Err(broken) => {
                let column = broken.at.saturating_sub(start) + 1;
                let text = format!("column {column}: {}", broken.reason.text);
                let span = start..line.skip_broken(start, broken.resume);
                offers.refuse(Place { span, ..place }, Reason::new(broken.reason.kind, text));
            }
        }
    }
}

/// Whether the first line that is no comment is a whole, valid one: how `auto` tells line protocol
/// from text.
pub fn looks_like(payload: &[u8]) -> bool {
    let mut line = Line::new(payload, None, Limits::default());
    line.begin().is_some() && line.parse().is_ok()
}

/// How many bytes from the start are whole lines, whatever may come after `payload`: where a body
/// that is still coming in can be cut without any line being taken for another.
pub fn whole(payload: &[u8]) -> usize {
    let mut line = Line::new(payload, None, Limits::default());
    let mut until = payload.len(); // Behind the last line there are only blank ones and comments.
    while let Some(Place { span, .. }) = line.begin() {
        let is_open = match line.parse() {
            Ok(_) => false,
            Err(broken) => {
                line.skip_broken(span.start, broken.resume);
                broken.is_open
            }
        };
        let is_ended = line.at.checked_sub(1).and_then(|at| payload.get(at)) == Some(&b'\n');
        if is_open || !is_ended {
            until = span.start;
            break;
        }
    }
    let certain = payload.get(..until).unwrap_or_default();
    certain.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

/// Offers a line that was taken apart.
fn offer(line: &Line<'_>, place: Place, offers: &mut Offers<'_>) {
    let arena = line.arena.as_str();
    if let ([], [(_, reason), ..]) = (line.fields.as_slice(), line.left_out.as_slice()) {
        return offers.refuse(place, reason.clone());
    }
    let mut tags = reuse(mem::take(&mut offers.scratch.tags));
    tags.extend(line.tags.iter().map(|(key, value)| (key.get(arena), value.get(arena))));
    let mut fields = reuse(mem::take(&mut offers.scratch.fields));
    fields.extend(line.fields.iter().map(|(name, value)| match value {
        Value::Number(value) => (name.get(arena), *value),
        Value::Text(text) => (name.get(arena), ValueRef::Text(text.get(arena))),
    }));
    let measurement = line.measurement.get(arena);
    let parts = Parts { measurement, tags: &tags, fields: &fields, time: line.time };
    let index = place.index;
    if offers.offer(parts, place) {
        for (name, reason) in &line.left_out {
            offers.leave_out(index, name.get(arena), reason.clone());
        }
    }
    offers.scratch.tags = reuse(tags);
    offers.scratch.fields = reuse(fields);
}

#[cfg(test)]
mod tests;
