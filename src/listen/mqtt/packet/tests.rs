//! The codec by itself, and against the codec of rumqttc in both directions.

use proptest::prelude::*;

use super::*;

mod hostile;
mod theirs_311;
mod theirs_5;

const BYTES_MAX: usize = 256 * 1024;

/// The one packet that `bytes` are.
fn whole(bytes: &[u8]) -> Frame<'_> {
    match frame(bytes, BYTES_MAX) {
        Ok(Framed::Whole(frame)) => {
            assert_eq!(frame.len, bytes.len());
            frame
        }
        other => panic!("{other:?} from {bytes:02x?}"),
    }
}

fn id(number: u16) -> PacketId {
    PacketId(NonZeroU16::new(number).unwrap())
}

/// Anything but control characters, wildcards and the empty string.
fn topic() -> impl Strategy<Value = String> {
    "[a-z0-9/ äöü€𝄞]{1,40}"
}

fn packet_id() -> impl Strategy<Value = u16> {
    1..=u16::MAX
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        // Around the borders of the length's second and third byte.
        (100_usize..140).prop_map(|len| vec![7; len]),
        (16_300_usize..16_400).prop_map(|len| vec![7; len]),
    ]
}

/// Every shorter beginning of `bytes` asks for more, and never for more than there is.
fn assert_every_cut_is_partial(bytes: &[u8]) {
    let step = 1 + bytes.len() / 200;
    for cut in (0..bytes.len().min(8)).chain((0..bytes.len()).step_by(step)) {
        match frame(&bytes[..cut], BYTES_MAX) {
            Ok(Framed::Partial { wanted }) => {
                assert!(wanted > cut && wanted <= bytes.len(), "{cut} of {}", bytes.len());
            }
            other => panic!("{other:?} from {cut} of {} bytes", bytes.len()),
        }
    }
}

/// Whatever the bytes are, what is made of them keeps the promises of a parsed packet.
fn assert_sound(frame: Frame<'_>) {
    for version in [Version::V31, Version::V311, Version::V5] {
        if let Ok(Packet::Publish(publish)) = frame.packet(version) {
            assert!(!publish.topic.contains(['\0', '+', '#']), "{publish:?}");
            assert!(!publish.topic.is_empty() || publish.alias.is_some(), "{publish:?}");
            assert!(publish.topic.len() + publish.payload.len() < frame.len, "{publish:?}");
        }
    }
    if let Ok(connect) = Connect::parse(frame) {
        assert!(!connect.client_id.contains('\0'), "{connect:?}");
        assert_eq!(connect.version, Connect::dialect(frame));
    }
}

#[test]
fn a_packet_is_cut_out_and_what_follows_is_left() {
    let two = [0xc0, 0, 0xc0, 0];
    let Ok(Framed::Whole(first)) = frame(&two, BYTES_MAX) else { panic!() };
    assert_eq!(first.len, 2);
    assert_eq!(first.packet(Version::V311), Ok(Packet::PingReq));
}

#[test]
fn a_remaining_length_longer_than_need_be_is_legal() {
    assert_eq!(whole(&[0xc0, 0x80, 0x80, 0x00]).packet(Version::V311), Ok(Packet::PingReq));
}

#[test]
fn topic_and_payload_are_borrowed_where_they_lie() {
    let bytes = b"\x30\x07\x00\x03a/b42";
    let Ok(Packet::Publish(publish)) = whole(bytes).packet(Version::V311) else { panic!() };
    assert!(bytes.as_ptr_range().contains(&publish.topic.as_ptr()));
    assert!(bytes.as_ptr_range().contains(&publish.payload.as_ptr()));
    assert_eq!((publish.topic, publish.payload), ("a/b", &b"42"[..]));
}

#[test]
fn the_oldest_version_connects() {
    let bytes = b"\x10\x12\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x04dev1";
    let connect = Connect::parse(whole(bytes)).unwrap();
    assert_eq!(connect.version, Version::V31);
    assert_eq!((connect.client_id, connect.keep_alive, connect.clean_start), ("dev1", 60, true));
}

#[test]
fn a_bridge_says_so_in_the_level_and_is_let_in() {
    let bytes = b"\x10\x10\x00\x04MQTT\x84\x02\x00\x3c\x00\x04dev1";
    assert_eq!(Connect::parse(whole(bytes)).unwrap().version, Version::V311);
}

#[test]
fn version_3_1_may_leave_out_what_its_flags_promise() {
    let bytes = b"\x10\x12\x00\x06MQIsdp\x03\xc2\x00\x3c\x00\x04dev1";
    let connect = Connect::parse(whole(bytes)).unwrap();
    assert_eq!((connect.username, connect.password), (None, None));
}

#[test]
fn version_3_1_may_repeat_a_pubrel_with_the_dup_flag() {
    let bytes = [0x6a, 2, 0, 9];
    assert_eq!(whole(&bytes).packet(Version::V31), Ok(Packet::PubRel(id(9))));
    assert_eq!(whole(&bytes).packet(Version::V311), Err(Violation::Flags));
}

#[test]
fn a_password_is_never_shown() {
    let shown = format!("{:?}", Password(b"hunter2"));
    assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
}

#[test]
fn a_reason_string_gives_way_to_the_clients_maximum_packet_size() {
    let mut out = Vec::new();
    write::disconnect(Reason::ServerBusy, "the journal is full", Some(20), &mut out);
    assert_eq!(out, [0xe0, 2, 0x89, 0]);
    out.clear();
    write::disconnect(Reason::ServerBusy, "full", Some(20), &mut out);
    assert_eq!(out, b"\xe0\x09\x89\x07\x1f\x00\x04full");
}

#[test]
fn older_versions_are_told_what_they_have_a_word_for() {
    let refused = |version, reason| {
        let mut out = Vec::new();
        write::connack_refused(version, reason, "why", None, &mut out);
        out
    };
    assert_eq!(refused(Version::V311, Reason::ServerUnavailable), [0x20, 2, 0, 3]);
    assert_eq!(refused(Version::V31, Reason::ClientIdentifierNotValid), [0x20, 2, 0, 2]);
    assert_eq!(refused(Version::V311, Reason::UnsupportedProtocolVersion), [0x20, 2, 0, 1]);
    assert_eq!(refused(Version::V311, Reason::MalformedPacket), [0_u8; 0]);
    assert_eq!(refused(Version::V5, Reason::ServerUnavailable)[..4], [0x20, 9, 0, 0x88]);
}

#[test]
fn every_violation_has_its_own_label() {
    let mut labels: Vec<_> = Violation::ALL.iter().map(|violation| violation.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Violation::ALL.len());
    assert!(Violation::ALL.iter().all(|violation| violation.reason().is_failure()));
}
