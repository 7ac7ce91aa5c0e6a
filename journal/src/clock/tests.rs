//! Are decisions the same for ever, whatever crashes?

use std::sync::Arc;

use fastrand::Rng;

use super::record::{Parsed, Record};
use super::*;
use crate::disk::sim::SimDisk;

const JOURNAL: [u8; 16] = *b"journal journal ";
const BOOT: [u8; 16] = *b"boot boot boot 1";
const DURABLE: u64 = 500;

fn open(disk: &SimDisk) -> Clock {
    Clock::open(disk, JOURNAL, DURABLE, Some(1), None).unwrap()
}

fn begin(clock: &Clock, disk: &SimDisk, id: u32) -> Result<(), ClockError> {
    clock.update(disk, Some(1), |epochs| epochs.push(Epoch::new(id, BOOT, 7, 9)))
}

fn decide(clock: &Clock, disk: &SimDisk, id: u32, fate: Fate) -> Result<(), ClockError> {
    clock.update(disk, Some(1), |epochs| {
        for epoch in epochs.iter_mut().filter(|epoch| epoch.id == id) {
            epoch.fate = fate;
        }
    })
}

fn disk() -> SimDisk {
    let disk = SimDisk::new(1, 1 << 20);
    disk.prepare().unwrap();
    disk
}

#[test]
fn an_epoch_waits_until_it_is_decided_and_the_decision_outlives_a_restart() {
    let disk = disk();
    let clock = open(&disk);
    assert_eq!(clock.epochs.of(BELIEVED), Stamps::Right);
    assert_eq!(clock.epochs.of(0), Stamps::Right);
    assert_eq!(clock.epochs.of(UNSURE), Stamps::Unsure);
    assert_eq!(clock.epochs.of(77), Stamps::Unsure, "its files are lost");
    begin(&clock, &disk, 77).unwrap();
    assert_eq!(clock.epochs.of(77), Stamps::Waiting);
    assert_eq!(open(&disk).epochs.of(77), Stamps::Waiting);
    decide(&clock, &disk, 77, Fate::Corrected(-5)).unwrap();
    assert_eq!(clock.epochs.of(77), Stamps::Correct(-5));
    assert_eq!(open(&disk).epochs.of(77), Stamps::Correct(-5));
}

#[test]
fn an_epoch_is_forgotten_with_its_last_frame_and_not_before() {
    let disk = disk();
    begin(&open(&disk), &disk, 77).unwrap();
    let at = |oldest| Clock::open(&disk, JOURNAL, DURABLE, oldest, None).unwrap();
    assert_eq!(at(Some(DURABLE)).epochs.known().len(), 1);
    let going_on = at(Some(DURABLE));
    going_on.update(&disk, Some(1), |epochs| epochs[0].go_on()).unwrap();
    going_on.update(&disk, Some(DURABLE + 1), |_| {}).unwrap();
    assert_eq!(going_on.epochs.known().len(), 1, "it goes on");
    let known = Epoch { fate: Fate::Corrected(0), ..Epoch::new(BELIEVED, BOOT, 7, 9) };
    going_on.update(&disk, Some(1), |epochs| epochs.push(known)).unwrap();
    assert_eq!(
        at(Some(DURABLE + 1)).epochs.known(),
        [known],
        "what this boot knows is nobody's frame"
    );
    let gone = at(None);
    assert_eq!(gone.epochs.of(77), Stamps::Unsure);
}

#[test]
fn no_more_epochs_are_kept_than_there_is_room_for() {
    let disk = disk();
    let clock = open(&disk);
    for id in 0..u32::try_from(EPOCHS_MAX).unwrap() {
        begin(&clock, &disk, EPOCH_MIN + id).unwrap();
    }
    let before = clock.epochs.known();
    assert!(matches!(begin(&clock, &disk, 9_999), Err(ClockError::Full)));
    assert_eq!(clock.epochs.known(), before);
    assert_eq!(open(&disk).epochs.known().len(), EPOCHS_MAX);
}

#[test]
fn one_damaged_file_changes_nothing_and_two_leave_the_stamps_unsure() {
    let disk = disk();
    let clock = open(&disk);
    begin(&clock, &disk, 77).unwrap();
    decide(&clock, &disk, 77, Fate::Corrected(5)).unwrap();
    for slot in 0..2 {
        disk.open(&name(slot)).unwrap().write_all_at(b"?", 30).unwrap();
        assert_eq!(open(&disk).epochs.of(77), Stamps::Correct(5), "{slot}");
    }
    for slot in 0..2 {
        disk.open(&name(slot)).unwrap().write_all_at(b"?", 30).unwrap();
    }
    assert_eq!(open(&disk).epochs.of(77), Stamps::Unsure);
}

