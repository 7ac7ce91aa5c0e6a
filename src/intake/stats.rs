//! What intake counts: by source and reason, closed sets both, so that no device chooses a label.

use prometheus_client::{encoding::EncodeLabelSet, registry::Registry};
use proto::{Beyond, Kind, Rejects};

use crate::stats::Counter;
use crate::stats::Family;

/// The kinds of source there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    Mqtt,
    Http,
    Ws,
    Broker,
    /// The gateway itself, and whatever names itself otherwise.
    Other,
}

impl SourceKind {
    pub const ALL: [Self; 5] = [Self::Mqtt, Self::Http, Self::Ws, Self::Broker, Self::Other];

    /// From a source's name: what stands before the colon, as in `broker:home`.
    pub fn of(source: &str) -> Self {
        let name = source.split_once(':').map_or(source, |(name, _)| name);
        Self::ALL.into_iter().find(|kind| kind.label() == name).unwrap_or(Self::Other)
    }

    pub const fn label(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Http => "http",
            Self::Ws => "ws",
            Self::Broker => "broker",
            Self::Other => "other",
        }
    }
}

/// Intake's counters since the start of the process.
#[derive(Debug)]
pub struct Stats {
    families: Families,
    /// In the order of `SourceKind::ALL`: no look-up by label on the way in.
    sources: [Source; SourceKind::ALL.len()],
}

/// One kind of source, in readings; a message that is filtered or dropped undecoded counts as one.
#[derive(Debug)]
pub struct Source {
    /// Everything that came in: taken, refused, filtered, duplicate, dropped and returned.
    pub received: Counter,
    pub filtered: Counter,
    /// Messages that were stored already.
    pub duplicate: Counter,
    /// QoS 0 messages given up while the journal was full.
    pub dropped: Counter,
    /// Not taken in the end, and not acknowledged: their senders keep them, except at QoS 0.
    pub returned: Counter,
    /// Fields left out of readings that were taken otherwise.
    pub fields_refused: Counter,
    /// Readings whose time was beyond `past_max` and `future_max`, whatever became of them.
    pub past: Counter,
    pub future: Counter,
    /// Readings stamped although the payload names a time.
    pub untrusted: Counter,
    /// In the order of `Kind::ALL`.
    refused: [Counter; Kind::ALL.len()],
}

/// What was refused and has not come to the books yet.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Readings, in the order of `Kind::ALL`.
    by_kind: [u64; Kind::ALL.len()],
    fields: u64,
}

/// Of all sources together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub received: u64,
    pub returned: u64,
}

/// The same counters, under their labels.
#[derive(Debug, Default)]
struct Families {
    received: Family<SourceLabel, Counter>,
    filtered: Family<SourceLabel, Counter>,
    duplicate: Family<SourceLabel, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    returned: Family<SourceLabel, Counter>,
    fields_refused: Family<SourceLabel, Counter>,
    time_beyond: Family<ReasonLabel, Counter>,
    time_untrusted: Family<SourceLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    source: &'static str,
    reason: &'static str,
}

impl Default for Stats {
    fn default() -> Self {
        let families = Families::default();
        let sources = SourceKind::ALL.map(|kind| families.source(kind.label()));
        Self { families, sources }
    }
}

impl Stats {
    pub fn source(&self, kind: SourceKind) -> &Source {
        let [.., other] = &self.sources;
        self.sources.get(kind as usize).unwrap_or(other)
    }

    pub fn totals(&self) -> Totals {
        let sum = |of: fn(&Source) -> &Counter| self.sources.iter().map(|one| of(one).get()).sum();
        Totals { received: sum(|one| &one.received), returned: sum(|one| &one.returned) }
    }

    /// Registers all counters; `registry` has the prefix `tidegate`.
    pub fn register(&self, registry: &mut Registry) {
        let Families { received, filtered, duplicate, dropped, returned, .. } = &self.families;
        let Families { fields_refused, time_beyond, time_untrusted, refused, .. } = &self.families;
        let help = "Readings that came in, whatever became of them";
        registry.register("readings_received", help, received.clone());
        let help = "Readings that were refused; the dead letters say why";
        registry.register("readings_refused", help, refused.clone());
        let help = "Messages taken note of but not stored: commands, log and system topics";
        registry.register("readings_filtered", help, filtered.clone());
        let help = "Messages that their senders sent again although they were stored; stored once";
        registry.register("readings_duplicate", help, duplicate.clone());
        let help = "Readings given up by a policy that the operator chose";
        registry.register("readings_dropped", help, dropped.clone());
        let help = "Readings not taken in the end and not acknowledged: their senders keep them";
        registry.register("readings_returned", help, returned.clone());
        let help = "Fields left out of readings that were taken otherwise";
        registry.register("fields_refused", help, fields_refused.clone());
        let help = "Readings whose own time is beyond `past_max` or `future_max`, kept or not";
        registry.register("readings_time_beyond", help, time_beyond.clone());
        let help = "Readings stamped on arrival although the payload names a time: a local one, none, \
                    or one from before the device's clock was set";
        registry.register("readings_time_untrusted", help, time_untrusted.clone());
    }
}

