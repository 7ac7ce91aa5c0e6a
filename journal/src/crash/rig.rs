//! One seed's life of a journal.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::content;
use super::faults::Plan;
use super::life::{Life, confirm, frames_of};
use super::model::Model;
use crate::Checkpoint;
use crate::Fates;
use crate::Kept;
use crate::OutputId;
use crate::Ticket;
use crate::WhenFull;
use crate::catalog::Place;
use crate::disk::{Disk, sim::SimDisk};
use crate::keeper;
use crate::log::CommitError;
use crate::mark;
use crate::open;
use crate::options::{Limits, Mutant, PAGE};
use crate::position::Position;
use crate::shared::{Shared, lock};
use crate::verify;

const SPACE: u64 = 4 << 20;

type Checked = Result<(), String>;

/// Of a segment for frames: all but its header and its trailer.
fn room(segment_bytes: u64) -> u64 {
    segment_bytes - 2 * PAGE
}

/// Runs one life; the first rule that is broken ends it.
pub(super) fn run(seed: u64, mutant: Option<Mutant>) -> Checked {
    let mut rig = Rig::new(seed, mutant);
    rig.reopen()?;
    for _ in 0..rig.rng.u32(40..160) {
        rig.step()?;
    }
    rig.finish()
}

struct Rig {
    rng: fastrand::Rng,
    disk: SimDisk,
    limits: Limits,
    plan: Plan,
    model: Model,
    now: Instant,
    next_id: u64,
    /// Of the last acknowledged group.
    last_segment: u64,
    salts: BTreeSet<u64>,
    life: Option<Life>,
}

