//! Version 5 against rumqttc's codec.

use bytes::Bytes;
use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5 as theirs;

use super::*;

fn written(packet: &theirs::Packet) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, None).unwrap();
    bytes.to_vec()
}

fn read(bytes: &[u8]) -> theirs::Packet {
    let mut stream = BytesMut::from(bytes);
    let packet = theirs::Packet::read(&mut stream, None).unwrap();
    assert!(stream.is_empty(), "{} bytes too many", stream.len());
    packet
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z]{0,9}", "[a-zß]{0,9}"), 0..4)
}

fn publish_properties() -> impl Strategy<Value = theirs::PublishProperties> {
    let numbers =
        (prop::option::of(0_u8..2), prop::option::of(any::<u32>()), prop::option::of(any::<u16>()));
    let texts = (
        prop::option::of(topic()),
        prop::option::of(payload().prop_map(Bytes::from)),
        prop::option::of("[a-z/]{1,20}"),
    );
    (numbers, texts, pairs()).prop_map(|(numbers, texts, user_properties)| {
        theirs::PublishProperties {
            payload_format_indicator: numbers.0,
            message_expiry_interval: numbers.1,
            topic_alias: numbers.2,
            response_topic: texts.0,
            correlation_data: texts.1,
            user_properties,
            subscription_identifiers: Vec::new(),
            content_type: texts.2,
        }
    })
}

fn publish() -> impl Strategy<Value = theirs::Publish> {
    let properties = prop::option::of(publish_properties());
    (topic(), qos(), packet_id(), payload(), any::<(bool, bool)>(), properties).prop_map(
        |(topic, qos, pkid, payload, (dup, retain), properties)| {
            let mut publish = theirs::Publish::new(topic, qos, payload, properties);
            publish.pkid = if qos == QoS::AtMostOnce { 0 } else { pkid };
            (publish.dup, publish.retain) = (dup, retain);
            publish
        },
    )
}

fn connect_properties() -> impl Strategy<Value = theirs::ConnectProperties> {
    let numbers = (
        prop::option::of(any::<u32>()),
        prop::option::of(1..=u16::MAX),
        prop::option::of(1..=u32::MAX),
        prop::option::of(any::<u16>()),
    );
    let flags = (prop::option::of(0_u8..2), prop::option::of(0_u8..2));
    let method = prop::option::of("[A-Z-]{1,12}");
    (numbers, flags, pairs(), method).prop_map(|(numbers, flags, user_properties, method)| {
        theirs::ConnectProperties {
            session_expiry_interval: numbers.0,
            receive_maximum: numbers.1,
            max_packet_size: numbers.2,
            topic_alias_max: numbers.3,
            request_response_info: flags.0,
            request_problem_info: flags.1,
            user_properties,
            authentication_data: method.as_ref().map(|_| Bytes::from_static(b"data")),
            authentication_method: method,
        }
    })
}

fn will() -> impl Strategy<Value = theirs::LastWill> {
    (topic(), payload(), qos(), any::<bool>(), any::<bool>()).prop_map(
        |(topic, payload, qos, retain, has_properties)| {
            let properties = theirs::LastWillProperties {
                delay_interval: Some(5),
                payload_format_indicator: Some(1),
                message_expiry_interval: Some(9),
                content_type: Some("text".to_owned()),
                response_topic: Some("a/b".to_owned()),
                correlation_data: Some(Bytes::from_static(b"x")),
                user_properties: vec![("a".to_owned(), "b".to_owned()); 2],
            };
            theirs::LastWill::new(topic, payload, qos, retain, has_properties.then_some(properties))
        },
    )
}

