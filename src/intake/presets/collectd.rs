//! collectd's `mqtt` plugin: `<prefix>/<host>/<plugin>[-<instance>]/<type>[-<instance>]`, and the time
//! and the values between colons.

use proto::mapping::Fields;

use super::{Look, Ruled, Seen, below, fields, take};
use crate::intake::Format;
use crate::intake::route::{Matched, Rule};

/// What the `types.db` of collectd 5 (<https://github.com/collectd/collectd>, `src/types.db`, with its legacy
/// types) calls the values of types that have several, or one that is not called `value`. A type that is
/// not here and has several numbers them.
const NAMES: [(&str, &[&str]); 19] = [
    ("shortterm:midterm:longterm", &["load"]),
    ("rx:tx", &RX_TX),
    ("read:write", &READ_WRITE),
    ("io_time:weighted_io_time", &["disk_io_time"]),
    ("used:free", &["df"]),
    ("processes:threads", &["ps_count"]),
    ("user:syst", &["ps_cputime"]),
    ("minflt:majflt", &["ps_pagefaults", "vmpage_faults"]),
    ("in:out", &["vmpage_io"]),
    ("queries:responses", &["dns_octets"]),
    ("current:worst:threshold:pretty", &["smart_attribute"]),
    ("value:threshold", &["voltage_threshold"]),
    ("uncompressed:compressed", &["compression"]),
    ("state:reason", &["domain_state"]),
    ("seconds", &["duration"]),
    ("demand_data:demand_metadata:prefetch_data:prefetch_metadata", &["arc_counts"]),
    ("current:target:minlimit:maxlimit", &["arc_size"]),
    ("hits:inserts:not_cached:lowmem_prunes:queries_in_cache", &["mysql_qcache"]),
    ("running:connected:cached:created", &["mysql_threads"]),
];
const RX_TX: [&str; 10] = [
    "if_octets",
    "if_packets",
    "if_errors",
    "if_dropped",
    "io_octets",
    "io_packets",
    "node_octets",
    "serial_octets",
    "memcached_octets",
    "mysql_octets",
];
const READ_WRITE: [&str; 9] = [
    "disk_octets",
    "disk_ops",
    "disk_time",
    "disk_merged",
    "disk_latency",
    "io_ops",
    "ps_disk_octets",
    "ps_disk_ops",
    "arc_l2_bytes",
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
    if let Some((names, _)) = NAMES.iter().find(|(_, types)| types.contains(&kind)) {
        matched.value = (*names).into();
    }
    Seen::Take
}