#[test]
fn every_flipped_bit_is_noticed_and_a_later_release_is_no_damage() {
    let mut epoch = Epoch::new(77, BOOT, -7, 9);
    epoch.fate = Fate::Corrected(i64::MIN);
    let record = Record { generation: 3, journal: JOURNAL, epochs: vec![epoch; EPOCHS_MAX] };
    let bytes = record.bytes();
    assert_eq!(Record::parse(&bytes), Parsed::Valid(record));
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 4;
        assert_eq!(Record::parse(&bad), Parsed::Damaged, "byte {at}");
    }
    let mut newer = bytes;
    newer[8] = 2;
    newer[12..16].fill(0);
    let crc = crc32c::crc32c(&newer);
    newer[12..16].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Record::parse(&newer), Parsed::Newer);
}

#[test]
fn what_a_later_release_decided_is_waited_for_and_not_touched() {
    let disk = disk();
    begin(&open(&disk), &disk, 77).unwrap();
    let mut newer = vec![0; 4096];
    disk.open(&name(0)).unwrap().read_at(&mut newer, 0).unwrap();
    newer[8] = 2;
    newer[12..16].fill(0);
    let crc = crc32c::crc32c(&newer);
    newer[12..16].copy_from_slice(&crc.to_le_bytes());
    for slot in 0..2 {
        disk.open(&name(slot)).unwrap().write_all_at(&newer, 0).unwrap();
    }
    let clock = open(&disk);
    assert!(clock.is_newer());
    assert_eq!(clock.epochs.of(77), Stamps::Waiting);
    assert_eq!(clock.epochs.of(BELIEVED), Stamps::Right);
    assert!(matches!(begin(&clock, &disk, 78), Err(ClockError::Newer)));
}

/// A random life: what readers were told of an epoch once holds for ever.
fn live(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let disk = SimDisk::new(seed, 1 << 20);
    disk.prepare().unwrap();
    let mut told: std::collections::BTreeMap<u32, Stamps> = std::collections::BTreeMap::new();
    let mut begun = Vec::new();
    for life in 0..6 {
        disk.set_sync_failures(if rng.bool() { rng.u32(2..6) } else { 0 });
        let Ok(clock) = Clock::open(&disk, JOURNAL, DURABLE, Some(1), None) else { break };
        for _ in 0..rng.usize(1..8) {
            for (id, stamps) in &told {
                let now = clock.epochs.of(*id);
                let holds =
                    now == *stamps || (now == Stamps::Waiting && clock.epochs.is_in_doubt());
                assert!(holds, "seed {seed}, life {life}: {id} was {stamps:?} and is {now:?}");
            }
            if rng.u8(..4) == 0 {
                disk.cut_after(rng.u64(..8));
            }
            let id = rng.u32(EPOCH_MIN..EPOCH_MIN + 20);
            let is_known = clock.epochs.known().iter().any(|epoch| epoch.id == id);
            let waits = is_known && clock.epochs.of(id) == Stamps::Waiting;
            if !is_known && !begun.contains(&id) && begin(&clock, &disk, id).is_ok() {
                begun.push(id);
            } else if waits && !clock.epochs.is_in_doubt() {
                let fate = if rng.bool() { Fate::Unsure } else { Fate::Corrected(rng.i64(..)) };
                _ = decide(&clock, &disk, id, fate);
            } else {
                _ = clock.update(&disk, Some(1), |_| {});
            }
            for id in &begun {
                match clock.epochs.of(*id) {
                    Stamps::Waiting => {}
                    decided => _ = told.insert(*id, decided),
                }
            }
        }
        drop(clock);
        if rng.bool() {
            disk.cut();
            disk.reboot();
        } else if disk.is_off() {
            disk.reboot();
        } else {
            disk.kill();
        }
    }
}

#[test]
fn no_crash_ever_changes_what_was_decided() {
    for seed in 0..5_000 {
        live(seed);
    }
}

/// A file of the clock lies in the same folder, under the same bound.
#[test]
fn the_files_count_and_stay_within_the_journals_bound() {
    let disk = Arc::new(disk());
    let clock = open(&disk);
    begin(&clock, &disk, 77).unwrap();
    assert_eq!(lock(&clock.files).take_grown(), 2 * PAGE);
    decide(&clock, &disk, 77, Fate::Unsure).unwrap();
    assert_eq!(lock(&clock.files).take_grown(), 0);
}