impl Rig {
    /// What `journal verify` says of the end must fit.
    fn verify(&self) -> Checked {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let entries = disk.list("").map_err(|error| error.to_string())?;
        let verified = verify::verify_disk(&disk, &entries).map_err(|error| error.to_string())?;
        if verified.bytes != self.disk.used() {
            return Err(format!("verify counts {} bytes of {}", verified.bytes, self.disk.used()));
        }
        if self.model.is_strict() && !verified.is_sound() {
            return Err(format!("verify finds damage where there is none: {verified:?}"));
        }
        Ok(())
    }

    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plan = Plan::draw(&mut rng);
        let segment_bytes = 4096 * rng.u64(5..10);
        let limits = Limits {
            bytes_max: segment_bytes * rng.u64(4..12) + 10 * 4096,
            when_full: if plan.drops_oldest { WhenFull::DropOldest } else { WhenFull::Block },
            lease_wait: Duration::from_secs(rng.u64(0..3)),
            segment_bytes,
            // Groups as large as they can be: the journal itself takes half of the room at most.
            group_bytes_max: usize::try_from(room(segment_bytes)).expect("small"),
            frame_bytes: 400,
            compress_from: 200,
            tail_bytes_max: if rng.bool() { 3000 } else { 0 },
            mutant,
            ..Limits::default()
        };
        let (strict, loses_nothing) = (plan.is_strict(), plan.loses_nothing());
        Self {
            disk: SimDisk::new(rng.u64(..), SPACE),
            rng,
            limits,
            plan,
            model: Model::new(strict, loses_nothing),
            now: Instant::now(),
            next_id: 1,
            last_segment: 0,
            salts: BTreeSet::new(),
            life: None,
        }
    }

    fn step(&mut self) -> Checked {
        match self.rng.u8(0..100) {
            0..30 => self.append(),
            30..55 => self.commit()?,
            55..65 => self.keep()?,
            65..80 => {
                let output = self.any_output();
                self.read(output)?;
            }
            80..90 => {
                let output = self.any_output();
                self.settle(output);
            }
            90..92 if self.plan.space_is_short => {
                let space = if self.rng.bool() { SPACE } else { self.disk.used() };
                self.disk.set_space(space);
            }
            90..93 => self.disk.cut_after(self.rng.u64(0..12)),
            93..95 => self.end(End::PowerCut)?,
            95..96 => self.end(End::Kill)?,
            96..97 => self.end(End::Clean)?,
            97..98 => self.flow()?,
            _ => self.now += Duration::from_millis(self.rng.u64(0..3000)),
        }
        if self.disk.is_off() {
            self.end(End::PowerCut)?;
        }
        let used = self.disk.used();
        let grown = if self.plan.keeps_state { content::STATE_FILES_MAX } else { 0 };
        if used > self.limits.bytes_max + 2 * 4096 + grown {
            return Err(format!("{used} bytes used of {}", self.limits.bytes_max));
        }
        Ok(())
    }

    fn append(&mut self) {
        let life = self.life.as_mut().expect("open");
        if life.queue.len() > 40 {
            return;
        }
        for _ in 0..self.rng.u8(1..12) {
            let ticket = if self.rng.u8(0..4) == 0 { Ticket::nobody() } else { life.mark.ticket() };
            life.last_ticket = life.last_ticket.max(ticket.number());
            life.queue.push(content::submission(self.next_id, ticket));
            self.next_id += 1;
        }
    }

    /// One attempt, as the writer's thread makes them.
    fn commit(&mut self) -> Checked {
        let life = self.life.as_mut().expect("open");
        if life.trying.is_none() {
            if life.queue.is_empty() {
                return Ok(());
            }
            let mut drained = life.drain(self.limits.group_bytes_max);
            life.encoder.encode(&mut drained, life.log.durable(), &mut life.group);
            if life.group.body_len() > room(self.limits.segment_bytes) {
                return Err("a group is larger than a segment".to_owned());
            }
            let frames = frames_of(&life.group)?;
            self.model.try_group(&frames)?;
            life.trying = Some(frames);
        }
        let kept = life.mark.kept();
        let committed = life.log.commit(&mut life.group);
        life.shared.desk.want(matches!(committed, Err(CommitError::NoSegment)));
        let Ok(proof) = committed else {
            return if life.mark.kept() == kept {
                Ok(())
            } else {
                Err("a mark moved though its group failed".to_owned())
            };
        };
        let active = life.shared.active.load(Ordering::Relaxed);
        if active != 0 && active != std::mem::replace(&mut self.last_segment, active) {
            let places = life.shared.catalog.places();
            let newest = places.iter().rev().find_map(Place::known).expect("active");
            // Rising numbers hide an old salt, until two faults meet.
            if !self.salts.insert(newest.salt) {
                return Err(format!("segment {active} has the salt of an earlier one"));
            }
        }
        self.model.acknowledge(life.trying.take().unwrap_or_default());
        let (mut tickets, _) = life.group.take_settlement();
        mark::settle(&mut tickets, &proof);
        if life.mark.kept() == Ok(Kept(life.last_ticket)) || !life.queue.is_empty() {
            Ok(())
        } else {
            Err(format!("{:?} after ticket {}", life.mark.kept(), life.last_ticket))
        }
    }

    /// As the writer and the keeper end.
    fn flush(&mut self) -> Checked {
        let life = self.life.as_mut().expect("open");
        if life.trying.is_none()
            && life.queue.is_empty()
            && life.encoder.encode_carried(life.log.durable(), &mut life.group)
        {
            let frames = frames_of(&life.group)?;
            self.model.try_group(&frames)?;
            match life.log.commit(&mut life.group) {
                Ok(_) => self.model.acknowledge(frames),
                Err(_) => self.model.forget_counts(),
            }
        }
        keeper::finish(&life.shared);
        Ok(())
    }

    fn keep(&mut self) -> Checked {
        let life = self.life.as_mut().expect("open");
        self.now += Duration::from_millis(self.rng.u64(0..1500));
        let before = dropped(&life.shared);
        keeper::round(&life.shared, self.now, &mut life.trouble);
        for (before, after) in before.iter().zip(dropped(&life.shared)) {
            let lost = self.model.drop_upto(&before.0, before.1, after.1);
            if self.model.is_strict() && after.2 - before.2 != lost {
                let counted = after.2 - before.2;
                return Err(format!("{before:?} to {after:?}: {counted} counted, {lost} lost"));
            }
        }
        Ok(())
    }

    fn any_output(&mut self) -> usize {
        self.rng.usize(0..self.life.as_ref().expect("open").outs.len())
    }

    /// Everything keeps up: segments fill, are freed and used again.
    fn flow(&mut self) -> Checked {
        for _ in 0..self.rng.u8(4..16) {
            self.append();
            self.commit()?;
            for output in 0..self.life.as_ref().expect("open").outs.len() {
                self.read(output)?;
                self.settle(output);
            }
            self.keep()?;
            if self.disk.is_off() {
                break;
            }
        }
        Ok(())
    }

    fn read(&mut self, output: usize) -> Checked {
        let life = self.life.as_mut().expect("open");
        let out = &mut life.outs[output];
        for _ in 0..self.rng.u8(1..40) {
            if out.leases.len() >= 20 || self.disk.is_off() {
                break;
            }
            let lease = out.next(&life.shared);
            if self.disk.is_off() {
                break; // What a reader says while the power fails is not said to anybody.
            }
            self.model.gaps(&lock(&life.shared.gaps))?;
            let Some(lease) = lease else { break };
            let (id, seq) = (&out.position.id, lease.seq.0);
            if out.leases.iter().any(|other| other.seq == lease.seq) {
                return Err(format!("{id} has two leases of frame {seq}"));
            }
            self.model.deliver(id, seq, content::read(&lease.frame)?)?;
            out.work_on(seq);
            out.leases.push(lease);
        }
        if self.rng.u8(0..4) == 0 {
            out.checkpoint(&life.shared);
        }
        Ok(())
    }

    fn settle(&mut self, output: usize) {
        let life = self.life.as_mut().expect("open");
        let out = &mut life.outs[output];
        for checkpoint in out.checkpoints() {
            match self.rng.u8(0..4) {
                0 => drop(checkpoint),
                _ => checkpoint.confirm(),
            }
        }
        for _ in 0..self.rng.u8(1..40) {
            if out.leases.is_empty() {
                return;
            }
            let lease = out.leases.remove(self.rng.usize(0..out.leases.len()));
            match self.rng.u8(0..30) {
                0 => drop(lease),
                1 => {
                    let share = lease.receipt.share();
                    drop(lease);
                    share.confirm(&Fates::default());
                }
                _ => {
                    self.model.confirm(&out.position.id, lease.seq.0);
                    confirm(lease, self.rng.bool());
                }
            }
        }
    }

    fn end(&mut self, end: End) -> Checked {
        if let End::Clean = end {
            self.flush()?;
        }
        let life = self.life.take().expect("open");
        match end {
            End::PowerCut => {
                self.disk.cut();
                drop(life);
                self.disk.reboot();
                self.plan.flip_bits(&self.disk, &mut self.rng, self.last_segment);
            }
            End::Kill | End::Clean => {
                drop(life);
                self.disk.kill();
            }
        }
        self.reopen()
    }

    /// Opens, again and again if the power fails meanwhile.
    fn reopen(&mut self) -> Checked {
        self.disk.set_call_failures(0, self.plan.reads_fail_in_recovery);
        if !self.plan.sync_fails_in_recovery {
            self.disk.set_sync_failures(0);
        }
        for attempt in 0.. {
            if attempt < 3 && self.plan.cut_in_recovery && self.rng.bool() {
                self.disk.cut_after(self.rng.u64(0..25));
            }
            let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
            let before = self.disk.files();
            let opened = open::prepare(disk, Path::new("sim"), self.limits);
            if self.disk.is_off() {
                drop(opened);
                self.disk.reboot();
                continue;
            }
            let (shared, report) = opened.map_err(|error| format!("it does not start: {error}"))?;
            let after = self.disk.files();
            if let Some(name) =
                report.closed.iter().find(|name| before.get(*name) != after.get(*name))
            {
                return Err(format!("{name} cannot be read, and is not as it was"));
            }
            self.model.find_unsure(&shared)?;
            self.model.opened(&report, &shared)?;
            let unclaimed = self.plan.leaves_unclaimed && self.rng.bool();
            self.life = Some(Life::new(shared, self.limits, &self.plan, unclaimed));
            break;
        }
        self.disk.set_sync_failures(self.plan.sync_fails_one_in);
        self.disk.set_call_failures(self.plan.calls_fail.0, self.plan.calls_fail.1);
        Ok(())
    }

    /// No more faults: everything must get through, be read, and be confirmed.
    fn finish(&mut self) -> Checked {
        self.plan = Plan { keeps_state: self.plan.keeps_state, ..Plan::default() };
        self.disk.set_space(SPACE);
        self.disk.set_sync_failures(0);
        self.end(End::PowerCut)?;
        self.append();
        for _ in 0..400 {
            self.commit()?;
            self.keep()?;
            let mut at_end = true;
            let life = self.life.as_mut().expect("open");
            for out in &mut life.outs {
                while let Some(lease) = out.next(&life.shared) {
                    let seq = lease.seq.0;
                    self.model.deliver(&out.position.id, seq, content::read(&lease.frame)?)?;
                    self.model.confirm(&out.position.id, seq);
                    out.work_on(seq);
                    confirm(lease, true);
                }
                out.checkpoint(&life.shared);
                out.checkpoints().into_iter().for_each(Checkpoint::confirm);
                at_end &= out.position.ledger(|ledger| ledger.low) == life.shared.durable();
            }
            if at_end && life.trying.is_none() && life.queue.is_empty() {
                let gaps = lock(&life.shared.gaps).clone();
                self.model.gaps(&gaps)?;
                self.model.finished(&life.shared)?;
                return self.verify();
            }
        }
        Err("it does not come to an end".to_owned())
    }
}

/// Each output's low mark, and what it counts as dropped up to there.
fn dropped(shared: &Shared) -> Vec<(OutputId, u64, u64)> {
    let look = |position: &Arc<Position>| {
        position.ledger(|ledger| (position.id.clone(), ledger.low, ledger.fates.dropped))
    };
    shared.positions().iter().map(look).collect()
}

#[derive(Clone, Copy)]
enum End {
    /// What was not synced may be lost.
    PowerCut,
    /// The process only: what was written is there.
    Kill,
    Clean,
}