proptest! {
    #[test]
    fn their_publish_is_what_we_read(sent in publish()) {
        let bytes = written(&theirs::Packet::Publish(sent.clone()));
        assert_every_cut_is_partial(&bytes);
        let Packet::Publish(got) = whole(&bytes).packet(Version::V5).unwrap() else { panic!() };
        prop_assert_eq!(got.topic.as_bytes(), &sent.topic[..]);
        prop_assert_eq!(got.payload, &sent.payload[..]);
        prop_assert_eq!(got.delivery.qos() as u8, sent.qos as u8);
        prop_assert_eq!((got.is_repeat, got.retain), (sent.dup, sent.retain));
        prop_assert_eq!(got.alias, sent.properties.and_then(|list| list.topic_alias));
    }

    #[test]
    fn their_connect_is_what_we_read(
        client_id in "[a-z0-9]{0,30}",
        keep_alive: u16,
        clean_start: bool,
        properties in prop::option::of(connect_properties()),
        will in prop::option::of(will()),
        login in prop::option::of(("[a-z]{1,9}", "[a-z]{1,9}")),
    ) {
        let connect = theirs::Connect { keep_alive, client_id, clean_start, properties };
        let login = login.map(|(username, password)| theirs::Login { username, password });
        let packet = theirs::Packet::Connect(connect.clone(), will.clone(), login.clone());
        let bytes = written(&packet);
        assert_every_cut_is_partial(&bytes);
        let got = Connect::parse(whole(&bytes)).unwrap();
        prop_assert_eq!(got.version, Version::V5);
        prop_assert_eq!(got.client_id, &connect.client_id);
        prop_assert_eq!((got.keep_alive, got.clean_start), (keep_alive, clean_start));
        prop_assert_eq!(got.username, login.as_ref().map(|login| login.username.as_str()));
        prop_assert_eq!(got.will.map(|will| will.payload.to_vec()), will.map(|will| will.message.to_vec()));
        let asked = connect.properties.unwrap_or_default();
        prop_assert_eq!(got.properties.session_expiry, asked.session_expiry_interval.unwrap_or(0));
        prop_assert_eq!(got.properties.packet_bytes_max, asked.max_packet_size);
        prop_assert_eq!(got.properties.problem_information, asked.request_problem_info != Some(0));
        prop_assert_eq!(got.properties.authentication_method, asked.authentication_method.as_deref());
    }

    #[test]
    fn their_subscribe_is_what_we_count(pkid in packet_id(), filters in 1_usize..20) {
        let mut filter = theirs::Filter::new("a/+/#", QoS::AtLeastOnce);
        (filter.nolocal, filter.preserve_retain) = (true, true);
        filter.retain_forward_rule = theirs::RetainForwardRule::Never;
        let properties = theirs::SubscribeProperties {
            id: Some(7),
            user_properties: vec![("a".to_owned(), "b".to_owned())],
        };
        let mut sent = theirs::Subscribe::new_many(vec![filter; filters], Some(properties));
        sent.pkid = pkid;
        let bytes = written(&theirs::Packet::Subscribe(sent));
        let expected = Packet::Subscribe { id: id(pkid), filters };
        prop_assert_eq!(whole(&bytes).packet(Version::V5), Ok(expected));

        let mut answer = Vec::new();
        write::suback_refused(Version::V5, id(pkid), filters, &mut answer);
        let theirs::Packet::SubAck(refused) = read(&answer) else { panic!() };
        prop_assert_eq!(refused.pkid, pkid);
        prop_assert_eq!(refused.return_codes, vec![theirs::SubscribeReasonCode::QuotaExceeded; filters]);
    }

    #[test]
    fn their_unsubscribe_is_what_we_count(pkid in packet_id(), filters in 1_usize..20) {
        let sent = theirs::Unsubscribe { pkid, filters: vec!["a/#".to_owned(); filters], properties: None };
        let bytes = written(&theirs::Packet::Unsubscribe(sent));
        let expected = Packet::Unsubscribe { id: id(pkid), filters };
        prop_assert_eq!(whole(&bytes).packet(Version::V5), Ok(expected));

        let mut answer = Vec::new();
        write::unsuback(Version::V5, id(pkid), filters, &mut answer);
        let theirs::Packet::UnsubAck(told) = read(&answer) else { panic!() };
        prop_assert_eq!(told.pkid, pkid);
        prop_assert_eq!(told.reasons, vec![theirs::UnsubAckReason::NoSubscriptionExisted; filters]);
    }

    #[test]
    fn our_answers_are_what_they_read(pkid in packet_id()) {
        for (reason, puback, pubrec) in [
            (Reason::Success, theirs::PubAckReason::Success, theirs::PubRecReason::Success),
            (
                Reason::PayloadFormatInvalid,
                theirs::PubAckReason::PayloadFormatInvalid,
                theirs::PubRecReason::PayloadFormatInvalid,
            ),
        ] {
            let mut out = Vec::new();
            write::answer(write::Answer::PubAck, Version::V5, id(pkid), reason, &mut out);
            let theirs::Packet::PubAck(got) = read(&out) else { panic!() };
            prop_assert_eq!((got.pkid, got.reason), (pkid, puback));
            out.clear();
            write::answer(write::Answer::PubRec, Version::V5, id(pkid), reason, &mut out);
            let theirs::Packet::PubRec(got) = read(&out) else { panic!() };
            prop_assert_eq!((got.pkid, got.reason), (pkid, pubrec));
        }
        let mut out = Vec::new();
        write::answer(write::Answer::PubComp, Version::V5, id(pkid), Reason::Success, &mut out);
        let theirs::Packet::PubComp(got) = read(&out) else { panic!() };
        prop_assert_eq!((got.pkid, got.reason), (pkid, theirs::PubCompReason::Success));

        let pubrel = written(&theirs::Packet::PubRel(theirs::PubRel::new(pkid, None)));
        prop_assert_eq!(whole(&pubrel).packet(Version::V5), Ok(Packet::PubRel(id(pkid))));
        let mut late = theirs::PubRel::new(pkid, None);
        late.reason = theirs::PubRelReason::PacketIdentifierNotFound;
        let pubrel = written(&theirs::Packet::PubRel(late));
        prop_assert_eq!(whole(&pubrel).packet(Version::V5), Ok(Packet::PubRel(id(pkid))));
    }

    #[test]
    fn our_connack_is_what_they_read(
        receive_max in 1..=u16::MAX,
        packet_bytes_max in 1..=u32::MAX,
        topic_alias_max: u16,
        keep_alive in prop::option::of(any::<u16>()),
        assigned in prop::option::of("[a-z0-9-]{1,40}"),
        ends_with_connection: bool,
    ) {
        let granted = write::Granted {
            receive_max,
            packet_bytes_max,
            topic_alias_max,
            assigned_client_id: assigned.as_deref(),
            keep_alive,
            ends_with_connection,
        };
        let mut out = Vec::new();
        write::connack_v5(&granted, &mut out);
        let theirs::Packet::ConnAck(got) = read(&out) else { panic!() };
        prop_assert_eq!((got.session_present, got.code), (false, theirs::ConnectReturnCode::Success));
        let list = got.properties.unwrap();
        prop_assert_eq!(list.receive_max, Some(receive_max));
        prop_assert_eq!(list.max_packet_size, Some(packet_bytes_max));
        prop_assert_eq!(list.topic_alias_max, (topic_alias_max > 0).then_some(topic_alias_max));
        prop_assert_eq!(list.assigned_client_identifier, assigned);
        prop_assert_eq!(list.server_keep_alive, keep_alive);
        prop_assert_eq!(list.session_expiry_interval, ends_with_connection.then_some(0));
        prop_assert_eq!(list.wildcard_subscription_available, Some(0));
        prop_assert_eq!(list.subscription_identifiers_available, Some(0));
        prop_assert_eq!(list.shared_subscription_available, Some(0));
        prop_assert_eq!((list.max_qos, list.retain_available), (None, None));
    }

    #[test]
    fn a_flipped_bit_never_panics(sent in publish(), at: prop::sample::Index) {
        let mut bytes = written(&theirs::Packet::Publish(sent));
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(Framed::Whole(frame)) = frame(&bytes, BYTES_MAX) {
            prop_assert!(frame.len <= bytes.len());
            assert_sound(frame);
        }
    }
}