impl Source {
    pub fn refused(&self, kind: Kind) -> &Counter {
        let [.., internal] = &self.refused;
        let at = Kind::ALL.iter().position(|one| *one == kind);
        at.and_then(|at| self.refused.get(at)).unwrap_or(internal)
    }

    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(Counter::get).sum()
    }

    /// What is odd about times.
    pub(super) fn add_times(&self, rejects: &Rejects) {
        let each = [
            (rejects.beyond(Beyond::Past), &self.past),
            (rejects.beyond(Beyond::Future), &self.future),
            (rejects.untrusted().0, &self.untrusted),
        ];
        for (readings, counter) in each {
            if readings > 0 {
                counter.inc_by(readings);
            }
        }
    }

    pub(super) fn add_refused(&self, refused: &Refused) {
        for (counter, readings) in self.refused.iter().zip(refused.by_kind) {
            if readings > 0 {
                counter.inc_by(readings);
            }
        }
        if refused.fields > 0 {
            self.fields_refused.inc_by(refused.fields);
        }
    }
}

impl Refused {
    /// What is no longer listed by reason counts as what was listed last.
    pub(super) fn add(&mut self, rejects: &Rejects) {
        let mut unlisted = rejects.readings();
        let mut last = Kind::Limit;
        for reject in rejects.listed().iter().filter(|reject| reject.field.is_none()) {
            last = reject.reason.kind;
            self.count(last, 1);
            unlisted = unlisted.saturating_sub(1);
        }
        self.count(last, unlisted);
        self.fields += rejects.fields();
    }

    pub(super) fn readings(&self) -> u64 {
        self.by_kind.iter().sum()
    }

    fn count(&mut self, kind: Kind, readings: u64) {
        let at = Kind::ALL.iter().position(|one| *one == kind);
        if let Some(count) = at.and_then(|at| self.by_kind.get_mut(at)) {
            *count += readings;
        }
    }
}

impl Families {
    fn source(&self, source: &'static str) -> Source {
        let label = SourceLabel { source };
        let mut refused: [Counter; Kind::ALL.len()] = Default::default();
        for (counter, kind) in refused.iter_mut().zip(Kind::ALL) {
            let label = ReasonLabel { source, reason: kind.label() };
            *counter = self.refused.get_or_create_owned(&label);
        }
        let dropped = ReasonLabel { source, reason: "qos0_full" };
        let beyond = |reason| self.time_beyond.get_or_create_owned(&ReasonLabel { source, reason });
        Source {
            received: self.received.get_or_create_owned(&label),
            filtered: self.filtered.get_or_create_owned(&label),
            duplicate: self.duplicate.get_or_create_owned(&label),
            dropped: self.dropped.get_or_create_owned(&dropped),
            returned: self.returned.get_or_create_owned(&label),
            fields_refused: self.fields_refused.get_or_create_owned(&label),
            past: beyond("past"),
            future: beyond("future"),
            untrusted: self.time_untrusted.get_or_create_owned(&label),
            refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_by_what_stands_before_the_colon() {
        for (name, kind) in [
            ("mqtt", SourceKind::Mqtt),
            ("broker:home", SourceKind::Broker),
            ("ws", SourceKind::Ws),
            ("http:x:y", SourceKind::Http),
            ("nats", SourceKind::Other),
            ("", SourceKind::Other),
        ] {
            assert_eq!(SourceKind::of(name), kind, "{name}");
        }
        for (at, kind) in SourceKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }

    #[test]
    fn what_is_counted_is_what_the_metrics_say() {
        let stats = Stats::default();
        stats.source(SourceKind::Ws).received.inc_by(7);
        stats.source(SourceKind::Mqtt).refused(Kind::Limit).inc_by(3);
        stats.source(SourceKind::Mqtt).dropped.inc();
        assert_eq!(stats.source(SourceKind::Mqtt).refused_total(), 3);

        let mut registry = Registry::with_prefix("tidegate");
        stats.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "tidegate_readings_received_total{source=\"ws\"} 7",
            "tidegate_readings_refused_total{source=\"mqtt\",reason=\"limit\"} 3",
            "tidegate_readings_dropped_total{source=\"mqtt\",reason=\"qos0_full\"} 1",
            "tidegate_readings_filtered_total{source=\"broker\"} 0",
            "tidegate_fields_refused_total{source=\"http\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
