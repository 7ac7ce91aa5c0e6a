//! Bytes that no client should send.

use super::*;

/// MQTT 3.1.1 and 5: what is wrong, where, and what it is called.
#[test]
fn every_breach_is_called_by_its_name() {
    use Version::{V5, V31, V311};
    let cases: &[(&[u8], Version, Violation)] = &[
        (b"\x32\x07\x00\x03a/b\x00\x00", V311, Violation::PacketId),
        (b"\x36\x07\x00\x03a/b\x00\x01", V311, Violation::Qos),
        (b"\x30\x05\x00\x03a/+", V311, Violation::Topic),
        (b"\x30\x05\x00\x03a/#", V5, Violation::Topic),
        (b"\x30\x05\x00\x03a\x00b", V311, Violation::Topic),
        (b"\x30\x02\x00\x00", V311, Violation::Topic),
        (b"\x30\x03\x00\x00\x00", V5, Violation::Topic),
        (b"\x30\x05\x00\x03a\xff\xfe", V311, Violation::Utf8),
        (b"\x30\x05\x00\x03\xed\xa0\x80", V311, Violation::Utf8),
        (b"\x30\x04\x00\x03ab", V311, Violation::CutShort),
        (b"\x32\x05\x00\x03a/b", V311, Violation::CutShort),
        (b"\x30\x03\x00\x01a", V5, Violation::CutShort),
        (b"\x62\x03\x00\x01\x00", V311, Violation::Trailing),
        (b"\x60\x02\x00\x01", V311, Violation::Flags),
        (b"\x62\x02\x00\x00", V311, Violation::PacketId),
        (b"\xc1\x00", V311, Violation::Flags),
        (b"\xc0\x01\x00", V311, Violation::Trailing),
        (b"\xe0\x01\x00", V311, Violation::Trailing),
        (b"\x00\x00", V311, Violation::PacketType),
        (b"\x20\x02\x00\x00", V311, Violation::PacketType),
        (b"\x40\x02\x00\x01", V5, Violation::PacketType),
        (b"\xf0\x00", V311, Violation::PacketType),
        (b"\xf0\x00", V5, Violation::Auth),
        (b"\x10\x00", V5, Violation::SecondConnect),
        (b"\x82\x02\x00\x01", V311, Violation::Subscription),
        (b"\x82\x05\x00\x01\x00\x00\x00", V311, Violation::Subscription),
        (b"\x82\x06\x00\x01\x00\x01a\x03", V311, Violation::Subscription),
        (b"\x82\x07\x00\x01\x00\x00\x01a\xc0", V5, Violation::Subscription),
        (b"\x82\x05\x00\x01\x00\x01a", V311, Violation::CutShort),
        (b"\xa2\x02\x00\x01", V31, Violation::Subscription),
        // Properties: unknown, out of place, twice, zero where it must not be, not the shortest.
        (b"\x30\x06\x00\x01a\x02\x7e\x01", V5, Violation::Property),
        (b"\x30\x07\x00\x01a\x03\x21\x00\x01", V5, Violation::Property),
        (b"\x30\x0a\x00\x01a\x06\x23\x00\x01\x23\x00\x01", V5, Violation::Property),
        (b"\x30\x06\x00\x01a\x02\x01\x02", V5, Violation::Property),
        (b"\x30\x06\x00\x01a\x02\x0b\x01", V5, Violation::Property),
        (b"\x30\x05\x00\x01a\x80\x00", V5, Violation::Length),
        (b"\x30\x08\x00\x01a\x80\x80\x80\x80\x01", V5, Violation::Length),
        (b"\x30\x06\x00\x01a\x05\x01\x00", V5, Violation::CutShort),
    ];
    for (bytes, version, violation) in cases {
        let parsed = whole(bytes).packet(*version);
        assert_eq!(parsed, Err(*violation), "{version:?} {bytes:02x?}");
    }
}