#[test]
fn their_disconnects_are_what_we_read_and_ours_what_they_read() {
    // (Theirs writes a byte too many for any other reason without properties.)
    let normal = theirs::Disconnect::new(theirs::DisconnectReasonCode::NormalDisconnection);
    let bytes = written(&theirs::Packet::Disconnect(normal));
    assert_eq!(whole(&bytes).packet(Version::V5), Ok(Packet::Disconnect));
    for with_will in [&b"\xe0\x01\x04"[..], b"\xe0\x02\x04\x00", b"\xe0\x07\x04\x05\x11\0\0\0\x09"]
    {
        assert_eq!(whole(with_will).packet(Version::V5), Ok(Packet::Disconnect));
    }

    let mut out = Vec::new();
    write::disconnect(Reason::ServerShuttingDown, "shutting down", None, &mut out);
    let theirs::Packet::Disconnect(got) = read(&out) else { panic!() };
    assert_eq!(got.reason_code, theirs::DisconnectReasonCode::ServerShuttingDown);
    assert_eq!(got.properties.unwrap().reason_string.as_deref(), Some("shutting down"));

    out.clear();
    write::connack_refused(Version::V5, Reason::ServerUnavailable, "full", None, &mut out);
    let theirs::Packet::ConnAck(got) = read(&out) else { panic!() };
    assert_eq!(got.code, theirs::ConnectReturnCode::ServerUnavailable);
    assert_eq!(got.properties.unwrap().reason_string.as_deref(), Some("full"));
}

#[test]
fn their_ping_is_ours() {
    let bytes = written(&theirs::Packet::PingReq(theirs::PingReq));
    assert_eq!(whole(&bytes).packet(Version::V5), Ok(Packet::PingReq));
    let mut out = Vec::new();
    write::pingresp(&mut out);
    assert_eq!(read(&out), theirs::Packet::PingResp(theirs::PingResp));
}
