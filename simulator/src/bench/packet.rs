//! The little of MQTT 3.1.1 that a load generator needs: CONNECT, PUBLISH, PINGREQ out; CONNACK,
//! PUBACK and PINGRESP in. Source: OASIS MQTT 3.1.1, section 3.
//!
//! ```text
//! PUBLISH   0x30|qos<<1, remaining length, topic (u16 + bytes), packet id (u16, QoS 1), payload
//! PUBACK    0x40 0x02 id_high id_low
//! ```

/// Appends a CONNECT with a clean session.
pub(super) fn connect(client_id: &str, keep_alive_s: u16, out: &mut Vec<u8>) {
    let mut rest = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b10];
    rest.extend_from_slice(&keep_alive_s.to_be_bytes());
    text(client_id, &mut rest);
    out.push(0x10);
    length(rest.len(), out);
    out.extend_from_slice(&rest);
}

/// Appends a PUBLISH; with a packet identifier it is QoS 1, without QoS 0.
pub(super) fn publish(topic: &str, packet_id: Option<u16>, payload: &[u8], out: &mut Vec<u8>) {
    let mut head = Vec::with_capacity(topic.len() + 4);
    text(topic, &mut head);
    if let Some(id) = packet_id {
        head.extend_from_slice(&id.to_be_bytes());
    }
    out.push(if packet_id.is_some() { 0x32 } else { 0x30 });
    length(head.len() + payload.len(), out);
    out.extend_from_slice(&head);
    out.extend_from_slice(payload);
}

pub(super) const PINGREQ: [u8; 2] = [0xc0, 0];
pub(super) const DISCONNECT: [u8; 2] = [0xe0, 0];

fn text(text: &str, out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

fn length(mut left: usize, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(left % 128).unwrap_or_default();
        left /= 128;
        out.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            return;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// With its return code.
    ConnAck(u8),
    PubAck(u16),
    PingResp,
    /// First byte of any other.
    Other(u8),
}

/// The first whole packet of `bytes` and what comes after it; none if it is not all there yet.
pub(super) fn read(bytes: &[u8]) -> Option<(Packet, &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut length = 0_usize;
    for place in 0..4 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (body, rest) = rest.split_at_checked(length)?;
    let packet = match (first, body) {
        (0x20, [_, code, ..]) => Packet::ConnAck(*code),
        (0x40, [high, low, ..]) => Packet::PubAck(u16::from_be_bytes([*high, *low])),
        (0xd0, _) => Packet::PingResp,
        _ => Packet::Other(first),
    };
    Some((packet, rest))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;
    use rumqttc::{
        QoS,
        mqttbytes::v4::{self, Packet as Theirs},
    };

    use super::*;

    const BYTES_MAX: usize = 1024 * 1024;

    fn parsed(bytes: &[u8]) -> Theirs {
        let mut stream = BytesMut::from(bytes);
        let packet = v4::Packet::read(&mut stream, BYTES_MAX).unwrap();
        assert!(stream.is_empty(), "{} bytes left", stream.len());
        packet
    }

    #[test]
    fn another_codec_reads_our_connect() {
        let mut bytes = Vec::new();
        connect("bench-7", 60, &mut bytes);
        let Theirs::Connect(connect) = parsed(&bytes) else { panic!("not a CONNECT") };
        assert_eq!((connect.client_id.as_str(), connect.keep_alive), ("bench-7", 60));
        assert!(connect.clean_session && connect.login.is_none() && connect.last_will.is_none());
        assert_eq!(parsed(&PINGREQ), Theirs::PingReq);
        assert_eq!(parsed(&DISCONNECT), Theirs::Disconnect);
    }

    proptest! {
        #[test]
        fn another_codec_reads_our_publish(
            topic in "[a-z/]{1,40}",
            id in proptest::option::of(1_u16..),
            payload in proptest::collection::vec(any::<u8>(), 0..40_000),
        ) {
            let mut bytes = Vec::new();
            publish(&topic, id, &payload, &mut bytes);
            let Theirs::Publish(publish) = parsed(&bytes) else { panic!("not a PUBLISH") };
            prop_assert_eq!(publish.topic, topic);
            prop_assert_eq!(publish.pkid, id.unwrap_or(0));
            let qos = if id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            prop_assert_eq!(publish.qos, qos);
            prop_assert_eq!(&publish.payload[..], &payload[..]);
        }

        #[test]
        fn any_bytes_can_be_scanned(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut rest = &bytes[..];
            while let Some((_, after)) = read(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }
    }

    #[test]
    fn reads_answers_as_another_codec_writes_them_wherever_they_are_cut() {
        let mut stream = BytesMut::new();
        v4::ConnAck::new(v4::ConnectReturnCode::Success, false).write(&mut stream).unwrap();
        v4::PubAck::new(0x1234).write(&mut stream).unwrap();
        v4::PingResp.write(&mut stream).unwrap();
        for cut in 0..=stream.len() {
            let mut rest = &stream[..cut];
            let mut found = Vec::new();
            while let Some((packet, after)) = read(rest) {
                found.push(packet);
                rest = after;
            }
            let all = [Packet::ConnAck(0), Packet::PubAck(0x1234), Packet::PingResp];
            assert_eq!(found, all[..found.len()], "cut at {cut}");
            assert_eq!(
                found.len(),
                usize::from(cut >= 4) + usize::from(cut >= 8) + usize::from(cut >= 10)
            );
        }
    }
}
