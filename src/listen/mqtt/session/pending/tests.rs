//! Answers owed: their order, their tickets, one entry per identifier; against a slow model.

use std::num::NonZeroU16;

use proptest::prelude::*;

use super::*;

fn id(number: u16) -> PacketId {
    PacketId(NonZeroU16::new(number).unwrap())
}

/// The identifiers of the PUBACKs and PUBRECs in `out`.
fn answered(out: &[u8]) -> Vec<u16> {
    out.chunks(4).map(|bytes| u16::from_be_bytes([bytes[2], bytes[3]])).collect()
}

fn answer(pending: &mut Pending, kept: u64) -> Vec<u16> {
    let mut out = Vec::new();
    let answers = pending.answer(kept, Instant::now(), Version::V311, &mut out, |_| {});
    let answered = answered(&out);
    assert_eq!(answered.len() as u64, answers);
    answered
}

fn push(pending: &mut Pending, number: u16) {
    pending.push(id(number), Answer::PubAck, Reason::Success, 10);
}

#[test]
fn answers_leave_in_order_and_not_before_their_ticket() {
    let mut pending = Pending::default();
    for (ticket, ids) in [(1, [1, 2]), (2, [3, 4]), (3, [5, 6])] {
        for number in ids {
            push(&mut pending, number);
        }
        pending.seal(ticket, Instant::now());
    }
    push(&mut pending, 7);
    assert_eq!(pending.bytes(), 70);
    assert_eq!(answer(&mut pending, 0), [0_u16; 0]);
    assert_eq!(answer(&mut pending, 2), [1, 2, 3, 4]);
    assert_eq!((pending.len(), pending.bytes()), (3, 30));
    assert_eq!(answer(&mut pending, 9), [5, 6], "7 is not sealed");
    pending.seal(10, Instant::now());
    assert_eq!(answer(&mut pending, 10), [7]);
    assert_eq!((pending.len(), pending.bytes()), (0, 0));
}

#[test]
fn a_second_message_with_the_same_identifier_is_answered_once_and_later() {
    let mut pending = Pending::default();
    push(&mut pending, 5);
    push(&mut pending, 6);
    pending.seal(1, Instant::now());
    push(&mut pending, 5);
    pending.seal(2, Instant::now());
    assert_eq!(answer(&mut pending, 1), [6]);
    assert_eq!(answer(&mut pending, 2), [5]);
}

#[test]
fn a_repeat_that_breaks_the_order_is_searched_for_from_then_on() {
    let mut pending = Pending::default();
    for number in [8, 11, 7, 11] {
        push(&mut pending, number);
    }
    assert!(pending.contains(id(7), Answer::PubAck));
    pending.seal(1, Instant::now());
    assert_eq!(answer(&mut pending, 1), [8, 7, 11]);
}

#[test]
fn what_nobody_waits_for_weighs_only_until_it_is_sealed() {
    let mut pending = Pending::default();
    pending.weigh(100);
    assert_eq!((pending.bytes(), pending.owes_in_open_run()), (100, false));
    pending.seal(0, Instant::now());
    assert_eq!((pending.bytes(), pending.is_empty()), (0, true));
}

#[tokio::test(start_paused = true)]
async fn a_run_knows_how_long_it_was_under_way() {
    let mut pending = Pending::default();
    push(&mut pending, 1);
    push(&mut pending, 2);
    pending.seal(1, Instant::now());
    tokio::time::advance(Duration::from_millis(7)).await;
    let mut waited = Vec::new();
    let now = Instant::now();
    pending.answer(1, now, Version::V311, &mut Vec::new(), |time| waited.push(time));
    assert_eq!(waited, [Duration::from_millis(7)]);
}

#[test]
fn identifiers_that_go_around_the_circle_are_not_searched_for() {
    let mut pending = Pending::default();
    let numbers: Vec<u16> = (65_500..=u16::MAX).chain(1..100).collect();
    for &number in &numbers {
        assert!(!pending.may_contain(id(number)), "{number}");
        push(&mut pending, number);
    }
    assert!(!pending.is_out_of_order);
    pending.seal(1, Instant::now());
    assert_eq!(answer(&mut pending, 1), numbers);
}

#[test]
fn what_grew_is_given_back_when_nothing_is_owed() {
    let mut pending = Pending::default();
    for number in 1..5000 {
        push(&mut pending, number);
    }
    pending.seal(1, Instant::now());
    assert_eq!(answer(&mut pending, 1).len(), 4999);
    assert!(pending.owed.capacity() <= CAPACITY_KEPT);
}

#[derive(Clone, Debug)]
enum Act {
    Push(u16, bool),
    Seal,
    Keep(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1_u16..12, any::<bool>()).prop_map(|(number, twice)| Act::Push(number, twice)),
        2 => Just(Act::Seal),
        2 => (0_u8..4).prop_map(Act::Keep),
    ]
}

proptest! {
    /// The model is a list of (ticket, identifier, kind) in which a repeat removes the older one.
    #[test]
    fn answers_are_those_of_a_plain_list(acts in prop::collection::vec(act(), 0..120)) {
        let mut pending = Pending::default();
        let mut model: Vec<(u64, u16, bool)> = Vec::new();
        let (mut ticket, mut kept) = (1, 0);
        for act in acts {
            match act {
                Act::Push(number, is_twice) => {
                    let kind = if is_twice { Answer::PubRec } else { Answer::PubAck };
                    prop_assert_eq!(
                        pending.contains(id(number), kind),
                        model.iter().any(|(_, n, k)| (*n, *k) == (number, is_twice))
                    );
                    pending.push(id(number), kind, Reason::Success, 1);
                    model.retain(|(_, n, k)| (*n, *k) != (number, is_twice));
                    model.push((ticket, number, is_twice));
                }
                Act::Seal => {
                    pending.seal(ticket, Instant::now());
                    ticket += 1;
                }
                Act::Keep(steps) => {
                    kept = (kept + u64::from(steps)).min(ticket - 1);
                    let expected: Vec<u16> =
                        model.iter().filter(|(t, ..)| *t <= kept).map(|(_, n, _)| *n).collect();
                    model.retain(|(t, ..)| *t > kept);
                    prop_assert_eq!(answer(&mut pending, kept), expected);
                }
            }
            let pubrecs = model.iter().filter(|(.., is_twice)| *is_twice).count();
            prop_assert_eq!(pending.pubrecs(), pubrecs);
            prop_assert!(pending.len() >= model.len());
        }
    }
}
