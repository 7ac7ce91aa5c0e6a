//! 3.1.1 against rumqttc's codec.

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4 as theirs;

use super::*;

fn written(packet: &theirs::Packet) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, usize::MAX).unwrap();
    bytes.to_vec()
}

fn read(bytes: &[u8]) -> theirs::Packet {
    let mut stream = BytesMut::from(bytes);
    let packet = theirs::Packet::read(&mut stream, usize::MAX).unwrap();
    assert!(stream.is_empty(), "{} bytes too many", stream.len());
    packet
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn publish() -> impl Strategy<Value = theirs::Publish> {
    (topic(), qos(), packet_id(), payload(), any::<(bool, bool)>()).prop_map(
        |(topic, qos, pkid, payload, (dup, retain))| {
            let mut publish = theirs::Publish::new(topic, qos, payload);
            publish.pkid = if qos == QoS::AtMostOnce { 0 } else { pkid };
            (publish.dup, publish.retain) = (dup, retain);
            publish
        },
    )
}

fn will() -> impl Strategy<Value = theirs::LastWill> {
    (topic(), payload(), qos(), any::<bool>()).prop_map(|(topic, payload, qos, retain)| {
        theirs::LastWill::new(topic, payload, qos, retain)
    })
}

fn connect() -> impl Strategy<Value = theirs::Connect> {
    let login = prop::option::of(("[a-z]{1,9}", "[a-z]{1,9}"));
    ("[a-z0-9]{0,23}", any::<u16>(), any::<bool>(), prop::option::of(will()), login).prop_map(
        |(client_id, keep_alive, clean, will, login)| {
            let mut connect = theirs::Connect::new(client_id);
            (connect.keep_alive, connect.clean_session) = (keep_alive, clean);
            connect.last_will = will;
            if let Some((name, password)) = login {
                connect.set_login(name, password);
            }
            connect
        },
    )
}

fn ours(delivery: Delivery) -> (QoS, u16) {
    match delivery {
        Delivery::AtMostOnce => (QoS::AtMostOnce, 0),
        Delivery::AtLeastOnce(id) => (QoS::AtLeastOnce, id.get()),
        Delivery::ExactlyOnce(id) => (QoS::ExactlyOnce, id.get()),
    }
}

proptest! {
    #[test]
    fn their_publish_is_what_we_read(sent in publish()) {
        let bytes = written(&theirs::Packet::Publish(sent.clone()));
        assert_every_cut_is_partial(&bytes);
        let Packet::Publish(got) = whole(&bytes).packet(Version::V311).unwrap() else { panic!() };
        prop_assert_eq!(got.topic, &sent.topic);
        prop_assert_eq!(got.payload, &sent.payload[..]);
        prop_assert_eq!(ours(got.delivery), (sent.qos, sent.pkid));
        prop_assert_eq!((got.is_repeat, got.retain, got.alias), (sent.dup, sent.retain, None));
    }

    #[test]
    fn their_connect_is_what_we_read(sent in connect()) {
        let bytes = written(&theirs::Packet::Connect(sent.clone()));
        assert_every_cut_is_partial(&bytes);
        let got = Connect::parse(whole(&bytes)).unwrap();
        prop_assert_eq!(got.version, Version::V311);
        prop_assert_eq!(got.client_id, &sent.client_id);
        prop_assert_eq!((got.keep_alive, got.clean_start), (sent.keep_alive, sent.clean_session));
        prop_assert_eq!(got.username, sent.login.as_ref().map(|login| login.username.as_str()));
        let password = sent.login.as_ref().map(|login| Password(login.password.as_bytes()));
        prop_assert_eq!(got.password, password);
        prop_assert_eq!(got.will.is_some(), sent.last_will.is_some());
        if let (Some(got), Some(sent)) = (got.will, &sent.last_will) {
            prop_assert_eq!((got.topic, got.payload), (sent.topic.as_str(), &sent.message[..]));
            prop_assert_eq!((got.qos as u8, got.retain), (sent.qos as u8, sent.retain));
        }
    }

    #[test]
    fn their_subscribe_is_what_we_count(
        pkid in packet_id(),
        filters in prop::collection::vec(("[a-z/+#]{1,12}", qos()), 1..20),
    ) {
        let many = filters.iter().map(|(path, qos)| theirs::SubscribeFilter::new(path.clone(), *qos));
        let mut sent = theirs::Subscribe::new_many(many);
        sent.pkid = pkid;
        let bytes = written(&theirs::Packet::Subscribe(sent));
        let expected = Packet::Subscribe { id: id(pkid), filters: filters.len() };
        prop_assert_eq!(whole(&bytes).packet(Version::V311), Ok(expected));

        let mut answer = Vec::new();
        write::suback_refused(Version::V311, id(pkid), filters.len(), &mut answer);
        let refused = vec![theirs::SubscribeReasonCode::Failure; filters.len()];
        prop_assert_eq!(read(&answer), theirs::Packet::SubAck(theirs::SubAck::new(pkid, refused)));
    }

    #[test]
    fn their_unsubscribe_is_what_we_count(
        pkid in packet_id(),
        topics in prop::collection::vec("[a-z/+#]{1,12}", 1..20),
    ) {
        let mut sent = theirs::Unsubscribe::new("");
        (sent.pkid, sent.topics) = (pkid, topics.clone());
        let bytes = written(&theirs::Packet::Unsubscribe(sent));
        let expected = Packet::Unsubscribe { id: id(pkid), filters: topics.len() };
        prop_assert_eq!(whole(&bytes).packet(Version::V311), Ok(expected));

        let mut answer = Vec::new();
        write::unsuback(Version::V311, id(pkid), topics.len(), &mut answer);
        prop_assert_eq!(read(&answer), theirs::Packet::UnsubAck(theirs::UnsubAck::new(pkid)));
    }

    #[test]
    fn our_answers_are_what_they_read(pkid in packet_id()) {
        let answer = |kind| {
            let mut out = Vec::new();
            write::answer(kind, Version::V311, id(pkid), Reason::PayloadFormatInvalid, &mut out);
            read(&out)
        };
        let puback = theirs::Packet::PubAck(theirs::PubAck::new(pkid));
        prop_assert_eq!(answer(write::Answer::PubAck), puback);
        let pubrec = theirs::Packet::PubRec(theirs::PubRec::new(pkid));
        prop_assert_eq!(answer(write::Answer::PubRec), pubrec);
        let pubcomp = theirs::Packet::PubComp(theirs::PubComp::new(pkid));
        prop_assert_eq!(answer(write::Answer::PubComp), pubcomp);

        let pubrel = written(&theirs::Packet::PubRel(theirs::PubRel::new(pkid)));
        prop_assert_eq!(whole(&pubrel).packet(Version::V311), Ok(Packet::PubRel(id(pkid))));
    }

    /// A flipped bit is noticed or makes another packet; it never panics and never reads beyond.
    #[test]
    fn a_flipped_bit_never_panics(sent in publish(), at: prop::sample::Index) {
        let mut bytes = written(&theirs::Packet::Publish(sent));
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        match frame(&bytes, BYTES_MAX) {
            Ok(Framed::Whole(frame)) => {
                prop_assert!(frame.len <= bytes.len());
                assert_sound(frame);
            }
            Ok(Framed::Partial { wanted }) => prop_assert!(wanted > bytes.len()),
            Err(Violation::TooLarge | Violation::Length) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn the_short_packets_are_the_same() {
    let ping = written(&theirs::Packet::PingReq);
    assert_eq!(whole(&ping).packet(Version::V311), Ok(Packet::PingReq));
    let disconnect = written(&theirs::Packet::Disconnect);
    assert_eq!(whole(&disconnect).packet(Version::V311), Ok(Packet::Disconnect));

    let mut out = Vec::new();
    write::pingresp(&mut out);
    assert_eq!(read(&out), theirs::Packet::PingResp);
    out.clear();
    write::connack(&mut out);
    let accepted = theirs::ConnAck::new(theirs::ConnectReturnCode::Success, false);
    assert_eq!(read(&out), theirs::Packet::ConnAck(accepted));
    out.clear();
    write::connack_refused(Version::V311, Reason::ServerUnavailable, "full", None, &mut out);
    let refused = theirs::ConnAck::new(theirs::ConnectReturnCode::ServiceUnavailable, false);
    assert_eq!(read(&out), theirs::Packet::ConnAck(refused));
}
