//! The Things Stack: uplinks, decoded by its payload formatter or not; other events of a device are
//! nothing to store.

use proto::mapping::{Case, Fields};

use super::{Ruled, ignore, mapping, named, path, paths, take};

pub(super) fn rules() -> Vec<Ruled> {
    let uplinks = ["", "/result"].map(|root| {
        let decoded = uplink(root, &["f_port", "f_cnt"]);
        let decoded =
            Case { select: path(&format!("{root}/uplink_message/decoded_payload")), ..decoded };
        let raw = uplink(root, &["f_port", "f_cnt", "frm_payload"]);
        let none = Fields { only: Some(Vec::new()), ..Fields::default() };
        let raw = Case { select: path(&format!("{root}/uplink_message")), fields: none, ..raw };
        [decoded, raw]
    });
    let rule = take("v3/+/devices/{device}/up", "ttn", mapping(uplinks.concat()));
    vec![(rule, None), ignore("v3/+/devices/+/#")]
}

/// The network's own time before that of a gateway, whose clock may be anything.
fn uplink(root: &str, message: &[&str]) -> Case {
    let at = |rest: &str| format!("{root}/{rest}");
    let mut extra = named(&[
        ("rssi", at("uplink_message/rx_metadata/0/rssi").as_str()),
        ("snr", at("uplink_message/rx_metadata/0/snr").as_str()),
    ]);
    extra.extend(
        message
            .iter()
            .map(|name| ((*name).to_owned(), path(&at(&format!("uplink_message/{name}"))))),
    );
    Case {
        tags: named(&[(
            "application",
            at("end_device_ids/application_ids/application_id").as_str(),
        )]),
        extra,
        times: Some(paths(&[
            at("uplink_message/received_at").as_str(),
            at("received_at").as_str(),
            at("uplink_message/rx_metadata/0/time").as_str(),
        ])),
        ..Case::default()
    }
}
