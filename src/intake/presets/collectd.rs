//! collectd's `mqtt` plugin: `<prefix>/<host>/<plugin>[-<instance>]/<type>[-<instance>]`, and the time
//! and the values between colons.

use proto::mapping::Fields;

use super::{Look, Ruled, Seen, below, fields, take};
use crate::intake::Format;
use crate::intake::route::{Matched, Rule};

/// What collectd's `types.db` calls the values of types that have several.
const NAMES: [(&str, &str); 20] = [
    ("load", "shortterm:midterm:longterm"),
    ("if_octets", "rx:tx"),
    ("if_packets", "rx:tx"),
    ("if_errors", "rx:tx"),
    ("if_dropped", "rx:tx"),
    ("io_octets", "rx:tx"),
    ("io_packets", "rx:tx"),
    ("disk_octets", "read:write"),
    ("disk_ops", "read:write"),
    ("disk_time", "read:write"),
    ("disk_merged", "read:write"),
    ("disk_latency", "read:write"),
    ("disk_io_time", "io_time:weighted_io_time"),
    ("ps_count", "processes:threads"),
    ("ps_cputime", "user:syst"),
    ("ps_pagefaults", "minflt:majflt"),
    ("ps_disk_octets", "read:write"),
    ("ps_disk_ops", "read:write"),
    ("df", "used:free"),
    ("node_octets", "rx:tx"),
];

pub(super) fn rules(prefix: &str) -> Vec<Ruled> {
    let topic = below(prefix, "{device}/{plugin}/{type..}");
    let rule = take(&topic, "collectd", fields(Fields::default()));
    vec![(Rule { format: Format::Collectd, ..rule }, Some(look as Look))]
}

fn look(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    if !proto::collectd::looks_like(payload) {
        return Seen::NotOurs;
    }
    for (tag, instance) in [("plugin", "plugin_instance"), ("type", "type_instance")] {
        if let Some((name, rest)) = matched.tag(tag).and_then(|both| both.split_once('-')) {
            matched.set_tag(tag, name);
            matched.set_tag(instance, rest);
        }
    }
    let kind = matched.tag("type").unwrap_or_default();
    if let Some((_, names)) = NAMES.iter().find(|(name, _)| *name == kind) {
        matched.value = (*names).into();
    }
    Seen::Take
}
