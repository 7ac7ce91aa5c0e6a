//! Marks move in order, break for good, and wake whoever waits.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Wake, Waker},
};

use super::*;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn settle_these(tickets: Vec<Ticket>) {
    settle(&mut { tickets }, &Durable::synced());
}

#[test]
fn a_group_wakes_each_mark_once() {
    let woken = std::sync::Arc::new(Woken::default());
    let waker = Waker::from(std::sync::Arc::clone(&woken));
    let mut mark = Mark::new();
    let tickets = vec![mark.ticket(), mark.ticket(), Ticket::nobody(), mark.ticket()];
    {
        let mut moved = pin!(mark.moved());
        let mut context = Context::from_waker(&waker);
        assert_eq!(moved.as_mut().poll(&mut context), Poll::Pending);
        settle_these(tickets);
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert_eq!(moved.as_mut().poll(&mut context), Poll::Ready(Ok(Kept(3))));
    }
    assert_eq!(mark.kept(), Ok(Kept(3)));
}

#[tokio::test]
async fn a_dropped_ticket_breaks_its_mark_for_good_and_what_was_kept_is_told_first() {
    let mut mark = Mark::new();
    let (first, second, third) = (mark.ticket(), mark.ticket(), mark.ticket());
    settle_these(vec![first]);
    drop(second);
    settle_these(vec![third]); // Behind the hole: must not be seen.
    assert_eq!(mark.kept(), Err(Broken));
    assert_eq!(mark.moved().await, Ok(Kept(1)));
    assert_eq!(mark.moved().await, Err(Broken));
    assert_eq!(mark.moved().await, Err(Broken));
}

#[test]
fn a_cancelled_wait_loses_nothing() {
    let mut mark = Mark::new();
    let ticket = mark.ticket();
    {
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(pin!(mark.moved()).poll(&mut context), Poll::Pending);
    }
    settle_these(vec![ticket]);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(pin!(mark.moved()).poll(&mut context), Poll::Ready(Ok(Kept(1))));
    assert_eq!(pin!(mark.moved()).poll(&mut context), Poll::Pending);
}
