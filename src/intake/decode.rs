//! Payload to readings, whatever its format.
//!
//! `auto` looks at the payload, in this order: a first byte 0xC1 is a frame, `{` or `[` is JSON, a
//! number or a boolean is a plain value, a whole valid line is line protocol, and everything else
//! is a text.
//!
//! A decoder that panics costs its payload, nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proto::{Context, Kind, Readings, Reason, Rejects, frame, json, line, plain};

use super::Format;

/// Starts a payload in `out` and decodes it there. Never fails: what could not be taken is in
/// `bad`, which must be empty before.
///
/// `field` is what the topic says a value is: the name of the field that a plain value becomes.
/// Other payloads name their fields themselves. There it is a tag, or two topics of one rule would
/// meet in one series.
pub fn decode(
    format: Format,
    payload: &[u8],
    context: &Context<'_>,
    field: Option<&str>,
    out: &mut Readings,
    bad: &mut Rejects,
) {
    guarded(out, bad, |out, bad| {
        let format = recognise(format, payload, context, out);
        match field {
            None => run(format, payload, context, out, bad),
            Some(field) if matches!(format, Format::Plain | Format::Auto) => {
                run(format, payload, &Context { field, ..*context }, out, bad);
            }
            Some(field) => {
                let tags = [context.tags, &[("field", field)]].concat();
                run(format, payload, &Context { tags: &tags, ..*context }, out, bad);
            }
        }
    });
}

fn run(
    format: Format,
    payload: &[u8],
    context: &Context<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
) {
    match format {
        Format::Frame => frame::decode(payload, context, out, bad),
        Format::Json => json::decode(payload, context, out, bad),
        Format::Line => line::decode(payload, context, out, bad),
        Format::Plain | Format::Auto => plain::decode(payload, context, out, bad),
    }
}

/// Runs a decoder. If it panics, what it pushed is forgotten, and the payload counts as one
/// refused reading.
pub(super) fn guarded(
    out: &mut Readings,
    bad: &mut Rejects,
    decoder: impl FnOnce(&mut Readings, &mut Rejects),
) {
    out.begin();
    // Unwind safe: `roll_back` and `clear` bring both back to where they were.
    let result = catch_unwind(AssertUnwindSafe(|| decoder(out, bad)));
    if result.is_err() {
        out.roll_back();
        bad.clear();
        let text = "the gateway failed on this payload, which is a fault of the gateway";
        bad.reading(0, 0..0, Reason::new(Kind::Internal, text));
    }
}

/// What `auto` stands for with this payload.
fn recognise(format: Format, payload: &[u8], context: &Context<'_>, out: &mut Readings) -> Format {
    if format != Format::Auto {
        return format;
    }
    match payload.trim_ascii_start().first() {
        _ if payload.first() == Some(&frame::MAGIC) => Format::Frame,
        Some(b'{' | b'[') => Format::Json,
        Some(_) if plain::is_scalar(payload) => Format::Plain,
        Some(_) if starts_with_a_line(payload, context, out) => Format::Line,
        _ => Format::Plain,
    }
}

/// Whether the first line that says anything is whole and valid line protocol. The rest is not
/// looked at: a broken line among good ones must not turn a body into one text.
fn starts_with_a_line(payload: &[u8], context: &Context<'_>, out: &mut Readings) -> bool {
    let first = payload
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|line| !line.is_empty() && !line.starts_with(b"#"));
    let Some(first) = first.filter(|line| line.contains(&b'=') && line.contains(&b' ')) else {
        return false;
    };
    let mut bad = Rejects::default();
    out.begin();
    line::decode(first, context, out, &mut bad);
    let whole = out.count_since_begin() == 1 && bad.is_empty();
    out.roll_back();
    whole
}

#[cfg(test)]
mod tests;
