//! Faults on demand, so that tests can see how the real binary bears them.
//!
//! `TIDEGATE_FAULT=panic:STAGE[:N]` lets the named stage panic at its N-th passage (the first if not
//! said) of the point that it marks. Exists only with the feature `faults`, which a release build
//! refuses: the product holds no such switch. It stands in this crate because the journal is the lowest
//! one that has a stage; the others mark their points from here.

#[cfg(not(debug_assertions))]
compile_error!("the feature `faults` is for tests: no release build has it");

use std::{
    env,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// What the environment asks for.
struct Fault {
    stage: String,
    /// Passages of that stage before the one that panics.
    before: AtomicU64,
}

static ASKED: LazyLock<Option<Fault>> =
    LazyLock::new(|| env::var("TIDEGATE_FAULT").ok().as_deref().map(asked));

/// Panics if this is the passage that `TIDEGATE_FAULT` names.
pub fn point(stage: &str) {
    let Some(fault) = ASKED.as_ref().filter(|fault| fault.stage == stage) else { return };
    let is_now = fault.before.fetch_sub(1, Ordering::Relaxed) == 0;
    assert!(!is_now, "a fault was asked for: {stage}");
}

fn asked(text: &str) -> Fault {
    let mut parts = text.splitn(3, ':');
    assert_eq!(parts.next(), Some("panic"), "TIDEGATE_FAULT is panic:STAGE[:N]");
    let stage = parts.next().expect("TIDEGATE_FAULT names a stage").to_owned();
    let passage: u64 = parts.next().map_or(1, |n| n.parse().expect("N is a number"));
    Fault { stage, before: AtomicU64::new(passage.checked_sub(1).expect("N counts from 1")) }
}
