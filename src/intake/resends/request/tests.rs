//! What is told of a request, who may go on with it, and that a start changes neither.

use std::time::Duration;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::intake::resends::Limits;

const SECRET: [u8; 16] = *b"0123456789abcdef";
const WALL: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

fn resends(limits: Limits) -> Resends {
    Resends::new(limits, SECRET)
}

fn stored(upto: u64) -> Stored {
    let answer = Bytes::from_static(b"[1,0,0,[]]");
    Stored { from: upto, upto, hash: upto * 7, lines: 1, answer, ..Stored::default() }
}

/// An attempt that stores so much, and the note that goes to the journal.
fn store(attempt: &Attempt, upto: u64, now: Instant) -> Bytes {
    let note = attempt.note(WALL, &stored(upto));
    attempt.offer().unwrap().arrived(&note, now);
    note
}

fn told(attempt: &Attempt) -> Option<Stored> {
    attempt.stored().now_or_never().expect("nothing is being handed on")
}

#[test]
fn the_newest_attempt_goes_on_where_the_others_were_and_they_hand_on_nothing_more() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    let first = resends.attempt(&[b"k", b"/write"]);
    assert_eq!(told(&first), None);
    store(&first, 10, now);
    store(&first, 20, now);
    let second = resends.attempt(&[b"k", b"/write"]);
    assert_eq!(told(&second), Some(stored(20)));
    assert!(first.offer().is_none());
    store(&second, 30, now);
    drop(second);
    assert!(first.offer().is_none(), "also when the newest is gone");
    assert_eq!(told(&resends.attempt(&[b"k", b"/write"])), Some(stored(30)));
    for other in [&[b"k2".as_slice(), b"/write"], &[b"k".as_slice(), b"/writ"], &[b"k/", b"write"]]
    {
        assert_eq!(told(&resends.attempt(other)), None);
    }
    drop(first);
    assert_eq!(lock(&resends.shared.requests).under_way(), 0);
}

#[tokio::test]
async fn what_is_being_handed_on_is_waited_for_and_if_it_comes_to_nothing_it_leaves_no_trace() {
    let resends = resends(Limits::default());
    for arrives in [true, false] {
        let identity: &[&[u8]] = &[if arrives { b"a" } else { b"b" }];
        let first = resends.attempt(identity);
        let handover = first.offer().unwrap();
        assert!(first.offer().is_none(), "one at a time");
        let second = resends.attempt(identity);
        let mut waits = Box::pin(second.stored());
        assert!(waits.as_mut().now_or_never().is_none());
        if arrives {
            handover.arrived(&first.note(WALL, &stored(5)), Instant::now());
            assert!(waits.as_mut().now_or_never().is_none(), "another part may follow");
        }
        drop(handover);
        assert_eq!(waits.await, arrives.then(|| stored(5)));
    }
}

/// A second attempt that went while it waited must not make a third one believe that nothing is
/// under way.
#[test]
fn an_attempt_that_gives_up_waiting_changes_nothing() {
    let resends = resends(Limits::default());
    let first = resends.attempt(&[b"k"]);
    let handover = first.offer().unwrap();
    drop(resends.attempt(&[b"k"]));
    let third = resends.attempt(&[b"k"]);
    assert!(third.stored().now_or_never().is_none());
    assert!(third.offer().is_none());
    drop(handover);
    assert_eq!(told(&third), None);
    assert!(third.offer().is_some());
}

#[test]
fn requests_are_bounded_and_old_ones_forgotten() {
    let limits = Limits { requests_max: 2, ..Limits::default() };
    let resends = resends(limits);
    let now = Instant::now();
    for key in [b"a", b"b", b"c"] {
        store(&resends.attempt(&[key]), 1, now);
    }
    assert_eq!(resends.requests(), 2);
    assert_eq!(told(&resends.attempt(&[b"a"])), None);
    assert_eq!(told(&resends.attempt(&[b"c"])), Some(stored(1)));
    let late = now + limits.age_max + Duration::from_secs(1);
    let attempt = resends.attempt(&[b"c"]);
    assert_eq!(attempt.look(late), Ok(None), "too late");
}

