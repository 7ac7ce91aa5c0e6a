//! What payloads mean here: routes, limits and tags of the site brought together with a payload.
//! All of intake that needs no journal, so that `explain` shows exactly what the gateway does.

use proto::{Context, Readings, Rejects, TimeLimits, Timestamp};

use super::decode::{self, Named};
use super::route::{FIELD, Matched, Route, Routes};
use super::{Body, Limits};

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
    ) {
        match self.routes.route(topic, payload) {
            Route::Take(matched) => self.matched(matched, payload, arrival, out, bad),
            Route::Ignore(_) => {}
        }
    }

    pub(super) fn matched(
        self,
        matched: Matched<'_>,
        payload: &[u8],
        arrival: Timestamp,
        out: &mut Readings,
        bad: &mut Rejects,
    ) {
        // An empty payload is how a retained message is deleted (MQTT 3.3.1.3): no reading.
        if payload.is_empty() {
            return;
        }
        let context = Context {
            measurement: MEASUREMENT,
            tags: &self.with_site_tags(matched.tags),
            precision: matched.precision,
            times: self.times(matched.times),
            field: &matched.value,
            mapping: matched.mapping,
            ..self.context(arrival)
        };
        let named = Named { measurement: matched.measurement, field: matched.field };
        decode::decode(matched.format, payload, &context, named, out, bad);
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
