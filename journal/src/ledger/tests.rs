//! Receipts in any order, dropped and shared: low and fates stay exact.

use super::*;

const HERE: FrameAt = FrameAt { segment: 1, offset: 4096 };

fn confirmed(readings: u64) -> Fates {
    Fates { confirmed: readings, ..Fates::default() }
}

fn leased(to: u64) -> Ledger {
    let mut ledger = Ledger::new(0, 0, 0, Fates::default());
    for seq in 1..=to {
        assert_eq!(ledger.lease(seq, HERE, 10, 100), Offer::Lease);
    }
    ledger
}

#[test]
fn low_is_the_contiguous_prefix_and_fates_are_those_up_to_it() {
    let mut ledger = leased(4);
    ledger.settle(3, Some(confirmed(10)));
    ledger.settle(1, Some(Fates { dead: 4, confirmed: 6, ..Fates::default() }));
    assert_eq!((ledger.low, ledger.passed, ledger.fates.total()), (1, 10, 10));
    assert_eq!(ledger.done(), (20, Fates { dead: 4, confirmed: 16, ..Fates::default() }));
    ledger.settle(2, Some(confirmed(10)));
    assert_eq!((ledger.low, ledger.passed, ledger.fates.dead), (3, 30, 4));
    assert_eq!(ledger.readings_before(5), 40);
    assert_eq!(ledger.bytes_done, 300);
}

#[test]
fn only_what_was_given_up_is_handed_out_again() {
    let mut ledger = leased(4);
    assert!(ledger.settle(3, None));
    assert!(ledger.settle(2, None));
    ledger.settle(4, Some(confirmed(10)));
    assert_eq!(ledger.take_way(5), Way { jump: None, back: Some((2, HERE, 10)) });
    assert_eq!(ledger.take_way(5), Way::default());
    let offers: Vec<_> = (1..=5).map(|seq| ledger.lease(seq, HERE, 10, 100)).collect();
    assert_eq!(offers, [Offer::Skip, Offer::Lease, Offer::Lease, Offer::Skip, Offer::Lease]);
    for seq in [5, 3, 2] {
        ledger.settle(seq, Some(confirmed(10)));
    }
    assert_eq!(ledger.low, 0);
    ledger.settle(1, Some(confirmed(10)));
    assert_eq!((ledger.low, ledger.fates.confirmed), (5, 50));
}

#[test]
fn frames_of_other_kinds_take_one_entry_however_many_they_are() {
    let mut ledger = leased(1);
    for seq in 2..1000 {
        ledger.pass(seq, 0, &Fates::default(), HERE);
    }
    assert_eq!((ledger.entries.len(), ledger.low, ledger.next()), (2, 0, 1000));
    ledger.pass(500, 7, &Fates::default(), HERE); // Seen before.
    ledger.settle(1, Some(confirmed(10)));
    assert_eq!((ledger.low, ledger.passed), (999, 10));
}

#[test]
fn missing_readings_are_quarantined_once() {
    let mut ledger = leased(1);
    ledger.pass(3, 5, &Fates { quarantined: 5, ..Fates::default() }, HERE);
    ledger.correct(2, 0);
    assert_eq!(ledger.readings_before(4), 17);
    ledger.settle(1, Some(confirmed(10)));
    assert_eq!((ledger.low, ledger.passed), (3, 17));
    assert_eq!(ledger.fates, Fates { confirmed: 10, quarantined: 7, ..Fates::default() });
}

#[test]
fn readings_wrongly_taken_for_lost_are_given_back() {
    let mut ledger = leased(1);
    ledger.correct(4, 0);
    ledger.pass(3, 5, &Fates { quarantined: 5, ..Fates::default() }, HERE);
    ledger.correct(0, 7);
    assert_eq!(ledger.readings_before(4), 12);
    ledger.settle(1, Some(confirmed(10)));
    assert_eq!((ledger.low, ledger.passed, ledger.fates.quarantined), (3, 12, 2));
}

#[test]
fn what_was_given_up_behind_what_is_cut_off_is_gone_back_to_in_the_same_look() {
    let mut ledger = leased(6);
    ledger.settle(5, None);
    ledger.cut(3, 30);
    assert_eq!(ledger.take_way(7), Way { jump: Some((7, 60)), back: Some((5, HERE, 40)) });
    assert_eq!(ledger.lease(5, HERE, 10, 100), Offer::Lease);
}

#[test]
fn a_reader_that_went_back_skips_what_got_done_meanwhile() {
    let mut ledger = leased(6);
    ledger.settle(2, None);
    assert_eq!(ledger.take_way(7).back, Some((2, HERE, 10)));
    assert_eq!(ledger.lease(2, HERE, 10, 100), Offer::Lease);
    for seq in 1..=5 {
        ledger.settle(seq, Some(confirmed(10)));
    }
    // It stands at 3, whose segment may be gone.
    assert_eq!(ledger.take_way(3), Way { jump: Some((6, 50)), back: None });
    assert_eq!(ledger.take_way(6), Way::default());
}
