//! PUBLISH at every QoS, its answers, its limits.

use super::*;

#[test]
fn pubacks_leave_in_order_once_their_ticket_is_kept() {
    let mut peer = Peer::connected(CONNECT_311);
    for id in [7, 8, 9] {
        let step = peer.publish(0x32, id).unwrap();
        assert!(step.starts_with(r#"Message { topic: "t", payload: [1, 2, 3]"#), "{step}");
    }
    peer.seal(1);
    peer.publish(0x32, 10).unwrap();
    peer.seal(2);
    assert_eq!(peer.said(), [0_u8; 0], "nothing before the mark moves");
    assert_eq!(peer.kept(1), answers(PUBACK, [7, 8, 9]));
    assert!(peer.session.owes());
    assert_eq!(peer.kept(2), answers(PUBACK, [10]));
    assert!(!peer.session.owes());
}

#[test]
fn a_ping_is_answered_while_answers_are_owed() {
    let mut peer = Peer::connected(CONNECT_311);
    peer.publish(0x32, 1).unwrap();
    peer.seal(1);
    assert_eq!(peer.send(&[0xc0, 0]).unwrap(), "Pinged");
    assert_eq!(peer.said(), [0xd0, 0]);
}

#[test]
fn qos_2_runs_its_course() {
    let mut peer = Peer::connected(CONNECT_311);
    peer.publish(0x34, 5).unwrap();
    peer.seal(1);
    assert_eq!(peer.kept(1), answers(PUBREC, [5]));
    // The client did not see it and sends again: nothing new, but the answer.
    assert_eq!(peer.publish(0x3c, 5).unwrap(), "Repeated");
    peer.seal(1);
    assert_eq!(peer.kept(1), answers(PUBREC, [5]));
    assert_eq!(peer.send(&[0x62, 2, 0, 5]).unwrap(), "Released(PacketId(5))");
    assert_eq!(peer.said(), answers(PUBCOMP, [5]));
    // Released: the identifier means a new message now.
    assert!(peer.publish(0x34, 5).unwrap().starts_with("Message"));
}

#[test]
fn qos_2_sent_again_before_its_pubrec_is_answered_once() {
    let mut peer = Peer::connected(CONNECT_311);
    peer.publish(0x34, 5).unwrap();
    peer.seal(1);
    assert_eq!(peer.publish(0x3c, 5).unwrap(), "Repeated");
    peer.seal(1);
    assert_eq!(peer.kept(1), answers(PUBREC, [5]));
    assert_eq!(peer.kept(2), [0_u8; 0]);
}

#[test]
fn an_unknown_identifier_is_completed_too() {
    for connect in [CONNECT_31, CONNECT_311, CONNECT_5] {
        let mut peer = Peer::connected(connect);
        assert_eq!(peer.send(&[0x62, 2, 0, 99]).unwrap(), "Released(PacketId(99))");
        assert_eq!(peer.said(), answers(PUBCOMP, [99]));
    }
}

#[test]
fn a_resend_of_what_is_being_stored_is_not_stored_again() {
    let mut peer = Peer::connected(CONNECT_311);
    peer.publish(0x32, 1).unwrap();
    peer.seal(1);
    assert_eq!(peer.publish(0x3a, 1).unwrap(), "Repeated");
    // Without the DUP flag it may be another message: it is taken, and one answer speaks for both.
    assert!(peer.publish(0x32, 1).unwrap().starts_with("Message"));
    peer.seal(2);
    assert_eq!(peer.kept(1), [0_u8; 0]);
    assert_eq!(peer.kept(2), answers(PUBACK, [1]));
    // Acknowledged: a DUP flag now speaks of an earlier connection.
    assert!(peer.publish(0x3a, 1).unwrap().starts_with("Message"));
}

#[test]
fn what_cannot_be_decoded_is_acknowledged_with_the_reason_where_there_is_one() {
    let refused = |connect, first| {
        let mut peer = Peer::connected(connect);
        let id = PacketId(std::num::NonZeroU16::new(3).unwrap());
        let delivery = if first == PUBACK {
            Delivery::AtLeastOnce(id)
        } else {
            peer.session.unreleased.insert(id);
            Delivery::ExactlyOnce(id)
        };
        peer.session.took(delivery, true, 10);
        peer.seal(1);
        (peer.kept(1), peer.session.unreleased.len())
    };
    assert_eq!(refused(CONNECT_5, PUBACK), (vec![PUBACK, 3, 0, 3, 0x99], 0));
    assert_eq!(
        refused(CONNECT_5, PUBREC),
        (vec![PUBREC, 3, 0, 3, 0x99], 0),
        "the exchange is over"
    );
    assert_eq!(refused(CONNECT_311, PUBACK), (answers(PUBACK, [3]), 0));
    assert_eq!(refused(CONNECT_311, PUBREC), (answers(PUBREC, [3]), 1), "a PUBREL will come");
}

#[test]
fn an_alias_stands_for_a_topic() {
    let mut peer = Peer::connected(CONNECT_5);
    let step = peer.send(b"\x30\x0a\x00\x03a/b\x03\x23\x00\x01x").unwrap();
    assert!(step.contains(r#"topic: "a/b""#), "{step}");
    let step = peer.send(b"\x30\x07\x00\x00\x03\x23\x00\x01y").unwrap();
    assert!(step.contains(r#"topic: "a/b", payload: [121]"#), "{step}");
    for (alias, bytes) in
        [(2, b"\x30\x06\x00\x00\x03\x23\x00\x02"), (0, b"\x30\x06\x00\x00\x03\x23\x00\x00")]
    {
        let ending = peer.send(bytes).unwrap_err();
        assert_eq!(ending, Ending::Violation(Violation::TopicAlias), "{alias}");
        assert_eq!(peer.farewell(ending)[2], 0x94);
    }
    assert!(peer.session.remembered_bytes() >= 3);
}

#[test]
fn subscriptions_are_refused_one_by_one() {
    let subscribe = b"\x82\x0b\x00\x09\x00\x01a\x00\x00\x02b/\x01";
    let subscribe_5 = b"\x82\x0c\x00\x09\x00\x00\x01a\x00\x00\x02b/\x01";
    let mut peer = Peer::connected(CONNECT_311);
    peer.send(subscribe).unwrap();
    assert_eq!(peer.said(), [0x90, 4, 0, 9, 0x80, 0x80]);
    peer.send(b"\xa2\x05\x00\x0a\x00\x01a").unwrap();
    assert_eq!(peer.said(), [0xb0, 2, 0, 10]);

    let mut peer = Peer::connected(CONNECT_5);
    peer.send(subscribe_5).unwrap();
    assert_eq!(peer.said(), [0x90, 5, 0, 9, 0, 0x97, 0x97]);
    peer.send(b"\xa2\x06\x00\x0a\x00\x00\x01a").unwrap();
    assert_eq!(peer.said(), [0xb0, 4, 0, 10, 0, 0x11]);
}

#[test]
fn qos_0_is_dropped_while_the_journal_is_full_and_the_rest_is_taken_up_to_the_limit() {
    let limits = Limits { unacked_messages_max: 2, ..Limits::default() };
    let mut peer = Peer::connected_with(CONNECT_311, limits);
    peer.moment.is_full = true;
    assert_eq!(peer.send(b"\x30\x04\x00\x01tx").unwrap(), "Dropped");
    peer.publish(0x32, 1).unwrap();
    assert!(!peer.session.is_at_limit());
    peer.publish(0x32, 2).unwrap();
    assert!(peer.session.is_at_limit());
    // The brake is on; once it has been on for too long:
    peer.moment.is_stuck = true;
    assert_eq!(peer.send(&[0xc0, 0]).unwrap(), "Pinged");
    assert_eq!(peer.send(b"\x30\x04\x00\x01tx").unwrap(), "Dropped");
    assert_eq!(peer.publish(0x32, 3), Err(Ending::Busy));
    peer.moment.is_stuck = false;
    peer.seal(1);
    peer.kept(1);
    assert!(!peer.session.is_at_limit());
}

#[test]
fn bytes_brake_every_version() {
    for connect in [CONNECT_311, CONNECT_5] {
        let limits = Limits { unacked_bytes_max: 25, ..Limits::default() };
        let mut peer = Peer::connected_with(connect, limits);
        peer.publish(0x32, 1).unwrap();
        peer.publish(0x32, 2).unwrap();
        assert!(!peer.session.is_at_limit());
        peer.publish(0x32, 3).unwrap();
        assert!(peer.session.is_at_limit());
        peer.seal(4);
        peer.kept(4);
        assert!(!peer.session.is_at_limit());
    }
}

#[test]
fn the_receive_maximum_may_be_overrun_four_times_and_no_further() {
    let limits = Limits { receive_max: 10, overrun_factor: 4, ..Limits::default() };
    let mut peer = Peer::connected_with(CONNECT_5, limits);
    for id in 1..=20 {
        peer.publish(0x32, id).unwrap();
    }
    for id in 21..=40 {
        peer.publish(0x34, id).unwrap();
    }
    let ending = peer.publish(0x32, 41).unwrap_err();
    assert_eq!(ending, Ending::Violation(Violation::ReceiveMaximum));
    assert_eq!(peer.farewell(ending)[2], 0x93);
}

#[test]
fn identifiers_that_are_never_released_are_bounded() {
    for (connect, max) in [(CONNECT_311, 30), (CONNECT_5, 40)] {
        let limits = Limits {
            receive_max: 10,
            overrun_factor: 4,
            unacked_messages_max: 30,
            ..Limits::default()
        };
        let mut peer = Peer::connected_with(connect, limits);
        for id in 1..=max {
            peer.publish(0x34, id).unwrap();
            peer.seal(id.into());
            assert_eq!(peer.kept(id.into()), answers(PUBREC, [id]));
        }
        let ending = peer.publish(0x34, max + 1).unwrap_err();
        assert_eq!(ending, Ending::Violation(Violation::ReceiveMaximum));
        for id in 1..=max {
            peer.send(&[0x62, 2, 0, u8::try_from(id).unwrap()]).unwrap();
        }
        assert!(peer.publish(0x34, max + 1).is_ok(), "released");
    }
}

#[test]
fn a_client_that_leaves_is_gone() {
    let mut peer = Peer::connected(CONNECT_311);
    assert_eq!(peer.send(&[0xe0, 0]).unwrap(), "Left");
    assert_eq!(peer.farewell(Ending::Left), [0_u8; 0]);
    let mut peer = Peer::connected(CONNECT_5);
    assert_eq!(peer.send(&[0xe0, 2, 0x04, 0]).unwrap(), "Left");
}

#[test]
fn authentication_that_nobody_began_ends_the_session() {
    let mut peer = Peer::connected(CONNECT_5);
    let ending = peer.send(&[0xf0, 0]).unwrap_err();
    assert_eq!(ending, Ending::Violation(Violation::Auth));
    assert_eq!(peer.farewell(ending)[2], 0x82);
}