#[test]
fn a_start_knows_the_last_note_of_each_request() {
    let old = resends(Limits::default());
    let now = Instant::now();
    let (a, b) = (old.attempt(&[b"a"]), old.attempt(&[b"b"]));
    let notes = [store(&a, 1, now), store(&b, 2, now), store(&a, 3, now)];
    let fresh = resends(Limits::default());
    for note in &notes {
        fresh.recall(note, now, WALL);
    }
    // And once more, from what it noted again itself.
    let again = resends(Limits::default());
    for note in fresh.notes(usize::MAX, now, WALL) {
        again.recall(&note, now, WALL);
    }
    for resends in [fresh, again] {
        assert_eq!(told(&resends.attempt(&[b"a"])), Some(stored(3)));
        assert_eq!(told(&resends.attempt(&[b"b"])), Some(stored(2)));
    }
    let much_later = Timestamp::from_nanos(WALL.nanos() + 2 * 3_600_000_000_000);
    let late = resends(Limits::default());
    late.recall(&notes[0], now, much_later);
    assert_eq!(late.requests(), 0);
}

#[test]
fn many_requests_leave_room_for_clients_when_they_are_noted_again() {
    let resends = resends(Limits::default());
    let now = Instant::now();
    for key in 0..100_u8 {
        store(&resends.attempt(&[&[key]]), 1, now);
    }
    let client = resends.connect("d1", now);
    let mut identities = crate::intake::resends::Identities::default();
    identities.push(1, 1);
    let note = client.note(WALL, &identities);
    client.offer(&note).unwrap().arrived(now);
    drop(client);
    let notes = resends.notes(1000, now, WALL);
    let of_requests = notes.iter().filter(|note| note[0] == KIND).count();
    assert!((1..20).contains(&of_requests), "{of_requests}");
    assert_eq!(notes.len(), of_requests + 1);
}

prop_compose! {
    fn any_stored()(
        numbers: [u64; 5], is_skipping: bool, is_whole: bool, answer: Vec<u8>,
    ) -> Stored {
        let [a, b, readings, hash, lines] = numbers;
        let (from, upto) = (a.min(b), a.max(b));
        let answer = answer.into();
        Stored { from, readings, upto, hash, lines, is_skipping, is_whole, answer }
    }
}

proptest! {
    #[test]
    fn a_note_says_what_was_put_into_it(request: u64, arrival: i64, stored in any_stored()) {
        let note = note(request, arrival, &stored);
        prop_assert_eq!(parse(&note), Some((request, arrival, stored)));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(mut bytes: Vec<u8>, is_ours: bool) {
        if is_ours && let Some(kind) = bytes.first_mut() {
            *kind = KIND;
        }
        if let Some((_, _, stored)) = parse(&bytes) {
            prop_assert!(stored.from <= stored.upto);
        }
    }
}

/// They lie in journals.
#[test]
fn notes_stay_as_they_are() {
    let resends = resends(Limits::default());
    let attempt = resends.attempt(&[b"k", b"/write"]);
    let mut hash = attempt.hash();
    hash.write(b"m f=1\n");
    let stored = Stored { is_whole: true, hash: hash.value(), ..stored(300) };
    let note = attempt.note(WALL, &stored);
    let (head, rest) = note.split_at(HEAD);
    assert_eq!(rest, b"\xac\x02\x00\xac\x02\x01[1,0,0,[]]");
    assert_eq!(
        head,
        [
            4, 1, 26, 68, 162, 138, 24, 245, 5, 135, 0, 0, 42, 54, 254, 156, 151, 23, 41, 43, 3,
            245, 180, 97, 36, 132
        ]
    );
}
