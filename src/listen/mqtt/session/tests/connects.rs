//! CONNECT, keep alive, and how a session ends.

use super::*;

/// A version 5 CONNECT with these properties.
fn connect_5(client_id: &str, keep_alive: u8, properties: &[u8]) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x05\x02\x00".to_vec();
    body.push(keep_alive);
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    body.extend_from_slice(&u16::try_from(client_id.len()).unwrap().to_be_bytes());
    body.extend_from_slice(client_id.as_bytes());
    [&[0x10, u8::try_from(body.len()).unwrap()][..], &body].concat()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn every_version_is_let_in_without_a_session_from_before() {
    for connect in [CONNECT_31, CONNECT_311] {
        let mut peer = Peer::new(Limits::default());
        assert_eq!(peer.send(connect).unwrap(), r#"Connected { client_id: Some("d1") }"#);
        assert_eq!(peer.said(), [0x20, 2, 0, 0]);
    }
    let mut peer = Peer::new(Limits::default());
    assert_eq!(peer.send(CONNECT_5).unwrap(), r#"Connected { client_id: Some("d1") }"#);
    let connack = peer.said();
    assert_eq!(connack[2..4], [0, 0], "session present, reason");
    assert!(contains(&connack, &[0x21, 4, 0]), "receive maximum");
    assert!(!contains(&connack, &[0x13, 0, 10]), "its own keep alive is not told back");
}

#[test]
fn a_version_5_client_without_a_name_is_given_one() {
    let mut peer = Peer::new(Limits::default());
    let step = peer.send(&connect_5("", 10, &[])).unwrap();
    assert_eq!(step, r#"Connected { client_id: Some("assigned-1") }"#);
    assert!(contains(&peer.said(), b"\x12\x00\x0aassigned-1"));
}

#[test]
fn a_clean_session_of_3_1_1_needs_no_name() {
    let mut peer = Peer::new(Limits::default());
    let step = peer.send(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00").unwrap();
    assert_eq!(step, "Connected { client_id: None }");
    assert_eq!(peer.said(), [0x20, 2, 0, 0]);
}

#[test]
fn a_name_is_required_where_the_version_says_so_and_bounded() {
    let long = "x".repeat(513);
    let mut too_long = vec![0x10, 0x8d, 0x04];
    too_long.extend_from_slice(b"\x00\x04MQTT\x04\x02\x00\x0a\x02\x01");
    too_long.extend_from_slice(long.as_bytes());
    for connect in [
        &b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x0a\x00\x00"[..],
        b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x0a\x00\x00",
        &too_long,
    ] {
        let mut peer = Peer::new(Limits::default());
        let ending = peer.send(connect).unwrap_err();
        assert_eq!(ending, Ending::Refused(Refusal::ClientId));
        assert_eq!(peer.farewell(ending), [0x20, 2, 0, 2]);
    }
}

#[test]
fn a_client_that_wants_its_session_kept_is_told_that_it_ends_with_the_connection() {
    let mut peer = Peer::new(Limits::default());
    peer.send(&connect_5("d1", 10, &[0x11, 0, 0, 0, 60])).unwrap();
    assert!(contains(&peer.said(), &[0x11, 0, 0, 0, 0]));
}

#[test]
fn enhanced_authentication_is_refused() {
    let mut peer = Peer::new(Limits::default());
    let ending = peer.send(&connect_5("d1", 10, b"\x15\x00\x05PLAIN")).unwrap_err();
    assert_eq!(ending, Ending::Refused(Refusal::AuthenticationMethod));
    let told = peer.farewell(ending);
    assert_eq!((told[0], told[3]), (0x20, 0x8c));
}

#[test]
fn nobody_is_let_in_while_the_journal_is_full_or_the_house_is() {
    for (connect, is_full, refusal, code) in [
        (CONNECT_31, true, None, 3),
        (CONNECT_311, true, None, 3),
        (CONNECT_5, true, None, 0x88),
        (CONNECT_311, false, Some(Refusal::TooMany), 3),
        (CONNECT_5, false, Some(Refusal::TooMany), 0x89),
    ] {
        let mut peer = Peer::new(Limits::default());
        peer.moment.is_full = is_full;
        peer.session.refusal = refusal;
        let ending = peer.send(connect).unwrap_err();
        assert_eq!(ending, Ending::Refused(refusal.unwrap_or(Refusal::Full)));
        let told = peer.farewell(ending);
        assert_eq!((told[0], told[3]), (0x20, code));
    }
}

#[test]
fn an_unknown_version_is_told_so() {
    let mut peer = Peer::new(Limits::default());
    let ending = peer.send(b"\x10\x0c\x00\x04MQTT\x03\x02\x00\x3c\x00\x00").unwrap_err();
    assert_eq!(ending, Ending::Violation(Violation::ProtocolVersion));
    assert_eq!(peer.farewell(ending), [0x20, 2, 0, 1]);

    let mut peer = Peer::new(Limits::default());
    let ending = peer.send(b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x3c\x00\x00").unwrap_err();
    let told = peer.farewell(ending);
    assert_eq!((told[0], told[3]), (0x20, 0x84));
}

#[test]
fn nothing_comes_before_connect_and_nothing_is_said_to_it() {
    let mut peer = Peer::new(Limits::default());
    let ending = peer.send(&[0xc0, 0]).unwrap_err();
    assert_eq!(ending, Ending::Violation(Violation::NotConnected));
    assert_eq!(peer.farewell(ending), [0_u8; 0]);
    assert!(peer.session.glance(0x16).is_err(), "TLS");
    assert!(peer.session.glance(b'G').is_err(), "HTTP");
    assert!(peer.session.glance(0x10).is_ok());
}

#[test]
fn a_second_connect_ends_the_session() {
    let mut peer = Peer::connected(CONNECT_5);
    let ending = peer.send(CONNECT_5).unwrap_err();
    assert_eq!(ending, Ending::Violation(Violation::SecondConnect));
    let told = peer.farewell(ending);
    assert_eq!((told[0], told[2]), (0xe0, 0x82));
}

#[test]
fn older_versions_have_no_last_word() {
    let mut peer = Peer::connected(CONNECT_311);
    assert_eq!(peer.farewell(Ending::ShuttingDown), [0_u8; 0]);
    let mut peer = Peer::connected(CONNECT_5);
    assert_eq!(peer.farewell(Ending::ShuttingDown)[..3], [0xe0, 33, 0x8b]);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_after_one_and_a_half_keep_alives() {
    let mut peer = Peer::connected(CONNECT_311);
    let start = peer.moment.now;
    assert_eq!(peer.session.deadline(), start + Duration::from_secs(15));
    peer.moment.now = start + Duration::from_secs(14);
    assert_eq!(peer.session.expired(peer.moment.now), None);
    assert_eq!(peer.send(&[0xc0, 0]).unwrap(), "Pinged");
    assert_eq!(peer.said(), [0xd0, 0]);
    assert_eq!(peer.session.expired(start + Duration::from_secs(28)), None);
    let end = start + Duration::from_secs(29);
    assert_eq!(peer.session.expired(end), Some(Ending::KeepAlive));
    peer.session.listened(end);
    assert_eq!(peer.session.expired(end), None);
}

#[tokio::test(start_paused = true)]
async fn a_connect_must_come_in_time() {
    let mut peer = Peer::new(Limits::default());
    let end = peer.moment.now + Duration::from_secs(5);
    assert_eq!(peer.session.deadline(), end);
    peer.session.listened(end);
    assert_eq!(peer.session.expired(end), Some(Ending::Silent));
}

#[test]
fn a_keep_alive_is_granted_up_to_the_longest() {
    let limits = Limits { keep_alive_max: Duration::from_secs(100), ..Limits::default() };
    for (asked, granted) in [(0, Some(100)), (200, Some(100)), (100, None), (7, None)] {
        let mut peer = Peer::new(limits);
        peer.send(&connect_5("d1", asked, &[])).unwrap();
        let told = peer.said();
        match granted {
            Some(seconds) => assert!(contains(&told, &[0x13, 0, seconds]), "{asked}"),
            None => assert!(!contains(&told, &[0x13, 0, asked]), "{asked}"),
        }
        let seconds = f64::from(granted.unwrap_or(asked)) * 1.5;
        assert_eq!(peer.session.silence_max, Duration::from_secs_f64(seconds));
    }
    // 3.1.1 cannot be told: what it asked for holds, and the longest where it asked for none.
    let mut peer = Peer::new(limits);
    peer.send(b"\x10\x0e\x00\x04MQTT\x04\x02\xff\xff\x00\x02d1").unwrap();
    assert_eq!(peer.session.silence_max, Duration::from_secs(65_535) * 3 / 2);
    let mut peer = Peer::new(limits);
    peer.send(b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02d1").unwrap();
    assert_eq!(peer.session.silence_max, Duration::from_secs(150));
}

#[test]
fn a_stranger_may_send_less_than_a_client() {
    let mut peer = Peer::new(Limits::default());
    assert_eq!(peer.session.packet_bytes_max(), 16 * 1024);
    peer.send(CONNECT_311).unwrap();
    assert_eq!(peer.session.packet_bytes_max(), 256 * 1024);
}
