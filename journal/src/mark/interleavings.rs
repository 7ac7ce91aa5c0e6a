//! Every interleaving of a writer that settles, a ticket that is dropped, and a connection that
//! waits:
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p tidegate-journal --lib mark::`

use loom::{future::block_on, thread};

use super::*;

#[test]
fn a_connection_that_waits_is_always_woken() {
    loom::model(|| {
        let mut mark = Mark::new();
        let mut tickets = vec![mark.ticket(), mark.ticket()];
        let writer = thread::spawn(move || settle(&mut tickets, &Durable::synced()));
        let mut kept = block_on(mark.moved());
        if kept == Ok(Kept(1)) {
            kept = block_on(mark.moved());
        }
        assert_eq!(kept, Ok(Kept(2)));
        writer.join().unwrap();
    });
}

/// Three threads: all interleavings with up to three preemptions, which is where such bugs live.
fn explore(threads: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(threads);
}

#[test]
fn groups_settled_side_by_side_end_at_the_newest() {
    explore(|| {
        let mut mark = Mark::new();
        let (mut first, mut second) = (vec![mark.ticket()], vec![mark.ticket()]);
        let settler = thread::spawn(move || settle(&mut first, &Durable::synced()));
        let writer = thread::spawn(move || settle(&mut second, &Durable::synced()));
        while block_on(mark.moved()) != Ok(Kept(2)) {}
        settler.join().unwrap();
        writer.join().unwrap();
    });
}

#[test]
fn a_dropped_ticket_is_always_noticed_and_never_passed() {
    explore(|| {
        let mut mark = Mark::new();
        let (mut first, second) = (vec![mark.ticket()], mark.ticket());
        let writer = thread::spawn(move || settle(&mut first, &Durable::synced()));
        let refused = thread::spawn(move || drop(second));
        match block_on(mark.moved()) {
            Ok(kept) => {
                assert_eq!(kept, Kept(1));
                assert_eq!(block_on(mark.moved()), Err(Broken));
            }
            Err(Broken) => {}
        }
        writer.join().unwrap();
        refused.join().unwrap();
    });
}
