//! Payload to readings, whatever its format.
//!
//! `auto` looks at the payload, in this order: a first byte 0xC1 is a frame; an array whose first
//! object has `SenML`'s labels only is a pack; `{` or `[` is JSON; bytes that no text begins with and
//! that are a whole map of CBOR or `MessagePack` are that; a number or a boolean is a plain value, a
//! whole valid line is line protocol, and everything else is a text.
//!
//! What begins as an array in CBOR or `MessagePack` is not guessed: the same bytes can mean either.
//! There a rule or the `Content-Type` has to say it; and of Sparkplug too, whose bytes look like
//! nothing.
//!
//! A decoder that panics costs its payload, nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proto::{Context, Kind, Readings, Reason, Rejects};
use proto::{cbor, collectd, frame, json, line, msgpack, plain, senml, sparkplug};

use super::Format;
use super::route::Matched;

/// What the topic and its rule say that a payload may say too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<'a> {
    /// `None`: the format's own, or that of the context.
    pub measurement: Option<&'a str>,
    /// The name of the field that a plain value becomes. Other payloads name their fields
    /// themselves: there it is a tag, or two topics of one rule would meet in one series.
    pub field: Option<&'a str>,
}

impl<'a> Named<'a> {
    pub(super) fn of(matched: &Matched<'a>) -> Self {
        Self { measurement: matched.measurement, field: matched.field }
    }
}

/// Starts a payload in `out` and decodes it there. Never fails: what could not be taken is in
/// `bad`, which must be empty before.
pub fn decode(
    format: Format,
    payload: &[u8],
    context: &Context<'_>,
    named: Named<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
) {
    guarded(out, bad, |out, bad| {
        let format = recognise(format, payload, context, out);
        let own = own_measurement(format).unwrap_or(context.measurement);
        let context = &Context { measurement: named.measurement.unwrap_or(own), ..*context };
        match named.field {
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

/// The same for a Sparkplug message, by whoever knows its node's births.
pub(super) fn with_births(
    context: &Context<'_>,
    named: Named<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
    hear: impl FnOnce(&Context<'_>, &mut Readings, &mut Rejects),
) {
    guarded(out, bad, |out, bad| {
        let own = own_measurement(Format::Sparkplug).unwrap_or(context.measurement);
        let measurement = named.measurement.unwrap_or(own);
        let mut tags = context.tags.to_vec();
        tags.extend(named.field.map(|field| ("field", field)));
        hear(&Context { measurement, tags: &tags, ..*context }, out, bad);
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
        Format::Cbor => cbor::decode(payload, context, out, bad),
        Format::MessagePack => msgpack::decode(payload, context, out, bad),
        Format::Senml => senml::decode(payload, context, out, bad),
        Format::Sparkplug => sparkplug::decode(payload, context, out, bad),
        Format::Line => line::decode(payload, context, out, bad),
        Format::Collectd => collectd::decode(payload, context, out, bad),
        Format::Plain | Format::Auto => plain::decode(payload, context, out, bad),
    }
}

/// Of a format that says what it is about.
fn own_measurement(format: Format) -> Option<&'static str> {
    match format {
        Format::Senml => Some("senml"),
        Format::Sparkplug => Some("sparkplug"),
        _ => None,
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
        Some(b'[') if senml::looks_like(payload) => Format::Senml,
        Some(b'{' | b'[') => Format::Json,
        Some(_) if cbor::looks_like(payload) => Format::Cbor,
        Some(_) if msgpack::looks_like(payload) => Format::MessagePack,
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
    // One that is refused for its time is a line all the same.
    line::decode(first, &Context { times: None, ..*context }, out, &mut bad);
    let whole = out.count_since_begin() == 1 && bad.is_empty();
    out.roll_back();
    whole
}

#[cfg(test)]
mod tests;
