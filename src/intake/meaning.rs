//! What payloads mean here: routes, limits and tags of the site brought together with a payload.
//! All of intake that needs no journal, so that `explain` shows exactly what the gateway does.

use std::{mem, sync::Arc};

use proto::sparkplug::{self, Topic};
use proto::{Context, Kind, Readings, Reason, Rejects, TimeLimits, Timestamp};

use super::decode::{self, Named};
use super::described::Described;
use super::presets;
use super::route::{FIELD, Matched, Route, Routes};
use super::sparkplug::{Fate, Message, Nodes, Told};
use super::{Body, Format, Limits};

/// The measurement of a message that no rule gives another.
const MEASUREMENT: &str = "mqtt";
/// Where a body names no measurement.
const BODY_MEASUREMENT: &str = "readings";

#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning<'m> {
    pub(super) routes: &'m Routes,
    pub(super) limits: &'m Limits,
    /// Added to every reading that has no such tag from its route.
    pub(super) site_tags: &'m [(String, String)],
    pub(super) nodes: &'m Nodes,
    pub(super) described: &'m Described,
    /// Who takes the payloads.
    pub(super) source: &'m Arc<str>,
    /// The clock is believed, so times in payloads can be compared with it.
    pub(super) judges_times: bool,
}

impl<'m> Meaning<'m> {
    /// Routes and decodes one message. What is ignored leaves nothing in `out` and `bad`.
    pub(super) fn message(
        self,
        topic: &str,
        payload: &[u8],
        arrival: Timestamp,
        out: &mut Readings,
        bad: &mut Rejects,
    ) -> Option<Told> {
        match self.routes.route(topic, payload) {
            Route::Take(matched) => self.matched(matched, payload, arrival, out, bad),
            Route::Ignore(rule) => {
                if presets::is_discovery(rule, topic) {
                    self.described.hear(self.source, topic, payload);
                }
                None
            }
        }
    }

    pub(super) fn matched(
        self,
        mut matched: Matched<'_>,
        payload: &[u8],
        arrival: Timestamp,
        out: &mut Readings,
        bad: &mut Rejects,
    ) -> Option<Told> {
        // An empty payload is how a retained message is deleted (MQTT 3.3.1.3): no reading.
        if payload.is_empty() {
            return None;
        }
        let tags = self.with_site_tags(mem::take(&mut matched.tags));
        let context = self.matched_context(&matched, &tags, arrival);
        let named = Named::of(&matched);
        let Some(speaker) = speaker(&matched) else {
            decode::decode(matched.format, payload, &context, named, out, bad);
            return None;
        };
        let believed = self.judges_times.then(|| arrival.nanos() / 1_000_000);
        let arrival_ms = believed.and_then(|millis| u64::try_from(millis).ok());
        let topic = matched.topic;
        let message = Message { topic, speaker, payload, source: self.source, arrival_ms };
        let mut told = None;
        decode::with_births(&context, named, out, bad, |context, out, bad| {
            told = Some(self.nodes.hear(&message, context, out, bad));
        });
        told
    }

    /// Metrics that have waited for a birth, as far as that one names them; the rest is refused.
    pub(super) fn waited(
        self,
        (topic, payload): (&str, &[u8]),
        fate: &Fate,
        arrival: Timestamp,
        out: &mut Readings,
        bad: &mut Rejects,
    ) {
        let Route::Take(mut matched) = self.routes.route(topic, payload) else { return };
        let tags = self.with_site_tags(mem::take(&mut matched.tags));
        let context = self.matched_context(&matched, &tags, arrival);
        let named = Named::of(&matched);
        decode::with_births(&context, named, out, bad, |context, out, bad| {
            let explained = Topic::parse(topic).zip(fate.names());
            let unresolved = explained.map_or(1, |(speaker, names)| {
                sparkplug::resolve((&speaker, payload), names, context, out, bad)
            });
            if unresolved > 0 {
                bad.reading(0, 0..0, Reason::new(Kind::Alias, fate.why()));
            }
        });
    }

    /// Decodes a body (or a part of one) whose format the endpoint knows.
    pub(super) fn body(
        self,
        body: &Body<'_>,
        arrival: Timestamp,
        out: &mut Readings,
        bad: &mut Rejects,
    ) {
        let device = body.device.filter(|device| !device.is_empty());
        let tags = device.map(|device| ("device", device)).into_iter().collect();
        let context = Context {
            tags: &self.with_site_tags(tags),
            precision: body.precision,
            device_required: body.device_required,
            ..self.context(arrival)
        };
        decode::decode(body.format, body.bytes, &context, Named::default(), out, bad);
    }

    /// Decodes by a decoder of the caller's choice. One that panics costs its payload, nothing else.
    pub(super) fn by(
        self,
        tags: Vec<(&str, &str)>,
        arrival: Timestamp,
        out: &mut Readings,
        bad: &mut Rejects,
        decoder: impl FnOnce(&Context<'_>, &mut Readings, &mut Rejects),
    ) {
        let context = Context { tags: &self.with_site_tags(tags), ..self.context(arrival) };
        decode::guarded(out, bad, |out, bad| decoder(&context, out, bad));
    }

    /// What is known of any payload.
    fn context(self, arrival: Timestamp) -> Context<'static> {
        Context {
            measurement: BODY_MEASUREMENT,
            tags: &[],
            field: FIELD,
            precision: None,
            arrival,
            times: self.times(None),
            device_required: false,
            depth_max: self.limits.json_depth_max,
            keys_max: self.limits.json_keys_max,
            mapping: None,
        }
    }

    fn matched_context<'a>(
        self,
        matched: &'a Matched<'_>,
        tags: &'a [(&'a str, &'a str)],
        arrival: Timestamp,
    ) -> Context<'a> {
        Context {
            measurement: MEASUREMENT,
            tags,
            precision: matched.precision,
            times: self.times(matched.times),
            field: &matched.value,
            mapping: matched.mapping,
            ..self.context(arrival)
        }
    }

    fn times(self, own: Option<TimeLimits>) -> Option<TimeLimits> {
        self.judges_times.then(|| own.unwrap_or(self.limits.times))
    }

    /// The tags of a route with those of the site; the route's own win.
    fn with_site_tags<'a>(self, mut tags: Vec<(&'a str, &'a str)>) -> Vec<(&'a str, &'a str)>
    where
        'm: 'a,
    {
        for (name, value) in self.site_tags {
            if !tags.iter().any(|(own, _)| own == name) {
                tags.push((name, value));
            }
        }
        tags
    }
}

/// Whose births explain the message: of Sparkplug, on a topic of its own.
fn speaker<'a>(matched: &Matched<'a>) -> Option<Topic<'a>> {
    if matched.format == Format::Sparkplug { Topic::parse(matched.topic) } else { None }
}
