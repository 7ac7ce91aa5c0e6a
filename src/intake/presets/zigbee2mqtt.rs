//! Zigbee2MQTT: everything below its base topic but its bridge's own topics and commands. Friendly
//! names may hold slashes.

use proto::mapping::{Case, Fields};

use super::{Look, Ruled, Seen, availability, below, ignore, is_object, mapping, paths, take};
use crate::intake::route::Matched;

pub(super) fn rules(prefix: &str) -> Vec<Ruled> {
    let device = Case {
        // `last_seen` is not when a value was measured: what is only remembered comes again with it.
        times: Some(Vec::new()),
        // Not a value: what `include_device_information` adds.
        fields: Fields { drop_paths: paths(&["/device"]), ..Fields::default() },
        ..Case::default()
    };
    let rule = take(&below(prefix, "{device..}"), "zigbee2mqtt", mapping(vec![device]));
    vec![ignore(&below(prefix, "bridge/#")), (rule, Some(look as Look))]
}

fn look(matched: &mut Matched<'_>, payload: &[u8]) -> Seen {
    let Some(tail) = matched.tag("device") else { return Seen::NotOurs };
    let Some((device, last)) = tail.rsplit_once('/').filter(|(device, _)| !device.is_empty())
    else {
        return if ["set", "get"].contains(&tail) { Seen::Nothing } else { Seen::Take };
    };
    let above = device.rsplit('/').next().unwrap_or_default();
    // `NAME/set` and `NAME/set/brightness`.
    if [last, above].iter().any(|level| ["set", "get"].contains(level)) {
        return Seen::Nothing;
    }
    if last == "availability" {
        matched.set_tag("device", device);
        return availability(matched, payload);
    }
    // `output = attribute`: a topic for each value.
    if !is_object(payload) {
        matched.set_tag("device", device);
        matched.value = last.into();
    }
    Seen::Take
}
