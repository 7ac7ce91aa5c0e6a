//! What a seed has in store, and the damage that is done to a disk without power.

use crate::disk::sim::SimDisk;
use crate::segment::{self, HEADER_END};

/// What a seed has in store.
#[expect(clippy::struct_excessive_bools, reason = "each fault is there or not")]
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) sync_fails_one_in: u32,
    pub(super) sync_fails_in_recovery: bool,
    pub(super) bits_flip: bool,
    pub(super) space_is_short: bool,
    pub(super) cut_in_recovery: bool,
    pub(super) drops_oldest: bool,
    /// One in so many, of what changes something; and of reads.
    pub(super) calls_fail: (u32, u32),
    /// One in so many reads while the journal opens.
    pub(super) reads_fail_in_recovery: u32,
    /// In some lives no output of the configuration claims `cloud`.
    pub(super) leaves_unclaimed: bool,
    /// `home` remembers something, and its position moves by checkpoints.
    pub(super) keeps_state: bool,
}

impl Plan {
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        let sync_fails = rng.bool();
        let mut plan = Self {
            sync_fails_one_in: if sync_fails { rng.u32(3..40) } else { 0 },
            sync_fails_in_recovery: sync_fails && rng.u8(0..4) == 0,
            bits_flip: rng.u8(0..4) == 0,
            space_is_short: rng.u8(0..4) == 0,
            cut_in_recovery: rng.bool(),
            drops_oldest: rng.u8(0..3) == 0,
            calls_fail: match rng.u8(0..8) {
                0 => (rng.u32(10..60), 0),
                1 => (rng.u32(10..60), rng.u32(5..60)),
                _ => (0, 0),
            },
            leaves_unclaimed: rng.u8(0..4) == 0,
            reads_fail_in_recovery: 0,
            keeps_state: false,
        };
        if plan.calls_fail.1 > 0 && rng.bool() {
            plan.reads_fail_in_recovery = rng.u32(5..60);
        }
        plan.keeps_state = rng.bool();
        plan
    }

    /// Nothing is damaged that was durable: then everything is exact.
    pub(super) fn is_strict(&self) -> bool {
        !self.bits_flip && !self.sync_fails_in_recovery && self.calls_fail.1 == 0
    }

    /// What cannot be read today is there tomorrow, and nothing else happens to what was durable:
    /// then no acknowledged frame may be named as lost that somebody still needs.
    pub(super) fn loses_nothing(&self) -> bool {
        !self.bits_flip && !self.sync_fails_in_recovery
    }

    /// Only where later groups prove that it was durable: before the segment with the last group.
    /// A damaged frame of the very last group is cut as torn, silently: nothing tells otherwise.
    pub(super) fn flip_bits(&self, disk: &SimDisk, rng: &mut fastrand::Rng, last_segment: u64) {
        if !self.bits_flip || rng.bool() {
            return;
        }
        let proven = |name: &String| segment::id_of(name).is_some_and(|id| id < last_segment);
        let segments: Vec<_> = disk.names().into_iter().filter(proven).collect();
        if segments.is_empty() {
            return;
        }
        let name = &segments[rng.usize(0..segments.len())];
        disk.damage(name, |bytes| {
            let frames = usize::try_from(HEADER_END).expect("small");
            let Some(last) = bytes.iter().rposition(|byte| *byte != 0).filter(|at| *at > frames)
            else {
                return;
            };
            let at = rng.usize(frames..last);
            if rng.bool() {
                bytes[at] ^= 1 << rng.u8(0..8);
            } else {
                let end = (at + rng.usize(1..1024)).min(last);
                bytes[at..end].fill(0);
            }
        });
    }
}