#[test]
fn every_unusable_connect_is_called_by_its_name() {
    let cases: &[(&[u8], Violation)] = &[
        (b"\xc0\x00", Violation::NotConnected),
        (b"\x12\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", Violation::Flags),
        (b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x3c\x00\x00", Violation::ProtocolName),
        (b"\x10\x0c\x00\x04mqtt\x04\x02\x00\x3c\x00\x00", Violation::ProtocolName),
        (b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x3c\x00\x00", Violation::ProtocolVersion),
        (b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x3c\x00\x00", Violation::ProtocolVersion),
        (b"\x10\x0e\x00\x06MQIsdp\x04\x02\x00\x3c\x00\x00", Violation::ProtocolVersion),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", Violation::Flags),
        (b"\x10\x0c\x00\x04MQTT\x04\x42\x00\x3c\x00\x00", Violation::Flags),
        (b"\x10\x0c\x00\x04MQTT\x04\x0a\x00\x3c\x00\x00", Violation::Flags),
        (b"\x10\x0c\x00\x04MQTT\x04\x22\x00\x3c\x00\x00", Violation::Flags),
        (b"\x10\x11\x00\x04MQTT\x04\x1e\x00\x3c\x00\x00\x00\x01w\x00\x00", Violation::Qos),
        (b"\x10\x11\x00\x04MQTT\x04\x06\x00\x3c\x00\x00\x00\x01#\x00\x00", Violation::Topic),
        (b"\x10\x10\x00\x04MQTT\x04\x06\x00\x3c\x00\x00\x00\x00\x00\x00", Violation::Topic),
        (b"\x10\x0e\x00\x04MQTT\x04\x82\x00\x3c\x00\x00\x00\x02", Violation::CutShort),
        (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x00x", Violation::Trailing),
        (b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x03\x21\x00\x00\x00\x00", Violation::Property),
        (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\xff", Violation::Utf8),
    ];
    for (bytes, violation) in cases {
        assert_eq!(Connect::parse(whole(bytes)), Err(*violation), "{bytes:02x?}");
    }
}

#[test]
fn a_length_is_judged_before_its_bytes_are_there() {
    assert_eq!(frame(&[0x30, 0xff, 0xff, 0xff, 0x7f], BYTES_MAX), Err(Violation::TooLarge));
    assert_eq!(frame(&[0x30, 0xff, 0xff, 0xff, 0xff], BYTES_MAX), Err(Violation::Length));
    assert_eq!(frame(&[0x30, 11], 12), Err(Violation::TooLarge));
    assert_eq!(frame(&[0x30, 10], 12), Ok(Framed::Partial { wanted: 12 }));
}

#[test]
fn the_refusal_of_an_unknown_version_is_one_that_its_client_can_read() {
    let dialect = |bytes: &[u8]| Connect::dialect(whole(bytes));
    assert_eq!(dialect(b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x3c\x00\x00"), Version::V5);
    assert_eq!(dialect(b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x3c\x00\x00"), Version::V311);
    assert_eq!(dialect(b"\x10\x0e\x00\x06MQIsdp\x09\x02\x00\x3c\x00\x00"), Version::V31);
    assert_eq!(dialect(b"\x10\x00"), Version::V311);
}

/// A header that a parser takes for one of the packets, before bytes that are none.
fn almost_a_packet() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), prop::collection::vec(any::<u8>(), 0..120)).prop_map(|(first, body)| {
        let len = u8::try_from(body.len()).unwrap();
        [&[first, len][..], &body].concat()
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, max in 2_usize..300) {
        if let Ok(Framed::Whole(frame)) = frame(&bytes, max) {
            prop_assert!(frame.len <= max && frame.len <= bytes.len());
            assert_sound(frame);
        }
    }

    #[test]
    fn a_right_header_before_wrong_bytes_never_panics(
        bytes in almost_a_packet(),
    ) {
        assert_sound(whole(&bytes));
    }
}
