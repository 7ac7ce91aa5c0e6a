//! Payloads come back whole, and no bytes at all make the iterators panic or run on.

use proptest::prelude::*;

use super::*;
use crate::Ticket;

fn submission(source: &str, bytes: Vec<u8>, rejected: Vec<Rejected>) -> Submission {
    Submission {
        source: source.into(),
        arrival_ns: -5,
        clock_epoch: 3,
        readings: 9,
        bytes,
        rejected,
        counts: Counts::default(),
        note: Bytes::new(),
        ticket: Ticket::nobody(),
        guard: None,
    }
}

fn frame(kind: Kind, payload: Vec<u8>) -> Frame {
    Frame { kind, schema: 1, readings: 0, payload: payload.into() }
}

#[test]
fn submissions_and_rejections_come_back_cut_to_their_bounds() {
    let refused = Rejected {
        topic: "ä".repeat(600), // 1,200 bytes: cut to 512 whole characters.
        index: 4,
        kind: "json",
        reason: "r".repeat(2000),
        bytes: vec![1; REJECTED_BYTES_MAX + 1],
        readings: 70_000_000_000,
    };
    let whole = submission(&"s".repeat(70), vec![1, 2, 3], vec![refused.clone()]);

    let mut payload = Vec::new();
    put_counts(
        &mut payload,
        &Counts { refused: 1, filtered: 300, duplicate: 0, dropped: u64::MAX },
    );
    assert_eq!(counts(&payload).map(|counts| counts.filtered), Some(300));
    let counts_len = payload.len();
    put_submission(&mut payload, &whole);
    assert!(payload.len() - counts_len <= submission_len_max(&whole));
    put_submission(&mut payload, &submission("mqtt", vec![], vec![]));
    let frame_of_data = frame(Kind::Data, payload);
    let back: Vec<_> = frame_of_data.submissions().map(Result::unwrap).collect();
    assert_eq!(back.len(), 2);
    assert_eq!((back[0].source.len(), back[0].bytes), (64, &[1, 2, 3][..]));
    assert_eq!((back[1].source, back[1].arrival_ns, back[1].clock_epoch), ("mqtt", -5, 3));
    assert_eq!(frame_of_data.rejected().count(), 0);

    let mut payload = Vec::new();
    put_counts(&mut payload, &Counts::default());
    let counts_len = payload.len();
    put_rejected(&mut payload, &whole, &refused);
    assert!(payload.len() - counts_len <= rejected_len_max(&refused));
    let frame_of_rejected = frame(Kind::Rejected, payload);
    let back = frame_of_rejected.rejected().next().unwrap().unwrap();
    assert_eq!((back.topic.len(), back.reason.len(), back.bytes.len()), (1024, 1024, 256 * 1024));
    assert_eq!((back.kind, back.index, back.readings), ("json", 4, 70_000_000_000));
}

#[test]
fn an_error_ends_the_frame_and_says_where() {
    let mut payload = Vec::new();
    put_counts(&mut payload, &Counts::default());
    put_submission(&mut payload, &submission("http", vec![7; 9], vec![]));
    let whole = payload.len();
    put_submission(&mut payload, &submission("http", vec![7; 9], vec![]));
    payload.pop();
    let cut = frame(Kind::Data, payload);
    let back: Vec<_> = cut.submissions().collect();
    assert_eq!(back.len(), 2);
    assert!(back[0].is_ok());
    assert_eq!(back[1].as_ref().unwrap_err().what, "bytes");
    assert!(back[1].as_ref().unwrap_err().at > whole);
    assert_eq!(frame(Kind::Data, vec![0, 0]).submissions().count(), 1);
}

proptest! {
    #[test]
    fn arbitrary_bytes_end(payload: Vec<u8>) {
        let len = payload.len();
        prop_assert!(frame(Kind::Data, payload.clone()).submissions().count() <= len);
        prop_assert!(frame(Kind::Rejected, payload).rejected().count() <= len);
    }
}

#[test]
fn a_rewritten_frame_has_the_same_counts_and_what_cannot_be_read_stays() {
    let mut payload = Vec::new();
    put_counts(&mut payload, &Counts { refused: 1, filtered: 300, ..Counts::default() });
    for bytes in [vec![1, 2, 3], vec![4]] {
        put_submission(&mut payload, &submission("mqtt", bytes, vec![]));
    }
    let before = frame(Kind::Data, payload.clone());
    assert_eq!(before.rewritten(|_| None).payload, before.payload);
    payload.extend_from_slice(&[0xff; 20]); // No submission.
    let after = frame(Kind::Data, payload)
        .rewritten(|submission| (submission.bytes == [4]).then(|| (77, vec![5, 6])));
    assert_eq!(counts(&after.payload), counts(&before.payload));
    let all: Vec<_> = after.submissions().collect();
    assert_eq!(all.len(), 3);
    let (first, second) = (all[0].clone().unwrap(), all[1].clone().unwrap());
    assert_eq!((first.arrival_ns, first.bytes), (-5, &[1, 2, 3][..]));
    assert_eq!((second.arrival_ns, second.bytes), (77, &[5, 6][..]));
    assert_eq!((second.source, second.clock_epoch, second.readings), ("mqtt", 3, 9));
    assert!(all[2].is_err());
}
