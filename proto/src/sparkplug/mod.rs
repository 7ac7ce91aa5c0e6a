//! Sparkplug B 3.0 in: an edge node's births, data and deaths.
//!
//! ```text
//! spBv1.0/<group>/NBIRTH|NDATA|NDEATH/<node>             the node's own metrics
//! spBv1.0/<group>/DBIRTH|DDATA|DDEATH/<node>/<device>    those of a device behind it
//! spBv1.0/<group>/NCMD|DCMD/..., spBv1.0/STATE/<host>    commands and hosts: nothing to store
//!
//! bytes --payload--> metrics --session--> who was born, what aliases mean, whether to ask for a rebirth
//!                          \---points---> readings, one for each time
//! ```
//! A birth names what later messages say by alias only, and a sequence number counts all of a node's
//! messages: `Sessions` keeps both, asks for a rebirth where something is missing, and does no I/O.
//!
//! `decode` is the way without a session: metrics by name are readings, those by alias are refused.
//!
//! The decoder for the protobuf wire format is our own (150 lines): it borrows, and a generated one
//! would build every metric, its metadata and its data sets before the first could be looked at.

mod names;
mod payload;
mod points;
mod session;
#[cfg(test)]
mod tests;
mod topic;
mod wire;

pub use names::Names;
pub use session::{Heard, Limits as SessionLimits, Sessions};
pub use topic::{Message, Topic};

use std::time::Duration;

use crate::{Context, Kind, Place, Readings, Reason, Rejects, Time, offer::Offers};
use payload::Payload;

/// Takes note of a node's message, and offers what it says: a birth and data their metrics, a birth
/// and a death `online` besides. `now` is any monotonic time, the same one for all messages; the
/// tags `group`, `node` and `device` are the topic's.
pub fn hear(
    (topic, payload): (&Topic<'_>, &[u8]),
    sessions: &mut Sessions,
    now: Duration,
    context: &Context<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
) -> Heard {
    let parsed = match Payload::parse(payload) {
        Ok(parsed) => parsed,
        Err(fault) => {
            refuse(payload, fault.into(), context, out, bad);
            return Heard::default();
        }
    };
    let mut heard = sessions.hear(topic, &parsed, now);
    match topic.message {
        Message::Command => bad.nothing(),
        Message::Death if heard.is_outdated => bad.nothing(),
        Message::Death => {
            // A node's own is written when it connects, and sent by its broker.
            let at = topic.device.map_or(Time::Unknown, |_| points::sent_at(&parsed));
            say_online(topic, false, at, context, out, bad);
            for device in &heard.died {
                let topic = Topic { device: Some(device), ..*topic };
                say_online(&topic, false, Time::Unknown, context, out, bad);
            }
        }
        Message::Birth => {
            say_online(topic, true, points::sent_at(&parsed), context, out, bad);
            let names = sessions.names(topic);
            heard.unresolved = resolve((topic, payload), names, context, out, bad);
        }
        Message::Data => {
            let names = sessions.names(topic);
            heard.unresolved = resolve((topic, payload), names, context, out, bad);
        }
    }
    heard
}

/// Offers the metrics of a message that was heard before, with what a birth has told since
/// (`Sessions::told`); and how many are still by an alias that nothing names.
pub fn resolve(
    (topic, payload): (&Topic<'_>, &[u8]),
    names: &Names,
    context: &Context<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
) -> u32 {
    let tags = tags_of(topic, context);
    let context = Context { tags: &tags, ..*context };
    match Payload::parse(payload) {
        Ok(parsed) => points::offer(&parsed, names, &context, out, bad),
        Err(fault) => {
            refuse(payload, fault.into(), &context, out, bad);
            0
        }
    }
}

/// What of a data message is by an alias that nothing names: a payload of those metrics alone, to be
/// kept and resolved. `at`: when it came, for one that does not say when it was sent.
pub fn unresolved(
    (topic, payload): (&Topic<'_>, &[u8]),
    sessions: &Sessions,
    at: Option<u64>,
) -> Vec<u8> {
    let names = sessions.names(topic);
    let Ok(parsed) = Payload::parse(payload) else { return Vec::new() };
    parsed.part(at, |metric| metric.alias.is_some() && names.resolve(metric).is_none())
}

/// Decodes a payload of which nothing is known but its bytes: no topic, no births. What it says by
/// alias only is refused.
pub fn decode(payload: &[u8], context: &Context<'_>, out: &mut Readings, bad: &mut Rejects) {
    let parsed = match Payload::parse(payload) {
        Ok(parsed) => parsed,
        Err(fault) => return refuse(payload, fault.into(), context, out, bad),
    };
    let unresolved = points::offer(&parsed, &Names::default(), context, out, bad);
    if unresolved > 0 {
        let text = format!("{unresolved} metrics by alias, which only the node's birth explains");
        refuse(payload, Reason::new(Kind::Alias, text), context, out, bad);
    }
}

/// What asks a node for its births (`Topic::command` is where it goes), at `millis` since 1970.
pub fn rebirth_command(millis: u64) -> Vec<u8> {
    payload::rebirth(millis)
}

fn refuse(
    payload: &[u8],
    reason: Reason,
    context: &Context<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
) {
    Offers::new(context, out, bad).refuse(Place { index: 0, span: 0..payload.len() }, reason);
}

fn say_online(
    topic: &Topic<'_>,
    online: bool,
    time: Time,
    context: &Context<'_>,
    out: &mut Readings,
    bad: &mut Rejects,
) {
    let tags = tags_of(topic, context);
    let context = Context { tags: &tags, ..*context };
    points::offer_online(online, time, &mut Offers::new(&context, out, bad));
}

/// The topic's own win over those of the rule and of the site.
fn tags_of<'t>(topic: &Topic<'t>, context: &Context<'t>) -> Vec<(&'t str, &'t str)> {
    let own = [("group", Some(topic.group)), ("node", Some(topic.node)), ("device", topic.device)];
    let mut tags: Vec<_> =
        own.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect();
    let given = context.tags.iter().filter(|(key, _)| own.iter().all(|(named, _)| named != key));
    tags.extend(given);
    tags
}
